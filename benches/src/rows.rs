//! Rows that several programs report. If other systems can do the same work, `rivals` adds them to a row.

use arrow::array::RecordBatch;
use pillion::Cache;

use crate::Result;
use crate::bench::Bench;
use crate::data::{Keys, Points, write_parquet};
use crate::harness::{Plan, Row, Subject};
use crate::process::Echo;
use crate::workload::{
    self, CALLS, COMMITS, EMBEDDED, FIRSTS, Get, LOADS, OpenAndGet, Opened, REMOTE, REMOTE_WHOLE_GOAL,
    Replace, SCANS, Stored, Ways, Whole, WholeFirst, WholePass, lookup_goal,
};

/// A lookup in a table that grew by many commits.
///
/// # Errors
/// The cache refuses, or the row fails.
pub fn commits(bench: &mut Bench, points: Points, rivals: impl FnOnce(Row) -> Result<Row>) -> Result<()> {
    if !bench.wants(&[workload::GET_COMMITS]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(&points.batches()?, COMMITS)?;
    bench.set("segments after 100 commits", &table.info()?.segments);
    bench.row(workload::GET_COMMITS, CALLS, |row| {
        rivals(row.with(EMBEDDED, Get::new(table, Keys::new(points))))
    })
}

/// A whole table, and every byte of it.
///
/// # Errors
/// A row fails.
pub fn whole(bench: &mut Bench, ways: &Ways, [whole, pass]: [Subject; 2]) -> Result<()> {
    bench.row(whole, SCANS, |row| {
        let row = ways.enter(row, |cache| Ok(Whole::new(cache.table(Points::NAME)?)))?;
        Ok(row.goal(REMOTE, REMOTE_WHOLE_GOAL))
    })?;
    bench.row(pass, SCANS, |row| ways.enter(row, |cache| Ok(WholePass::new(cache.table(Points::NAME)?))))
}

/// A whole table that changed a little, and every byte of it.
///
/// # Errors
/// The cache refuses, nothing was replaced, or a row fails.
pub fn whole_replaced(bench: &mut Bench, [whole, pass]: [Subject; 2], points: Points) -> Result<()> {
    if !bench.wants(&[whole, pass]) {
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
    bench.row(whole, SCANS, |row| ways.enter(row, |cache| Ok(Whole::new(cache.table(Points::NAME)?))))?;
    bench.row(pass, SCANS, |row| ways.enter(row, |cache| Ok(WholePass::new(cache.table(Points::NAME)?))))?;
    ways.end()
}

/// A whole table that was just opened, the same with nothing of it in memory, and the same with a pass over every byte.
///
/// # Errors
/// The cache refuses, or a row fails.
pub fn whole_first(bench: &mut Bench, [first, cold, cold_pass]: [Subject; 3], points: Points) -> Result<()> {
    if !bench.wants(&[first, cold, cold_pass]) {
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
    })?;
    bench.row(cold_pass, FIRSTS, |row| {
        let with = |row: Row, opened: Opened| {
            row.with(opened.name(), WholeFirst::cold(dir.path(), opened).with_pass())
        };
        Ok(Opened::ALL.into_iter().fold(row, with))
    })
}

/// A lookup in the large table, and a scan of all of it; `rivals` take part in the lookup.
///
/// # Errors
/// The cache refuses, or a row fails.
pub fn large_table(
    bench: &mut Bench,
    points: Points,
    echo: &Echo,
    rivals: impl FnOnce(Row) -> Result<Row>,
) -> Result<()> {
    bench.set("rows of the large table", &points.rows());
    if bench.wants(&[workload::GET_LARGE, workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE]) {
        let batches = points.batches()?;
        let ways = Ways::create(|stored| stored.load_points(batches.clone()).map(drop))?;
        drop(batches);
        bench.row(workload::GET_LARGE, CALLS, |row| {
            let get = |cache: &Cache| Ok(Get::new(cache.table(Points::NAME)?, Keys::new(points)));
            rivals(lookup_goal(ways.enter_with_round_trip(row, echo, get)?))
        })?;
        whole(bench, &ways, [workload::WHOLE_LARGE, workload::WHOLE_PASS_LARGE])?;
        ways.end()?;
    }
    whole_replaced(bench, [workload::WHOLE_REPLACED_LARGE, workload::WHOLE_REPLACED_PASS_LARGE], points)?;
    let subjects = [workload::WHOLE_FIRST_LARGE, workload::WHOLE_COLD_LARGE, workload::WHOLE_COLD_PASS_LARGE];
    whole_first(bench, subjects, points)
}

/// Opening a cache.
///
/// # Errors
/// The cache refuses, or the row fails.
pub fn open(bench: &mut Bench, points: Points, rivals: impl FnOnce(Row) -> Result<Row>) -> Result<()> {
    if !bench.wants(&[workload::OPEN]) {
        return Ok(());
    }
    let stored = Stored::create()?;
    stored.load_points(points.batches()?)?;
    let dir = stored.close()?;
    bench.row(workload::OPEN, Plan { checked_calls: 10, ..CALLS }, |row| {
        rivals(row.with(EMBEDDED, OpenAndGet::new(dir.path(), Keys::new(points))))
    })
}

/// Loads of batches, in which `rivals` take part, and of files, in which they do not.
///
/// # Errors
/// The cache refuses, a file cannot be written, or a row fails.
pub fn loads(
    bench: &mut Bench,
    points: Points,
    rivals: impl Fn(Row, Option<Vec<RecordBatch>>) -> Result<Row>,
) -> Result<()> {
    bench.row(workload::LOAD_BATCHES, LOADS, |row| {
        let batches = points.batches()?;
        rivals(row.with(EMBEDDED, Replace::by_batches(batches.clone())?), Some(batches))
    })?;
    let dir = tempfile::tempdir()?;
    let by_parquet = |row: Row, name: &str, batches: &[RecordBatch]| {
        let path = dir.path().join(name);
        write_parquet(&path, batches)?;
        rivals(row.with(EMBEDDED, Replace::by_parquet(path.to_string_lossy())?), None)
    };
    bench
        .row(workload::LOAD_PARQUET, LOADS, |row| by_parquet(row, "unsorted.parquet", &points.batches()?))?;
    bench.row(workload::LOAD_PARQUET_SORTED, LOADS, |row| {
        by_parquet(row, "sorted.parquet", &points.sorted_batches()?)
    })
}
