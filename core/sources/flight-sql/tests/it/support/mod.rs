//! What several tests need.

pub(crate) mod answers;
mod calls;
pub(crate) mod certificates;
pub(crate) mod front;
pub(crate) mod peer;
#[path = "../../../../object-store/tests/it/support/proxy.rs"]
pub(crate) mod proxy;
#[path = "../../../../../tests/it/support/report.rs"]
pub(crate) mod report;
pub(crate) mod roapi;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::compute::concat_batches;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::Result;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_flight_sql::{FlightSql, FlightSqlOptions};

/// No test waits longer for a source.
pub(crate) fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

pub(crate) fn options(url: &str) -> FlightSqlOptions {
    FlightSqlOptions::from_url(url).unwrap()
}

/// All rows as one batch.
pub(crate) fn all(source: &FlightSql, fetch: &Fetch) -> Result<RecordBatch> {
    let fetched = source.fetch(fetch, &call())?;
    let schema = fetched.schema().clone();
    let batches = fetched.collect::<Result<Vec<_>>>()?;
    assert!(batches.iter().all(|batch| batch.schema() == schema && batch.num_rows() > 0));
    Ok(concat_batches(&schema, &batches).unwrap())
}

pub(crate) fn table(name: &str) -> Fetch {
    Fetch::of(Relation::table(name))
}

pub(crate) fn statement(text: &str) -> Fetch {
    Fetch::of(Relation::statement(text))
}

/// Rows as texts: values with a comma between them, and `-` for a null.
pub(crate) fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}

/// Rows with the numbers from `first` on.
pub(crate) fn numbers(first: i64, rows: i64) -> RecordBatch {
    let ids = Int64Array::from_iter_values(first..first + rows);
    let texts = StringArray::from_iter_values((first..first + rows).map(|number| format!("text {number}")));
    RecordBatch::try_from_iter([
        ("id", Arc::new(ids) as Arc<dyn arrow::array::Array>),
        ("text", Arc::new(texts) as Arc<dyn arrow::array::Array>),
    ])
    .unwrap()
}
