//! What several tests need.

#[cfg(feature = "azure")]
pub(crate) mod azure;
pub(crate) mod files;
#[cfg(feature = "gcp")]
pub(crate) mod google;
#[cfg(feature = "http")]
pub(crate) mod http;
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[cfg(feature = "aws")]
pub(crate) mod s3;

use std::path::Path;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::source::{Call, Fetch, Relation, Source};
use pillion::{Error, Result};
use pillion_object_store::{Location, ObjectStoreSource};

/// No test waits longer for a source.
pub(crate) fn call() -> Call {
    Call::within(Duration::from_secs(120))
}

pub(crate) fn local(dir: &Path) -> ObjectStoreSource {
    ObjectStoreSource::new(Location::new(dir.to_str().unwrap())).unwrap()
}

/// The files that the tests have, of kinds that people have.
pub(crate) fn cases() -> ObjectStoreSource {
    local(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/files"))
}

pub(crate) fn try_rows(source: &ObjectStoreSource, fetch: &Fetch) -> Result<RecordBatch> {
    let fetched = source.fetch(fetch, &call())?;
    let schema = fetched.schema().clone();
    let batches = fetched.collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// All rows of a relation.
#[track_caller]
pub(crate) fn rows(source: &ObjectStoreSource, relation: &Relation) -> RecordBatch {
    let found = try_rows(source, &Fetch::of(relation.clone())).unwrap();
    let described = source.describe(relation, &call()).unwrap();
    assert_eq!(described.schema().fields(), found.schema().fields());
    found
}

/// Why rows cannot be fetched.
#[track_caller]
pub(crate) fn failure(source: &ObjectStoreSource, relation: &Relation) -> Error {
    try_rows(source, &Fetch::of(relation.clone())).unwrap_err()
}

/// Names and types of columns: `id Int64, name Utf8`.
pub(crate) fn columns(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

/// Rows as texts: values with a comma between them, and `-` for a null.
pub(crate) fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}
