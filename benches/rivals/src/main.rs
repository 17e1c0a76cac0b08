//! Pillion's three ways in beside SQLite and plain DataFusion: every row of the report, interleaved, in one run.

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, SEED, TripKeys, Trips, write_parquet};
use pillion_benches::harness::{Plan, Row, Subject};
use pillion_benches::options::{Options, USAGE};
use pillion_benches::process::{self, Echo};
use pillion_benches::workload::{
    self, ATTACHED, ATTACHED_GOAL, EMBEDDED, Opened, REMOTE, REMOTE_COMPUTED_GOAL, REMOTE_MANY_GOAL,
    REMOTE_WHOLE_GOAL, Stored, Ways, WholeFirst, lookup_goal,
};
use pillion_benches_rivals::{datafusion, sqlite};

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
/// How long rows of longer calls run, which are also checked less often.
const MANY_CALLS: Plan = Plan { checked_calls: 5, ..CALLS };
/// How long rows of calls that always do the same run.
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

const ONE_BY_ONE: &str = "embedded, one by one";
const SQLITE: &str = "SQLite";
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
    let (quick, large) = (options.quick, options.large);
    let rows = if quick { ROWS_QUICK } else { ROWS };
    let rows_large = if quick { 10 * ROWS_QUICK } else { ROWS_LARGE };
    let mut bench = Bench::new("Pillion, the three ways in, beside SQLite and DataFusion", options);
    bench.set("rows", &rows);
    bench.set("seed", &SEED);
    bench.set("SQLite", &sqlite::version());
    bench.set("DataFusion", &datafusion::VERSION);
    let dir = tempfile::tempdir()?;
    let echo = Echo::start()?;
    lookups_and_queries(&mut bench, Points::new(rows), Trips::new(rows), dir.path(), &echo)?;
    whole_replaced(&mut bench, Points::new(rows))?;
    whole_first(&mut bench, [workload::WHOLE_FIRST, workload::WHOLE_COLD], Points::new(rows))?;
    if large {
        bench.set("rows of the large table", &rows_large);
        large_table(&mut bench, Points::new(rows_large), dir.path(), &echo)?;
        whole_first(
            &mut bench,
            [workload::WHOLE_FIRST_LARGE, workload::WHOLE_COLD_LARGE],
            Points::new(rows_large),
        )?;
    }
    open(&mut bench, Points::new(rows), dir.path())?;
    loads(&mut bench, Points::new(rows), dir.path())?;
    bench.finish("compare")?;
    Ok(())
}

fn lookups_and_queries(
    bench: &mut Bench,
    points: Points,
    trips: Trips,
    dir: &Path,
    echo: &Echo,
) -> Result<()> {
    let (keys, batches, file) = (Keys::new(points), points.batches()?, dir.join("points.sqlite"));
    sqlite::store_points(&file, points)?;
    let ways = Ways::create(|stored| {
        stored.load_points(batches.clone())?;
        stored.load_trips(trips.batches()?).map(drop)
    })?;
    lookups(bench, keys, &ways, &file, echo)?;
    commits(bench, keys, &batches, &file)?;
    trip_lookups(bench, trips, &ways, dir, echo)?;
    let engine = datafusion::Engine::new(&batches)?;
    point_queries(bench, keys, &ways, &file, echo, &engine)?;
    queries(bench, keys, &ways, &file, &engine)?;
    whole(bench, &ways, [workload::WHOLE, workload::WHOLE_PASS])?;
    ways.end()
}

fn lookups(bench: &mut Bench, keys: Keys, ways: &Ways, file: &Path, echo: &Echo) -> Result<()> {
    let get = |cache: &Cache| Ok(workload::Get::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET, CALLS, |row| {
        Ok(lookup_goal(ways.enter_with_round_trip(row, echo, get)?)
            .with(SQLITE, sqlite::GetPoint::new(file, keys)?)
            .with(SQLITE_TRANSACTION, sqlite::GetPoint::in_transaction(file, keys)?)
            .without(DATAFUSION))
    })?;
    bench.row(workload::GET_PLACED, CALLS, |row| ways.enter_placed(row, echo, get))?;
    let absent = |cache: &Cache| Ok(workload::GetAbsent::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET_ABSENT, CALLS, |row| {
        let row = lookup_goal(ways.enter_with_round_trip(row, echo, absent)?);
        Ok(row.with(SQLITE, sqlite::GetAbsent::new(file, keys)?).without(DATAFUSION))
    })?;
    let many = |cache: &Cache| Ok(workload::GetMany::new(cache.table(Points::NAME)?, keys));
    bench.row(workload::GET_MANY, MANY_CALLS, |row| {
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

fn commits(bench: &mut Bench, keys: Keys, batches: &[RecordBatch], file: &Path) -> Result<()> {
    if !bench.wants(&[workload::GET_COMMITS]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(batches, workload::COMMITS)?;
    bench.set("segments after 100 commits", &table.info()?.segments);
    bench.row(workload::GET_COMMITS, CALLS, |row| {
        let row = row.with(EMBEDDED, workload::Get::new(table, keys));
        Ok(row.with(SQLITE, sqlite::GetPoint::new(file, keys)?).without(DATAFUSION))
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
) -> Result<()> {
    bench.row(workload::POINT_PREPARED, CALLS, |row| {
        let prepared = |cache: &Cache| workload::PreparedPoint::new(cache, keys);
        Ok(ways
            .enter_with_round_trip(row, echo, prepared)?
            .with(SQLITE, sqlite::GetPoint::new(file, keys)?)
            .with(DATAFUSION, datafusion::PreparedPoint::new(engine, keys)?))
    })?;
    bench.row(workload::POINT_TEXT, CALLS, |row| {
        Ok(ways
            .enter(row, |cache| Ok(workload::PointText::new(cache, keys)))?
            .with(SQLITE, sqlite::PointText::new(file, keys)?)
            .with(DATAFUSION, datafusion::PointText::new(engine, keys)))
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

/// A whole table, and every byte of it.
fn whole(bench: &mut Bench, ways: &Ways, [whole, pass]: [Subject; 2]) -> Result<()> {
    bench.row(whole, SCANS, |row| {
        let row = ways.enter(row, |cache| Ok(workload::Whole::new(cache.table(Points::NAME)?)))?;
        Ok(row.goal(REMOTE, REMOTE_WHOLE_GOAL))
    })?;
    bench.row(pass, SCANS, |row| {
        ways.enter(row, |cache| Ok(workload::WholePass::new(cache.table(Points::NAME)?)))
    })
}

fn whole_replaced(bench: &mut Bench, points: Points) -> Result<()> {
    if !bench.wants(&[workload::WHOLE_REPLACED]) {
        return Ok(());
    }
    let batches = points.batches()?;
    let ways = Ways::create(|stored| stored.load_points_and_replace(points, batches.clone()).map(drop))?;
    let info = ways.embedded().table(Points::NAME)?.info()?;
    if info.rows != points.rows() || info.logged_rows == 0 {
        return Err(format!(
            "{} rows, {} of them in the log: nothing was replaced",
            info.rows, info.logged_rows
        )
        .into());
    }
    bench.row(workload::WHOLE_REPLACED, SCANS, |row| {
        ways.enter(row, |cache| Ok(workload::Whole::new(cache.table(Points::NAME)?)))
    })?;
    ways.end()
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

fn large_table(bench: &mut Bench, points: Points, dir: &Path, echo: &Echo) -> Result<()> {
    if !bench.wants(&[workload::GET_LARGE, workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE]) {
        return Ok(());
    }
    let (keys, batches, file) = (Keys::new(points), points.batches()?, dir.join("large.sqlite"));
    let ways = Ways::create(|stored| stored.load_points(batches.clone()).map(drop))?;
    drop(batches);
    if bench.wants(&[workload::GET_LARGE]) {
        sqlite::store_points(&file, points)?;
    }
    bench.row(workload::GET_LARGE, CALLS, |row| {
        let get = |cache: &Cache| Ok(workload::Get::new(cache.table(Points::NAME)?, keys));
        let row = lookup_goal(ways.enter_with_round_trip(row, echo, get)?);
        Ok(row.with(SQLITE, sqlite::GetPoint::new(&file, keys)?).without(DATAFUSION))
    })?;
    whole(bench, &ways, [workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE])?;
    ways.end()
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
        let row = row.with(EMBEDDED, workload::OpenAndGet::new(cache_dir.path(), keys));
        Ok(row.with(SQLITE, sqlite::OpenAndGet::new(&file, keys)).without(DATAFUSION))
    })
}

fn loads(bench: &mut Bench, points: Points, dir: &Path) -> Result<()> {
    bench.row(workload::LOAD_BATCHES, LOADS, |row| {
        let batches = points.batches()?;
        let row = row.with(EMBEDDED, workload::Replace::by_batches(batches.clone())?);
        Ok(row.with(SQLITE, sqlite::Load::new(batches)?).without(DATAFUSION))
    })?;
    let path = |name| dir.join(name).to_string_lossy().into_owned();
    bench.row(workload::LOAD_PARQUET, LOADS, |row| {
        write_parquet(path("unsorted.parquet").as_ref(), &points.batches()?)?;
        let row = row.with(EMBEDDED, workload::Replace::by_parquet(path("unsorted.parquet"))?);
        Ok(row.without(SQLITE).without(DATAFUSION))
    })?;
    bench.row(workload::LOAD_PARQUET_SORTED, LOADS, |row| {
        write_parquet(path("sorted.parquet").as_ref(), &points.sorted_batches()?)?;
        let row = row.with(EMBEDDED, workload::Replace::by_parquet(path("sorted.parquet"))?);
        Ok(row.without(SQLITE).without(DATAFUSION))
    })
}
