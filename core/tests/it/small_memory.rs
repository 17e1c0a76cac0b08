//! Loads that sort more rows than they may keep in memory, and statements that keep more keys than they may.

use std::sync::Arc;

use arrow::array::types::{Int32Type, Int64Type};
use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray};
use pillion::{Cache, CacheOptions, ErrorCode, TableDefinition};

use crate::support::{files, refused};

const ROWS: i64 = 30_000;

/// With so little memory that every few batches become a run on disk.
fn open(dir: &std::path::Path) -> Cache {
    CacheOptions::new().load_memory(200_000).open(dir).unwrap()
}

/// Rows in batches of odd sizes; every column shows which row it belongs to. `place` repeats, and is null in every
/// ninth row.
fn batches(ids: &[i64]) -> Vec<RecordBatch> {
    ids.chunks(777)
        .map(|ids| {
            let place = ids.iter().map(|id| (id % 9 != 4).then_some(id * 31 % 100));
            let list = ids.iter().map(|id| (id % 5 != 0).then(|| vec![i32::try_from(*id).ok(), None]));
            let columns: [(&str, ArrayRef); 5] = [
                ("id", Arc::new(Int64Array::from_iter_values(ids.iter().copied()))),
                ("place", Arc::new(Int64Array::from_iter(place))),
                ("text", Arc::new(StringArray::from_iter_values(ids.iter().map(|id| format!("text {id}"))))),
                (
                    "view",
                    Arc::new(StringViewArray::from_iter_values(
                        ids.iter().map(|id| format!("view of the row {id}")),
                    )),
                ),
                ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(list))),
            ];
            RecordBatch::try_from_iter(columns).unwrap()
        })
        .collect()
}

/// Every number below [`ROWS`] once, in disorder: 7919 is prime.
fn shuffled() -> Vec<i64> {
    (0..ROWS).map(|n| n * 7919 % ROWS).collect()
}

/// The ids of a scan, after a check that every row is whole.
fn ids(rows: &RecordBatch) -> Vec<i64> {
    let ids = rows.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec();
    let expected = arrow::compute::concat_batches(&rows.schema(), &batches(&ids)).unwrap();
    assert_eq!(rows, &expected, "every column is of its row");
    ids
}

#[test]
fn a_key_larger_than_memory_is_sorted() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let definition = TableDefinition::new(batches(&shuffled())).primary_key(["id"]);
    let table = cache.define_table("t", definition).unwrap();
    assert!(ids(&table.scan().unwrap().concat().unwrap()).into_iter().eq(0..ROWS));
    for id in (0..ROWS).step_by(499) {
        assert_eq!(table.get(id).unwrap().unwrap().get::<String>("text").unwrap(), format!("text {id}"));
    }
    files::assert_no_temporary_files(dir.path());
}

#[test]
fn an_order_larger_than_memory_is_stable() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let order = shuffled();
    let table = cache.define_table("t", TableDefinition::new(batches(&order)).sort_by(["place"])).unwrap();
    let mut expected = order;
    // The sort is stable: rows with equal places stay in the order in which they came, and nulls are last.
    expected.sort_by_key(|id| if id % 9 == 4 { i64::MAX } else { id * 31 % 100 });
    assert_eq!(ids(&table.scan().unwrap().concat().unwrap()), expected);
    files::assert_no_temporary_files(dir.path());
}

#[test]
fn a_duplicate_in_another_run_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let mut order = shuffled();
    let twice = order[3];
    order.push(twice);
    let definition = TableDefinition::new(batches(&order)).primary_key(["id"]);
    refused(cache.define_table("t", definition), ErrorCode::DuplicateKey, &[&format!("id={twice}")]);
    files::assert_no_temporary_files(dir.path());
    assert!(files::segments(dir.path()).is_empty());
}

#[test]
fn appends_larger_than_memory_are_merged() {
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path());
    let order = shuffled();
    let parts: Vec<&[i64]> = order.chunks(order.len() / 12 + 1).collect();
    let table = cache.define_table("t", TableDefinition::new(batches(parts[0])).primary_key(["id"])).unwrap();
    for part in &parts[1..] {
        table.append(batches(part)).unwrap();
        assert!(table.info().unwrap().segments <= 8);
    }
    let mut found = ids(&table.scan().unwrap().concat().unwrap());
    found.sort_unstable();
    assert!(found.into_iter().eq(0..ROWS));
    files::assert_no_temporary_files(dir.path());
}

#[cfg(feature = "sql")]
#[test]
fn statements_keep_no_more_keys_than_queries_may() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_memory(200_000).open(dir.path()).unwrap();
    let table =
        cache.define_table("t", TableDefinition::new(batches(&shuffled())).primary_key(["id"])).unwrap();
    let rows = usize::try_from(ROWS).unwrap();
    for text in [
        "DELETE FROM t WHERE id >= 0 AND id + 1 > 0",
        "INSERT INTO t SELECT id + 1000000, place, text, \"view\", list FROM t ON CONFLICT DO NOTHING",
    ] {
        let error = cache.execute(text, &[]).unwrap_err();
        assert_eq!(error.code(), ErrorCode::MemoryLimit, "{error}");
        assert!(error.message().starts_with("the keys of the rows that a"), "{error}");
        assert_eq!(ids(&table.scan().unwrap().concat().unwrap()).len(), rows);
    }
    // What the refused ones held is free again.
    for low in [0, 5_000, 10_000] {
        let text = format!("DELETE FROM t WHERE id >= {low} AND id < {}", low + 5_000);
        assert_eq!(cache.execute(&text, &[]).unwrap().rows, 5_000);
    }
    assert_eq!(table.info().unwrap().rows, 15_000);
}
