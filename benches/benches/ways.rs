//! The ways in side by side: what every row of the report takes, with nothing but Pillion around it.

use std::time::Duration;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips, write_parquet};
use pillion_benches::harness::Plan;
use pillion_benches::options::{Options, USAGE};
use pillion_benches::workload::{
    self, Get, GetAbsent, GetEach, GetMany, GetTrip, Groups, OpenAndGet, PointText, PreparedPoint,
    PreparedRange, Replace, Stored,
};

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
/// How long rows of calls that look at the whole table run.
const SCANS: Plan = Plan { checked_calls: 1, ..CALLS };
/// How long rows of loads run.
const LOADS: Plan =
    Plan { checked_calls: 1, warm_up_rounds: 0, rounds: 5, round_time: Duration::ZERO, round_calls_min: 1 };

/// The way in that there is.
const EMBEDDED: &str = "embedded";

fn main() -> Result<()> {
    let mut options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    // `cargo test --benches` wants to know that it works, not how fast.
    options.quick |= !options.bench;
    let points = Points::new(if options.quick { ROWS_QUICK } else { ROWS });
    let trips = Trips::new(points.rows());
    let large = options.large;
    let mut bench = Bench::new("Pillion, the ways in side by side", options);
    bench.set("rows", &points.rows());
    bench.set("seed", &SEED);
    lookups(&mut bench, points)?;
    if large {
        large_lookups(&mut bench)?;
    }
    trip_lookups(&mut bench, trips)?;
    open(&mut bench, points)?;
    loads(&mut bench, points)?;
    bench.finish("ways")?;
    Ok(())
}

fn lookups(bench: &mut Bench, points: Points) -> Result<()> {
    let keys = Keys::new(points);
    let batches = points.batches()?;
    if bench.wants(&[workload::GET_COMMITS]) {
        let stored = Stored::create()?;
        let table = stored.load_points_in_commits(&batches, workload::COMMITS)?;
        bench.set("segments after 100 commits", &table.info()?.segments);
        bench.row(workload::GET_COMMITS, CALLS, |row| Ok(row.with(EMBEDDED, Get::new(table, keys))))?;
    }
    let stored = Stored::create()?;
    let (table, cache) = (stored.load_points(batches)?, stored.cache());
    bench.row(workload::GET, CALLS, |row| Ok(row.with(EMBEDDED, Get::new(table.clone(), keys))))?;
    bench.row(workload::GET_ABSENT, CALLS, |row| {
        Ok(row.with(EMBEDDED, GetAbsent::new(table.clone(), keys)))
    })?;
    bench.row(workload::GET_MANY, Plan { checked_calls: 2, ..CALLS }, |row| {
        Ok(row
            .with(EMBEDDED, GetMany::new(table.clone(), keys))
            .with("embedded, one by one", GetEach::new(table.clone(), keys)))
    })?;
    bench.row(workload::POINT_PREPARED, CALLS, |row| {
        Ok(row.with(EMBEDDED, PreparedPoint::new(cache, keys)?))
    })?;
    bench.row(workload::POINT_TEXT, CALLS, |row| Ok(row.with(EMBEDDED, PointText::new(cache, keys))))?;
    bench.row(workload::RANGE, CALLS, |row| Ok(row.with(EMBEDDED, PreparedRange::new(cache, keys)?)))?;
    bench.row(workload::GROUPS, SCANS, |row| Ok(row.with(EMBEDDED, Groups::new(cache))))
}

fn large_lookups(bench: &mut Bench) -> Result<()> {
    if !bench.wants(&[workload::GET_LARGE]) {
        return Ok(());
    }
    let points = Points::new(ROWS_LARGE);
    let stored = Stored::create()?;
    let table = stored.load_points(points.batches()?)?;
    bench.row(workload::GET_LARGE, CALLS, |row| Ok(row.with(EMBEDDED, Get::new(table, Keys::new(points)))))
}

fn trip_lookups(bench: &mut Bench, trips: Trips) -> Result<()> {
    if !bench.wants(&[workload::GET_TRIP]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    let table = stored.load_trips(trips.batches()?)?;
    bench.row(workload::GET_TRIP, CALLS, |row| {
        Ok(row.with(EMBEDDED, GetTrip::new(table, TripKeys::new(trips))))
    })
}

fn open(bench: &mut Bench, points: Points) -> Result<()> {
    if !bench.wants(&[workload::OPEN]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    stored.load_points(points.batches()?)?;
    let dir = stored.close()?;
    bench.row(workload::OPEN, Plan { checked_calls: 10, ..CALLS }, |row| {
        Ok(row.with(EMBEDDED, OpenAndGet::new(dir.path(), Keys::new(points))))
    })
}

fn loads(bench: &mut Bench, points: Points) -> Result<()> {
    bench.row(workload::LOAD_BATCHES, LOADS, |row| {
        Ok(row.with(EMBEDDED, Replace::by_batches(points.batches()?)?))
    })?;
    let dir = tempfile::tempdir()?;
    let path = |name| dir.path().join(name).to_string_lossy().into_owned();
    bench.row(workload::LOAD_PARQUET, LOADS, |row| {
        write_parquet(path("unsorted.parquet").as_ref(), &points.batches()?)?;
        Ok(row.with(EMBEDDED, Replace::by_parquet(path("unsorted.parquet"))?))
    })?;
    bench.row(workload::LOAD_PARQUET_SORTED, LOADS, |row| {
        write_parquet(path("sorted.parquet").as_ref(), &points.sorted_batches()?)?;
        Ok(row.with(EMBEDDED, Replace::by_parquet(path("sorted.parquet"))?))
    })
}
