//! The tables of one state, as DataFusion finds them by name.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::{CatalogProvider, CatalogProviderList, SchemaProvider, TableProvider};
use datafusion::error::{DataFusionError, Result};

use super::provider::CacheTable;
use crate::storage::State;

/// Name of the one catalog.
pub(super) const CATALOG: &str = "pillion";
/// Name of the one schema.
pub(super) const SCHEMA: &str = "public";

/// One catalog with one schema: the tables of a state.
#[derive(Clone)]
pub(super) struct StateCatalog {
    state: Arc<State>,
}

impl StateCatalog {
    pub(super) fn new(state: Arc<State>) -> Self {
        Self { state }
    }
}

impl fmt::Debug for StateCatalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateCatalog({})", self.state.version)
    }
}

impl CatalogProviderList for StateCatalog {
    fn register_catalog(&self, _: String, _: Arc<dyn CatalogProvider>) -> Option<Arc<dyn CatalogProvider>> {
        None
    }

    fn catalog_names(&self) -> Vec<String> {
        vec![CATALOG.to_owned()]
    }

    fn catalog(&self, name: &str) -> Option<Arc<dyn CatalogProvider>> {
        (name == CATALOG).then(|| Arc::new(self.clone()) as _)
    }
}

impl CatalogProvider for StateCatalog {
    fn schema_names(&self) -> Vec<String> {
        vec![SCHEMA.to_owned()]
    }

    fn schema(&self, name: &str) -> Option<Arc<dyn SchemaProvider>> {
        (name == SCHEMA).then(|| Arc::new(self.clone()) as _)
    }
}

#[async_trait]
impl SchemaProvider for StateCatalog {
    fn table_names(&self) -> Vec<String> {
        self.state.names.keys().cloned().collect()
    }

    async fn table(&self, name: &str) -> Result<Option<Arc<dyn TableProvider>>, DataFusionError> {
        // A name that is not a table of ours may be a function.
        Ok(self.state.table(name).ok().map(|table| Arc::new(CacheTable::new(table.shape.clone())) as _))
    }

    fn table_exist(&self, name: &str) -> bool {
        self.state.names.contains_key(name)
    }
}
