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
    server.sql(
        "SET time_zone = '+00:00'; \
         CREATE TABLE p (n int, i bigint, u bigint unsigned, d decimal(20,3), f double, g float, day date, t datetime(6), \
           z timestamp(6) NULL, h time(6), y year, b varbinary(9), k bit(9), e enum('z','a','m'), id uuid, geo point); \
         INSERT INTO p VALUES \
         (1, -5, 0, -1.5, -0.0, 0.1, '0001-01-01', '0001-01-01', '1970-01-01 00:00:01', '00:00:00', 1901, X'00', 1, 'a', \
           '00000000-0000-0000-0000-000000000001', NULL), \
         (2, 5, 5, 0, 1e300, 0.2, '2000-01-01', '2000-01-01 00:00:00.000001', '2000-01-01 00:00:00', '12:00', 2005, \
           'a', 2, 'm', '70000000-0000-0000-0000-000000000000', NULL), \
         (3, 5, 18446744073709551615, 0.001, 1.7976931348623157e308, 0.3, '9999-12-31', '9999-12-31', '2024-01-01', \
           '23:59:59.999999', 2155, X'ff', 511, 'z', 'ffffffff-ffff-ffff-ffff-ffffffffffff', NULL), \
         (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);",
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
        ("u", Value::UInt(u64::MAX), "3"),
        ("u", Value::Int(-1), "123"),
        ("d", Value::Decimal { unscaled: 1, scale: 3 }, "3"),
        ("d", Value::Decimal { unscaled: -15, scale: 1 }, "123"),
        ("d", Value::Int(0), "23"),
        ("f", Value::Float(-0.0), "123"),
        ("f", Value::Float(1e300), "23"),
        ("f", Value::Float(f64::MAX), "3"),
        ("f", Value::Float(f64::INFINITY), ""),
        ("f", Value::Float(f64::NEG_INFINITY), "123"),
        ("f", Value::Float(f64::NAN), ""),
        ("g", Value::Float(f64::from(0.2_f32)), "23"),
        ("day", Value::Date(10_957), "23"),
        ("day", Value::Date(-719_162), "123"),
        ("day", Value::Date(-719_161), "23"),
        ("day", Value::Date(-800_000), "123"),
        ("day", Value::Date(2_932_896), "3"),
        ("day", Value::Date(2_932_897), ""),
        ("t", moment(946_684_800_000_001, TimeUnit::Microsecond), "23"),
        ("t", moment(946_684_800_000_000_001, TimeUnit::Nanosecond), "23"),
        ("t", moment(946_684_800_000_001_001, TimeUnit::Nanosecond), "3"),
        ("t", moment(i64::MIN, TimeUnit::Second), "123"),
        ("t", moment(i64::MAX, TimeUnit::Second), ""),
        ("z", moment(-1, TimeUnit::Microsecond), "123"),
        ("z", moment(946_684_800, TimeUnit::Second), "23"),
        ("h", Value::Time(43_200_000_000_000), "23"),
        ("h", Value::Time(86_399_999_999_999), ""),
        // Not the years 2005 and 1999.
        ("y", Value::Int(5), "123"),
        ("y", Value::Int(99), "123"),
        ("y", Value::Int(2005), "23"),
        ("k", Value::UInt(2), "23"),
        ("k", Value::Int(511), "3"),
        ("b", Value::from(&b"\x61"[..]), "23"),
        // By its text, not by its number.
        ("e", Value::from("b"), "23"),
        ("id", Value::from("70000000-0000-0000-0000-000000000000"), "23"),
    ] {
        assert_eq!(from(column, value.clone()).unwrap(), rows, "{column} from {value}");
    }
    for (column, value) in
        [("geo", Value::from("1")), ("i", Value::from("5")), ("i", Value::Null), ("t", Value::Int(5))]
    {
        assert_eq!(from(column, value).unwrap_err().code(), ErrorCode::InvalidArgument, "{column}");
    }
    let error = from("seconds", Value::Int(0)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound);
}

/// A server compares texts by their collation: without case, and without blanks at the end.
#[test]
fn positions_of_texts_lose_no_row_whatever_the_collation() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let words = [
        "",
        "A",
        "B",
        "Z",
        "a",
        "a\t",
        "a ",
        "a  ",
        "a!",
        "b",
        "z",
        "\u{c4}",
        "\u{e4}",
        "\u{20ac}",
        "\u{e4}'\\",
        "\u{1f600}",
    ];
    for kind in [
        "varchar(9) collate utf8mb4_general_ci",
        "varchar(9) collate utf8mb4_bin",
        "varchar(9) collate utf8mb4_unicode_ci",
        "text collate uca1400_as_ci",
        "varchar(9) character set utf16 collate utf16_general_ci",
        "varchar(9) character set latin1 collate latin1_swedish_ci",
    ] {
        let words: Vec<_> =
            words.iter().filter(|word| !kind.contains("latin1") || !word.contains('\u{1f600}')).collect();
        let rows: Vec<_> = words
            .iter()
            .map(|word| format!("('{}')", word.replace('\\', "\\\\").replace('\'', "''")))
            .collect();
        server.sql(&format!(
            "DROP TABLE IF EXISTS t; CREATE TABLE t (s {kind}); INSERT INTO t VALUES {};",
            rows.join(",")
        ));
        for word in &words {
            let after = After { column: "s".into(), value: Value::from(**word) };
            let mut found = lines(&all(&source, &table("t").after(after)).unwrap());
            found.sort();
            let mut expected: Vec<String> = words
                .iter()
                .filter(|other| other.as_bytes() >= word.as_bytes())
                .map(ToString::to_string)
                .collect();
            expected.sort();
            assert_eq!(found, expected, "{kind} from `{word}`");
        }
    }
}
