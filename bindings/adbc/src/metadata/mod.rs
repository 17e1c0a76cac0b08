//! What there is in a cache, as ADBC describes it.

mod facts;
mod lists;
pub(crate) mod objects;
mod pattern;
pub(crate) mod statistics;

use adbc_core::error::Result;
use arrow::array::{RecordBatch, RecordBatchIterator, RecordBatchReader};

pub(crate) use facts::{info, table_types};

/// The one catalog, as SQL names it.
pub(crate) const CATALOG: &str = "pillion";
/// The one schema, as SQL names it.
pub(crate) const SCHEMA: &str = "public";
/// The one type of tables.
const TABLE_TYPE: &str = "table";

type Reader = Box<dyn RecordBatchReader + Send + 'static>;

fn reader(batch: RecordBatch) -> Result<Reader> {
    let schema = batch.schema();
    Ok(Box::new(RecordBatchIterator::new([Ok(batch)], schema)))
}
