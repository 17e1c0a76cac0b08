//! Tables.

use std::time::Duration;

use arrow::datatypes::SchemaRef;

use super::unblock;
use crate::answer::batches::{BatchStream, Batches};
use crate::answer::row::Row;
use crate::api::table::{Table, TableSnapshot};
use crate::blocking::brief;
use crate::input::Input;
use crate::types::error::Result;
use crate::types::key::{Key, owned};
use crate::types::version::Version;
use crate::way::refreshing::AuditReport;
use crate::way::table_info::TableInfo;

/// Reads that the handles of a table and of a table's snapshot have in common.
macro_rules! reads {
    ($handle:ident, $blocking:ident) => {
        impl $handle {
            #[doc = concat!("As [`", stringify!($blocking), "::get`].")]
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($blocking), "::get`].")]
            pub async fn get(&self, key: impl Key) -> Result<Option<Row>> {
                if self.is_local
                    && let Some(found) = brief::briefly(|| self.table.get(&key))
                {
                    return found;
                }
                let (table, key) = (self.table.clone(), owned(&key)?);
                unblock(move || table.get(key)).await
            }

            #[doc = concat!("As [`", stringify!($blocking), "::get_many`].")]
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($blocking), "::get_many`].")]
            pub async fn get_many<K: Key>(&self, keys: &[K]) -> Result<Vec<Option<Row>>> {
                if self.is_local
                    && let Some(found) = brief::briefly(|| self.table.get_many(keys))
                {
                    return found;
                }
                let keys = keys.iter().map(owned).collect::<Result<Vec<_>>>()?;
                let table = self.table.clone();
                unblock(move || table.get_many(&keys)).await
            }

            #[doc = concat!("As [`", stringify!($blocking), "::scan`], streamed.")]
            ///
            /// # Errors
            #[doc = concat!("Those of [`", stringify!($blocking), "::scan`].")]
            pub async fn scan(&self) -> Result<BatchStream> {
                let table = self.table.clone();
                unblock(move || table.scan().map(Batches::into_stream)).await
            }
        }
    };
}

/// A [`Table`] for async code; cloning is cheap.
#[derive(Clone, Debug)]
pub struct AsyncTable {
    table: Table,
    is_local: bool,
}

impl AsyncTable {
    pub(super) fn new(table: Table, is_local: bool) -> Self {
        Self { table, is_local }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.table.name()
    }

    /// Its columns.
    pub fn schema(&self) -> &SchemaRef {
        self.table.schema()
    }

    /// The same table for code that may block.
    pub fn blocking(&self) -> &Table {
        &self.table
    }

    /// As [`Table::info`].
    ///
    /// # Errors
    /// Those of [`Table::info`].
    pub async fn info(&self) -> Result<TableInfo> {
        let table = self.table.clone();
        unblock(move || table.info()).await
    }

    /// As [`Table::scan_columns`], streamed.
    ///
    /// # Errors
    /// Those of [`Table::scan_columns`].
    pub async fn scan_columns<S: Into<String>>(
        &self,
        columns: impl IntoIterator<Item = S>,
    ) -> Result<BatchStream> {
        let columns: Vec<String> = columns.into_iter().map(Into::into).collect();
        let table = self.table.clone();
        unblock(move || table.scan_columns(columns).map(Batches::into_stream)).await
    }

    /// As [`Table::changes`], streamed.
    ///
    /// # Errors
    /// Those of [`Table::changes`].
    pub async fn changes(&self, since: Version) -> Result<BatchStream> {
        let table = self.table.clone();
        unblock(move || table.changes(since).map(Batches::into_stream)).await
    }

    /// As [`Table::refresh`]. If the future is dropped, the refresh goes on.
    ///
    /// # Errors
    /// Those of [`Table::refresh`].
    pub async fn refresh(&self) -> Result<Version> {
        let table = self.table.clone();
        unblock(move || table.refresh()).await
    }

    /// As [`Table::audit`]. If the future is dropped, the audit goes on.
    ///
    /// # Errors
    /// Those of [`Table::audit`].
    pub async fn audit(&self) -> Result<AuditReport> {
        let table = self.table.clone();
        unblock(move || table.audit()).await
    }

    /// As [`Table::wait_for`].
    ///
    /// # Errors
    /// Those of [`Table::wait_for`].
    pub async fn wait_for(&self, position: impl Into<Vec<u8>>, limit: Duration) -> Result<Version> {
        let (table, position) = (self.table.clone(), position.into());
        unblock(move || table.wait_for(position, limit)).await
    }

    /// As [`Table::upsert`].
    ///
    /// # Errors
    /// Those of [`Table::upsert`].
    pub async fn upsert(&self, rows: impl Into<Input>) -> Result<Version> {
        let (table, rows) = (self.table.clone(), rows.into());
        unblock(move || table.upsert(rows)).await
    }

    /// As [`Table::delete_many`].
    ///
    /// # Errors
    /// Those of [`Table::delete_many`].
    pub async fn delete_many<K: Key>(&self, keys: &[K]) -> Result<Version> {
        let (table, keys) = (self.table.clone(), keys.iter().map(owned).collect::<Result<Vec<_>>>()?);
        unblock(move || table.delete_many(&keys)).await
    }

    /// As [`Table::delete`].
    ///
    /// # Errors
    /// Those of [`Table::delete`].
    pub async fn delete(&self, key: impl Key) -> Result<Version> {
        let (table, key) = (self.table.clone(), owned(&key)?);
        unblock(move || table.delete(key)).await
    }

    /// As [`Table::invalidate`].
    ///
    /// # Errors
    /// Those of [`Table::invalidate`].
    pub async fn invalidate<K: Key>(&self, keys: &[K]) -> Result<Version> {
        let (table, keys) = (self.table.clone(), keys.iter().map(owned).collect::<Result<Vec<_>>>()?);
        unblock(move || table.invalidate(&keys)).await
    }

    /// As [`Table::truncate`].
    ///
    /// # Errors
    /// Those of [`Table::truncate`].
    pub async fn truncate(&self) -> Result<Version> {
        let table = self.table.clone();
        unblock(move || table.truncate()).await
    }

    /// As [`Table::append`].
    ///
    /// # Errors
    /// Those of [`Table::append`].
    pub async fn append(&self, rows: impl Into<Input>) -> Result<Version> {
        let (table, rows) = (self.table.clone(), rows.into());
        unblock(move || table.append(rows)).await
    }

    /// As [`Table::replace`].
    ///
    /// # Errors
    /// Those of [`Table::replace`].
    pub async fn replace(&self, rows: impl Into<Input>) -> Result<Version> {
        let (table, rows) = (self.table.clone(), rows.into());
        unblock(move || table.replace(rows)).await
    }
}

reads!(AsyncTable, Table);

/// A [`TableSnapshot`] for async code.
#[derive(Clone, Debug)]
pub struct AsyncTableSnapshot {
    table: TableSnapshot,
    is_local: bool,
}

impl AsyncTableSnapshot {
    pub(super) fn new(table: TableSnapshot, is_local: bool) -> Self {
        Self { table, is_local }
    }

    /// Describes the table at this version.
    pub fn info(&self) -> &TableInfo {
        self.table.info()
    }
}

reads!(AsyncTableSnapshot, TableSnapshot);
