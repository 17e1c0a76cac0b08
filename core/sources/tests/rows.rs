//! Fetching in tests of connectors, and reading what was fetched.

#![allow(dead_code, reason = "each connector needs a part of it")]

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions, array_value_to_string};
use pillion::source::{Call, Fetch, Relation, Source};
use pillion::{Error, Result};

/// A call that ends should something hang.
pub(crate) fn patient() -> Call {
    Call::within(Duration::from_secs(60))
}

/// All wanted rows as one batch.
pub(crate) fn all(source: &dyn Source, fetch: &Fetch) -> Result<RecordBatch> {
    let fetched = source.fetch(fetch, &patient())?;
    let schema = fetched.schema().clone();
    let batches = fetched.collect::<Result<Vec<_>>>()?;
    assert!(batches.iter().all(|batch| batch.schema() == schema && batch.num_rows() > 0));
    Ok(arrow::compute::concat_batches(&schema, &batches).unwrap())
}

pub(crate) fn table(name: &str) -> Fetch {
    Fetch::of(Relation::table(name))
}

pub(crate) fn statement(text: &str) -> Fetch {
    Fetch::of(Relation::statement(text))
}

/// The rows as Arrow shows them, columns separated by `|`, in the order in which they came.
pub(crate) fn lines(batch: &RecordBatch) -> Vec<String> {
    let cell = |column: &arrow::array::ArrayRef, row| {
        if column.is_null(row) { "null".to_owned() } else { array_value_to_string(column, row).unwrap() }
    };
    (0..batch.num_rows())
        .map(|row| batch.columns().iter().map(|column| cell(column, row)).collect::<Vec<_>>().join("|"))
        .collect()
}

/// The same, sorted.
pub(crate) fn sorted(batch: &RecordBatch) -> Vec<String> {
    let mut lines = lines(batch);
    lines.sort();
    lines
}

/// Names and types of columns, with `?` behind those that may be null.
pub(crate) fn columns(schema: &arrow::datatypes::Schema) -> String {
    let columns = schema.fields().iter().map(|field| {
        format!("{} {}{}", field.name(), field.data_type(), if field.is_nullable() { "?" } else { "" })
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// Names and types of columns: `id Int64, name Utf8`.
pub(crate) fn names_and_types(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

/// All rows of a relation, which have the columns that were described.
#[track_caller]
pub(crate) fn rows(source: &dyn Source, relation: &Relation) -> RecordBatch {
    let found = all(source, &Fetch::of(relation.clone())).unwrap();
    let described = source.describe(relation, &patient()).unwrap();
    assert_eq!(described.schema().fields(), found.schema().fields());
    found
}

/// Why rows cannot be fetched.
#[track_caller]
pub(crate) fn failure(source: &dyn Source, relation: &Relation) -> Error {
    all(source, &Fetch::of(relation.clone())).unwrap_err()
}

/// The rows in the order in which they came: values with a comma between them, and `-` for a null.
pub(crate) fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}
