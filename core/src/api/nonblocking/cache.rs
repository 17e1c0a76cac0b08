//! Caches, held versions and planned queries.

#[cfg(feature = "sidecar")]
use std::path::Path;

use super::unblock;
use crate::answer::batches::{BatchStream, Batches};
use crate::api::cache::Cache;
#[cfg(feature = "sidecar")]
use crate::api::connect::ConnectOptions;
use crate::api::nonblocking::{AsyncTable, AsyncTableSnapshot};
use crate::api::prepared::Prepared;
use crate::api::snapshot::Snapshot;
use crate::types::error::Result;
use crate::types::permitted::Permitted;
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::definition::TableDefinition;
use crate::way::executed::Executed;
use crate::way::refreshing::RefreshStatus;
use crate::way::status::{Status, Way};
use crate::way::table_info::TableInfo;

/// A [`Cache`] for async code, reached in any way; cloning is cheap. Made by [`Cache::into_async`].
///
/// ```
/// # use std::sync::Arc;
/// # use arrow::array::{Int64Array, RecordBatch};
/// use pillion::{Cache, TableDefinition};
/// # let dir = tempfile::tempdir().unwrap();
/// # let batch = RecordBatch::try_from_iter([
/// #     ("id", Arc::new(Int64Array::from(vec![1, 2])) as arrow::array::ArrayRef),
/// # ]).unwrap();
///
/// # futures::executor::block_on(async {
/// let cache = Cache::open(dir.path())?.into_async();
/// let numbers = cache.define_table("numbers", TableDefinition::new(batch).primary_key(["id"])).await?;
/// assert!(numbers.get(2).await?.is_some());
/// # Ok::<(), pillion::Error>(())
/// # })?;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct AsyncCache {
    cache: Cache,
}

impl Cache {
    /// The same cache for async code.
    pub fn into_async(self) -> AsyncCache {
        AsyncCache { cache: self }
    }

    /// Whether a lookup is a function call, which waits only for memory, and for the disk at the first touch of a
    /// page.
    fn is_local(&self) -> bool {
        self.way() != Way::Remote
    }
}

impl AsyncCache {
    /// As [`ConnectOptions::connect`].
    ///
    /// # Errors
    /// Those of [`ConnectOptions::connect`].
    #[cfg(feature = "sidecar")]
    pub async fn connect(options: ConnectOptions, socket: impl AsRef<Path>) -> Result<Self> {
        let socket = socket.as_ref().to_owned();
        unblock(move || options.connect(socket)).await.map(Cache::into_async)
    }

    /// The same cache for code that may block.
    pub fn blocking(&self) -> &Cache {
        &self.cache
    }

    /// As [`Cache::define_table`].
    ///
    /// # Errors
    /// Those of [`Cache::define_table`].
    pub async fn define_table(&self, name: &str, definition: TableDefinition) -> Result<AsyncTable> {
        let (cache, name) = (self.cache.clone(), name.to_owned());
        let is_local = cache.is_local();
        let table = unblock(move || cache.define_table(&name, definition)).await?;
        Ok(AsyncTable::new(table, is_local))
    }

    /// As [`Cache::drop_table`].
    ///
    /// # Errors
    /// Those of [`Cache::drop_table`].
    pub async fn drop_table(&self, name: &str) -> Result<Version> {
        let (cache, name) = (self.cache.clone(), name.to_owned());
        unblock(move || cache.drop_table(&name)).await
    }

    /// As [`Cache::execute`]. If the future is dropped before its statement has committed, the statement is given up; it may
    /// still have committed.
    ///
    /// # Errors
    /// Those of [`Cache::execute`].
    pub async fn execute(&self, text: &str, parameters: &[Value]) -> Result<Executed> {
        let (cache, text, parameters) = (self.cache.clone(), text.to_owned(), parameters.to_vec());
        unblock(move || cache.execute(&text, &parameters)).await
    }

    /// As [`Cache::execute_permitted`]. If the future is dropped before its statement has committed, the statement is given up; it
    /// may still have committed.
    ///
    /// # Errors
    /// Those of [`Cache::execute_permitted`].
    pub async fn execute_permitted(
        &self,
        text: &str,
        parameters: &[Value],
        permitted: &Permitted,
    ) -> Result<Executed> {
        let (cache, text, parameters) = (self.cache.clone(), text.to_owned(), parameters.to_vec());
        let permitted = permitted.clone();
        unblock(move || cache.execute_permitted(&text, &parameters, &permitted)).await
    }

    /// As [`Cache::refresh`]. If the future is dropped, the refresh goes on.
    ///
    /// # Errors
    /// Those of [`Cache::refresh`].
    pub async fn refresh(&self, table: &str) -> Result<Version> {
        let (cache, table) = (self.cache.clone(), table.to_owned());
        unblock(move || cache.refresh(&table)).await
    }

    /// As [`Cache::refreshes`].
    ///
    /// # Errors
    /// Those of [`Cache::refreshes`].
    pub async fn refreshes(&self) -> Result<Vec<RefreshStatus>> {
        let cache = self.cache.clone();
        unblock(move || cache.refreshes()).await
    }

    /// As [`Cache::cancel_refresh`].
    ///
    /// # Errors
    /// Those of [`Cache::cancel_refresh`].
    pub async fn cancel_refresh(&self, table: &str) -> Result<bool> {
        let (cache, table) = (self.cache.clone(), table.to_owned());
        unblock(move || cache.cancel_refresh(&table)).await
    }

    /// As [`Cache::pause_refreshes`].
    ///
    /// # Errors
    /// Those of [`Cache::pause_refreshes`].
    pub async fn pause_refreshes(&self, table: &str) -> Result<()> {
        let (cache, table) = (self.cache.clone(), table.to_owned());
        unblock(move || cache.pause_refreshes(&table)).await
    }

    /// As [`Cache::resume_refreshes`].
    ///
    /// # Errors
    /// Those of [`Cache::resume_refreshes`].
    pub async fn resume_refreshes(&self, table: &str) -> Result<()> {
        let (cache, table) = (self.cache.clone(), table.to_owned());
        unblock(move || cache.resume_refreshes(&table)).await
    }

    /// As [`Cache::table`].
    ///
    /// # Errors
    /// Those of [`Cache::table`].
    pub async fn table(&self, name: &str) -> Result<AsyncTable> {
        let (cache, name) = (self.cache.clone(), name.to_owned());
        let is_local = cache.is_local();
        let table = unblock(move || cache.table(&name)).await?;
        Ok(AsyncTable::new(table, is_local))
    }

    /// As [`Cache::tables`].
    ///
    /// # Errors
    /// Those of [`Cache::tables`].
    pub async fn tables(&self) -> Result<Vec<TableInfo>> {
        let cache = self.cache.clone();
        unblock(move || cache.tables()).await
    }

    /// As [`Cache::snapshot`].
    ///
    /// # Errors
    /// Those of [`Cache::snapshot`].
    pub async fn snapshot(&self) -> Result<AsyncSnapshot> {
        let cache = self.cache.clone();
        let is_local = cache.is_local();
        let snapshot = unblock(move || cache.snapshot()).await?;
        Ok(AsyncSnapshot { snapshot, is_local })
    }

    /// As [`Cache::sql`], streamed.
    ///
    /// # Errors
    /// Those of [`Cache::sql`].
    pub async fn sql(&self, text: &str, parameters: &[Value]) -> Result<BatchStream> {
        let (cache, text, parameters) = (self.cache.clone(), text.to_owned(), parameters.to_vec());
        unblock(move || cache.sql(&text, &parameters).map(Batches::into_stream)).await
    }

    /// As [`Cache::prepare`].
    ///
    /// # Errors
    /// Those of [`Cache::prepare`].
    pub async fn prepare(&self, text: &str) -> Result<AsyncPrepared> {
        let (cache, text) = (self.cache.clone(), text.to_owned());
        unblock(move || cache.prepare(&text)).await.map(|prepared| AsyncPrepared { prepared })
    }

    /// As [`Cache::source_position`].
    ///
    /// # Errors
    /// Those of [`Cache::source_position`].
    pub async fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        let (cache, source) = (self.cache.clone(), source.to_owned());
        unblock(move || cache.source_position(&source)).await
    }

    /// As [`Cache::compact`].
    ///
    /// # Errors
    /// Those of [`Cache::compact`].
    pub async fn compact(&self) -> Result<()> {
        let cache = self.cache.clone();
        unblock(move || cache.compact()).await
    }

    /// As [`Cache::version`].
    ///
    /// # Errors
    /// Those of [`Cache::version`].
    pub async fn version(&self) -> Result<Version> {
        let cache = self.cache.clone();
        unblock(move || cache.version()).await
    }

    /// As [`Cache::sync`].
    ///
    /// # Errors
    /// Those of [`Cache::sync`].
    pub async fn sync(&self) -> Result<()> {
        let cache = self.cache.clone();
        unblock(move || cache.sync()).await
    }

    /// As [`Cache::status`].
    ///
    /// # Errors
    /// Those of [`Cache::status`].
    pub async fn status(&self) -> Result<Status> {
        let cache = self.cache.clone();
        unblock(move || cache.status()).await
    }

    /// As [`Cache::close`].
    ///
    /// # Errors
    /// Those of [`Cache::close`].
    pub async fn close(&self) -> Result<()> {
        let cache = self.cache.clone();
        unblock(move || cache.close()).await
    }
}

/// A [`Snapshot`] for async code.
#[derive(Clone, Debug)]
pub struct AsyncSnapshot {
    snapshot: Snapshot,
    is_local: bool,
}

impl AsyncSnapshot {
    /// As [`Snapshot::version`].
    ///
    /// # Errors
    /// Those of [`Snapshot::version`].
    pub async fn version(&self) -> Result<Version> {
        let snapshot = self.snapshot.clone();
        unblock(move || snapshot.version()).await
    }

    /// As [`Snapshot::tables`].
    ///
    /// # Errors
    /// Those of [`Snapshot::tables`].
    pub async fn tables(&self) -> Result<Vec<TableInfo>> {
        let snapshot = self.snapshot.clone();
        unblock(move || snapshot.tables()).await
    }

    /// As [`Snapshot::table`].
    ///
    /// # Errors
    /// Those of [`Snapshot::table`].
    pub async fn table(&self, name: &str) -> Result<AsyncTableSnapshot> {
        let (snapshot, name) = (self.snapshot.clone(), name.to_owned());
        let table = unblock(move || snapshot.table(&name)).await?;
        Ok(AsyncTableSnapshot::new(table, self.is_local))
    }

    /// As [`Snapshot::only_tables`].
    ///
    /// # Errors
    /// Those of [`Snapshot::only_tables`].
    pub fn only_tables(&self, is_chosen: impl Fn(&str) -> bool) -> Result<Self> {
        Ok(Self { snapshot: self.snapshot.only_tables(is_chosen)?, is_local: self.is_local })
    }

    /// As [`Snapshot::sql`], streamed.
    ///
    /// # Errors
    /// Those of [`Snapshot::sql`].
    pub async fn sql(&self, text: &str, parameters: &[Value]) -> Result<BatchStream> {
        let (snapshot, text, parameters) = (self.snapshot.clone(), text.to_owned(), parameters.to_vec());
        unblock(move || snapshot.sql(&text, &parameters).map(Batches::into_stream)).await
    }

    /// The same version for code that may block.
    pub fn blocking(&self) -> &Snapshot {
        &self.snapshot
    }
}

/// A [`Prepared`] query for async code.
#[derive(Clone, Debug)]
pub struct AsyncPrepared {
    prepared: Prepared,
}

impl AsyncPrepared {
    /// As [`Prepared::parameters`].
    pub fn parameters(&self) -> usize {
        self.prepared.parameters()
    }

    /// As [`Prepared::execute`], streamed.
    ///
    /// # Errors
    /// Those of [`Prepared::execute`].
    pub async fn execute(&self, parameters: &[Value]) -> Result<BatchStream> {
        let (prepared, parameters) = (self.prepared.clone(), parameters.to_vec());
        unblock(move || prepared.execute(&parameters).map(Batches::into_stream)).await
    }

    /// As [`Prepared::execute_at`], streamed.
    ///
    /// # Errors
    /// Those of [`Prepared::execute_at`].
    pub async fn execute_at(&self, snapshot: &AsyncSnapshot, parameters: &[Value]) -> Result<BatchStream> {
        let (prepared, parameters) = (self.prepared.clone(), parameters.to_vec());
        let snapshot = snapshot.snapshot.clone();
        unblock(move || prepared.execute_at(&snapshot, &parameters).map(Batches::into_stream)).await
    }

    /// The same query for code that may block.
    pub fn blocking(&self) -> &Prepared {
        &self.prepared
    }
}
