//! Lookups in tables that were made in different ways, beside SQLite's of the same rows.

use std::path::Path;

use pillion::Table;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::Keys;
use pillion_benches::harness::{Goal, Subject};
use pillion_benches::workload::{CALLS, COMMITS, EMBEDDED, GET, Get, GetAbsent, Stored, stream};
use pillion_benches_rivals::sqlite::{self, SQLITE};

use super::Size;

/// A lookup may take this much of SQLite's time.
const GOAL: Goal = Goal::Ratio { to: SQLITE, at_most: 0.1 };

const ONE: Subject = Subject { name: "get, one segment", ..GET };
const ONE_ABSENT: Subject =
    Subject { name: "get, one segment, absent", state: "keys between those of the table", ..GET };
const MANY: Subject = Subject {
    name: "get, 100 commits",
    state: "the rows appended by 100 commits, random keys in each",
    ..GET
};
const MANY_ABSENT: Subject = Subject { name: "get, 100 commits, absent", ..ONE_ABSENT };
const AFTER: Subject =
    Subject { name: "get, after the stream", state: "after upserts of 1,000 rows at full speed", ..GET };
const AFTER_ABSENT: Subject = Subject { name: "get, after the stream, absent", ..ONE_ABSENT };

pub(super) fn lookups(bench: &mut Bench, size: &Size) -> Result<()> {
    if !bench.wants(&[ONE, ONE_ABSENT, MANY, MANY_ABSENT, AFTER, AFTER_ABSENT]) {
        return Ok(());
    }
    let dir = tempfile::tempdir()?;
    let (keys, batches, file) =
        (Keys::new(size.points), size.points.batches()?, dir.path().join("points.sqlite"));
    sqlite::store_points(&file, size.points)?;
    if bench.wants(&[ONE, ONE_ABSENT]) {
        let stored = Stored::create()?;
        let table = stored.load_points(batches.clone())?;
        rows(bench, [ONE, ONE_ABSENT], &table, keys, &file)?;
    }
    if bench.wants(&[MANY, MANY_ABSENT]) {
        let stored = Stored::create()?;
        let table = stored.load_points_in_commits(&batches, COMMITS)?;
        rows(bench, [MANY, MANY_ABSENT], &table, keys, &file)?;
    }
    if bench.wants(&[AFTER, AFTER_ABSENT]) {
        let stored = Stored::create()?;
        let table = stored.load_points(batches)?;
        let changes = size.points.changes(size.changes, size.change_rows)?;
        eprintln!("upserting for {:?}", size.before_lookups);
        let streamed = stream(&table, &changes, size.before_lookups)?;
        bench.set("rows upserted before lookups", &streamed.rows);
        bench.set("in seconds", &streamed.elapsed.as_secs());
        sqlite::apply_changes(&file, &changes)?;
        rows(bench, [AFTER, AFTER_ABSENT], &table, keys, &file)?;
    }
    Ok(())
}

fn rows(
    bench: &mut Bench,
    [present, absent]: [Subject; 2],
    table: &Table,
    keys: Keys,
    file: &Path,
) -> Result<()> {
    let info = table.info()?;
    bench.set(present.name, &format!("{} segments, {} rows in the log", info.segments, info.logged_rows));
    bench.row(present, CALLS, |row| {
        let row = row.with(EMBEDDED, Get::new(table.clone(), keys));
        Ok(row.with(SQLITE, sqlite::GetPoint::new(file, keys)?).goal(EMBEDDED, GOAL))
    })?;
    bench.row(absent, CALLS, |row| {
        let row = row.with(EMBEDDED, GetAbsent::new(table.clone(), keys));
        Ok(row.with(SQLITE, sqlite::GetAbsent::new(file, keys)?).goal(EMBEDDED, GOAL))
    })
}
