//! Rows from a position on.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Date64Array, Decimal128Array, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray, TimestampNanosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, TimeUnit};
use pillion::source::{After, Fetch};
use pillion::{ErrorCode, Value};
use pillion_flight_sql::FlightSql;

use crate::support::peer::{Manners, Peer};
use crate::support::roapi::Server;
use crate::support::{all, shown, table};

const DAY: i64 = 86_400_000;

/// The third and the fourth row are ties, and the last one has nulls.
fn rows() -> RecordBatch {
    let days = || [1, 2, 3, 3].map(Some).into_iter().chain([None]);
    let zone: Arc<str> = "America/New_York".into();
    let (millis, nanos) = (
        days().map(|day: Option<i64>| day.map(|day| day * DAY + 1)),
        days().map(|day| day.map(|day| day * 7)),
    );
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(Int64Array::from_iter(days()))),
        ("unsigned", Arc::new(UInt64Array::from_iter(days().map(|day| day.map(|day| day as u64))))),
        (
            "price",
            Arc::new(
                Decimal128Array::from_iter(days().map(|day| day.map(i128::from)))
                    .with_precision_and_scale(9, 2)
                    .unwrap(),
            ),
        ),
        ("share", Arc::new(Float64Array::from_iter(days().map(|day| day.map(|day| day as f64 / 8.0))))),
        ("day", Arc::new(Date32Array::from_iter(days().map(|day| day.map(|day| day as i32))))),
        ("day64", Arc::new(Date64Array::from_iter(days().map(|day| day.map(|day| day * DAY))))),
        ("local", Arc::new(TimestampNanosecondArray::from_iter(nanos))),
        ("zoned", Arc::new(TimestampMillisecondArray::from_iter(millis).with_timezone(zone))),
        ("text", Arc::new(StringArray::from(vec!["a", "b", "c", "d", "e"]))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn after(column: &str, value: impl Into<Value>) -> Fetch {
    table("rows").columns(["text"]).after(After { column: column.to_owned(), value: value.into() })
}

fn at(value: i64, unit: TimeUnit) -> Value {
    Value::Timestamp { value, unit }
}

#[test]
fn a_real_server_compares_as_pillion_does() {
    let Some(server) = Server::start(&[("rows", &[rows()])]) else { return };
    let source = server.source();
    for (column, value, expected) in [
        ("number", Value::Int(3), "c d"),
        ("number", Value::Int(-3), "a b c d"),
        ("number", Value::UInt(2), "b c d"),
        ("unsigned", Value::UInt(3), "c d"),
        ("price", Value::Decimal { unscaled: 2, scale: 2 }, "b c d"),
        ("share", Value::Float(0.25), "b c d"),
        ("day", Value::Date(3), "c d"),
        ("day64", Value::Date(3), "c d"),
        ("local", at(14, TimeUnit::Nanosecond), "b c d"),
        ("local", at(15, TimeUnit::Nanosecond), "c d"),
        ("zoned", at(3 * DAY + 1, TimeUnit::Millisecond), "c d"),
        ("zoned", at(3 * DAY + 2, TimeUnit::Millisecond), ""),
    ] {
        let found = all(&source, &after(column, value.clone()));
        let found = found.unwrap_or_else(|error| panic!("{column} from {value} on: {error}"));
        assert_eq!(shown(&found).join(" "), expected, "{column} from {value} on");
    }
    let with_condition = after("number", 2_i64).condition("number < 3 OR number IS NULL");
    assert_eq!(shown(&all(&source, &with_condition).unwrap()), ["b"]);
    let error = all(&source, &after("text", "b")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("numbers, dates and timestamps"), "{error}");
    let error = all(&source, &after("colour", 1_i64)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound, "{error}");
}

#[test]
fn a_server_that_takes_parameters_gets_them() {
    let parameter = Field::new("$1", DataType::Timestamp(TimeUnit::Nanosecond, None), true);
    let peer = Peer::start(Manners {
        parts: vec![vec![rows()]],
        prepares: Some(vec![parameter]),
        ..Manners::default()
    });
    let source = FlightSql::from_url(&peer.url()).unwrap();
    // The peer compares the values of all columns that it sends.
    let wanted = table("rows").after(After { column: "local".into(), value: at(14, TimeUnit::Nanosecond) });
    let found = all(&source, &wanted).unwrap();
    assert_eq!(found.num_rows(), 3);
    peer.wait_for("close");
    let log = peer.log();
    assert!(
        log.iter().any(|line| line.starts_with("execute SELECT") && line.contains(r#""local" >= ?"#)),
        "{log:#?}"
    );
    assert!(!log.iter().any(|line| line.contains("TIMESTAMP")), "{log:#?}");
}

#[test]
fn a_server_that_takes_none_gets_a_literal() {
    for prepares in [None, Some(Vec::new())] {
        let closes = prepares.is_some();
        let peer = Peer::start(Manners { parts: vec![vec![rows()]], prepares, ..Manners::default() });
        let source = FlightSql::from_url(&peer.url()).unwrap();
        all(&source, &after("local", at(14, TimeUnit::Nanosecond))).unwrap();
        let log = peer.log();
        let literal = r#"WHERE "local" >= TIMESTAMP '1970-01-01 00:00:00.000000014'"#;
        assert!(log.iter().any(|line| line.contains(literal)), "{log:#?}");
        assert_eq!(log.iter().any(|line| line.starts_with("close")), closes);
    }
}
