//! Which tables a statement may read and change.

#![cfg_attr(not(feature = "sql"), expect(dead_code, reason = "only statements ask"))]

use std::fmt;
use std::sync::Arc;

use super::error::{Error, ErrorCode, Result};

/// Says whether a table, by its name, is one of some.
type Chosen = dyn Fn(&str) -> bool + Send + Sync;

/// Which tables a statement may read and change: see [`Cache::execute_permitted`](crate::Cache::execute_permitted). Cloning is cheap.
#[derive(Clone)]
pub struct Permitted {
    reads: Arc<Chosen>,
    writes: Arc<Chosen>,
}

impl Permitted {
    /// A statement may read the tables for whose names `reads` returns `true`, and change, define and drop those for which
    /// `writes` does, whether they exist or not. Both are called often, and must not block.
    pub fn new(
        reads: impl Fn(&str) -> bool + Send + Sync + 'static,
        writes: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { reads: Arc::new(reads), writes: Arc::new(writes) }
    }

    /// Whether a statement may know that there is a table.
    pub(crate) fn shows(&self, table: &str) -> bool {
        (self.reads)(table) || (self.writes)(table)
    }

    /// # Errors
    /// [`ErrorCode::PermissionDenied`] if a statement may not read a table.
    pub(crate) fn admit_read(&self, table: &str) -> Result<()> {
        admit((self.reads)(table), table, "read")
    }

    /// # Errors
    /// [`ErrorCode::PermissionDenied`] if a statement may not change a table.
    pub(crate) fn admit_write(&self, table: &str) -> Result<()> {
        admit((self.writes)(table), table, "change")
    }
}

impl fmt::Debug for Permitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permitted")
    }
}

fn admit(is_permitted: bool, table: &str, what: &str) -> Result<()> {
    if is_permitted {
        return Ok(());
    }
    Err(Error::new(ErrorCode::PermissionDenied, format!("the statement may not {what} the table `{table}`")))
}
