//! Rows from a position on, compared with what Pillion would keep of them.

use arrow::datatypes::TimeUnit;
use pillion::source::After;
use pillion::{ErrorCode, Value};

use crate::support::rows::{all, lines, table};
use crate::support::server::Server;

fn moment(value: i64, unit: TimeUnit) -> Value {
    Value::Timestamp { value, unit }
}

#[test]
fn rows_from_a_position_on_are_fetched_with_its_ties() {
    let Some(server) = Server::start() else { return };
    server.psql(
        "CREATE TABLE p (n int, i int8, d numeric(20,3), f float8, g float4, day date, t timestamp, z timestamptz, h time, \
           s text COLLATE \"en-x-icu\", u uuid, b bytea, o oid, j jsonb); \
         INSERT INTO p VALUES \
         (1, -5, -1.5, -0.0, 0.1, '0001-01-01 BC', '0001-01-01 BC', '1969-12-31 23:59:59.999999+00', '00:00', 'Z', \
           '00000000-0000-0000-0000-000000000001', '\\x00', 1, '1'), \
         (2, 5, 0, 1e300, 0.2, '2000-01-01', '2000-01-01 00:00:00.000001', '2000-01-01 02:00+02', '12:00', 'a', \
           '70000000-0000-0000-0000-000000000000', '\\x61', 2, '1'), \
         (3, 5, 0.001, 'NaN', 0.3, '9999-12-31', '20000-01-01', '2024-01-01+00', '23:59:59.999999', '\u{e4}''\\', \
           'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\xff', 4294967295, '1'), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
    );
    let source = server.source();
    let from = |column: &str, value: Value| {
        let after = After { column: column.into(), value };
        let rows = all(&source, &table("p").after(after).columns(["n"]))?;
        Ok::<_, pillion::Error>(lines(&rows).concat())
    };
    for (column, value, rows) in [
        ("i", Value::Int(-5), "123"),
        ("i", Value::Int(5), "23"),
        ("i", Value::Int(6), ""),
        ("i", Value::UInt(u64::MAX), ""),
        ("o", Value::UInt(4_294_967_295), "3"),
        ("d", Value::Decimal { unscaled: 1, scale: 3 }, "3"),
        ("d", Value::Decimal { unscaled: -15, scale: 1 }, "123"),
        ("d", Value::Int(0), "23"),
        ("f", Value::Float(-0.0), "123"),
        ("f", Value::Float(1e300), "23"),
        ("f", Value::Float(f64::INFINITY), "3"),
        ("g", Value::Float(f64::from(0.2_f32)), "23"),
        ("day", Value::Date(10_957), "23"),
        ("day", Value::Date(-719_528), "123"),
        ("day", Value::Date(-719_527), "23"),
        ("t", moment(946_684_800_000_001, TimeUnit::Microsecond), "23"),
        ("t", moment(946_684_800_000_000_001, TimeUnit::Nanosecond), "23"),
        ("t", moment(946_684_800_000_001_001, TimeUnit::Nanosecond), "3"),
        ("z", moment(-1, TimeUnit::Microsecond), "123"),
        ("z", moment(946_684_800, TimeUnit::Second), "23"),
        ("h", Value::Time(43_200_000_000_000), "23"),
        ("h", Value::Time(86_399_999_999_999), ""),
        ("s", Value::from("a"), "23"),
        ("s", Value::from("\u{e4}'\\"), "3"),
        ("u", Value::from("70000000-0000-0000-0000-000000000000"), "23"),
        ("b", Value::from(&b"\x61"[..]), "23"),
    ] {
        assert_eq!(from(column, value.clone()).unwrap(), rows, "{column} from {value}");
    }
    for (column, value) in
        [("j", Value::from("1")), ("i", Value::from("5")), ("i", Value::Null), ("t", Value::Int(5))]
    {
        assert_eq!(from(column, value).unwrap_err().code(), ErrorCode::InvalidArgument, "{column}");
    }
    let error = from("seconds", Value::Int(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound);
}
