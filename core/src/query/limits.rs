//! How large a statement may be, and how much stack it takes to plan.
//!
//! Planning recurses over a statement, and a stack that overflows ends the process. So every statement is measured
//! before it is planned: one beyond a limit is refused, and any other is planned on a stack of the size that it
//! needs.

use crate::types::error::{Error, ErrorCode, Result};

/// Longest text of a statement, in bytes.
pub(super) const TEXT_MAX: usize = 1 << 20;
/// Most operators and keywords; values in lists do not count.
pub(super) const OPERATORS_MAX: usize = 20_000;
/// Deepest nesting of brackets, and most keywords in a row.
pub(super) const NESTING_MAX: usize = 100;
/// Deepest nesting of square brackets: the parser tries each in two ways, so each level doubles its time.
pub(super) const ARRAYS_MAX: usize = 10;
/// Greatest depth of expressions: operators in a row, and conditions joined by AND and OR.
pub(super) const DEPTH_MAX: usize = 1000;
/// Most queries, tables and set operations; those of a named query count at each of its uses.
pub(super) const STEPS_MAX: usize = 800;
/// Most joins, counted like steps: the time of planning grows with their cube.
pub(super) const JOINS_MAX: usize = 100;
/// Deepest nesting of subqueries in expressions: each level doubles the time of planning.
pub(super) const SUBQUERIES_MAX: usize = 10;

/// Most expressions, values and columns; those of a named query count at each of its uses, where they are planned
/// anew.
pub(super) const SIZE_MAX: usize = 1_000_000;
/// Most pairs of columns of one query, summed over all queries: the time of planning grows with the square of the
/// number of columns. So one query has at most about 7,000.
pub(super) const WIDTH_MAX: usize = 50_000_000;

/// Stack that parsing takes per nested bracket: the frames for a subquery are the largest.
pub(super) const STACK_PER_BRACKET: usize = 64 << 10;
/// Stack that dropping the parsed statement takes per operator.
pub(super) const STACK_PER_OPERATOR: usize = 2 << 10;
/// Stack that planning takes per level. In a build without optimisation, where frames are largest, 8 KiB were enough
/// and 4 KiB were not.
pub(super) const STACK_PER_LEVEL: usize = 32 << 10;

/// Stack that the largest statement takes.
pub(super) const STACK_MAX: usize = (DEPTH_MAX + STEPS_MAX + NESTING_MAX) * STACK_PER_LEVEL;

/// Refuses a statement that has more than `limit` of `what`.
///
/// # Errors
/// [`ErrorCode::InvalidSql`].
pub(super) fn refuse_beyond(limit: usize, found: usize, what: &str) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidSql,
        format!(
            "the statement has {found} {what}, and at most {limit} are planned; \
             name many values in one IN list, put them into a table and join it, \
             or split the statement"
        ),
    ))
}
