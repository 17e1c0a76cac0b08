//! Rows so long that few of them fill a batch.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use pillion::{Cache, TableDefinition};

use crate::support::report;

/// Bytes of a row, and rows: in all more than the 64 MiB of a batch, and with `PILLION_TEST_LARGE=1` more than the 2 GiB that a
/// column of texts can count.
fn sizes() -> (usize, i64) {
    if std::env::var_os("PILLION_TEST_LARGE").is_some() { (60 << 20, 40) } else { (24 << 20, 5) }
}

fn row(id: i64, len: usize) -> RecordBatch {
    let text = char::from(b'a' + u8::try_from(id % 26).unwrap()).to_string().repeat(len);
    let columns: Vec<(&str, ArrayRef)> =
        vec![("id", Arc::new(Int64Array::from(vec![id]))), ("text", Arc::new(StringArray::from(vec![text])))];
    RecordBatch::try_from_iter(columns).unwrap()
}

#[test]
fn many_long_rows_are_found_by_a_list_of_keys() {
    let (len, rows) = sizes();
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let table = cache.define_table("t", TableDefinition::new(row(0, len)).primary_key(["id"])).unwrap();
    for id in 1..rows {
        table.append(row(id, len)).unwrap();
    }
    let list: Vec<String> = (0..rows).map(|id| id.to_string()).collect();
    let list = list.join(", ");
    let mut found = Vec::new();
    for batch in cache.sql(&format!("SELECT id, text FROM t WHERE id IN ({list})"), &[]).unwrap() {
        let batch = batch.unwrap();
        for (id, text) in batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .iter()
            .zip(batch.column(1).as_string::<i32>())
        {
            let text = text.unwrap();
            assert_eq!(
                (text.len(), text.as_bytes()[len - 1]),
                (len, b'a' + u8::try_from(id % 26).unwrap()),
                "row {id}"
            );
            found.push(*id);
        }
    }
    found.sort_unstable();
    assert_eq!(found, (0..rows).collect::<Vec<_>>());
    let text =
        format!("SELECT count(*), sum(character_length(text)) FROM t WHERE id IN ({list}) AND text <> ''");
    let counted = cache.sql(&text, &[]).unwrap().concat().unwrap();
    assert_eq!(counted.column(0).as_primitive::<Int64Type>().value(0), rows);
    report::add(format_args!("long rows by a list of keys: {rows} of {} MiB", len >> 20));
}
