//! The time of a start: after a kill with a full log, and after a clean close.

use std::time::Duration;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::Points;
use pillion_benches::harness::{Goal, Plan, Subject};
use pillion_benches::process::{FILL_COMMITS, FILL_ROWS};
use pillion_benches::workload::{CALLS, Restart};

use super::Size;

const KILLED_GOAL: Goal = Goal::Time { at_most: Duration::from_secs(1) };
const CLEAN_GOAL: Goal = Goal::Time { at_most: Duration::from_millis(250) };
/// Ten times the rows may take so much longer.
const LARGE_AT_MOST: f64 = 1.2;

const KILLED: &str = "killed";
const CLEAN: &str = "closed";
const SUBJECT_KILLED: Subject = Subject {
    figure: "P13",
    name: "restart, killed",
    state: "open and first get; kill -9 right after 1,000 commits of 1,000 rows at full speed; the second: ten times the data",
};
const SUBJECT_CLEAN: Subject = Subject {
    figure: "P13",
    name: "restart, closed",
    state: "open and first get; closed in order; the second: ten times the data",
};

pub(super) fn restarts(bench: &mut Bench, size: &Size) -> Result<()> {
    let plan = Plan { checked_calls: 1, warm_up_rounds: 1, rounds: 8, round_time: Duration::ZERO, ..CALLS };
    let plan = Plan { round_calls_min: 1, ..plan };
    // The same rows in both tables, so that they give the same answers.
    let changed = Points::new(size.points.rows());
    bench
        .set("rows that came before the kill, half of them in the log at least", &(FILL_COMMITS * FILL_ROWS));
    bench.row(SUBJECT_KILLED, plan, |row| {
        Ok(row
            .with(KILLED, Restart::killed(size.points, changed)?)
            .with("killed, ten times", Restart::killed(size.large, changed)?)
            .goal(KILLED, KILLED_GOAL)
            .goal("killed, ten times", Goal::Ratio { to: KILLED, at_most: LARGE_AT_MOST }))
    })?;
    bench.row(SUBJECT_CLEAN, Plan { round_calls_min: 5, ..plan }, |row| {
        Ok(row
            .with(CLEAN, Restart::clean(size.points, changed)?)
            .with("closed, ten times", Restart::clean(size.large, changed)?)
            .goal(CLEAN, CLEAN_GOAL)
            .goal("closed, ten times", Goal::Ratio { to: CLEAN, at_most: LARGE_AT_MOST }))
    })
}
