//! Several changes in one commit.

use crate::way::change::ChangeRequest;
use std::sync::Arc;
use std::time::SystemTime;

use super::table::Table;
use crate::input::Input;
use crate::types::error::Result;
use crate::types::key::{Key, owned};
use crate::types::mode::WriteMode;
use crate::types::recorder::Operation;
use crate::types::version::Version;
use crate::way::Backend;

/// Changes that become visible together: readers see all of them or none.
///
/// [`commit`](Self::commit) makes the changes in the order in which they were added. Until then nothing has happened,
/// and dropping the transaction does nothing. Rows that come from files or readers are read by the commit.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # use std::sync::Arc;
/// # use arrow::array::{Int64Array, RecordBatch};
/// # use arrow::datatypes::{DataType, Field, Schema};
/// # use pillion::{Cache, TableDefinition};
/// # let cache = Cache::open(dir.path())?;
/// # let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
/// # let rows = |ids: Vec<i64>| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(ids))]).unwrap();
/// # let table = |name| cache.define_table(name, TableDefinition::new(rows(vec![1, 2])).primary_key(["id"]));
/// # let (orders, lines) = (table("orders")?, table("lines")?);
/// cache
///     .transaction()
///     .upsert(&orders, rows(vec![2, 3]))
///     .delete(&lines, &[1])?
///     .source_position("shop", b"0/16B3748")
///     .commit()?;
/// # assert!(lines.get(1)?.is_none() && orders.get(3)?.is_some());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing happens before `commit`"]
pub struct Transaction {
    backend: Arc<dyn Backend>,
    changes: Vec<ChangeRequest>,
}

impl Transaction {
    pub(crate) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, changes: Vec::new() }
    }

    fn with(mut self, change: ChangeRequest) -> Self {
        self.changes.push(change);
        self
    }

    /// Adds rows to a table; see [`Table::append`].
    pub fn append(self, table: &Table, rows: impl Into<Input>) -> Self {
        let table = table.id();
        self.with(ChangeRequest::Rows { table, mode: WriteMode::Append, rows: rows.into() })
    }

    /// Adds rows to a table, replacing those with the same keys; see [`Table::upsert`].
    pub fn upsert(self, table: &Table, rows: impl Into<Input>) -> Self {
        let table = table.id();
        self.with(ChangeRequest::Rows { table, mode: WriteMode::Upsert, rows: rows.into() })
    }

    /// Replaces all rows of a table; see [`Table::replace`].
    pub fn replace(self, table: &Table, rows: impl Into<Input>) -> Self {
        let table = table.id();
        self.with(ChangeRequest::Rows { table, mode: WriteMode::Replace, rows: rows.into() })
    }

    /// Removes the rows with some keys from a table; see [`Table::delete_many`].
    ///
    /// # Errors
    /// Those of the keys themselves.
    pub fn delete<K: Key>(self, table: &Table, keys: &[K]) -> Result<Self> {
        let keys = keys.iter().map(owned).collect::<Result<_>>()?;
        let table = table.id();
        Ok(self.with(ChangeRequest::Delete { table, keys }))
    }

    /// Removes all rows of a table; see [`Table::truncate`].
    pub fn truncate(self, table: &Table) -> Self {
        let table = table.id();
        self.with(ChangeRequest::Truncate { table })
    }

    /// Says that the changes are everything from a source up to a position, so that whoever goes on reading the
    /// source knows from where ([`Cache::source_position`](crate::Cache::source_position)). Rows and position are
    /// committed together. An empty position forgets the source.
    ///
    /// The cache remembers positions of 1,024 sources, each of at most 16,384 bytes, with names of at most 1,024
    /// bytes. One more source is refused with [`TooMany`](crate::ErrorCode::TooMany) before anything is written, and
    /// a longer name or position with [`InvalidArgument`](crate::ErrorCode::InvalidArgument).
    pub fn source_position(self, source: impl Into<String>, position: impl Into<Vec<u8>>) -> Self {
        self.with(ChangeRequest::Position { source: source.into(), position: position.into() })
    }

    /// Makes the changes in one commit and returns its version; returns the newest version if there are no changes.
    ///
    /// Blocks until all rows are read and logged. Rows that together take about 2 MiB or less are logged; more are
    /// first written into files, as [`Table::append`] says. An upsert of that many must come before other changes of
    /// its table in the transaction, and through a sidecar a transaction of several changes has at most 4 MiB of
    /// rows; anything beyond that is refused with [`InvalidArgument`](crate::ErrorCode::InvalidArgument).
    ///
    /// # Errors
    /// Those of each change; then none of the changes is made. [`OutcomeUnknown`](crate::ErrorCode::OutcomeUnknown)
    /// if the disk failed while the commit was written, or a sidecar did not answer.
    pub fn commit(self) -> Result<Version> {
        if self.changes.is_empty() {
            return self.backend.version();
        }
        let Self { backend, changes } = self;
        backend.recording().handled(Operation::Write, || backend.write(changes, SystemTime::now()))
    }
}
