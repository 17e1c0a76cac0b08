//! Loads from servers beside loads of the same rows from a file.

use pillion::{CacheOptions, Input, TableDefinition};
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Points, write_parquet};
use pillion_benches::harness::{Contestant, Goal, Sink, Subject};
use pillion_benches::workload::LOADS;

use super::Size;
use super::servers::{PostgresServer, S3Server};
use super::tables::{cache_of, contents, folder, followed, loaded};

const LOCAL: &str = "local file";
const FOLDER: &str = "refresh, local folder";
const S3: &str = "refresh, S3";
const COPIED: &str = "COPY to a file, load of it";
const POSTGRES: &str = "refresh, PostgreSQL";

const FILES: Subject = Subject {
    figure: "S1",
    name: "load, Parquet",
    state: "an empty cache, to the commit of all rows; the server on the same machine",
};
const ROWS: Subject = Subject {
    figure: "S2",
    name: "load, PostgreSQL",
    state: "an empty cache, to the commit of all rows; COPY writes CSV on the server; the server on the same machine",
};
/// A load from S3 may take this much of the time of a load of the same local file.
const S3_AT_MOST: f64 = 1.2;
/// A load from PostgreSQL may take this much of the time of a copy and a load of it.
const POSTGRES_AT_MOST: f64 = 1.3;

pub(super) fn loads(bench: &mut Bench, size: &Size) -> Result<()> {
    if bench.wants(&[FILES]) {
        files(bench, size)?;
    }
    if bench.wants(&[ROWS]) {
        rows(bench, size)?;
    }
    Ok(())
}

fn files(bench: &mut Bench, size: &Size) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("points.parquet");
    write_parquet(&file, &size.points.batches()?)?;
    let server = S3Server::start()?;
    let (local, path) = (file.display().to_string(), dir.path().to_path_buf());
    bench.row(FILES, LOADS, |row| {
        let row = row.with(LOCAL, Load(move || read_by_the_cache(Input::parquet(local.clone()))));
        let row = row.with(FOLDER, Load(move || refreshed(folder(&path)?, "points.parquet")));
        let Some(server) = server else { return Ok(row.without(S3)) };
        server.put([("points.parquet".to_owned(), std::fs::read(&file)?)])?;
        let row = row.with(S3, Load(move || refreshed(server.source()?, "points.parquet")));
        Ok(row.goal(S3, Goal::Ratio { to: LOCAL, at_most: S3_AT_MOST }))
    })
}

fn rows(bench: &mut Bench, size: &Size) -> Result<()> {
    let Some(server) = PostgresServer::start()? else {
        eprintln!("not run: PostgreSQL is not installed");
        return Ok(());
    };
    let csv = server.dir().join("points.csv");
    let (csv, copied) = (csv.display().to_string(), server.dir().join("copied.csv").display().to_string());
    write_csv(&csv, size.points)?;
    server.run(
        "CREATE TABLE points (id bigint PRIMARY KEY, amount bigint NOT NULL, price double precision NOT NULL, \
         city text NOT NULL, code text NOT NULL)",
    )?;
    server.run(&format!("COPY points FROM '{csv}' (FORMAT csv, HEADER)"))?;
    server.run("VACUUM ANALYZE points")?;
    let server = std::rc::Rc::new(server);
    let copying = std::rc::Rc::clone(&server);
    bench.row(ROWS, LOADS, |row| {
        let row = row.with(
            COPIED,
            Load(move || {
                copying.run(&format!("COPY points TO '{copied}' (FORMAT csv, HEADER)"))?;
                read_by_the_cache(Input::csv(copied.clone()))
            }),
        );
        let row = row.with(POSTGRES, Load(move || refreshed(server.source()?, "points")));
        Ok(row.goal(POSTGRES, Goal::Ratio { to: COPIED, at_most: POSTGRES_AT_MOST }))
    })
}

/// Fills an empty cache, which is removed after the call.
struct Load<F>(F);

type Filled = (pillion::Cache, tempfile::TempDir);

impl<F: FnMut() -> Result<Filled>> Contestant for Load<F> {
    fn call(&mut self, _: u64, _: &mut impl Sink) -> Result<()> {
        (self.0)().map(drop)
    }

    fn check(&mut self, _: u64, sink: &mut impl Sink) -> Result<()> {
        let (cache, _dir) = (self.0)()?;
        contents(&cache)?.into_iter().for_each(|number| sink.int(number));
        sink.end_row();
        Ok(())
    }
}

fn read_by_the_cache(input: Input) -> Result<Filled> {
    let dir = tempfile::tempdir()?;
    let cache = CacheOptions::new().open(dir.path())?;
    define(&cache, loaded(input))?;
    Ok((cache, dir))
}

fn refreshed(source: impl pillion::source::Source, relation: &str) -> Result<Filled> {
    let (cache, dir) = cache_of(source)?;
    define(&cache, followed(relation))?;
    Ok((cache, dir))
}

fn define(cache: &pillion::Cache, definition: TableDefinition) -> Result<()> {
    cache.define_table(Points::NAME, definition)?;
    Ok(())
}

fn write_csv(path: &str, points: Points) -> Result<()> {
    use std::io::Write;
    let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
    writeln!(file, "id,amount,price,city,code")?;
    for number in 0..points.rows() {
        let point = points.point(number);
        writeln!(file, "{},{},{},{},{}", point.id, point.amount, point.price, point.city, point.code)?;
    }
    Ok(file.flush()?)
}
