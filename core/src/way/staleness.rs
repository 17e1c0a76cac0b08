//! Whether rows are too old to be read, by the rule of their table.

use std::time::Duration;

use serde::Deserialize;

use crate::storage::{State, TableState};
use crate::types::bounds::ReadBounds;
use crate::types::clock::coarse_now;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{OnMiss, WritePolicy};

/// By which moment a reader finds out how old rows are.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Moment {
    /// That of the read.
    Now,
    /// That at which a version was held, in nanoseconds since 1970: what could be read then can be read as long as it is
    /// held.
    Held(i64),
}

impl Moment {
    /// The moment for a version that is held from now on.
    pub(crate) fn hold(self) -> Self {
        match self {
            Self::Now => Self::Held(coarse_now()),
            Self::Held(_) => self,
        }
    }
}

/// Whether the held rows of a table answer a read, as far as their age and the bounds of the read decide: `false` if its source is to be
/// asked. Costs two branches for reads without bounds of tables that allow any age.
///
/// # Errors
/// [`ErrorCode::Stale`] if the rows are too old, and the table does not delegate.
#[inline]
pub(crate) fn answers_here(state: &State, table: &TableState, moment: Moment) -> Result<bool> {
    match (table.shape.rules.max_staleness, ReadBounds::current()) {
        (None, None) => Ok(true),
        (of_table, bounds) => answers_within(state, table, moment, (of_table, bounds.unwrap_or_default())),
    }
}

#[inline(never)]
fn answers_within(
    state: &State,
    table: &TableState,
    moment: Moment,
    (of_table, bounds): (Option<Duration>, ReadBounds),
) -> Result<bool> {
    let rules = &table.shape.rules;
    if bounds.authoritative && matches!(rules.write_policy, WritePolicy::Source(_)) {
        return Ok(false);
    }
    let Some(bound) = [of_table, bounds.max_staleness].into_iter().flatten().min() else { return Ok(true) };
    let delegates = rules.working_set.as_ref().is_some_and(|set| set.on_miss == OnMiss::Delegate);
    match refuse_older(state, table, moment, bound) {
        Ok(()) => Ok(true),
        Err(_) if delegates => Ok(false),
        Err(error) => Err(error),
    }
}

fn refuse_older(state: &State, table: &TableState, moment: Moment, bound: Duration) -> Result<()> {
    let now = match moment {
        Moment::Now => coarse_now(),
        Moment::Held(at) => at,
    };
    // A clock that went back makes no row older.
    let age = table.as_of.map(|as_of| u64::try_from(now.saturating_sub(as_of)).unwrap_or(0));
    match age {
        Some(age) if Duration::from_nanos(age) <= bound => Ok(()),
        age => Err(stale(state, table, age, bound)),
    }
}

#[cold]
fn stale(state: &State, table: &TableState, age: Option<u64>, bound: Duration) -> Error {
    let name = &table.shape.name;
    let age = match age {
        Some(age) => format!("are {:?} old", Duration::from_millis(age / 1_000_000)),
        None => "are of unknown age".to_owned(),
    };
    let reason = match (&table.shape.rules.write_policy, failure(state, table)) {
        (_, Some(failure)) => format!("refreshes fail: {failure}"),
        (WritePolicy::Source(_), None) => {
            "no refresh has failed since: refreshes are too rare for that (`refreshes` says how they stand), or the clock of \
             the source is behind"
                .to_owned()
        }
        (_, None) => "write to it".to_owned(),
    };
    Error::new(
        ErrorCode::Stale,
        format!("the rows of table `{name}` {age}, and it allows {bound:?} (`max_staleness`): {reason}"),
    )
}

/// What readers need of the record of a refresh: why the last one failed.
#[derive(Deserialize)]
struct LastRefresh {
    #[serde(default)]
    failure: Option<String>,
}

/// Why the last refresh of a table failed, as the owner noted it for all readers.
fn failure(state: &State, table: &TableState) -> Option<String> {
    let WritePolicy::Source(source) = &table.shape.rules.write_policy else { return None };
    let record = state.positions.get(source)?;
    // The positions of other programs are bytes of any form.
    rmp_serde::from_slice::<LastRefresh>(&record[..]).ok()?.failure
}
