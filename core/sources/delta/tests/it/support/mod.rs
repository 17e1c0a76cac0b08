//! What several tests need.

pub(crate) mod lake;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../object-store/tests/it/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "../../../../object-store/tests/it/support/s3.rs"]
pub(crate) mod s3;

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::source::{Call, Fetch, Relation, Source};
use pillion::{Error, Result};
use pillion_delta::DeltaSource;

/// No test waits longer for a source.
pub(crate) fn call() -> Call {
    Call::within(Duration::from_secs(120))
}

pub(crate) fn try_rows(source: &DeltaSource, fetch: &Fetch) -> Result<RecordBatch> {
    let fetched = source.fetch(fetch, &call())?;
    let schema = fetched.schema().clone();
    let batches = fetched.collect::<Result<Vec<_>>>()?;
    Ok(concat_batches(&schema, &batches).unwrap())
}

/// All rows of a relation.
#[track_caller]
pub(crate) fn rows(source: &DeltaSource, relation: &Relation) -> RecordBatch {
    let found = try_rows(source, &Fetch::of(relation.clone())).unwrap();
    let described = source.describe(relation, &call()).unwrap();
    assert_eq!(described.schema().fields(), found.schema().fields());
    if let Some(rows) = described.expected_rows() {
        assert_eq!(rows, found.num_rows() as u64);
    }
    found
}

/// Why rows cannot be fetched.
#[track_caller]
pub(crate) fn failure(source: &DeltaSource, relation: &Relation) -> Error {
    try_rows(source, &Fetch::of(relation.clone())).unwrap_err()
}

/// Names and types of columns: `id Int64, name Utf8`.
pub(crate) fn columns(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

/// Rows as texts in their order: values with a comma between them, and `-` for a null.
pub(crate) fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    let mut rows: Vec<String> = (0..batch.num_rows()).map(row).collect();
    rows.sort();
    rows
}
