//! Pillion's three ways in beside other systems: every row of the report, interleaved, in one run.

use std::path::Path;

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips};
use pillion_benches::harness::Plan;
use pillion_benches::options::{Options, USAGE};
use pillion_benches::process::{self, Echo};
use pillion_benches::rows;
use pillion_benches::workload::{
    self, ATTACHED, ATTACHED_GOAL, CALLS, REMOTE, REMOTE_COMPUTED_GOAL, REMOTE_MANY_GOAL, SCANS, Ways,
    lookup_goal,
};
use pillion_benches_rivals::lmdb::{self, LMDB};
use pillion_benches_rivals::redb::{self, REDB};
use pillion_benches_rivals::sqlite::{self, SQLITE};
use pillion_benches_rivals::stores::Stores;
use pillion_benches_rivals::{datafusion, headline};

const ONE_BY_ONE: &str = "embedded, one by one";
const SQLITE_TRANSACTION: &str = "SQLite, in a transaction";
const DATAFUSION: &str = "DataFusion";

fn main() -> Result<()> {
    if process::play()? {
        return Ok(());
    }
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    let points = workload::points(options.quick);
    let large = options.large.then(|| workload::points_large(options.quick));
    let mut bench = Bench::new("Pillion, the three ways in, beside other systems", options);
    bench.set("rows", &points.rows());
    bench.set("seed", &SEED);
    bench.set("SQLite", &sqlite::version());
    bench.set("DataFusion", &datafusion::VERSION);
    bench.headline(headline::NAME, headline::LOOKUP);
    let dir = tempfile::tempdir()?;
    let echo = Echo::start()?;
    lookups_and_queries(&mut bench, points, dir.path(), &echo)?;
    let replaced = [workload::WHOLE_REPLACED, workload::WHOLE_REPLACED_PASS];
    rows::whole_replaced(&mut bench, replaced, points)?;
    let first = [workload::WHOLE_FIRST, workload::WHOLE_COLD, workload::WHOLE_COLD_PASS];
    rows::whole_first(&mut bench, first, points)?;
    if let Some(points) = large {
        rows::large_table(&mut bench, points, &echo, |row| {
            let file = dir.path().join("large.sqlite");
            sqlite::store_points(&file, points)?;
            let lmdb = lmdb::Store::create(&dir.path().join("large.lmdb"), points)?;
            let redb = redb::Store::create(&dir.path().join("large.redb"), points)?;
            let keys = Keys::new(points);
            Ok(row
                .with(SQLITE, sqlite::GetPoint::new(&file, keys)?)
                .with(LMDB, lmdb::GetPoint::new(&lmdb, keys))
                .with(REDB, redb::GetPoint::new(&redb, keys))
                .without(DATAFUSION))
        })?;
    }
    rows::open(&mut bench, points, |row| {
        let file = dir.path().join("open.sqlite");
        sqlite::store_points(&file, points)?;
        Ok(row.with(SQLITE, sqlite::OpenAndGet::new(&file, Keys::new(points))).without(DATAFUSION))
    })?;
    rows::loads(&mut bench, points, |row, batches| {
        let row = match batches {
            Some(batches) => row.with(SQLITE, sqlite::Load::new(batches)?),
            None => row.without(SQLITE),
        };
        Ok(row.without(DATAFUSION))
    })?;
    bench.finish("compare")?;
    Ok(())
}

fn lookups_and_queries(bench: &mut Bench, points: Points, dir: &Path, echo: &Echo) -> Result<()> {
    let trips = Trips::new(points.rows());
    let (keys, batches, file) = (Keys::new(points), points.batches()?, dir.join("points.sqlite"));
    sqlite::store_points(&file, points)?;
    let ways = Ways::create(|stored| {
        stored.load_points(batches.clone())?;
        stored.load_trips(trips.batches()?).map(drop)
    })?;
    let stores = Stores::create(dir, points)?;
    stores.describe(bench)?;
    lookups(bench, keys, &ways, &file, echo, &stores)?;
    rows::commits(bench, points, |row| {
        let row = row.with(SQLITE, sqlite::GetPoint::new(&file, keys)?);
        Ok(stores.get_embedded(row).without(DATAFUSION))
    })?;
    trip_lookups(bench, trips, &ways, dir, echo)?;
    let engine = datafusion::Engine::new(&batches)?;
    point_queries(bench, keys, &ways, &file, echo, &engine, &stores)?;
    // What follows asks for more than rows by their keys, and none of them is to be in its way.
    drop(stores);
    queries(bench, keys, &ways, &file, &engine)?;
    rows::whole(bench, &ways, [workload::WHOLE, workload::WHOLE_PASS])?;
    ways.end()
}

fn lookups(
    bench: &mut Bench,
    keys: Keys,
    ways: &Ways,
    file: &Path,
    echo: &Echo,
    stores: &Stores,
) -> Result<()> {
    let get = |cache: &Cache| Ok(workload::Get::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET, CALLS, |row| {
        let row = lookup_goal(ways.enter_with_round_trip(row, echo, get)?)
            .with(SQLITE, sqlite::GetPoint::new(file, keys)?)
            .with(SQLITE_TRANSACTION, sqlite::GetPoint::in_transaction(file, keys)?);
        Ok(stores.get(row)?.without(DATAFUSION))
    })?;
    bench.row(workload::GET_PLACED, CALLS, |row| ways.enter_placed(row, echo, get))?;
    let absent = |cache: &Cache| Ok(workload::GetAbsent::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET_ABSENT, CALLS, |row| {
        let row = lookup_goal(ways.enter_with_round_trip(row, echo, absent)?);
        let row = row.with(SQLITE, sqlite::GetAbsent::new(file, keys)?);
        Ok(stores.get_absent(row)?.without(DATAFUSION))
    })?;
    let many = |cache: &Cache| Ok(workload::GetMany::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET_MANY, Plan { checked_calls: 5, ..CALLS }, |row| {
        let one_by_one = workload::GetEach::new(ways.embedded().table(Points::NAME)?, keys);
        Ok(ways
            .enter(row, many)?
            .goal(ATTACHED, ATTACHED_GOAL)
            .goal(REMOTE, REMOTE_MANY_GOAL)
            .with(ONE_BY_ONE, one_by_one)
            .with(SQLITE_TRANSACTION, sqlite::GetMany::new(file, keys)?)
            .without(DATAFUSION))
    })
}

fn trip_lookups(bench: &mut Bench, trips: Trips, ways: &Ways, dir: &Path, echo: &Echo) -> Result<()> {
    if !bench.wants(&[workload::GET_TRIP]) {
        return Ok(());
    }
    let (keys, file) = (TripKeys::new(trips), dir.join("trips.sqlite"));
    sqlite::store_trips(&file, trips)?;
    bench.row(workload::GET_TRIP, CALLS, |row| {
        let get = |cache: &Cache| Ok(workload::GetTrip::new(cache.table(Trips::NAME)?, keys));
        let row = lookup_goal(ways.enter_with_round_trip(row, echo, get)?);
        Ok(row.with(SQLITE, sqlite::GetTrip::new(&file, keys)?).without(DATAFUSION))
    })
}

fn point_queries(
    bench: &mut Bench,
    keys: Keys,
    ways: &Ways,
    file: &Path,
    echo: &Echo,
    engine: &datafusion::Engine,
    stores: &Stores,
) -> Result<()> {
    bench.row(workload::POINT_PREPARED, CALLS, |row| {
        let prepared = |cache: &Cache| workload::PreparedPoint::new(cache, keys);
        let row =
            ways.enter_with_round_trip(row, echo, prepared)?.with(SQLITE, sqlite::GetPoint::new(file, keys)?);
        Ok(stores.query_prepared(row)?.with(DATAFUSION, datafusion::PreparedPoint::new(engine, keys)?))
    })?;
    bench.row(workload::POINT_TEXT, CALLS, |row| {
        let row = ways
            .enter(row, |cache| Ok(workload::PointText::new(cache, keys)))?
            .with(SQLITE, sqlite::PointText::new(file, keys)?);
        Ok(stores.query_text(row)?.with(DATAFUSION, datafusion::PointText::new(engine, keys)))
    })
}

fn queries(
    bench: &mut Bench,
    keys: Keys,
    ways: &Ways,
    file: &Path,
    engine: &datafusion::Engine,
) -> Result<()> {
    bench.row(workload::RANGE, CALLS, |row| {
        Ok(ways
            .enter(row, |cache| workload::PreparedRange::new(cache, keys))?
            .with(SQLITE, sqlite::Range::new(file, keys)?)
            .with(DATAFUSION, datafusion::Range::new(engine, keys)?))
    })?;
    bench.row(workload::GROUPS, SCANS, |row| {
        Ok(ways
            .enter(row, |cache| Ok(workload::Groups::new(cache)))?
            .with(SQLITE, sqlite::Groups::new(file)?)
            .with(DATAFUSION, datafusion::Groups::new(engine)))
    })?;
    bench.row(workload::COMPUTED, SCANS, |row| {
        Ok(ways
            .enter(row, |cache| Ok(workload::Computed::new(cache)))?
            .goal(REMOTE, REMOTE_COMPUTED_GOAL)
            .with(SQLITE, sqlite::Computed::new(file)?)
            .with(DATAFUSION, datafusion::Computed::new(engine)))
    })
}
