//! The tables for DataFusion contexts of the program itself.

use std::sync::Arc;

use super::cache::Cache;
use super::snapshot::Snapshot;
use crate::query::CacheCatalog;
use crate::types::error::Result;
use crate::way::local;
use crate::way::staleness::Moment;

impl Cache {
    /// The tables as a catalog for a `SessionContext` of DataFusion. Each query over it sees the newest version, all tables the same one;
    /// see [`CacheCatalog`].
    ///
    /// ```
    /// use std::sync::Arc;
    ///
    /// use datafusion::prelude::SessionContext;
    /// use pillion::{Cache, TableDefinition};
    /// # use arrow::array::{Int64Array, RecordBatch};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let batch = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap();
    ///
    /// let cache = Cache::open(dir.path())?;
    /// cache.define_table("numbers", TableDefinition::new(batch).primary_key(["id"]))?;
    ///
    /// let context = SessionContext::new();
    /// context.register_catalog("cache", Arc::new(cache.datafusion_catalog()?));
    /// let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    /// let rows = runtime.block_on(async {
    ///     context.sql("SELECT id FROM cache.public.numbers WHERE id = 2").await?.collect().await
    /// });
    /// assert_eq!(rows.unwrap()[0].num_rows(), 1);
    /// # Ok::<(), pillion::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if a sidecar has the rows and this process does not read the files, and
    /// those of finding the newest version.
    pub fn datafusion_catalog(&self) -> Result<CacheCatalog> {
        let backend = self.backend.clone();
        let newest = move || local::shown(backend.pin()?.as_ref(), Some(Moment::Now));
        let (engine, _) = newest()?;
        Ok(CacheCatalog::live(engine, Arc::new(move || Ok(newest()?.1))))
    }
}

impl Snapshot {
    /// The tables of this version as a catalog for a `SessionContext` of DataFusion; see
    /// [`Cache::datafusion_catalog`].
    ///
    /// # Errors
    /// [`Unsupported`](crate::ErrorCode::Unsupported) if a sidecar holds the snapshot.
    pub fn datafusion_catalog(&self) -> Result<CacheCatalog> {
        let reader = self.reader.clone();
        let held = move || local::shown(reader.as_ref(), None);
        let (engine, _) = held()?;
        Ok(CacheCatalog::held(engine, Arc::new(move || Ok(held()?.1))))
    }
}
