//! What is known of a table.

use arrow::datatypes::SchemaRef;

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::TableRules;
use crate::types::version::{Freshness, Version};

/// A description of a table at one version.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TableInfo {
    pub(crate) id: u64,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its rules: primary key, sort order, who may change rows, how long they stay.
    pub rules: TableRules,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files that hold its rows.
    pub segments: usize,
    /// Rows in the log that are in no such file yet, including those that were replaced since.
    pub logged_rows: u64,
    /// What was found damaged in the table when the cache was opened or rows were moved, or why its rows stay in the
    /// log; `None` if nothing was so far. Reads that need a damaged part fail with [`ErrorCode::Corrupt`] or
    /// [`ErrorCode::Io`]; replace the table from its source, or drop it.
    pub damage: Option<String>,
    /// If the [rules](Self::rules) make it a working set: which rows of its source it holds all of, as a condition whose moving parts
    /// have the values of the last refresh. `None` for other tables, and while nobody knows: after rows were
    /// [invalidated](crate::Table::invalidate), for one, until the next refresh.
    pub coverage: Option<String>,
    /// How fresh its rows are; `None` if nothing was ever loaded.
    pub freshness: Option<Freshness>,
    /// The version of the cache that this describes.
    pub version: Version,
}

impl TableInfo {
    /// Whether the table has the rules of a definition.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`], saying what differs.
    pub(crate) fn check_definition(&self, rules: &TableRules) -> Result<()> {
        let Some(difference) = self.rules.difference(rules) else { return Ok(()) };
        let message = format!("table `{}` exists with {difference}; drop it first", self.name);
        Err(Error::new(ErrorCode::TableExists, message))
    }
}
