//! x
use pillion::*;
#[test]
fn exp() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let d = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/data/");
    let t = std::time::Instant::now();
    let f = cache
        .define_table(
            "flights",
            TableDefinition::parquet(format!("{d}flights.parquet")).primary_key([
                "time_hour",
                "carrier",
                "flight",
            ]),
        )
        .map(|t| t.info().unwrap().rows);
    println!("{:?} {:?}", f, t.elapsed());
    let t = std::time::Instant::now();
    let f = cache
        .define_table(
            "weather",
            TableDefinition::parquet(format!("{d}weather.parquet"))
                .primary_key(["year", "month", "day", "hour", "origin"]),
        )
        .map(drop);
    println!("{:?} {:?}", f, t.elapsed());
    for n in ["airlines", "airports", "planes", "weather"] {
        let t = std::time::Instant::now();
        let f = cache.define_table(n, TableDefinition::parquet(format!("{d}{n}.parquet"))).map(drop);
        println!("{n} {:?} {:?}", f, t.elapsed());
    }
}
