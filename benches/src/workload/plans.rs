//! How large tables are, and how long rows run.

use std::time::Duration;

use crate::data::Points;
use crate::harness::Plan;

/// How long rows of short calls run. Rounds are short, because the kernel may change the placement of the two ends of a
/// socket at any moment.
pub const CALLS: Plan = Plan {
    checked_calls: 1_000,
    warm_up_rounds: 2,
    rounds: 40,
    round_time: Duration::from_millis(50),
    round_calls_min: 5,
};
/// How long rows of calls that look at the whole table run.
pub const SCANS: Plan = Plan {
    checked_calls: 1,
    warm_up_rounds: 1,
    rounds: 10,
    round_time: Duration::from_millis(200),
    round_calls_min: 5,
};
/// How long rows of first calls run; the preparation of each call takes longer than the call.
#[cfg(feature = "ways")]
pub(crate) const FIRSTS: Plan = Plan { rounds: 15, round_time: Duration::ZERO, round_calls_min: 1, ..SCANS };
/// How long rows of loads run.
pub const LOADS: Plan =
    Plan { checked_calls: 1, warm_up_rounds: 0, rounds: 5, round_time: Duration::ZERO, round_calls_min: 1 };

/// The table of a bench, or of a trial run.
pub const fn points(is_quick: bool) -> Points {
    Points::new(rows(is_quick))
}

/// The large table: ten times the rows.
pub const fn points_large(is_quick: bool) -> Points {
    Points::new(10 * rows(is_quick))
}

const fn rows(is_quick: bool) -> u64 {
    if is_quick { 20_000 } else { 1_000_000 }
}
