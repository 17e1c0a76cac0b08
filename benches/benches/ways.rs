//! The ways in side by side: how long each row of the report takes, measured with Pillion alone.

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips};
use pillion_benches::harness::Plan;
use pillion_benches::options::{Options, USAGE};
use pillion_benches::process::{self, Echo};
use pillion_benches::rows;
use pillion_benches::workload::{
    self, ATTACHED, ATTACHED_GOAL, CALLS, Computed, Get, GetAbsent, GetEach, GetMany, GetTrip, Groups,
    PointText, PreparedPoint, PreparedRange, REMOTE, REMOTE_COMPUTED_GOAL, REMOTE_MANY_GOAL, SCANS, Ways,
    lookup_goal,
};

fn main() -> Result<()> {
    if process::play()? {
        return Ok(());
    }
    let mut options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    // `cargo test --benches` only checks that the bench works, not how fast it is.
    options.quick |= !options.bench;
    let points = workload::points(options.quick);
    let large = options.large.then(|| workload::points_large(options.quick));
    let mut bench = Bench::new("Pillion, the ways in side by side", options);
    bench.set("rows", &points.rows());
    bench.set("seed", &SEED);
    let echo = Echo::start()?;
    rows::commits(&mut bench, points, Ok)?;
    lookups(&mut bench, points, &echo)?;
    let replaced = [workload::WHOLE_REPLACED, workload::WHOLE_REPLACED_PASS];
    rows::whole_replaced(&mut bench, replaced, points)?;
    let first = [workload::WHOLE_FIRST, workload::WHOLE_COLD, workload::WHOLE_COLD_PASS];
    rows::whole_first(&mut bench, first, points)?;
    if let Some(points) = large {
        rows::large_table(&mut bench, points, &echo, Ok)?;
    }
    rows::open(&mut bench, points, Ok)?;
    rows::loads(&mut bench, points, |row, _| Ok(row))?;
    bench.finish("ways")?;
    Ok(())
}

fn lookups(bench: &mut Bench, points: Points, echo: &Echo) -> Result<()> {
    let (keys, trips) = (Keys::new(points), Trips::new(points.rows()));
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
    rows::whole(bench, &ways, [workload::WHOLE, workload::WHOLE_PASS])?;
    ways.end()
}
