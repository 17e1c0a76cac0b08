//! What a commit costs, by durability, beside SQLite's transactions.

use std::time::Duration;

use pillion::Durability;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::Points;
use pillion_benches::harness::{Plan, Subject};
use pillion_benches::workload::{CALLS, Upsert, UpsertTogether};
use pillion_benches_rivals::sqlite;

use super::Size;

/// Rows of the tables: fewer than elsewhere, because there are six.
const ROWS: u64 = 200_000;

const ONE: Subject = Subject {
    figure: "",
    name: "commit, one row",
    state: "upsert of one row that is there, table of 200,000 rows; SQLite: INSERT OR REPLACE, write-ahead log",
};
const MANY: Subject = Subject { figure: "", name: "commit, 1,000 rows", state: "as above, 1,000 rows" };

const TOGETHER: Subject = Subject {
    figure: "",
    name: "commits of several threads",
    state: "upserts of one row by each of 1, 4 and 16 threads at the same time, `always`, until the last is durable",
};

pub(super) fn cost(bench: &mut Bench, size: &Size) -> Result<()> {
    let points = Points::new(ROWS.min(size.points.rows()));
    let plan = Plan { checked_calls: 20, rounds: 20, round_time: Duration::from_millis(100), ..CALLS };
    for (subject, rows) in [(ONE, 1), (MANY, 1_000)] {
        let dir = tempfile::tempdir()?;
        bench.row(subject, plan, |row| {
            let changes = points.changes(1_000, rows)?;
            let pillion = |durability| Upsert::new(points, durability, &changes);
            let rival = |synchronous: &str| {
                sqlite::Upsert::new(&dir.path().join(synchronous), points, synchronous, &changes)
            };
            Ok(row
                .with("always", pillion(Durability::Always)?)
                .with("interval, 1 s", pillion(Durability::Interval(Duration::from_secs(1)))?)
                .with("never", pillion(Durability::Never)?)
                .with("SQLite, FULL", rival("FULL")?)
                .with("SQLite, NORMAL", rival("NORMAL")?)
                .with("SQLite, OFF", rival("OFF")?))
        })?;
    }
    let changes = points.changes(1_000, 1)?;
    bench.row(TOGETHER, plan, |row| {
        let together = |writers| UpsertTogether::new(points, Durability::Always, &changes, writers);
        Ok(row
            .with("1 thread", together(1)?)
            .with("4 threads", together(4)?)
            .with("16 threads", together(16)?))
    })
}
