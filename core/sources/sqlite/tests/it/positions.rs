//! Rows from a position on, compared with what Pillion would keep of them.

use arrow::datatypes::TimeUnit;
use pillion::source::{After, Fetch, Relation, Source};
use pillion::{ErrorCode, Value};

use crate::support::database::Database;
use crate::support::random::Random;
use crate::support::rows::{all, lines, patient, table};

fn moment(value: i64, unit: TimeUnit) -> Value {
    Value::Timestamp { value, unit }
}

#[test]
fn rows_from_a_position_on_are_fetched_with_its_ties() {
    for encoding in ["UTF-8", "UTF-16le"] {
        let database = Database::with(&format!(
            "PRAGMA encoding = '{encoding}'; \
             CREATE TABLE p (n INTEGER PRIMARY KEY, i INTEGER, d DECIMAL(20,3), f REAL, day DATE, t DATETIME, z TIMESTAMPTZ, \
               h TIME, s TEXT COLLATE NOCASE, b BLOB, j JSON, o BOOLEAN); \
             INSERT INTO p VALUES \
             (1, -5, -1.5, -1e999, '0001-01-01', '0001-01-01', '1969-12-31 23:59:59.999999', '00:00', 'Z', x'00', '7', 1), \
             (2, 5, 0, 1e300, 946684800, '2000-01-01 00:00:00.000001', '2000-01-01 02:00+02:00', '12:00', 'a', x'61', 'a', 1), \
             (3, 5, 0.001, 9e999, 5373483.5, '9999-12-31T00:00Z', 1704067200, '23:59:59.999999', '\u{e4}''\\', x'ff', 'b', 1), \
             (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL); \
             CREATE INDEX by_i ON p (i); CREATE INDEX by_t ON p (t); CREATE INDEX by_s ON p (s);"
        ));
        let source = database.source();
        let from = |column: &str, value: Value| {
            let after = After { column: column.into(), value };
            let rows = all(&source, &table("p").after(after).columns(["n"]))?;
            let mut rows = lines(&rows);
            rows.sort();
            Ok::<_, pillion::Error>(rows.concat())
        };
        for (column, value, rows) in [
            ("i", Value::Int(-5), "123"),
            ("i", Value::Int(5), "23"),
            ("i", Value::Int(6), ""),
            ("i", Value::UInt(u64::MAX), ""),
            ("d", Value::Decimal { unscaled: 1, scale: 3 }, "3"),
            ("d", Value::Decimal { unscaled: -15, scale: 1 }, "123"),
            ("d", Value::Int(0), "23"),
            ("f", Value::Float(-0.0), "23"),
            ("f", Value::Float(1e300), "23"),
            ("f", Value::Float(f64::NEG_INFINITY), "123"),
            ("f", Value::Float(f64::INFINITY), "3"),
            ("f", Value::Float(f64::NAN), ""),
            ("day", Value::Date(10_957), "23"),
            ("day", Value::Date(10_958), "3"),
            ("day", Value::Date(i32::MIN), "123"),
            ("day", Value::Date(i32::MAX), ""),
            ("t", moment(946_684_800_000_001, TimeUnit::Microsecond), "23"),
            ("t", moment(946_684_800_000_000_001, TimeUnit::Nanosecond), "23"),
            ("t", moment(946_684_800_000_001_001, TimeUnit::Nanosecond), "3"),
            ("t", moment(i64::MIN, TimeUnit::Second), "123"),
            ("t", moment(i64::MAX, TimeUnit::Second), ""),
            ("z", moment(-1, TimeUnit::Microsecond), "123"),
            ("z", moment(946_684_800, TimeUnit::Second), "23"),
            ("z", moment(946_684_801, TimeUnit::Second), "3"),
            ("h", Value::Time(43_200_000_000_000), "23"),
            ("h", Value::Time(86_399_999_999_999), ""),
            ("s", Value::from("a"), "23"),
            ("s", Value::from("Z"), "123"),
            ("s", Value::from("\u{e4}'\\"), "3"),
            ("b", Value::from(&b"\x61"[..]), "23"),
            ("j", Value::from("6"), "123"),
            ("j", Value::from("a"), "23"),
            ("n", Value::Int(3), "34"),
        ] {
            assert_eq!(from(column, value.clone()).unwrap(), rows, "{column} from {value}");
        }
        for (column, value) in
            [("o", Value::Bool(true)), ("i", Value::from("5")), ("i", Value::Null), ("t", Value::Int(5))]
        {
            assert_eq!(from(column, value).unwrap_err().code(), ErrorCode::InvalidArgument, "{column}");
        }
        assert_eq!(from("seconds", Value::Int(0)).unwrap_err().code(), ErrorCode::ColumnNotFound);
    }
}

/// One column holds moments in every form that it may; the rows from each position on are those whose moments are.
#[test]
fn moments_of_all_forms_are_compared_by_their_time() {
    let mut random = Random::fresh();
    let base = 1_700_000_000_i64;
    let moments: Vec<i64> = (0..400).map(|_| base + random.below(4 * 86_400) as i64).collect();
    let database = Database::with(
        "CREATE TABLE t (n INTEGER PRIMARY KEY, at TIMESTAMPTZ); CREATE INDEX by_at ON t (at);",
    );
    let connection = database.connect();
    for (n, seconds) in moments.iter().enumerate() {
        let offset = random.below(27) as i64 - 13;
        let local = format!(
            "strftime('%Y-%m-%d{}%H:%M:%S', {}, 'unixepoch')",
            ["T", " "][n % 2],
            seconds + offset * 3600
        );
        let value = match n % 5 {
            0 => seconds.to_string(),
            1 => format!("{seconds}.0 + 0.25"),
            2 => format!("julianday({seconds}, 'unixepoch')"),
            3 => format!("datetime({seconds}, 'unixepoch')"),
            _ => format!("{local} || '{}{:02}:00'", if offset < 0 { "-" } else { "+" }, offset.abs()),
        };
        let insert = format!("INSERT INTO t VALUES ({n}, {value})");
        // A Julian day at noon becomes an integer, which is refused; the seconds say the same.
        let is_noon = n % 5 == 2 && seconds % 86_400 == 43_200;
        connection
            .execute_batch(&if is_noon { format!("INSERT INTO t VALUES ({n}, {seconds})") } else { insert })
            .unwrap();
    }
    for _ in 0..60 {
        let position = base + random.below(4 * 86_400) as i64;
        let after = After { column: "at".into(), value: moment(position, TimeUnit::Second) };
        let mut found: Vec<usize> =
            lines(&all(&database.source(), &table("t").after(after).columns(["n"])).unwrap())
                .iter()
                .map(|line| line.parse().unwrap())
                .collect();
        found.sort_unstable();
        let expected: Vec<usize> = (0..moments.len()).filter(|n| moments[*n] >= position).collect();
        assert_eq!(found, expected, "from {position}");
    }
}

#[test]
fn values_that_do_not_fit_are_not_lost_behind_a_position() {
    for (kind, odd) in [
        ("INTEGER", "'later'"),
        ("INTEGER", "x'00'"),
        ("TIMESTAMP", "'later'"),
        ("TIMESTAMP", "''"),
        ("TIMESTAMP", "' 2024-01-01'"),
        ("TIMESTAMP", "x'00'"),
        ("TIMESTAMP", "1719835200000"),
        ("DATE", "'29.02.2024'"),
        ("TEXT", "x'00'"),
    ] {
        let database = Database::with(&format!(
            "CREATE TABLE t (n INTEGER PRIMARY KEY, at {kind}); CREATE INDEX by_at ON t (at); INSERT INTO t VALUES (9, {odd});"
        ));
        let value = match kind {
            "INTEGER" => Value::Int(5),
            "DATE" => Value::Date(19_700),
            "TEXT" => Value::from("b"),
            _ => moment(1_700_000_000, TimeUnit::Second),
        };
        let after = After { column: "at".into(), value };
        let error = all(&database.source(), &table("t").after(after).columns(["n"])).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{kind} {odd}");
        assert!(error.message().contains("column `at` of table `t` in the row with rowid 9"), "{error}");
    }
}

#[test]
fn units_of_the_definition_have_positions() {
    let database = Database::with(
        "CREATE TABLE t (n INTEGER PRIMARY KEY, ms INTEGER, jd REAL, s REAL); \
         INSERT INTO t VALUES (1, 999, 2440587.5, 0.5), (2, 1000, 2440588.0, 43200.25), (3, 1001, 2440588.5, 86400.0);",
    );
    let relation = Relation::table("t").option("types", "ms=unix_ms,jd=julian,s=unix_s");
    for (column, value, rows) in [
        ("ms", moment(1000, TimeUnit::Millisecond), "23"),
        ("ms", moment(1, TimeUnit::Second), "23"),
        ("jd", moment(43_200_000, TimeUnit::Millisecond), "23"),
        ("jd", moment(43_200_001, TimeUnit::Millisecond), "3"),
        ("s", moment(43_200_250_000, TimeUnit::Microsecond), "23"),
        ("s", moment(43_200_250_001, TimeUnit::Microsecond), "3"),
    ] {
        let after = After { column: column.into(), value: value.clone() };
        let fetch = Fetch::of(relation.clone()).after(after).columns(["n"]);
        assert_eq!(lines(&all(&database.source(), &fetch).unwrap()).concat(), rows, "{column} from {value}");
    }
    let described = database.source().describe(&relation, &patient()).unwrap();
    assert_eq!(described.schema().field(1).data_type().to_string(), "Timestamp(ms, \"UTC\")");
}
