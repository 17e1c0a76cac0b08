//! Types and values: what comes out is what was put in, or an error that names the column.

use arrow::array::AsArray;
use arrow::datatypes::{
    Date32Type, Float32Type, Float64Type, Time64MicrosecondType, TimestampMicrosecondType,
};
use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

use crate::support::rows::{all, lines, patient, statement, table};
use crate::support::server::Server;

/// Rows of random values, as many as the server makes of them.
const RANDOM_ROWS: usize = 20_000;

/// A column: its type, a value in SQL, the type of Arrow, and how Arrow shows the value.
const COLUMNS: &[(&str, &str, &str, &str)] = &[
    ("boolean", "true", "Int8", "1"),
    ("tinyint", "-128", "Int8", "-128"),
    ("tinyint unsigned", "255", "UInt8", "255"),
    ("smallint", "-32768", "Int16", "-32768"),
    ("smallint unsigned", "65535", "UInt16", "65535"),
    ("mediumint", "-8388608", "Int32", "-8388608"),
    ("mediumint unsigned", "16777215", "UInt32", "16777215"),
    ("int", "-2147483648", "Int32", "-2147483648"),
    ("int(5) unsigned zerofill", "7", "UInt32", "7"),
    ("int unsigned", "4294967295", "UInt32", "4294967295"),
    ("bigint", "-9223372036854775808", "Int64", "-9223372036854775808"),
    ("bigint unsigned", "18446744073709551615", "UInt64", "18446744073709551615"),
    ("bit(1)", "b'1'", "Boolean", "true"),
    ("bit(9)", "b'100000001'", "UInt64", "257"),
    ("bit(64)", "~0", "UInt64", "18446744073709551615"),
    ("float", "16777217", "Float32", "16777216.0"),
    ("float", "1.17549435e-38", "Float32", "1.1754944e-38"),
    ("double", "0.1", "Float64", "0.1"),
    ("double", "-1.7976931348623157e308", "Float64", "-1.7976931348623157e308"),
    ("decimal(10,2)", "-12345678.90", "Decimal128(10, 2)", "-12345678.90"),
    ("decimal(10,2) unsigned", "0.5", "Decimal128(10, 2)", "0.50"),
    ("decimal(8,3) zerofill", "1.5", "Decimal128(8, 3)", "1.500"),
    (
        "decimal(38,38)",
        "0.00000000000000000000000000000000000001",
        "Decimal128(38, 38)",
        "0.00000000000000000000000000000000000001",
    ),
    ("decimal(38,0)", "repeat('9',38)", "Decimal128(38, 0)", "99999999999999999999999999999999999999"),
    ("decimal(39,1)", "-0.1", "Decimal256(39, 1)", "-0.1"),
    (
        "decimal(65,0)",
        "concat('-', repeat('9',65))",
        "Decimal256(65, 0)",
        "-99999999999999999999999999999999999999999999999999999999999999999",
    ),
    ("text", "'h\u{e4}\\t\u{1f600}'", "Utf8", "h\u{e4}\t\u{1f600}"),
    ("text", "''", "Utf8", ""),
    ("varchar(5) character set latin1", "'\u{e4}\u{20ac} '", "Utf8", "\u{e4}\u{20ac} "),
    ("varchar(5) character set utf16", "'\u{1f600}'", "Utf8", "\u{1f600}"),
    ("varchar(5) character set sjis", "'\u{65e5}\u{672c}'", "Utf8", "\u{65e5}\u{672c}"),
    ("varchar(5) character set koi8r", "'\u{44f}'", "Utf8", "\u{44f}"),
    ("char(5)", "'abc'", "Utf8", "abc"),
    ("longtext", "repeat('x', 3)", "Utf8", "xxx"),
    ("json", "'{ \"a\" :1}'", "Utf8", "{ \"a\" :1}"),
    ("enum('happy','so so')", "'so so'", "Utf8", "so so"),
    ("set('a','b','c')", "'c,a'", "Utf8", "a,c"),
    ("uuid", "'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "Utf8", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
    ("inet4", "'10.0.0.1'", "Utf8", "10.0.0.1"),
    ("inet6", "'2001:DB8::1'", "Utf8", "2001:db8::1"),
    ("binary(3)", "X'00ff'", "Binary", "00ff00"),
    ("varbinary(3)", "X'00ff'", "Binary", "00ff"),
    ("blob", "''", "Binary", ""),
    ("longblob", "X'27'", "Binary", "27"),
    ("date", "'0001-01-01'", "Date32", "0001-01-01"),
    ("date", "'2024-02-29'", "Date32", "2024-02-29"),
    ("date", "'9999-12-31'", "Date32", "9999-12-31"),
    ("time", "'23:59:59'", "Time64(µs)", "23:59:59"),
    ("time(6)", "'00:00:00.000001'", "Time64(µs)", "00:00:00.000001"),
    ("datetime", "'1969-12-31 23:59:59'", "Timestamp(µs)", "1969-12-31T23:59:59"),
    ("datetime(6)", "'9999-12-31 23:59:59.999999'", "Timestamp(µs)", "9999-12-31T23:59:59.999999"),
    ("datetime(3)", "'2024-07-01'", "Timestamp(µs)", "2024-07-01T00:00:00"),
    ("timestamp null", "'2024-07-01 12:00:00'", "Timestamp(µs, \"UTC\")", "2024-07-01T10:00:00Z"),
    (
        "timestamp(6) null",
        "'2024-01-01 01:00:00.000001'",
        "Timestamp(µs, \"UTC\")",
        "2023-12-31T23:00:00.000001Z",
    ),
    ("year", "2155", "Int16", "2155"),
    ("year", "0", "Int16", "0"),
];

#[test]
fn every_type_is_exact() {
    let Some(server) = Server::start() else { return };
    let columns: Vec<_> = COLUMNS.iter().enumerate().map(|(n, (kind, ..))| format!("c{n} {kind}")).collect();
    let values: Vec<_> = COLUMNS.iter().map(|(_, value, ..)| *value).collect();
    let nulls = vec!["NULL"; COLUMNS.len()].join(",");
    server.sql(&format!(
        "SET time_zone = '+02:00'; CREATE TABLE kinds ({}); INSERT INTO kinds VALUES ({}), ({nulls});",
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
}

/// What the server's own client shows of random values, against what Arrow shows or holds.
#[test]
fn random_values_are_those_that_the_server_shows() {
    let Some(server) = Server::start() else { return };
    server.sql(&format!(
        "SET time_zone = '+00:00'; CREATE TABLE random (n int, d decimal(38,10), w decimal(65,30), f double, g float, day date, \
         t datetime(6), h time(6), s text, b blob, u bigint unsigned); \
         INSERT INTO random SELECT seq, (rand() - 0.5) * pow(10, 27 * rand()), (rand() - 0.5) * pow(10, 34 * rand()), \
         (rand() - 0.5) * pow(10, 300 * (rand() - 0.5)), rand() * pow(10, 30 * (rand() - 0.5)), \
         '1500-01-01' + INTERVAL floor(rand() * 3000000) DAY, \
         '1500-01-01' + INTERVAL floor(rand() * 2e17) MICROSECOND, SEC_TO_TIME(rand() * 86399), md5(seq), unhex(md5(seq)), \
         floor(rand() * 18446744073709551615) FROM seq_1_to_{RANDOM_ROWS}; \
         UPDATE random SET d = NULL, s = NULL WHERE n % 7 = 0;"
    ));
    let batch = all(&server.source(), &statement("SELECT * FROM random ORDER BY n LIMIT 1000000")).unwrap();
    let shown = server.sql(
        "SET time_zone = '+00:00'; SELECT n, ifnull(d, 'null'), w, f, g * 1e0, to_days(day) - 719528, \
         CAST(timestampdiff(MICROSECOND, '1970-01-01', t) AS SIGNED), CAST(time_to_sec(h) * 1000000 AS SIGNED), \
         ifnull(s, 'null'), lower(hex(b)), u FROM random ORDER BY n",
    );
    let mut rows = 0;
    for (row, line) in shown.lines().enumerate() {
        let cells: Vec<_> = line.split('|').collect();
        let one = batch.slice(row, 1);
        let read = lines(&one)[0].clone();
        let read: Vec<_> = read.split('|').collect();
        for index in [0, 1, 2, 8, 9, 10] {
            assert_eq!(read[index], cells[index], "column {index} of {line}");
        }
        assert_eq!(one.column(3).as_primitive::<Float64Type>().value(0), cells[3].parse::<f64>().unwrap());
        let float = f64::from(one.column(4).as_primitive::<Float32Type>().value(0));
        assert_eq!(float, cells[4].parse::<f64>().unwrap());
        assert_eq!(one.column(5).as_primitive::<Date32Type>().value(0).to_string(), cells[5]);
        assert_eq!(one.column(6).as_primitive::<TimestampMicrosecondType>().value(0).to_string(), cells[6]);
        assert_eq!(one.column(7).as_primitive::<Time64MicrosecondType>().value(0).to_string(), cells[7]);
        rows += 1;
    }
    assert_eq!((rows, batch.num_rows()), (RANDOM_ROWS, RANDOM_ROWS));
}

#[test]
fn odd_columns_are_refused_left_out_or_read_as_text() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    for (kind, value, text) in [
        ("point", "ST_PointFromText('POINT(1 2)')", "POINT(1 2)"),
        ("geometry", "ST_GeomFromText('LINESTRING(0 0,1 1)')", "LINESTRING(0 0,1 1)"),
        ("year(2)", "99", "99"),
    ] {
        server.sql(&format!(
            "DROP TABLE IF EXISTS odd; CREATE TABLE odd (id int, `Odd ``One` {kind}); \
             INSERT INTO odd VALUES (1, {value}), (2, NULL);"
        ));
        let plain = Relation::table("odd");
        let error = source.describe(&plain, &patient()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnsupportedType, "{kind}: {error}");
        assert!(
            error.message().contains("column `Odd `One`") && error.message().contains("as text"),
            "{error}"
        );
        let fetch = Fetch::of(plain.clone());
        assert_eq!(source.fetch(&fetch, &patient()).unwrap_err().code(), ErrorCode::UnsupportedType);
        // A fetch of the other columns alone does not need it.
        assert_eq!(lines(&all(&source, &fetch.columns(["id"])).unwrap()), ["1", "2"]);
        let described = source.describe(&plain.clone().only(["id"]), &patient()).unwrap();
        assert_eq!(described.schema().fields().len(), 1);
        let left = Fetch::of(plain.clone().leave_out(["Odd `One"]));
        assert_eq!(lines(&all(&source, &left).unwrap()), ["1", "2"]);
        let read = Fetch::of(plain.as_text(["Odd `One"]));
        assert_eq!(lines(&all(&source, &read).unwrap()), [format!("1|{text}"), "2|null".into()], "{kind}");
    }
    let untyped = all(&source, &statement("SELECT NULL AS n")).unwrap();
    assert_eq!(
        (untyped.schema().field(0).data_type().to_string(), lines(&untyped)),
        ("Binary".into(), vec!["null".into()])
    );
}

/// Every type has a text, which is what the server shows.
#[test]
fn columns_are_read_as_text() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    for (kind, value, text) in [
        ("int(5) unsigned zerofill", "7", "00007"),
        ("bit(4)", "b'0101'", "0101"),
        ("bit(64)", "b'1'", "0000000000000000000000000000000000000000000000000000000000000001"),
        ("float", "0.1", "0.1"),
        ("decimal(5,2)", "1.5", "1.50"),
        ("varchar(9) character set latin1", "'\u{e4}'", "\u{e4}"),
        ("blob", "X'00ff'", "00FF"),
        ("binary(2)", "'a'", "6100"),
        ("enum('a','b')", "'b'", "b"),
        ("uuid", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"),
        ("date", "'0000-00-00'", "0000-00-00"),
        ("date", "'2024-02-00'", "2024-02-00"),
        ("time(1)", "'-838:59:59.0'", "-838:59:59.0"),
        ("datetime(2)", "'0000-00-00'", "0000-00-00 00:00:00.00"),
        ("timestamp null", "'2024-07-01 12:00:00'", "2024-07-01 10:00:00"),
        ("year", "0", "0000"),
        ("json", "'[1]'", "[1]"),
    ] {
        server.sql(&format!(
            "SET time_zone = '+02:00', sql_mode = ''; DROP TABLE IF EXISTS t; CREATE TABLE t (id int, c {kind}); \
             INSERT INTO t VALUES (1, {value}), (2, NULL);"
        ));
        let fetch = Fetch::of(Relation::table("t").as_text(["c"]));
        assert_eq!(lines(&all(&source, &fetch).unwrap()), [format!("1|{text}"), "2|null".into()], "{kind}");
    }
}

#[test]
fn values_that_arrow_does_not_have_are_named() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    for (kind, value, why) in [
        ("date", "'0000-00-00'", "0000-00-00"),
        ("date", "'2024-05-00'", "2024-05-00"),
        ("datetime", "'0000-00-00'", "0000-00-00"),
        ("timestamp null", "0", "0000-00-00"),
        ("time", "'24:00:00'", "24:00:00"),
        ("time", "'-00:00:01'", "-00:00:01"),
        ("time", "'838:59:59'", "838:59:59"),
    ] {
        server.sql(&format!(
            "SET sql_mode = ''; DROP TABLE IF EXISTS rare; CREATE TABLE rare (id int, odd {kind}); \
             INSERT INTO rare SELECT seq, IF(seq = 500, {value}, NULL) FROM seq_1_to_1000;"
        ));
        let error = all(&source, &table("rare")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
        for part in ["column `odd`", why, "as text", "condition"] {
            assert!(error.message().contains(part), "{error}");
        }
        // Whoever can do without the value gets the rest.
        assert_eq!(all(&source, &table("rare").condition("id <> 500")).unwrap().num_rows(), 999);
        let text = Fetch::of(Relation::table("rare").as_text(["odd"]));
        assert_eq!(all(&source, &text).unwrap().num_rows(), 1000);
    }
}

/// Settings of the server do not change what texts and conditions mean, nor how many rows there are.
#[test]
fn settings_of_the_server_change_nothing() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE t (a timestamp NOT NULL, b char(3) NOT NULL); SET time_zone = '+00:00'; \
         INSERT INTO t SELECT '2024-01-01 00:00:00', 'a' FROM seq_1_to_100; \
         SET GLOBAL time_zone = '+09:00'; SET GLOBAL sql_select_limit = 3; \
         SET GLOBAL sql_mode = 'ANSI,PAD_CHAR_TO_FULL_LENGTH,NO_BACKSLASH_ESCAPES'; SET GLOBAL sql_auto_is_null = 1; \
         SET GLOBAL tx_isolation = 'READ-UNCOMMITTED'; SET GLOBAL character_set_results = latin1;",
    );
    let relation = Relation::statement(r#"SELECT a, b, "it's" AS c, 'x\ty' AS d, 1 || 0 AS e FROM t"#);
    let fetch = Fetch::of(relation).condition("a = '2024-01-01 00:00:00'");
    let batch = all(&server.source(), &fetch).unwrap();
    assert_eq!(batch.num_rows(), 100);
    assert_eq!(lines(&batch)[99], "2024-01-01T00:00:00Z|a|it's|x\ty|1");
    assert_eq!(all(&server.source(), &table("t")).unwrap().num_rows(), 100);
    let session = statement(
        "SELECT @@net_write_timeout AS a, @@tx_isolation AS b, @@tx_read_only AS c, @@time_zone AS d",
    );
    assert_eq!(lines(&all(&server.source(), &session).unwrap()), ["86400|REPEATABLE-READ|0|+00:00"]);
}

#[test]
fn a_statement_has_the_types_of_its_columns() {
    let Some(server) = Server::start() else { return };
    server.sql(
        "CREATE TABLE t (n int NOT NULL, d decimal(8,2) NOT NULL); INSERT INTO t VALUES (1, 1.25), (2, 0);",
    );
    let text = "SELECT 1 AS a, 'x' AS b, sum(d) AS c, CAST(NULL AS date) AS d, count(*) AS e, avg(n) AS f, max(n) AS g, \
                1e0 AS h, UTC_TIMESTAMP() IS NULL AS i, CAST('t' AS BINARY) AS j FROM t;";
    let batch = all(&server.source(), &statement(text)).unwrap();
    let types: Vec<_> = batch.schema().fields().iter().map(|field| field.data_type().to_string()).collect();
    assert_eq!(
        types,
        [
            "Int32",
            "Utf8",
            "Decimal128(30, 2)",
            "Date32",
            "Int64",
            "Decimal128(14, 4)",
            "Int32",
            "Float64",
            "Int32",
            "Binary"
        ]
    );
    assert_eq!(lines(&batch), ["1|x|1.25|null|2|1.5000|2|1.0|0|74"]);
}
