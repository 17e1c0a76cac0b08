//! Types and values: what comes out is what was put in, or an error that names the column.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{
    Date32Type, Float64Type, IntervalMonthDayNanoType, Time64MicrosecondType, TimestampMicrosecondType,
};
use pillion::ErrorCode;
use pillion::source::{Relation, Source};

use crate::support::rows::{all, lines, patient, statement, table};
use crate::support::server::Server;

/// Rows of random values, as many as the server makes of them.
const RANDOM_ROWS: usize = 20_000;

/// A column: its type, a value in SQL, the type of Arrow, and how Arrow shows the value.
pub(crate) const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("bool", "true", "Boolean", "true"),
    ("int2", "-32768", "Int16", "-32768"),
    ("int4", "2147483647", "Int32", "2147483647"),
    ("int8", "-9223372036854775808", "Int64", "-9223372036854775808"),
    ("oid", "4294967295", "UInt32", "4294967295"),
    ("float4", "1.17549435e-38", "Float32", "1.1754944e-38"),
    ("float4", "'NaN'", "Float32", "NaN"),
    ("float8", "0.1", "Float64", "0.1"),
    ("float8", "'-Infinity'", "Float64", "-inf"),
    ("numeric(10,2)", "-12345678.90", "Decimal128(10, 2)", "-12345678.90"),
    (
        "numeric(38,38)",
        "0.00000000000000000000000000000000000001",
        "Decimal128(38, 38)",
        "0.00000000000000000000000000000000000001",
    ),
    (
        "numeric(38,0)",
        "repeat('9',38)::numeric",
        "Decimal128(38, 0)",
        "99999999999999999999999999999999999999",
    ),
    (
        "numeric(76,0)",
        "-repeat('9',76)::numeric",
        "Decimal256(76, 0)",
        "-9999999999999999999999999999999999999999999999999999999999999999999999999999",
    ),
    ("numeric(5,-3)", "12345678", "Decimal128(8, 0)", "12346000"),
    ("numeric(2,4)", "0.0012", "Decimal128(4, 4)", "0.0012"),
    ("text", "E'h\u{e4}\\t\u{1f600}'", "Utf8", "h\u{e4}\t\u{1f600}"),
    ("text", "''", "Utf8", ""),
    ("varchar(5)", "'abc '", "Utf8", "abc "),
    ("char(5)", "'abc'", "Utf8", "abc  "),
    ("name", "'relname'", "Utf8", "relname"),
    ("citext", "'MiXed'", "Utf8", "MiXed"),
    ("json", "'{ \"a\" :1}'", "Utf8", "{ \"a\" :1}"),
    ("jsonb", "'{ \"a\" :1}'", "Utf8", "{\"a\": 1}"),
    ("xml", "'<a>\u{e4}</a>'", "Utf8", "<a>\u{e4}</a>"),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "Utf8", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("bytea", "'\\x00ff10'", "Binary", "00ff10"),
    ("bytea", "''", "Binary", ""),
    ("date", "'0044-03-15 BC'", "Date32", "-0043-03-15"),
    ("date", "'2024-02-29'", "Date32", "2024-02-29"),
    ("time", "'23:59:59.999999'", "Time64(µs)", "23:59:59.999999"),
    ("timestamp", "'1969-12-31 23:59:59.999999'", "Timestamp(µs)", "1969-12-31T23:59:59.999999"),
    ("timestamptz", "'2024-07-01 12:00+02'", "Timestamp(µs, \"UTC\")", "2024-07-01T10:00:00Z"),
    (
        "interval",
        "'1 year -3 days 4.000001 hours'",
        "Interval(MonthDayNano)",
        "12 mons -3 days 4 hours 0.003600000 secs",
    ),
    ("mood", "'so so'", "Utf8", "so so"),
    ("positive", "7", "Int32", "7"),
    ("price", "9.99", "Decimal128(8, 2)", "9.99"),
    ("int4[]", "'{1,NULL,3}'", "List(Int32)", "[1, , 3]"),
    ("text[]", "'{}'", "List(Utf8)", "[]"),
    ("numeric(6,3)[]", "'{1.5}'", "List(Decimal128(6, 3))", "[1.500]"),
    (
        "timestamptz[]",
        "ARRAY['2000-01-01 UTC'::timestamptz]",
        "List(Timestamp(µs, \"UTC\"))",
        "[2000-01-01T00:00:00Z]",
    ),
    ("mood[]", "'{happy}'", "List(Utf8)", "[happy]"),
    ("positive[]", "'{4,5}'", "List(Int32)", "[4, 5]"),
    (
        "uuid[]",
        "'{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}'",
        "List(Utf8)",
        "[a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11]",
    ),
];

pub(crate) const KINDS: &str = "CREATE EXTENSION citext; CREATE TYPE mood AS ENUM ('happy', 'so so'); \
    CREATE DOMAIN positive AS int4 CHECK (VALUE > 0); CREATE DOMAIN price AS numeric(8,2); ";

#[test]
fn every_type_is_exact() {
    let Some(server) = Server::start() else { return };
    let columns: Vec<_> = COLUMNS.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind}")).collect();
    let values: Vec<_> = COLUMNS.iter().map(|(_, value, ..)| *value).collect();
    let nulls = vec!["NULL"; COLUMNS.len()].join(",");
    server.psql(&format!(
        "{KINDS} CREATE TABLE kinds ({}); INSERT INTO kinds VALUES ({}), ({nulls});",
        columns.join(","),
        values.join(",")
    ));
    let source = server.source();
    let batch = all(&source, &table("kinds")).unwrap();
    let described = source.describe(&Relation::table("kinds"), &patient()).unwrap();
    assert_eq!(described.schema(), &batch.schema());
    assert_eq!(lines(&batch)[1], vec!["null"; COLUMNS.len()].join("|"));
    for (index, (kind, _, data_type, shown)) in COLUMNS.iter().enumerate() {
        let column = batch.project(&[index]).unwrap();
        assert_eq!(column.schema().field(0).data_type().to_string(), *data_type, "{kind}");
        assert_eq!(lines(&column)[0], *shown, "{kind}");
    }
    let interval = COLUMNS.iter().position(|(kind, ..)| *kind == "interval").unwrap();
    let value = batch.column(interval).as_primitive::<IntervalMonthDayNanoType>().value(0);
    assert_eq!((value.months, value.days, value.nanoseconds), (12, -3, 14_400_003_600_000));
    // All at once as texts: what psql shows by the same casts.
    let names: Vec<_> = (0..COLUMNS.len()).map(|n| format!("c{n}")).collect();
    let texts =
        all(&source, &pillion::source::Fetch::of(Relation::table("kinds").as_text(names.clone()))).unwrap();
    for (index, name) in names.iter().enumerate() {
        let shown = server.psql(&format!("SELECT {name}::text FROM kinds LIMIT 1"));
        let read = lines(&texts.project(&[index]).unwrap())[0].clone();
        assert_eq!(read.trim_end(), shown, "{}", COLUMNS[index].0);
    }
}

/// The numbers that `psql` shows of random values, against what Arrow shows or holds.
#[test]
fn random_values_are_those_that_psql_shows() {
    let Some(server) = Server::start() else { return };
    server.psql(&format!(
        "CREATE TABLE random AS SELECT n, \
         ((((random() - 0.5) * 1e13)::numeric(20,0) * 1e14 + (random() * 1e14)::numeric(20,0) + random()::numeric(12,10)) \
           * power(10::numeric, -(25 * random())::int))::numeric(38,10) AS d, \
         (((random() - 0.5) * power(10, 15 * random()))::numeric * power(10::numeric, (28 * random())::int))::numeric(76,30) AS w, \
         (random() - 0.5) * power(10, 300 * (random() - 0.5)) AS f, \
         '2000-01-01'::date + ((random() - 0.5) * 1e6)::int AS day, \
         '2000-01-01'::timestamp + (random() - 0.5) * interval '8000 years' AS t, \
         ('00:00'::time + random() * interval '1 day') AS h, \
         md5(n::text) AS s, gen_random_uuid() AS u, decode(md5(n::text), 'hex') AS b, \
         ARRAY[n, NULL, -n] AS a \
         FROM generate_series(1, {RANDOM_ROWS}) n; \
         UPDATE random SET d = NULL, s = NULL, a = NULL WHERE n % 7 = 0;"
    ));
    let batch = all(&server.source(), &statement("SELECT * FROM random ORDER BY n")).unwrap();
    let shown = server.psql(
        "SELECT n, coalesce(d::text, 'null'), w, f, day - '1970-01-01'::date, \
         (extract(epoch FROM t) * 1000000)::bigint, (extract(epoch FROM h) * 1000000)::bigint, coalesce(s, 'null'), u, \
         encode(b, 'hex'), coalesce('[' || n || ', , ' || -n || ']', '') || CASE WHEN a IS NULL THEN 'null' ELSE '' END \
         FROM random ORDER BY n",
    );
    let mut rows = 0;
    for (row, line) in shown.lines().enumerate() {
        let cells: Vec<_> = line.split('|').collect();
        let one = batch.slice(row, 1);
        let read = lines(&one)[0].clone();
        let read: Vec<_> = read.split('|').collect();
        for index in [0, 1, 2, 7, 8, 9] {
            assert_eq!(read[index], cells[index], "column {index} of {line}");
        }
        assert_eq!(float(&one), cells[3].parse::<f64>().unwrap().to_bits());
        assert_eq!(one.column(4).as_primitive::<Date32Type>().value(0).to_string(), cells[4]);
        assert_eq!(one.column(5).as_primitive::<TimestampMicrosecondType>().value(0).to_string(), cells[5]);
        assert_eq!(one.column(6).as_primitive::<Time64MicrosecondType>().value(0).to_string(), cells[6]);
        let is_null = cells[10].ends_with("null");
        assert_eq!(read[10], if is_null { "null" } else { cells[10] });
        rows += 1;
    }
    assert_eq!((rows, batch.num_rows()), (RANDOM_ROWS, RANDOM_ROWS));
}

fn float(row: &RecordBatch) -> u64 {
    row.column(3).as_primitive::<Float64Type>().value(0).to_bits()
}

#[test]
fn odd_columns_are_refused_left_out_or_read_as_text() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    for (kind, value, text) in [
        ("numeric", "1.50", "1.50"),
        ("numeric(77,1)", "1", "1.0"),
        ("numeric[]", "'{1.5,2}'", "{1.5,2}"),
        ("inet", "'10.0.0.1'", "10.0.0.1/32"),
        ("int4range", "'[1,5)'", "[1,5)"),
        ("timetz", "'10:00+02'", "10:00:00+02"),
        ("bit(3)", "B'101'", "101"),
        ("point", "'(1,2)'", "(1,2)"),
        ("pair", "ROW(1,'x')", "(1,x)"),
        ("money", "1", "$1.00"),
        ("macaddr", "'08:00:2b:01:02:03'", "08:00:2b:01:02:03"),
        ("tsvector", "'a b'", "'a' 'b'"),
        ("\"char\"", "'x'", "x"),
        ("inet[]", "'{10.0.0.1}'", "{10.0.0.1}"),
        ("exact[]", "'{1.50}'", "{1.50}"),
    ] {
        server.psql(&format!(
            "DROP TABLE IF EXISTS odd; DROP TYPE IF EXISTS pair; CREATE TYPE pair AS (a int, b text); \
             DROP DOMAIN IF EXISTS exact; CREATE DOMAIN exact AS numeric(9,2); \
             CREATE TABLE odd (id int, \"Odd One\" {kind}); INSERT INTO odd VALUES (1, {value}), (2, NULL);"
        ));
        let plain = Relation::table("odd");
        let error = source.describe(&plain, &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedType, "{kind}: {error}");
        assert!(
            error.message().contains("column `Odd One`") && error.message().contains("as text"),
            "{error}"
        );
        let fetch = pillion::source::Fetch::of(plain.clone());
        assert_eq!(source.fetch(&fetch, &patient()).unwrap_err().code(), ErrorCode::UnsupportedType);
        // A fetch of the other columns alone does not need it.
        assert_eq!(lines(&all(&source, &fetch.columns(["id"])).unwrap()), ["1", "2"]);
        let described = source.describe(&plain.clone().only(["id"]), &patient()).unwrap();
        assert_eq!(described.schema().fields().len(), 1);
        let left = pillion::source::Fetch::of(plain.clone().leave_out(["Odd One"]));
        assert_eq!(lines(&all(&source, &left).unwrap()), ["1", "2"]);
        let read = pillion::source::Fetch::of(plain.as_text(["Odd One"]));
        assert_eq!(lines(&all(&source, &read).unwrap()), [format!("1|{text}"), "2|null".into()], "{kind}");
    }
}

#[test]
fn values_that_arrow_does_not_have_are_named() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    for (kind, value, why) in [
        ("numeric(9,2)", "'NaN'", "NaN"),
        ("date", "'infinity'", "infinity"),
        ("timestamp", "'-infinity'", "infinity"),
        ("timestamptz", "'infinity'", "infinity"),
        ("timestamp", "'294276-12-31'", "294246"),
        ("time", "'24:00'", "24:00:00"),
        ("interval", "'3000000 hours'", "292 years"),
        ("int4[]", "'{{1,2},{3,4}}'", "2 dimensions"),
        ("int4[]", "'[0:1]={1,2}'", "first index is 0"),
        ("date[]", "'{infinity}'", "infinity"),
    ] {
        server.psql(&format!(
            "DROP TABLE IF EXISTS rare; CREATE TABLE rare (id int, odd {kind}); \
             INSERT INTO rare SELECT n, CASE n WHEN 500 THEN {value}::{kind} END FROM generate_series(1, 1000) n;"
        ));
        let error = all(&source, &table("rare")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
        assert!(error.message().contains("column `odd`") && error.message().contains(why), "{error}");
        // Whoever can do without the value gets the rest.
        assert_eq!(all(&source, &table("rare").condition("id <> 500")).unwrap().num_rows(), 999);
        let text = pillion::source::Fetch::of(Relation::table("rare").as_text(["odd"]));
        assert_eq!(all(&source, &text).unwrap().num_rows(), 1000);
    }
}

/// Settings of the user do not change what texts and conditions mean.
#[test]
fn settings_of_the_user_change_nothing() {
    let Some(server) = Server::start() else { return };
    server.psql(
        "ALTER ROLE postgres SET TimeZone = 'Asia/Tokyo'; ALTER ROLE postgres SET DateStyle = 'German'; \
         ALTER ROLE postgres SET bytea_output = 'escape'; ALTER ROLE postgres SET extra_float_digits = -3; \
         ALTER ROLE postgres SET IntervalStyle = 'iso_8601'; ALTER ROLE postgres SET standard_conforming_strings = off;",
    );
    let relation = Relation::statement(
        "SELECT timestamptz '2024-01-01 00:00+00' AS a, '\\x41'::bytea AS b, 0.1::float8 + 0.2 AS c, interval '1 day' AS d",
    );
    let fetch = pillion::source::Fetch::of(relation.as_text(["a", "b", "c", "d"]));
    let batch = all(&server.source(), &fetch.condition("a = '2024-01-01 00:00'")).unwrap();
    assert_eq!(lines(&batch), ["2024-01-01 00:00:00+00|\\x41|0.30000000000000004|1 day"]);
}

#[test]
fn a_statement_has_the_types_of_its_columns() {
    let Some(server) = Server::start() else { return };
    let batch = all(
        &server.source(),
        &statement("SELECT 1 AS a, 'x' AS b, 1.25::numeric(5,2) AS c, NULL::date AS d, now() IS NULL AS e;"),
    );
    let batch = batch.unwrap();
    let types: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(types, ["Int32", "Utf8", "Decimal128(5, 2)", "Date32", "Boolean"]);
    assert_eq!(lines(&batch), ["1|x|1.25|null|false"]);
}
