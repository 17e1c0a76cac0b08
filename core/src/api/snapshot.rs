//! A held version.

use std::sync::Arc;

use super::prepared::Prepared;
use super::table::TableSnapshot;
use crate::answer::batches::Batches;
use crate::types::error::Result;
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::Reader;
use crate::way::local;
use crate::way::table_info::TableInfo;

/// One version of the cache, held for several reads: all of them see the same rows in all tables, whatever is
/// committed meanwhile.
///
/// Cloning is cheap. The disk space of rows that were replaced is reused only after the snapshots that see them
/// are dropped.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub(crate) reader: Arc<dyn Reader>,
}

impl Snapshot {
    pub(crate) fn new(reader: Arc<dyn Reader>) -> Self {
        Self { reader }
    }

    /// The version.
    ///
    /// # Errors
    /// Embedded and attached caches never fail here; remote ones fail with [`Closed`](crate::ErrorCode::Closed) after the
    /// connection that holds the snapshot broke, or with [`Timeout`](crate::ErrorCode::Timeout).
    pub fn version(&self) -> Result<Version> {
        self.reader.version()
    }

    /// A table by its exact name.
    ///
    /// # Errors
    /// [`TableNotFound`](crate::ErrorCode::TableNotFound), naming the nearest table there is.
    pub fn table(&self, name: &str) -> Result<TableSnapshot> {
        Ok(TableSnapshot::new(self.reader.clone(), self.reader.table(name)?))
    }

    /// Describes every table, in the order of their names.
    ///
    /// # Errors
    /// Embedded and attached caches never fail here; remote ones fail with [`Closed`](crate::ErrorCode::Closed) after the
    /// connection that holds the snapshot broke, or with [`Timeout`](crate::ErrorCode::Timeout).
    pub fn tables(&self) -> Result<Vec<TableInfo>> {
        self.reader.tables()
    }

    /// The same version with only the tables whose names are chosen. Nothing that is read through it, errors and the
    /// information schema included, shows that there are others.
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if a sidecar holds the snapshot.
    pub fn only_tables(&self, is_chosen: impl Fn(&str) -> bool) -> Result<Self> {
        Ok(Self::new(local::only(self.reader.as_ref(), &is_chosen)?))
    }

    /// Plans a query over the tables that this shows, so that nothing that is known of it shows others. It runs at this version.
    ///
    /// # Errors
    /// As [`Cache::prepare`](crate::Cache::prepare); [`Unsupported`](crate::ErrorCode::Unsupported) if a sidecar holds the snapshot.
    pub fn prepare(&self, text: &str) -> Result<Prepared> {
        let (statement, recording) = local::prepare(self.reader.as_ref(), text)?;
        Ok(Prepared::new(statement, recording))
    }

    /// Plans a query, which runs once its first batch is asked for; see [`Cache::sql`](crate::Cache::sql).
    ///
    /// # Errors
    /// As [`Cache::sql`](crate::Cache::sql).
    pub fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.reader.sql(text, parameters)
    }
}
