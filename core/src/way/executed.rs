//! What a statement that changes tables did.

use crate::types::version::Version;

/// What a statement that changes tables did: see [`Cache::execute`](crate::Cache::execute).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed {
    /// Rows that it added, replaced or deleted. A table that was dropped counts none.
    pub rows: u64,
    /// The version of its commit; the newest version if there was nothing to change.
    pub version: Version,
}

impl Executed {
    #[cfg(any(feature = "sql", feature = "sidecar"))]
    pub(crate) fn new(rows: u64, version: Version) -> Self {
        Self { rows, version }
    }
}
