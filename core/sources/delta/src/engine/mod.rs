//! What the kernel works with: the files of a source, and Arrow. It only reads.

mod json;
mod parquet;
mod storage;

use std::sync::Arc;

use delta_kernel::engine::arrow_expression::ArrowEvaluationHandler;
use delta_kernel::{Engine, EvaluationHandler, JsonHandler, ParquetHandler, StorageHandler};
use pillion_object_store::Files;

use self::json::Json;
use self::parquet::Parquet;
pub(crate) use self::parquet::TableRows;
use self::storage::Storage;
use crate::paths::Paths;

/// The files of a source for the time of a call, by their URLs.
#[derive(Clone)]
pub(crate) struct TableEngine {
    pub(crate) files: Files,
    pub(crate) paths: Arc<Paths>,
}

impl Engine for TableEngine {
    fn evaluation_handler(&self) -> Arc<dyn EvaluationHandler> {
        Arc::new(ArrowEvaluationHandler)
    }

    fn storage_handler(&self) -> Arc<dyn StorageHandler> {
        Arc::new(Storage(self.clone()))
    }

    fn json_handler(&self) -> Arc<dyn JsonHandler> {
        Arc::new(Json(self.clone()))
    }

    fn parquet_handler(&self) -> Arc<dyn ParquetHandler> {
        Arc::new(Parquet(self.clone()))
    }
}
