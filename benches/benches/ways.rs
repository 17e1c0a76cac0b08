//! The ways in side by side: what every row of the report takes, with nothing but Pillion around it.

use std::time::Duration;

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips, write_parquet};
use pillion_benches::harness::{Plan, Row, Subject};
use pillion_benches::options::{Options, USAGE};
use pillion_benches::process::{self, Echo};
use pillion_benches::workload::{
    self, ATTACHED, ATTACHED_GOAL, Computed, EMBEDDED, Get, GetAbsent, GetEach, GetMany, GetTrip, Groups,
    OpenAndGet, Opened, PointText, PreparedPoint, PreparedRange, REMOTE, REMOTE_COMPUTED_GOAL,
    REMOTE_MANY_GOAL, REMOTE_WHOLE_GOAL, Replace, Stored, Ways, Whole, WholeFirst, WholePass, lookup_goal,
};

/// Rows of each table.
const ROWS: u64 = 1_000_000;
/// Rows of each table in a trial run.
const ROWS_QUICK: u64 = 20_000;
/// Rows of the large table.
const ROWS_LARGE: u64 = 10_000_000;
/// How long rows of short calls run: rounds are short, because the kernel may place the two ends of a socket otherwise
/// from one moment to the next.
const CALLS: Plan = Plan {
    checked_calls: 1_000,
    warm_up_rounds: 2,
    rounds: 40,
    round_time: Duration::from_millis(50),
    round_calls_min: 5,
};
/// How long rows of calls that look at the whole table run.
const SCANS: Plan = Plan {
    checked_calls: 1,
    warm_up_rounds: 1,
    rounds: 10,
    round_time: Duration::from_millis(200),
    round_calls_min: 5,
};
/// How long rows of first calls run; what comes before each takes longer than the call.
const FIRSTS: Plan = Plan { rounds: 15, round_time: Duration::ZERO, round_calls_min: 1, ..SCANS };
/// How long rows of loads run.
const LOADS: Plan =
    Plan { checked_calls: 1, warm_up_rounds: 0, rounds: 5, round_time: Duration::ZERO, round_calls_min: 1 };

fn main() -> Result<()> {
    if process::play()? {
        return Ok(());
    }
    let mut options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    // `cargo test --benches` wants to know that it works, not how fast.
    options.quick |= !options.bench;
    let rows = if options.quick { ROWS_QUICK } else { ROWS };
    let (points, trips) = (Points::new(rows), Trips::new(rows));
    let large = options.large.then(|| Points::new(if options.quick { 10 * ROWS_QUICK } else { ROWS_LARGE }));
    let mut bench = Bench::new("Pillion, the ways in side by side", options);
    bench.set("rows", &points.rows());
    bench.set("seed", &SEED);
    let echo = Echo::start()?;
    commits(&mut bench, points)?;
    lookups(&mut bench, points, trips, &echo)?;
    whole_first(&mut bench, [workload::WHOLE_FIRST, workload::WHOLE_COLD], points)?;
    if let Some(points) = large {
        bench.set("rows of the large table", &points.rows());
        large_table(&mut bench, points, &echo)?;
        whole_first(&mut bench, [workload::WHOLE_FIRST_LARGE, workload::WHOLE_COLD_LARGE], points)?;
    }
    open(&mut bench, points)?;
    loads(&mut bench, points)?;
    bench.finish("ways")?;
    Ok(())
}

fn commits(bench: &mut Bench, points: Points) -> Result<()> {
    if !bench.wants(&[workload::GET_COMMITS]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(&points.batches()?, workload::COMMITS)?;
    bench.set("segments after 100 commits", &table.info()?.segments);
    bench.row(workload::GET_COMMITS, CALLS, |row| Ok(row.with(EMBEDDED, Get::new(table, Keys::new(points)))))
}

fn lookups(bench: &mut Bench, points: Points, trips: Trips, echo: &Echo) -> Result<()> {
    let keys = Keys::new(points);
    let batches = points.batches()?;
    let ways = Ways::create(|stored| {
        stored.load_points(batches.clone())?;
        stored.load_trips(trips.batches()?).map(drop)
    })?;
    let table = |cache: &Cache| cache.table(Points::NAME);
    let get = |cache: &Cache| Ok(Get::new(table(cache)?, keys));
    bench.row(workload::GET, CALLS, |row| ways.enter_with_round_trip(row, echo, get).map(lookup_goal))?;
    bench.row(workload::GET_PLACED, CALLS, |row| ways.enter_placed(row, echo, get))?;
    let absent = |cache: &Cache| Ok(GetAbsent::new(table(cache)?, keys));
    bench.row(workload::GET_ABSENT, CALLS, |row| {
        ways.enter_with_round_trip(row, echo, absent).map(lookup_goal)
    })?;
    let trip = |cache: &Cache| Ok(GetTrip::new(cache.table(Trips::NAME)?, TripKeys::new(trips)));
    bench
        .row(workload::GET_TRIP, CALLS, |row| ways.enter_with_round_trip(row, echo, trip).map(lookup_goal))?;
    bench.row(workload::GET_MANY, Plan { checked_calls: 2, ..CALLS }, |row| {
        let one_by_one = GetEach::new(table(ways.embedded())?, keys);
        let row = ways.enter(row, |cache| Ok(GetMany::new(table(cache)?, keys)))?;
        let row = row.goal(ATTACHED, ATTACHED_GOAL).goal(REMOTE, REMOTE_MANY_GOAL);
        Ok(row.with("embedded, one by one", one_by_one))
    })?;
    bench.row(workload::POINT_PREPARED, CALLS, |row| {
        let prepared = |cache: &Cache| PreparedPoint::new(cache, keys);
        ways.enter_with_round_trip(row, echo, prepared)
    })?;
    bench.row(workload::POINT_TEXT, CALLS, |row| ways.enter(row, |cache| Ok(PointText::new(cache, keys))))?;
    bench.row(workload::RANGE, CALLS, |row| ways.enter(row, |cache| PreparedRange::new(cache, keys)))?;
    bench.row(workload::GROUPS, SCANS, |row| ways.enter(row, |cache| Ok(Groups::new(cache))))?;
    bench.row(workload::COMPUTED, SCANS, |row| {
        let row = ways.enter(row, |cache| Ok(Computed::new(cache)))?;
        Ok(row.goal(REMOTE, REMOTE_COMPUTED_GOAL))
    })?;
    whole(bench, &ways, [workload::WHOLE, workload::WHOLE_PASS])?;
    ways.end()?;
    if !bench.wants(&[workload::WHOLE_REPLACED]) {
        return Ok(());
    }
    let ways = Ways::create(|stored| stored.load_points_and_replace(points, batches.clone()).map(drop))?;
    bench
        .row(workload::WHOLE_REPLACED, SCANS, |row| ways.enter(row, |cache| Ok(Whole::new(table(cache)?))))?;
    ways.end()
}

/// A whole table, and every byte of it.
fn whole(bench: &mut Bench, ways: &Ways, [whole, pass]: [Subject; 2]) -> Result<()> {
    bench.row(whole, SCANS, |row| {
        let row = ways.enter(row, |cache| Ok(Whole::new(cache.table(Points::NAME)?)))?;
        Ok(row.goal(REMOTE, REMOTE_WHOLE_GOAL))
    })?;
    bench.row(pass, SCANS, |row| ways.enter(row, |cache| Ok(WholePass::new(cache.table(Points::NAME)?))))
}

fn whole_first(bench: &mut Bench, [first, cold]: [Subject; 2], points: Points) -> Result<()> {
    if !bench.wants(&[first, cold]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    stored.load_points(points.batches()?)?;
    let dir = stored.close()?;
    bench.row(first, FIRSTS, |row| {
        let with = |row: Row, opened: Opened| row.with(opened.name(), WholeFirst::new(dir.path(), opened));
        Ok(Opened::ALL.into_iter().fold(row, with))
    })?;
    bench.row(cold, FIRSTS, |row| {
        let with = |row: Row, opened: Opened| row.with(opened.name(), WholeFirst::cold(dir.path(), opened));
        Ok(Opened::ALL.into_iter().fold(row, with))
    })
}

fn large_table(bench: &mut Bench, points: Points, echo: &Echo) -> Result<()> {
    if !bench.wants(&[workload::GET_LARGE, workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE]) {
        return Ok(());
    }
    let (keys, batches) = (Keys::new(points), points.batches()?);
    let ways = Ways::create(|stored| stored.load_points(batches.clone()).map(drop))?;
    drop(batches);
    let get = |cache: &Cache| Ok(Get::new(cache.table(Points::NAME)?, keys));
    bench
        .row(workload::GET_LARGE, CALLS, |row| ways.enter_with_round_trip(row, echo, get).map(lookup_goal))?;
    whole(bench, &ways, [workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE])?;
    ways.end()
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
