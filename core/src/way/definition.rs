//! What a table is to be.

use std::time::Duration;

use crate::input::Input;
use crate::source::TableSource;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::{Retention, TableRules, WritePolicy};

/// What a table is to be: where its first rows come from, its primary key and its sort order.
///
/// ```
/// use pillion::TableDefinition;
///
/// let flights = TableDefinition::parquet("flights/*.parquet").primary_key(["time_hour", "carrier", "flight"]);
/// let events = TableDefinition::csv("events.csv").sort_by(["created_at"]);
/// # drop((flights, events));
/// ```
#[derive(Debug)]
pub struct TableDefinition {
    pub(crate) input: Input,
    pub(crate) rules: TableRules,
    /// Where rows come from again and again; the input is nothing then.
    pub(crate) origin: Option<Box<TableSource>>,
}

impl TableDefinition {
    /// A table whose first rows are `input`: batches, or an [`Input`].
    pub fn new(input: impl Into<Input>) -> Self {
        Self { input: input.into(), rules: TableRules::default(), origin: None }
    }

    /// A table that Pillion fetches from a source, and fetches again as [`TableSource`] says. Only the refreshes write to
    /// it: its write policy names the source and the table, and other writes are refused, except
    /// [`invalidate`](crate::Table::invalidate).
    pub fn from_source(origin: TableSource) -> Self {
        Self { origin: Some(Box::new(origin)), ..Self::new(Vec::new()) }
    }

    /// # Errors
    /// [`ErrorCode::Unsupported`] if the table is to be fed by a source.
    pub(crate) fn refuse_origin(&self) -> Result<()> {
        match self.origin {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorCode::Unsupported,
                "only the process that owns the cache fetches tables from sources: define the table there",
            )),
        }
    }

    /// A table of one or more Parquet files: a path, or a pattern with `*`, `?`, `**` and `[…]`.
    #[cfg(feature = "parquet")]
    pub fn parquet(pattern: impl Into<String>) -> Self {
        Self::new(Input::parquet(pattern))
    }

    /// A table of one or more CSV files with a header line: a path, or a pattern with `*`, `?`, `**` and `[…]`.
    #[cfg(feature = "csv")]
    pub fn csv(pattern: impl Into<String>) -> Self {
        Self::new(Input::csv(pattern))
    }

    /// A table of files and patterns, each of the format that its ending names; see [`Input::files`].
    pub fn files<S: Into<String>>(patterns: impl IntoIterator<Item = S>) -> Self {
        Self::new(Input::files(patterns))
    }

    /// The columns that identify a row. Together they must be unique, and none of them may be null, whatever the
    /// schema declares; loading checks both. Without a primary key there are no lookups by key.
    #[must_use]
    pub fn primary_key<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rules.primary_key = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The columns by which rows are stored, ascending, nulls last; by default the primary key. Ranges of the first
    /// of them are read without touching other rows, so choose what queries filter by most.
    #[must_use]
    pub fn sort_by<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.rules.sort_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// All rules at once, replacing those given before.
    #[must_use]
    pub fn rules(mut self, rules: TableRules) -> Self {
        self.rules = rules;
        self
    }

    /// Who may change the rows; anyone by default. The first rows are loaded in any case.
    #[must_use]
    pub fn write_policy(mut self, policy: WritePolicy) -> Self {
        self.rules.write_policy = policy;
        self
    }

    /// Removes rows once the time in a column is longer ago than `age`. The column has timestamps or dates:
    /// timestamps without a zone are in UTC, and a date begins at midnight UTC. The cache removes such rows in the
    /// background, about every ten seconds unless it is moving other rows, and when
    /// [`Cache::compact`](crate::Cache::compact) is called, in commits of their own; until then they are read.
    /// Subscribers see them as deletes, but not in tables without a primary key, where nothing names a row.
    #[must_use]
    pub fn retain(mut self, column: impl Into<String>, age: Duration) -> Self {
        self.rules.retention = Some(Retention::new(column, age));
        self
    }

    /// Refuses reads with [`Stale`](crate::ErrorCode::Stale) while the table's [freshness](crate::TableInfo::freshness) is
    /// longer ago than `bound`. The error says how old the rows are, and why refreshes fail if they do. A shorter bound keeps
    /// old rows from being taken for new; a longer one, or none, lets reads go on while a source is down.
    ///
    /// Reads are `get`, `get_many`, scans and queries, in every way in. [`Table::changes`](crate::Table::changes),
    /// subscriptions, `info` and `status` always answer. A [`Snapshot`](crate::Snapshot) is as old as it was when it was
    /// taken: rows that could be read then stay readable. The age is known to about 10 ms.
    #[must_use]
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.rules.max_staleness = Some(bound);
        self
    }
}
