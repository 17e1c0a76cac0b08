//! What is known of a table.

use arrow::datatypes::SchemaRef;

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{Retention, TableRules, WritePolicy};
use crate::types::version::{Freshness, Version};

/// What there is to know of a table at one version.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TableInfo {
    pub(crate) id: u64,
    /// Its name.
    pub name: String,
    /// Its columns.
    pub schema: SchemaRef,
    /// Columns of its primary key, in order; empty without one.
    pub primary_key: Vec<String>,
    /// Columns that every segment is sorted by, ascending, nulls last; empty if rows stand as they came.
    pub sort_by: Vec<String>,
    /// Who may change its rows.
    pub write_policy: WritePolicy,
    /// How long rows stay; `None`: until they are removed.
    pub retention: Option<Retention>,
    /// Rows.
    pub rows: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files that hold its rows.
    pub segments: usize,
    /// Rows that stand in the log and in no such file yet, those included that others took the place of since.
    pub logged_rows: u64,
    /// What of it was found damaged when the cache was opened or rows were moved, or why its rows stay in the log; `None`: nothing
    /// so far. Reads that need what is damaged fail with [`ErrorCode::Corrupt`] or [`ErrorCode::Io`]; replace the table from its
    /// source, or drop it.
    pub damage: Option<String>,
    /// How fresh it is; `None` if nothing was ever loaded.
    pub freshness: Option<Freshness>,
    /// The version of the cache that all of this is of.
    pub version: Version,
}

impl TableInfo {
    /// Whether the table is what a definition asks for.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`], saying what differs.
    pub(crate) fn check_definition(&self, rules: &TableRules) -> Result<()> {
        let TableRules { primary_key, sort_by, write_policy, retention } = rules;
        let sort_by = if sort_by.is_empty() { primary_key } else { sort_by };
        if self.primary_key == *primary_key && self.sort_by == *sort_by {
            if self.write_policy == *write_policy && self.retention == *retention {
                return Ok(());
            }
            let kept = |retention: &Option<Retention>| match retention {
                None => "all rows".to_owned(),
                Some(retention) => retention.to_string(),
            };
            return Err(Error::new(
                ErrorCode::TableExists,
                format!(
                    "table `{}` exists with write policy {} and keeps {}, not {} and {}; drop it first",
                    self.name,
                    self.write_policy,
                    kept(&self.retention),
                    write_policy,
                    kept(retention)
                ),
            ));
        }
        Err(Error::new(
            ErrorCode::TableExists,
            format!(
                "table `{}` exists with primary key ({}) and sort order ({}), not ({}) and ({}); drop it first",
                self.name,
                self.primary_key.join(", "),
                self.sort_by.join(", "),
                primary_key.join(", "),
                sort_by.join(", ")
            ),
        ))
    }
}
