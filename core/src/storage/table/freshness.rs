//! How fresh the rows of a table are.

use std::time::{Duration, SystemTime};

use super::TableState;
use crate::types::version::Freshness;

/// How fresh a table is.
pub(crate) fn freshness(table: &TableState) -> Option<Freshness> {
    let nanoseconds = u64::try_from(table.as_of?).ok()?;
    Some(Freshness { as_of: SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds) })
}
