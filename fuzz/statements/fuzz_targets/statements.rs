//! Statements of the tests' grammar, made from bytes: no statement ends the process, and later ones are still answered.
//!
//! The thread that asks has a stack of the usual size; libFuzzer watches memory and time.
#![no_main]

#[path = "../../../core/tests/it/support/grammar.rs"]
mod grammar;

use std::sync::{Arc, OnceLock};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use grammar::{Choices, Grammar};
use pillion::{Batches, Cache, CacheOptions, TableDefinition, Value};

/// Memory of the queries, far below what the command allows the process.
const QUERY_MEMORY: usize = 64 << 20;
/// The default stack of threads.
const STACK: usize = 2 << 20;
const ROWS: i64 = 1_000;

/// Choices by bytes; the first alternative when no bytes are left.
struct Bytes<'a>(&'a [u8]);

impl Choices for Bytes<'_> {
    fn below(&mut self, end: u64) -> u64 {
        let Some((&byte, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(byte) % end
    }
}

fn cache() -> &'static Cache {
    static CACHE: OnceLock<Cache> = OnceLock::new();
    CACHE.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap().keep();
        let cache = CacheOptions::new().query_memory(QUERY_MEMORY).query_threads(2).open(dir).unwrap();
        let names = StringArray::from_iter_values((0..ROWS).map(|id| format!("row {id}")));
        let columns: Vec<(&str, ArrayRef)> =
            vec![("id", Arc::new(Int64Array::from_iter_values(0..ROWS))), ("name", Arc::new(names))];
        let rows = RecordBatch::try_from_iter(columns).unwrap();
        cache.define_table("t", TableDefinition::new(rows).primary_key(["id"])).unwrap();
        cache
    })
}

fn answers(text: &str, parameters: &[Value]) -> pillion::Result<usize> {
    // Drops batches as they arrive.
    cache().sql(text, parameters)?.try_fold(0, |rows, batch| batch.map(|batch| rows + batch.num_rows()))
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let text = Grammar::new(Bytes(bytes)).statement();
    let asked = std::thread::Builder::new().stack_size(STACK).spawn(move || {
        let _ = answers(&text, &[]);
    });
    asked.unwrap().join().unwrap();
    let found = cache().sql("SELECT id FROM t WHERE id < $1", &[Value::from(5)]).and_then(Batches::concat);
    assert_eq!(found.unwrap().num_rows(), 5);
});
