//! Fetching in tests of connectors, and reading what was fetched.

#![allow(dead_code, reason = "each connector needs a part of it")]

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::util::display::array_value_to_string;
use pillion::Result;
use pillion::source::{Call, Fetch, Relation, Source};

/// A call that ends should something hang.
pub(crate) fn patient() -> Call {
    Call::within(Duration::from_secs(60))
}

/// All rows as one batch.
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
