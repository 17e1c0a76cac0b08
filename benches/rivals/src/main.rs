//! Pillion beside SQLite and plain DataFusion: every row of the report, interleaved, in one run.

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips, write_parquet};
use pillion_benches::harness::Plan;
use pillion_benches::options::{Options, USAGE};
use pillion_benches::workload::{self, Stored};
use pillion_benches_rivals::{datafusion, sqlite};

/// Rows of each table.
const ROWS: u64 = 1_000_000;
/// Rows of each table in a trial run.
const ROWS_QUICK: u64 = 20_000;
/// Rows of the large table.
const ROWS_LARGE: u64 = 10_000_000;
/// How long rows of short calls run.
const CALLS: Plan = Plan {
    checked_calls: 1_000,
    warm_up_rounds: 1,
    rounds: 10,
    round_time: Duration::from_millis(200),
    round_calls_min: 5,
};
/// How long rows of longer calls run, which are also checked less often.
const MANY_CALLS: Plan = Plan { checked_calls: 5, ..CALLS };
/// How long rows of calls that always do the same run.
const SCANS: Plan = Plan { checked_calls: 1, ..CALLS };
/// How long rows of loads run.
const LOADS: Plan =
    Plan { checked_calls: 1, warm_up_rounds: 0, rounds: 5, round_time: Duration::ZERO, round_calls_min: 1 };

const PILLION: &str = "Pillion";
const SQLITE: &str = "SQLite";
const SQLITE_TRANSACTION: &str = "SQLite, in a transaction";
const DATAFUSION: &str = "DataFusion";

fn main() -> Result<()> {
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    let (quick, large) = (options.quick, options.large);
    let rows = if quick { ROWS_QUICK } else { ROWS };
    let mut bench = Bench::new("Pillion, embedded, beside SQLite and DataFusion", options);
    bench.set("rows", &rows);
    bench.set("seed", &SEED);
    bench.set("SQLite", &sqlite::version());
    bench.set("DataFusion", &datafusion::VERSION);
    let dir = tempfile::tempdir()?;
    lookups_and_queries(&mut bench, Points::new(rows), Trips::new(rows), dir.path())?;
    if large {
        large_lookups(&mut bench, Points::new(ROWS_LARGE), dir.path())?;
    }
    open(&mut bench, Points::new(rows), dir.path())?;
    loads(&mut bench, Points::new(rows), dir.path())?;
    bench.finish("embedded")?;
    Ok(())
}

fn lookups_and_queries(bench: &mut Bench, points: Points, trips: Trips, dir: &Path) -> Result<()> {
    let (keys, batches, file) = (Keys::new(points), points.batches()?, dir.join("points.sqlite"));
    sqlite::store_points(&file, points)?;
    let stored = Stored::create()?;
    stored.load_points(batches.clone())?;
    lookups(bench, keys, &stored, &file)?;
    commits(bench, keys, &batches, &file)?;
    trip_lookups(bench, trips, dir)?;
    queries(bench, keys, &stored, &file, &datafusion::Engine::new(&batches)?)
}

fn lookups(bench: &mut Bench, keys: Keys, stored: &Stored, file: &Path) -> Result<()> {
    let table = stored.cache().table(Points::NAME)?;
    bench.row(workload::GET, CALLS, |row| {
        Ok(row
            .with(PILLION, workload::Get::new(table.clone(), keys))
            .with(SQLITE, sqlite::GetPoint::new(file, keys)?)
            .with(SQLITE_TRANSACTION, sqlite::GetPoint::in_transaction(file, keys)?)
            .without(DATAFUSION))
    })?;
    bench.row(workload::GET_ABSENT, CALLS, |row| {
        let row = row.with(PILLION, workload::GetAbsent::new(table.clone(), keys));
        Ok(row.with(SQLITE, sqlite::GetAbsent::new(file, keys)?).without(DATAFUSION))
    })?;
    bench.row(workload::GET_MANY, MANY_CALLS, |row| {
        Ok(row
            .with(PILLION, workload::GetMany::new(table.clone(), keys))
            .with("Pillion, one by one", workload::GetEach::new(table, keys))
            .with(SQLITE_TRANSACTION, sqlite::GetMany::new(file, keys)?)
            .without(DATAFUSION))
    })
}

fn commits(bench: &mut Bench, keys: Keys, batches: &[RecordBatch], file: &Path) -> Result<()> {
    if !bench.wants(&[workload::GET_COMMITS]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(batches, workload::COMMITS)?;
    bench.set("segments after 100 commits", &table.info()?.segments);
    bench.row(workload::GET_COMMITS, CALLS, |row| {
        let row = row.with(PILLION, workload::Get::new(table, keys));
        Ok(row.with(SQLITE, sqlite::GetPoint::new(file, keys)?).without(DATAFUSION))
    })
}

fn queries(
    bench: &mut Bench,
    keys: Keys,
    stored: &Stored,
    file: &Path,
    engine: &datafusion::Engine,
) -> Result<()> {
    let cache = stored.cache();
    bench.row(workload::POINT_PREPARED, CALLS, |row| {
        Ok(row
            .with(PILLION, workload::PreparedPoint::new(cache, keys)?)
            .with(SQLITE, sqlite::GetPoint::new(file, keys)?)
            .with(DATAFUSION, datafusion::PreparedPoint::new(engine, keys)?))
    })?;
    bench.row(workload::POINT_TEXT, CALLS, |row| {
        Ok(row
            .with(PILLION, workload::PointText::new(cache, keys))
            .with(SQLITE, sqlite::PointText::new(file, keys)?)
            .with(DATAFUSION, datafusion::PointText::new(engine, keys)))
    })?;
    bench.row(workload::RANGE, CALLS, |row| {
        Ok(row
            .with(PILLION, workload::PreparedRange::new(cache, keys)?)
            .with(SQLITE, sqlite::Range::new(file, keys)?)
            .with(DATAFUSION, datafusion::Range::new(engine, keys)?))
    })?;
    bench.row(workload::GROUPS, SCANS, |row| {
        Ok(row
            .with(PILLION, workload::Groups::new(cache))
            .with(SQLITE, sqlite::Groups::new(file)?)
            .with(DATAFUSION, datafusion::Groups::new(engine)))
    })
}

fn large_lookups(bench: &mut Bench, points: Points, dir: &Path) -> Result<()> {
    if !bench.wants(&[workload::GET_LARGE]) {
        return Ok(());
    }
    let (keys, stored, file) = (Keys::new(points), Stored::create()?, dir.join("large.sqlite"));
    sqlite::store_points(&file, points)?;
    let table = stored.load_points(points.batches()?)?;
    bench.row(workload::GET_LARGE, CALLS, |row| {
        let row = row.with(PILLION, workload::Get::new(table, keys));
        Ok(row.with(SQLITE, sqlite::GetPoint::new(&file, keys)?).without(DATAFUSION))
    })
}

fn trip_lookups(bench: &mut Bench, trips: Trips, dir: &Path) -> Result<()> {
    if !bench.wants(&[workload::GET_TRIP]) {
        return Ok(());
    }
    let (keys, stored, file) = (TripKeys::new(trips), Stored::create()?, dir.join("trips.sqlite"));
    sqlite::store_trips(&file, trips)?;
    let table = stored.load_trips(trips.batches()?)?;
    bench.row(workload::GET_TRIP, CALLS, |row| {
        let row = row.with(PILLION, workload::GetTrip::new(table, keys));
        Ok(row.with(SQLITE, sqlite::GetTrip::new(&file, keys)?).without(DATAFUSION))
    })
}

fn open(bench: &mut Bench, points: Points, dir: &Path) -> Result<()> {
    if !bench.wants(&[workload::OPEN]) {
        return Ok(());
    }
    let (keys, stored, file) = (Keys::new(points), Stored::create()?, dir.join("open.sqlite"));
    sqlite::store_points(&file, points)?;
    stored.load_points(points.batches()?)?;
    let cache_dir = stored.close()?;
    bench.row(workload::OPEN, MANY_CALLS, |row| {
        let row = row.with(PILLION, workload::OpenAndGet::new(cache_dir.path(), keys));
        Ok(row.with(SQLITE, sqlite::OpenAndGet::new(&file, keys)).without(DATAFUSION))
    })
}

fn loads(bench: &mut Bench, points: Points, dir: &Path) -> Result<()> {
    bench.row(workload::LOAD_BATCHES, LOADS, |row| {
        let batches = points.batches()?;
        let row = row.with(PILLION, workload::Replace::by_batches(batches.clone())?);
        Ok(row.with(SQLITE, sqlite::Load::new(batches)?).without(DATAFUSION))
    })?;
    let path = |name| dir.join(name).to_string_lossy().into_owned();
    bench.row(workload::LOAD_PARQUET, LOADS, |row| {
        write_parquet(path("unsorted.parquet").as_ref(), &points.batches()?)?;
        let row = row.with(PILLION, workload::Replace::by_parquet(path("unsorted.parquet"))?);
        Ok(row.without(SQLITE).without(DATAFUSION))
    })?;
    bench.row(workload::LOAD_PARQUET_SORTED, LOADS, |row| {
        write_parquet(path("sorted.parquet").as_ref(), &points.sorted_batches()?)?;
        let row = row.with(PILLION, workload::Replace::by_parquet(path("sorted.parquet"))?);
        Ok(row.without(SQLITE).without(DATAFUSION))
    })
}
