//! A start while every source is gone.

use std::net::TcpListener;
use std::time::Duration;

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, write_parquet};
use pillion_benches::harness::{Contestant, Goal, Plan, Sink, Subject};
use pillion_benches::workload::LOADS;
use pillion_object_store::{Location, ObjectStoreSource};
use tempfile::TempDir;

use super::Size;
use super::tables::{cache_of, folder, followed, opened};

const WARM: &str = "sources gone";
const START: Subject = Subject {
    figure: "S4",
    name: "start, sources gone",
    state: "open, follow the table, first get; nobody listens where the source was",
};
const AT_MOST: Goal = Goal::Time { at_most: Duration::from_millis(100) };

pub(super) fn starts(bench: &mut Bench, size: &Size) -> Result<()> {
    if !bench.wants(&[START]) {
        return Ok(());
    }
    let files = tempfile::tempdir()?;
    write_parquet(&files.path().join("points.parquet"), &size.points.batches()?)?;
    let (cache, dir) = cache_of(folder(files.path())?)?;
    cache.define_table(Points::NAME, followed("points.parquet"))?;
    cache.close()?;
    let plan = Plan { rounds: 10, ..LOADS };
    let keys = Keys::new(size.points);
    bench.row(START, plan, |row| Ok(row.with(WARM, Start { dir, keys, opened: None }).goal(WARM, AT_MOST)))
}

/// Opens a cache whose source is gone.
#[derive(Debug)]
struct Start {
    // Declared before its folder, so that the folder is removed last.
    opened: Option<Cache>,
    dir: TempDir,
    keys: Keys,
}

impl Contestant for Start {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        let cache = self.opened.insert(opened(self.dir.path(), gone()?)?);
        cache.follow_table(Points::NAME, followed("points.parquet"))?;
        let row = cache.table(Points::NAME)?.get(self.keys.present(call))?.ok_or("a row is missing")?;
        sink.int(row.get::<i64>("id")?);
        sink.end_row();
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.opened.take().map_or(Ok(()), |cache| Ok(cache.close()?))
    }
}

/// A source where nobody listens.
fn gone() -> Result<ObjectStoreSource> {
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let location = Location::new("s3://bench")
        .option("endpoint", format!("http://127.0.0.1:{port}"))
        .option("allow_http", "true")
        .option("region", "us-east-1")
        .secret("access_key_id", "bench")
        .secret("secret_access_key", "bench");
    Ok(ObjectStoreSource::new(location)?)
}
