//! `get` by keys of several types.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, Date32Array, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray,
};
use arrow::array::{TimestampMicrosecondArray, UInt64Array};
use arrow::datatypes::TimeUnit;
use criterion::{BenchmarkId, Criterion};
use pillion::{TableDefinition, Value, ValueRef};
use pillion_benches::Result;
use pillion_benches::workload::Stored;

use super::ROWS;

/// Lookups of one key each, in tables that differ only in the type of their keys.
pub(super) fn run(criterion: &mut Criterion) -> Result<()> {
    let rows_i32 = i32::try_from(ROWS)?;
    let numbers = || 0..i64::from(rows_i32);
    let texts = || StringArray::from_iter_values(numbers().map(|number| format!("key {number}")));
    let small = || 0..rows_i32;
    let moment = ValueRef::Timestamp { value: 77, unit: TimeUnit::Microsecond };
    let moments = || Arc::new(TimestampMicrosecondArray::from_iter_values(numbers())) as ArrayRef;
    let cases: Vec<(&str, Vec<ArrayRef>, Vec<ValueRef<'_>>)> = vec![
        ("Int64", vec![Arc::new(numbers().collect::<Int64Array>())], vec![ValueRef::Int(77)]),
        ("Int32", vec![Arc::new(small().collect::<Int32Array>())], vec![ValueRef::Int(77)]),
        ("UInt64", vec![Arc::new((0..ROWS).collect::<UInt64Array>())], vec![ValueRef::UInt(77)]),
        (
            "Float64",
            vec![Arc::new(small().map(f64::from).collect::<Float64Array>())],
            vec![ValueRef::Float(77.0)],
        ),
        ("Date32", vec![Arc::new(Date32Array::from_iter_values(small()))], vec![ValueRef::Date(77)]),
        ("Timestamp", vec![moments()], vec![moment]),
        ("Timestamp, as text", vec![moments()], vec![ValueRef::Str("1970-01-01T00:00:00.000077")]),
        ("Utf8", vec![Arc::new(texts())], vec![ValueRef::Str("key 77")]),
        (
            "Timestamp, Utf8, Int64",
            vec![moments(), Arc::new(texts()), Arc::new(numbers().collect::<Int64Array>())],
            vec![moment, ValueRef::Str("key 77"), ValueRef::Int(77)],
        ),
    ];
    let mut group = criterion.benchmark_group("key");
    for (name, columns, key) in cases {
        let names: Vec<String> = (0..columns.len()).map(|column| format!("key_{column}")).collect();
        let rows = columns.first().map_or(0, |column| column.len());
        let payload: ArrayRef = Arc::new(Int64Array::from_value(7, rows));
        let columns = names.iter().cloned().zip(columns).chain([("payload".to_owned(), payload)]);
        let batch = RecordBatch::try_from_iter(columns)?;
        let stored = Stored::create()?;
        let definition = TableDefinition::new(batch).primary_key(names);
        let table = stored.cache().define_table("keyed", definition)?;
        let key: Vec<Value> = key.into_iter().map(ValueRef::into_owned).collect();
        table.get(&key)?.ok_or_else(|| format!("{name}: the key is not found"))?;
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| bencher.iter(|| table.get(&key)));
    }
    group.finish();
    Ok(())
}
