//! Joins on a key with little memory: they hold the other side once, and without memory for its keys they go on as planned.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};

use super::key_joins::counts_of;
use crate::storage::batch_len;
use crate::{Cache, CacheOptions, ErrorCode, TableDefinition};

/// Rows of the other side.
const SMALL: i64 = 90;

/// Rows with a key of some length and a text of some length.
fn rows(count: i64, key_len: usize, text_len: usize) -> RecordBatch {
    let keys: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..count).map(|row| format!("{row:0>key_len$}"))));
    let texts: ArrayRef =
        Arc::new(StringArray::from_iter_values((0..count).map(|row| format!("{row:0>text_len$}"))));
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..count));
    RecordBatch::try_from_iter([("k", keys), ("t", texts), ("v", numbers)]).unwrap()
}

/// The rows of a join, and what it looked up and scanned, with memory for some parts of four of the other side.
fn joined(key_len: usize, text_len: usize, quarters: usize) -> crate::Result<(usize, [usize; 3])> {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let small = rows(SMALL, key_len, text_len);
    let memory = batch_len(&small) / 4 * quarters;
    cache.define_table("s", TableDefinition::new(small)).unwrap();
    cache.define_table("b", TableDefinition::new(rows(6_400, key_len, 1)).primary_key(["k"])).unwrap();
    cache.close().unwrap();
    drop(cache);
    let cache = CacheOptions::new().query_threads(1).query_memory(memory).open(dir.path()).unwrap();
    let text = "SELECT s.t, b.v FROM s JOIN b ON s.k = b.k";
    let answer = cache.sql(text, &[]).and_then(|rows| rows.collect_all());
    let answer = answer.map(|batches| {
        let counts = counts_of(&cache, text);
        (batches.iter().map(RecordBatch::num_rows).sum(), counts[0])
    });
    cache.close().unwrap();
    answer
}

#[test]
fn the_other_side_is_held_once() {
    let found = joined(8, 20_000, 6).unwrap();
    assert_eq!(found, (90, [90, 90, 0]));
}

#[test]
fn without_memory_for_the_keys_a_join_goes_on_as_planned() {
    let found = joined(5_000, 1, 6).unwrap();
    assert_eq!(found, (90, [0, 0, 1]));
}

#[test]
fn without_memory_for_the_other_side_a_join_fails_as_that_of_datafusion() {
    let error = joined(8, 20_000, 2).unwrap_err();
    assert_eq!(error.code(), ErrorCode::MemoryLimit, "{error}");
}
