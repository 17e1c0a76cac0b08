//! What tests of files and processes share.

pub(crate) mod child;
#[cfg(target_os = "linux")]
pub(crate) mod disk;
pub(crate) mod files;
#[cfg(target_os = "linux")]
pub(crate) mod fork;
#[cfg(all(feature = "sql", target_os = "linux"))]
pub(crate) mod grammar;
pub(crate) mod random;
#[cfg(target_os = "linux")]
pub(crate) mod report;
pub(crate) mod scripted_source;
#[cfg(all(feature = "sidecar", feature = "sql", target_os = "linux"))]
pub(crate) mod serving;

use std::sync::Arc;

use arrow::array::types::Int64Type;
use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use pillion::{Cache, Error, ErrorCode, Result, Table, TableDefinition};

/// Whatever takes longer than this is considered stuck.
pub(crate) const PATIENCE: std::time::Duration = std::time::Duration::from_secs(120);

/// Path of a file of real data.
#[cfg(feature = "parquet")]
pub(crate) fn data(name: &str) -> String {
    format!("{}/../examples/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Rows of a number `id` and a text `name` made from it.
pub(crate) fn numbered(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let ids: Vec<i64> = ids.into_iter().collect();
    let names: ArrayRef = Arc::new(StringArray::from_iter_values(ids.iter().map(|id| name_of(*id))));
    let ids: ArrayRef = Arc::new(Int64Array::from(ids));
    RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap()
}

/// The name of a row of [`numbered`].
pub(crate) fn name_of(id: i64) -> String {
    format!("the name of row {id}")
}

/// Defines a table of [`numbered`] rows with `id` as its key.
pub(crate) fn define(cache: &Cache, name: &str, ids: impl IntoIterator<Item = i64>) -> Result<Table> {
    cache.define_table(name, TableDefinition::new(numbered(ids)).primary_key(["id"]))
}

/// The ids of a table of [`numbered`] rows, in order, after checking that every row is right.
pub(crate) fn ids_of(table: &Table) -> Result<Vec<i64>> {
    let mut ids = Vec::new();
    for batch in table.scan()? {
        let batch = batch?;
        let numbers = batch.column(0).as_primitive::<Int64Type>().values();
        for (id, name) in numbers.iter().zip(batch.column(1).as_string::<i32>()) {
            assert_eq!(name, Some(name_of(*id).as_str()), "a row that was never written");
            ids.push(*id);
        }
    }
    ids.sort_unstable();
    Ok(ids)
}

/// Fails unless a table of [`numbered`] rows has exactly these, by scan and by key.
#[track_caller]
pub(crate) fn assert_ids(table: &Table, expected: impl IntoIterator<Item = i64>) {
    let mut expected: Vec<i64> = expected.into_iter().collect();
    expected.sort_unstable();
    assert_eq!(ids_of(table).unwrap(), expected);
    for id in expected {
        let row = table.get(id).unwrap().unwrap_or_else(|| panic!("no row has the key {id}"));
        assert_eq!(row.get::<&str>("name").unwrap(), name_of(id));
    }
}

/// Fails unless a call was refused with this code and a message that names all of `parts`; returns the error.
#[track_caller]
pub(crate) fn refused<T>(result: Result<T>, code: ErrorCode, parts: &[&str]) -> Error {
    let error = result.map(drop).expect_err("the call should be refused");
    assert_eq!(error.code(), code, "{error:?}");
    assert_eq!(error.kind(), code.kind());
    let text = format!("{error:#}");
    for part in parts {
        assert!(text.contains(part), "`{text}` does not name `{part}`");
    }
    error
}

/// Waits until a condition holds.
#[track_caller]
pub(crate) fn eventually(is_so: impl Fn() -> bool, what: impl Fn() -> String) {
    let deadline = std::time::Instant::now() + PATIENCE;
    while !is_so() {
        assert!(std::time::Instant::now() < deadline, "{}", what());
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}
