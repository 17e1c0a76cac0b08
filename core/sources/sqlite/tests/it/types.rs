//! Types and values: what comes out is what was put in, or an error that names the column and the row.

use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};
use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

use crate::support::database::Database;
use crate::support::random::Random;
use crate::support::rows::{all, columns, lines, patient, table};

/// A column: its declared type, a value in SQL, the type of Arrow, and how Arrow shows the value.
const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("INTEGER", "-9223372036854775808", "Int64", "-9223372036854775808"),
    ("BIGINT", "'12'", "Int64", "12"),
    ("TINYINT(1)", "3.0", "Int64", "3"),
    ("REAL", "0.1", "Float64", "0.1"),
    ("DOUBLE PRECISION", "7", "Float64", "7.0"),
    ("FLOAT", "-9e999", "Float64", "-inf"),
    ("TEXT", "'h\u{e4}' || char(9, 128512)", "Utf8", "h\u{e4}\t\u{1f600}"),
    ("VARCHAR(2)", "12345", "Utf8", "12345"),
    ("CLOB", "''", "Utf8", ""),
    ("TEXT COLLATE NOCASE", "'MiXed'", "Utf8", "MiXed"),
    ("JSON", "'{ \"a\" :1}'", "Utf8", "{ \"a\" :1}"),
    ("JSON", "'12.50'", "Utf8", "12.5"),
    ("STRING", "'007'", "Utf8", "7"),
    ("UUID", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "Utf8", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("BLOB", "x'00ff'", "Binary", "00ff"),
    ("VARBINARY(16)", "x''", "Binary", ""),
    ("BOOLEAN", "1", "Boolean", "true"),
    ("BOOL", "'f'", "Boolean", "false"),
    ("BOOLEAN", "'TRUE'", "Boolean", "true"),
    ("DECIMAL(10,2)", "'-12345678.90'", "Decimal128(10, 2)", "-12345678.90"),
    ("NUMERIC(12,4)", "0.1 + 0.2", "Decimal128(12, 4)", "0.3000"),
    ("DECIMAL(38)", "9223372036854775807", "Decimal128(38, 0)", "9223372036854775807"),
    ("DATE", "'2024-02-29'", "Date32", "2024-02-29"),
    ("DATE", "1709164800", "Date32", "2024-02-29"),
    ("DATE", "2460369.5", "Date32", "2024-02-29"),
    ("DATE", "'0000-01-01'", "Date32", "0000-01-01"),
    ("TIME", "'23:59:59.999999'", "Time64(µs)", "23:59:59.999999"),
    ("TIMESTAMP", "'1969-12-31 23:59:59.999999'", "Timestamp(µs)", "1969-12-31T23:59:59.999999"),
    ("DATETIME", "'2024-07-01T12:00Z'", "Timestamp(µs)", "2024-07-01T12:00:00"),
    ("DATETIME", "1719835200", "Timestamp(µs)", "2024-07-01T12:00:00"),
    ("DATETIME", "1719835200.5", "Timestamp(µs)", "2024-07-01T12:00:00.500"),
    ("DATETIME", "julianday('2024-07-01 12:34:56.789')", "Timestamp(µs)", "2024-07-01T12:34:56.789"),
    ("TIMESTAMP(9)", "'2024-07-01 12:00:00.123456789'", "Timestamp(ns)", "2024-07-01T12:00:00.123456789"),
    ("TIMESTAMPTZ", "'2024-07-01 12:00:00+02:00'", "Timestamp(µs, \"UTC\")", "2024-07-01T10:00:00Z"),
    ("TIMESTAMP WITH TIME ZONE", "'2024-07-01 12:00:00'", "Timestamp(µs, \"UTC\")", "2024-07-01T12:00:00Z"),
];

fn script() -> String {
    let columns: Vec<_> = COLUMNS.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind}")).collect();
    let values: Vec<_> = COLUMNS.iter().map(|(_, value, ..)| *value).collect();
    let nulls = vec!["NULL"; COLUMNS.len()].join(",");
    format!(
        "CREATE TABLE kinds ({}); INSERT INTO kinds VALUES ({}), ({nulls});",
        columns.join(","),
        values.join(",")
    )
}

#[test]
fn every_type_is_exact() {
    for encoding in ["UTF-8", "UTF-16le", "UTF-16be"] {
        let database = Database::with(&format!("PRAGMA encoding = '{encoding}'; {}", script()));
        let source = database.source();
        let batch = all(&source, &table("kinds")).unwrap();
        let described = source.describe(&Relation::table("kinds"), &patient()).unwrap();
        assert_eq!(described.schema(), &batch.schema());
        assert_eq!(lines(&batch)[1], vec!["null"; COLUMNS.len()].join("|"));
        for (index, (kind, value, data_type, shown)) in COLUMNS.iter().enumerate() {
            let column = batch.project(&[index]).unwrap();
            assert_eq!(column.schema().field(0).data_type().to_string(), *data_type, "{kind}");
            assert_eq!(lines(&column)[0], *shown, "{kind} {value}");
        }
    }
}

#[test]
fn columns_are_read_as_the_texts_that_sqlite_shows() {
    let database = Database::with(&script());
    let names: Vec<_> = (0..COLUMNS.len()).map(|n| format!("c{n}")).collect();
    let fetch = Fetch::of(Relation::table("kinds").as_text(names.clone()));
    // `00ff` is no text.
    let blob = COLUMNS.iter().position(|(kind, ..)| *kind == "BLOB").unwrap();
    let error = all(&database.source(), &fetch).unwrap_err();
    assert!(error.message().contains(&format!("column `c{blob}`")), "{error}");
    let connection = database.connect();
    for name in names.iter().filter(|name| **name != format!("c{blob}")) {
        let shown: String = connection
            .query_row(&format!("SELECT CAST({name} AS TEXT) FROM kinds LIMIT 1"), [], |row| row.get(0))
            .unwrap();
        let read = all(&database.source(), &fetch.clone().columns([name])).unwrap();
        assert_eq!(lines(&read), [shown, "null".to_owned()], "{name}");
    }
}

#[test]
fn odd_columns_are_refused_typed_left_out_or_read_as_text() {
    for (kind, value, typed, shown) in [
        ("", "5", "INTEGER", "5"),
        ("NUMERIC", "1.5", "DECIMAL(4,2)", "1.50"),
        ("DECIMAL(40,2)", "1.5", "REAL", "1.5"),
        ("MONEY", "3", "INTEGER", "3"),
        ("DATETIME(12)", "'2024-01-01'", "TIMESTAMP", "2024-01-01T00:00:00"),
        ("\"ENUM('a','b')\"", "'a'", "TEXT", "a"),
        ("ANY", "x'01'", "BLOB", "01"),
    ] {
        let database = Database::with(&format!(
            "CREATE TABLE odd (id INTEGER, \"Odd One\" {kind}); INSERT INTO odd VALUES (1, {value}), (2, NULL);"
        ));
        let source = database.source();
        let plain = Relation::table("odd");
        let error = source.describe(&plain, &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedType, "{kind}: {error}");
        assert!(error.message().contains("column `Odd One` of table `odd`"), "{error}");
        assert!(error.message().contains("`Odd One=INTEGER`"), "{error}");
        let fetch = Fetch::of(plain.clone());
        assert_eq!(source.fetch(&fetch, &patient()).unwrap_err().code(), ErrorCode::UnsupportedType);
        // A fetch of the other columns alone does not need it.
        assert_eq!(lines(&all(&source, &fetch.columns(["id"])).unwrap()), ["1", "2"]);
        let described = source.describe(&plain.clone().only(["id"]), &patient()).unwrap();
        assert_eq!(described.schema().fields().len(), 1);
        let left = Fetch::of(plain.clone().leave_out(["Odd One"]));
        assert_eq!(lines(&all(&source, &left).unwrap()), ["1", "2"]);
        let read = Fetch::of(plain.clone().option("types", format!("Odd One={typed}")));
        assert_eq!(lines(&all(&source, &read).unwrap()), [format!("1|{shown}"), "2|null".into()], "{kind}");
        let text = Fetch::of(plain.as_text(["Odd One"]));
        assert_eq!(columns(source.fetch(&text, &patient()).unwrap().schema()), "id Int64?, Odd One Utf8?");
    }
}

#[test]
fn values_that_do_not_fit_are_named_with_their_row() {
    for (kind, value, why) in [
        ("INTEGER", "'twelve'", "is a text, which is not INTEGER"),
        ("INTEGER", "1.5", "is a real, which is not INTEGER"),
        ("INTEGER", "x'01'", "is a blob, which is not INTEGER"),
        ("REAL", "'much'", "is a text, which is not REAL"),
        ("TEXT", "x'61'", "is a blob, which is not TEXT"),
        ("TEXT", "CAST(x'ff' AS TEXT)", "not valid UTF-8"),
        ("BLOB", "'61'", "is a text, which is not BLOB"),
        ("UUID", "17", "is an integer, which is not TEXT"),
        ("BOOLEAN", "2", "is an integer, which is not BOOLEAN"),
        ("BOOLEAN", "'yes'", "neither `true` nor `false`"),
        ("DECIMAL(6,2)", "1.234", "more than 2 digits behind the point"),
        ("DECIMAL(6,2)", "12345", "more digits than its type"),
        ("DECIMAL(38,2)", "1234567890123456.75", "does not show all digits"),
        ("DECIMAL(6,2)", "'1,5'", "not a decimal number"),
        ("DATE", "'29.02.2024'", "not `YYYY-MM-DD`"),
        ("DATE", "'2023-02-29'", "not `YYYY-MM-DD`"),
        ("DATE", "'2024-02-29 12:00'", "a time of day"),
        ("DATE", "19782", "not a midnight"),
        ("TIME", "86399", "is an integer, which is not TIME"),
        ("TIMESTAMP", "1719835200000", "unix_ms"),
        ("TIMESTAMP", "2460311", "may be a Julian day"),
        ("TIMESTAMP", "'2024-07-01 12:00:00+02:00'", "TIMESTAMPTZ"),
        ("TIMESTAMP", "'2024-07-01 12:00:00.1234567'", "TIMESTAMP(9)"),
        ("TIMESTAMP", "'now'", "not `YYYY-MM-DD`"),
        ("TIMESTAMP(9)", "'3000-01-01'", "1677 to 2262"),
    ] {
        let database = Database::with(&format!(
            "CREATE TABLE rare (id INTEGER PRIMARY KEY, odd {kind}); WITH RECURSIVE n(n) AS \
             (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 1000) INSERT INTO rare SELECT n, NULL FROM n; \
             UPDATE rare SET odd = {value} WHERE id = 500;"
        ));
        let source = database.source();
        let error = all(&source, &table("rare")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
        for words in
            ["column `odd` of table `rare` in the row with rowid 500 ", why, "read the column as text"]
        {
            assert!(error.message().contains(words), "{kind} {value}: {error}");
        }
        // Whoever can do without the value gets the rest.
        assert_eq!(all(&source, &table("rare").condition("id <> 500")).unwrap().num_rows(), 999);
        if !why.contains("UTF-8") {
            let text = Fetch::of(Relation::table("rare").as_text(["odd"]));
            assert_eq!(all(&source, &text).unwrap().num_rows(), 1000);
        }
    }
}

#[test]
fn rows_without_a_rowid_are_named_too() {
    let database = Database::with(
        "CREATE TABLE pairs (a TEXT, b INTEGER, odd INTEGER, PRIMARY KEY (b, a)) WITHOUT ROWID; \
         INSERT INTO pairs VALUES ('x', 1, 1), ('it''s', 2, 'odd'); \
         CREATE VIEW seen AS SELECT * FROM pairs ORDER BY b;",
    );
    let failure = |name| all(&database.source(), &table(name)).unwrap_err();
    assert!(
        failure("pairs").message().contains("in the row with b = 2, a = 'it's' is a text"),
        "{}",
        failure("pairs")
    );
    assert!(failure("seen").message().contains("of view `seen` in row 2 of the fetch is a text"));
}

#[test]
fn moments_are_stored_in_units_that_the_definition_tells() {
    let moment = 1_719_835_200_123_456_789_i64;
    let database = Database::with(&format!(
        "CREATE TABLE t (s INTEGER, ms INTEGER, us BIGINT, ns BIGINT, jd REAL, whole NUMERIC, late TEXT); \
         INSERT INTO t VALUES ({}, {}, {}, {moment}, 2460493.0, 2460493, '2024-07-01 12:00:00');",
        moment / 1_000_000_000,
        moment / 1_000_000,
        moment / 1_000,
    ));
    let relation = Relation::table("t")
        .option("types", "s=unix_s,ms=unix_ms,us=unix_us,ns=unix_ns,jd=julian,whole=JULIAN,late=TIMESTAMP");
    let batch = all(&database.source(), &Fetch::of(relation)).unwrap();
    assert_eq!(
        lines(&batch),
        ["2024-07-01T12:00:00Z|2024-07-01T12:00:00.123Z|2024-07-01T12:00:00.123456Z|\
          2024-07-01T12:00:00.123456789Z|2024-07-01T12:00:00Z|2024-07-01T12:00:00Z|2024-07-01T12:00:00"]
    );
}

/// Decimals, floats, texts and dates of random values, against what was written.
#[test]
fn random_values_come_back() {
    const ROWS: usize = 20_000;
    let mut random = Random::fresh();
    let database = Database::with(
        "CREATE TABLE random (n INTEGER PRIMARY KEY, f REAL, d DECIMAL(15,4), day DATE, at DATETIME, s TEXT);",
    );
    let mut connection = database.connect();
    let transaction = connection.transaction().unwrap();
    let mut expected = Vec::new();
    for n in 0..ROWS {
        let float = f64::from_bits(random.next());
        let float = if float.is_nan() { 0.5 } else { float };
        let digits = (random.next() % 1_000_000_000_000_000) as i64 / 10_i64.pow((random.below(15)) as u32);
        let sign = if random.below(2) == 0 { "" } else { "-" };
        let decimal = format!("{sign}{}.{:04}", digits / 10_000, digits % 10_000);
        let decimal = if digits == 0 { decimal.replace('-', "") } else { decimal };
        let seconds = random.below(315_537_897_600) as i64 - 62_135_596_800;
        let text: String =
            (0..random.below(9)).filter_map(|_| char::from_u32(random.below(0x11_0000) as u32)).collect();
        transaction
            .execute(
                "INSERT INTO random VALUES (?1, ?2, ?3, date(?4, 'unixepoch'), datetime(?4, 'unixepoch'), ?5)",
                rusqlite::params![n as i64, float, decimal, seconds, text],
            )
            .unwrap();
        expected.push((float, decimal, seconds, text));
    }
    transaction.commit().unwrap();
    let batch = all(&database.source(), &table("random")).unwrap();
    assert_eq!(batch.num_rows(), ROWS);
    let floats = batch.column(1).as_primitive::<Float64Type>();
    let days = arrow::compute::cast(batch.column(3), &arrow::datatypes::DataType::Int32).unwrap();
    let days = days.as_primitive::<arrow::datatypes::Int32Type>();
    let moments = arrow::compute::cast(batch.column(4), &arrow::datatypes::DataType::Int64).unwrap();
    let moments = moments.as_primitive::<Int64Type>();
    let decimals = lines(&batch.project(&[2]).unwrap());
    for (row, (float, decimal, seconds, text)) in expected.iter().enumerate() {
        assert!(floats.value(row) == *float, "{float}");
        assert_eq!(&decimals[row], decimal);
        assert_eq!(i64::from(days.value(row)), seconds.div_euclid(86_400));
        assert_eq!(moments.value(row), seconds * 1_000_000);
        assert_eq!(batch.column(5).as_string::<i32>().value(row), text);
    }
}
