//! The tables of a cache as a catalog of any DataFusion context.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, SchemaProvider, Session, TableProvider};
use datafusion::error::{DataFusionError, Result};

use super::pins::{Origin, PinState, Pinned, PinnedPlan};
use crate::coverage::UpstreamSlot;
use crate::query::catalog::SCHEMA;
use crate::query::engine::Engine;
use crate::query::error::external;
use crate::query::provider::{CacheTable, ExecutionState, PlansOn};
use crate::storage::TableShape;

/// The tables of a cache, or of one held version of it, for a `SessionContext` of DataFusion: a catalog with one schema, `public`. It
/// is itself that schema too.
///
/// [`Cache::datafusion_catalog`](crate::Cache::datafusion_catalog) and
/// [`Snapshot::datafusion_catalog`](crate::Snapshot::datafusion_catalog) make one. It is a handle as these are: the cache stays open as
/// long as a context holds it.
///
/// # Versions
/// All tables of one query see one version, those of other catalogs of the same cache included. For a live catalog it is the newest
/// at the moment when DataFusion makes the physical plan. A `DataFrame` that is executed again sees the newest then, unless a plan of it
/// that was made in the last ten seconds is still there: one start of a session has one version, as it has one `now()`. `max_staleness`
/// counts at each planning.
///
/// # What DataFusion is told
/// Exact numbers of rows, bounds and numbers of nulls of columns; keys; an order where the rows really have it. Keys in filters are
/// looked up, and other filters leave out batches by their bounds. Answers are right in any context.
/// [`with_rules`](super::with_rules) adds what makes joins on a key look rows up, and what leaves out more batches by conditions that
/// joins and sorts find while they run.
///
/// # Limits
/// The tables are read only: DataFusion reports an error for statements that change them. Memory, threads, spilling and cancellation are
/// those of the context. Errors of Pillion come as `DataFusionError::External` with a [`pillion::Error`](crate::Error) in it.
#[derive(Clone)]
pub struct CacheCatalog {
    origin: Origin,
}

impl CacheCatalog {
    /// The newest version at each query.
    pub(crate) fn live(engine: Engine, newest: Arc<PinState>) -> Self {
        Self::new(engine, newest, false)
    }

    /// One version, which `held` gives each time.
    pub(crate) fn held(engine: Engine, held: Arc<PinState>) -> Self {
        Self::new(engine, held, true)
    }

    /// The same catalog, whose tables tell DataFusion their numbers of rows, and not the bounds and numbers of nulls of their columns. Batches
    /// are left out as ever, but `min` and `max` read rows.
    ///
    /// For statements that DataFusion fails to plan: it computes with bounds, and such a computation may overflow although that of no row
    /// does.
    #[must_use]
    pub fn without_bounds(self) -> Self {
        Self { origin: Origin { tells_bounds: false, ..self.origin } }
    }

    /// The same catalog, whose tables that hold only some rows of their source, and may answer with what they have
    /// ([`OnMiss::Local`](crate::OnMiss::Local)), do so here too. Nothing in the answer then says that rows may be missing; plans do
    /// (`coverage` in `EXPLAIN`). Without this, such a query fails with [`NotCovered`](crate::ErrorCode::NotCovered).
    #[must_use]
    pub fn partial(self) -> Self {
        Self { origin: Origin { is_partial: true, ..self.origin } }
    }

    fn new(engine: Engine, newest: Arc<PinState>, is_held: bool) -> Self {
        Self { origin: Origin { engine, newest, is_held, tells_bounds: true, is_partial: false } }
    }

    /// The newest version, or the held one.
    fn state(&self) -> Result<Pinned> {
        (self.origin.newest)().map_err(external)
    }

    fn provider(&self, shape: Arc<TableShape>) -> Arc<dyn TableProvider> {
        Arc::new(CacheTable::new(shape).planned_on(Arc::new(self.origin.clone())))
    }
}

impl fmt::Debug for CacheCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CacheCatalog")
    }
}

impl CatalogProvider for CacheCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(self.clone()) as _)
    }
}

#[async_trait]
impl SchemaProvider for CacheCatalog {
    /// None if the newest version cannot be found out; then [`table`](SchemaProvider::table) reports why.
    fn table_names(&self) -> Vec<String> {
        self.state().map_or_else(|_| Vec::new(), |pinned| pinned.state.names.keys().cloned().collect())
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        let pinned = self.state()?;
        Ok(pinned.state.table(name).ok().map(|table| self.provider(table.shape.clone())))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.state().is_ok_and(|pinned| pinned.state.names.contains_key(name))
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Origin")
    }
}

impl PlansOn for Origin {
    fn execution(&self, session: &dyn Session, table: &TableShape) -> Result<Arc<ExecutionState>> {
        let pin: Arc<PinnedPlan> = self.pin(session).map_err(external)?;
        let Pinned { state, readable } = &pin.pinned;
        if let Some(table) = state.tables.get(&table.id) {
            readable(state, table).map_err(external)?;
        }
        // Nobody reads the certificates of such plans, so that no source answers for them.
        let mut execution = ExecutionState::new(state.clone(), self.tells_bounds, UpstreamSlot::default());
        execution.takes_partial = self.is_partial;
        execution.pin = Some(pin);
        Ok(Arc::new(execution))
    }
}
