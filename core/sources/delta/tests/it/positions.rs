//! Rows from a value on: files that have none are not read.

use pillion::source::{After, Fetch, Relation};
use pillion::{ErrorCode, Value};

use crate::support::lake::{Lake, remove};
use crate::support::{shown, try_rows};

fn from(column: &str, value: Value) -> Fetch {
    Fetch::of(Relation::table("t")).after(After { column: column.to_owned(), value })
}

#[test]
fn only_files_with_wanted_rows_are_read() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "for day in range(1, 6):
    write('t', {
        'id': pa.array([10 * day, 10 * day + 1, None], pa.int64()),
        'at': pa.array([dt.datetime(2024, 1, day, 12, 0, 0, 123456), dt.datetime(2024, 1, day, 13), None], pa.timestamp('us', 'UTC')),
        'day': pa.array([dt.date(2024, 1, day)] * 3), 'text': [f'text {day}', 'zz', None],
        'price': pa.array([decimal.Decimal(day)] * 3, pa.decimal128(9, 2))}, partition_by=['day'])",
    );
    let source = lake.source();
    let days: Vec<_> =
        lake.data_files("t").into_iter().map(|path| path.to_str().unwrap().to_owned()).collect();
    let first: Vec<_> =
        days.iter().filter(|path| path.contains("2024-01-01") || path.contains("2024-01-02")).collect();
    assert_eq!((days.len(), first.len()), (5, 2));
    remove(&first);
    let micros = |seconds: i64, more: i64| Value::Timestamp {
        value: (1_704_067_200 + seconds) * 1_000_000 + more,
        unit: arrow::datatypes::TimeUnit::Microsecond,
    };
    let read = |column: &str, value: Value| {
        let fetch = from(column, value).columns(["id"]);
        shown(&try_rows(&source, &fetch).unwrap()).join(" ")
    };
    assert_eq!(read("id", Value::Int(31)), "31 40 41 50 51");
    assert_eq!(read("at", micros(4 * 86_400 + 43_200, 123_456)), "50 51", "the last day from noon on");
    assert_eq!(read("at", micros(4 * 86_400 + 43_200, 123_457)), "51");
    assert_eq!(read("day", Value::Date(19_727)), "- 50 51", "a column of partitions");
    assert_eq!(read("id", Value::Int(i64::MAX)), "");
    // Files of the first days may have such rows, and they are gone.
    for (column, value) in [("id", Value::Int(21)), ("text", Value::from("text 3"))] {
        let gone = try_rows(&source, &from(column, value)).unwrap_err();
        assert_eq!(gone.code(), ErrorCode::SourceUnavailable, "{column}: {gone:?}");
    }
}

#[test]
fn positions_are_exact() {
    let Some(lake) = Lake::new() else { return };
    lake.run(
        "write('t', {
    'small': pa.array([1, 2, None], pa.int8()), 'text': ['a', 'ä', 'z'],
    'price': pa.array([decimal.Decimal('1.00'), decimal.Decimal('1.01'), None], pa.decimal128(9, 2)),
    'local': pa.array([dt.datetime(2024, 1, 1, 0, 0, n) for n in range(3)], pa.timestamp('us')), 'f': [0.5, 1.5, 2.5]})",
    );
    let source = lake.source();
    let read = |column: &str, value: Value| {
        shown(&try_rows(&source, &from(column, value).columns([column])).unwrap())
    };
    assert_eq!(read("small", Value::Int(2)), ["2"]);
    assert_eq!(read("small", Value::Int(-1000)), ["1", "2"]);
    assert!(read("small", Value::Int(1000)).is_empty());
    assert_eq!(read("text", Value::from("b")), ["z", "ä"]);
    assert_eq!(read("price", Value::Decimal { unscaled: 1_001, scale: 3 }), ["1.01"]);
    let second = Value::Timestamp { value: 1_704_067_202, unit: arrow::datatypes::TimeUnit::Second };
    assert_eq!(read("local", second), ["2024-01-01T00:00:02"]);
    let only_id = from("small", Value::Int(2)).columns(["text"]);
    assert_eq!(shown(&try_rows(&source, &only_id).unwrap()), ["ä"], "the column need not be fetched");
    for (column, value, code) in [
        ("f", Value::Float(1.0), ErrorCode::InvalidArgument),
        ("small", Value::from("1"), ErrorCode::InvalidArgument),
        ("no", Value::Int(1), ErrorCode::ColumnNotFound),
    ] {
        assert_eq!(try_rows(&source, &from(column, value)).unwrap_err().code(), code, "{column}");
    }
}
