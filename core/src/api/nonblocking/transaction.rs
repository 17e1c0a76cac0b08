//! Several changes in one commit.

use super::{AsyncCache, AsyncTable, unblock};
use crate::api::transaction::Transaction;
use crate::input::Input;
use crate::types::error::Result;
use crate::types::key::Key;
use crate::types::version::Version;

/// A [`Transaction`] for async code.
#[derive(Debug)]
#[must_use = "nothing happens before `commit`"]
pub struct AsyncTransaction {
    transaction: Transaction,
}

impl AsyncCache {
    /// As [`Cache::transaction`](crate::Cache::transaction).
    pub fn transaction(&self) -> AsyncTransaction {
        AsyncTransaction { transaction: self.blocking().transaction() }
    }
}

impl AsyncTransaction {
    fn with(self, add: impl FnOnce(Transaction) -> Transaction) -> Self {
        Self { transaction: add(self.transaction) }
    }

    /// As [`Transaction::append`].
    pub fn append(self, table: &AsyncTable, rows: impl Into<Input>) -> Self {
        self.with(|transaction| transaction.append(table.blocking(), rows))
    }

    /// As [`Transaction::upsert`].
    pub fn upsert(self, table: &AsyncTable, rows: impl Into<Input>) -> Self {
        self.with(|transaction| transaction.upsert(table.blocking(), rows))
    }

    /// As [`Transaction::replace`].
    pub fn replace(self, table: &AsyncTable, rows: impl Into<Input>) -> Self {
        self.with(|transaction| transaction.replace(table.blocking(), rows))
    }

    /// As [`Transaction::delete`].
    ///
    /// # Errors
    /// Those of [`Transaction::delete`].
    pub fn delete<K: Key>(self, table: &AsyncTable, keys: &[K]) -> Result<Self> {
        let transaction = self.transaction.delete(table.blocking(), keys)?;
        Ok(Self { transaction })
    }

    /// As [`Transaction::truncate`].
    pub fn truncate(self, table: &AsyncTable) -> Self {
        self.with(|transaction| transaction.truncate(table.blocking()))
    }

    /// As [`Transaction::source_position`].
    pub fn source_position(self, source: impl Into<String>, position: impl Into<Vec<u8>>) -> Self {
        self.with(|transaction| transaction.source_position(source, position))
    }

    /// As [`Transaction::commit`].
    ///
    /// # Errors
    /// Those of [`Transaction::commit`].
    pub async fn commit(self) -> Result<Version> {
        unblock(move || self.transaction.commit()).await
    }
}
