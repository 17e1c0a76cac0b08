//! How fresh the rows of a table are.

use super::TableState;
use crate::types::clock::freshness_at;
use crate::types::version::Freshness;

/// How fresh a table is.
pub(crate) fn freshness(table: &TableState) -> Option<Freshness> {
    freshness_at(table.as_of)
}
