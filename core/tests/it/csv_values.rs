//! What a CSV file holds is what its table holds: a value is kept exactly or refused, and null is not an empty text.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Decimal128Type, Field, Schema, TimeUnit};
use pillion::{Cache, ErrorCode, Input, Result, TableDefinition};

use crate::support::random::Random;
use crate::support::{files, refused};

/// Loads the text of a file, with the types of `schema` or inferred ones.
fn load(text: impl AsRef<[u8]>, schema: Option<Schema>) -> Result<RecordBatch> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.csv");
    files::write(&path, text.as_ref());
    let path = path.display().to_string();
    let input = match schema {
        Some(schema) => Input::csv_with_schema(path, Arc::new(schema)),
        None => Input::csv(path),
    };
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    cache.define_table("t", TableDefinition::new(input))?.scan()?.concat()
}

/// Loads one column. Rows before its values make the lines of the file differ from the numbers of rows.
fn load_column(data_type: &DataType, values: &[&str]) -> Result<ArrayRef> {
    let mut text = "note,v\n\"two\nlines\",\n\n".to_owned();
    values.iter().for_each(|value| text += &format!("\"a\n,b\",{value}\n"));
    let fields = vec![Field::new("note", DataType::Utf8, true), Field::new("v", data_type.clone(), true)];
    let rows = load(text, Some(Schema::new(fields)))?;
    assert_eq!(rows.column(1).logical_null_count(), nulls(values) + 1, "nothing is null");
    Ok(rows.column(1).slice(1, values.len()))
}

/// How many values have no text, and so are null.
fn nulls(values: &[&str]) -> usize {
    values.iter().filter(|value| matches!(**value, "" | "\"\"")).count()
}

fn timestamp(unit: TimeUnit) -> DataType {
    DataType::Timestamp(unit, None)
}

fn zoned(unit: TimeUnit, zone: &str) -> DataType {
    DataType::Timestamp(unit, Some(zone.into()))
}

#[test]
fn a_value_that_its_column_cannot_hold_is_an_error_with_line_column_and_value() {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let cases: &[(DataType, &[&str])] = &[
        (T::Null, &["1", "x", "NULL"]),
        (T::Boolean, &["1", "yes", "t", "truee"]),
        (T::Int8, &["128", "-129", "1.0", "1e2", "x", "0x1", "1_0"]),
        (T::Int64, &["9223372036854775808", "1.5"]),
        (T::UInt8, &["256", "-1"]),
        (T::UInt64, &["18446744073709551616", "-1"]),
        (T::Float16, &["70000", "x"]),
        (T::Float32, &["1e39", "1,5", "-3.5e38"]),
        (T::Float64, &["1e400", "-1e309", "1.2.3", "one"]),
        (T::Decimal32(9, 2), &["12.345", "10000000", "x", "1e9", "1e-3", ".", "1.2.3", "-", "1e"]),
        (T::Decimal64(18, 2), &["12.345", "0.001", "99999999999999999.99"]),
        (T::Decimal128(10, 2), &["12.345", "123456789.00", "1e-1000", "1e1000", "12.3450000001", "NaN"]),
        (T::Decimal128(4, -2), &["150", "1000000", "0.1"]),
        (T::Decimal128(38, 0), &["0.5", "100000000000000000000000000000000000000"]),
        (T::Decimal256(76, 3), &["0.0001", "1e73"]),
        (T::Date32, &["2020-01-31T10:00:00", "2020-01-31 00:00:01", "2020-02-30", "2020-01-31T00:00:00.5"]),
        (T::Date32, &["2020-01-31T00:00:00Z", "2020-01-31T00:00:00+02:00", "20200131T000000", "x"]),
        (T::Date64, &["2020-01-31T10:00:00.0001", "2020-01-31T10:00:00Z", "2020-13-01"]),
        (T::Time32(Second), &["10:00:00.5", "24:00:00", "23:59:60", "36000", "10"]),
        (T::Time32(Millisecond), &["10:00:00.0005", "10:00:00.0000000001"]),
        (T::Time64(Microsecond), &["10:00:00.0000005", "23:59:60.5"]),
        (T::Time64(Nanosecond), &["10:00:00.0000000005", "23:59:60"]),
        (timestamp(Second), &["2020-01-31T10:00:00.5", "2020-01-31T10:00:00.0000000001", "2020-01-31 10:00"]),
        (
            timestamp(Second),
            &["2020-01-31T10:00:00Z", "2020-01-31T10:00:00+00:00", "2020-01-31T10:00:00+02:00"],
        ),
        (
            timestamp(Second),
            &["2016-12-31T23:59:60", "2016-12-31 235960", "2020-02-30T00:00:00", "1577836800"],
        ),
        (timestamp(Millisecond), &["2020-01-31T10:00:00.0001", "2016-12-31T23:59:60.5"]),
        (timestamp(Microsecond), &["2020-01-31T10:00:00.0000001", "2020-01-31T10:00:00.123456Z"]),
        (timestamp(Nanosecond), &["2020-01-31T10:00:00.1234567891", "1600-01-01T00:00:00", "2263-01-01"]),
        (
            zoned(Second, "Europe/Berlin"),
            &["2020-10-25T02:30:00", "2020-03-29T02:30:00", "2020-01-31T10:00:00.5Z"],
        ),
        (zoned(Nanosecond, "UTC"), &["2020-01-31T10:00:00.1234567891Z", "2300-01-01T00:00:00Z"]),
        (T::Binary, &["0", "zz", "0x00"]),
        (T::FixedSizeBinary(2), &["00", "000000"]),
    ];
    for (data_type, values) in cases {
        for value in *values {
            let value = if value.contains(',') { format!("\"{value}\"") } else { (*value).to_owned() };
            // The third record begins in the fifth line, and its value is in the sixth.
            let shown = format!("`{}`", value.trim_matches('"'));
            let told = ["rows.csv", "line 6", "column `v`", &data_type.to_string(), &shown];
            refused(load_column(data_type, &[&value]), ErrorCode::SourceInvalid, &told);
        }
    }
}

#[test]
fn a_value_that_its_column_holds_is_that_value() {
    use DataType as T;
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    // What is loaded, and how Arrow writes the stored value.
    let cases: &[(DataType, &[(&str, &str)])] = &[
        (T::Null, &[("", ""), ("\"\"", "")]),
        (T::Boolean, &[("true", "true"), ("FALSE", "false"), ("\"True\"", "true"), ("\"\"", "")]),
        (T::Int8, &[("-128", "-128"), ("+7", "7"), ("007", "7"), (" 5 ", "5"), ("\"\"", "")]),
        (T::Int64, &[("-9223372036854775808", "-9223372036854775808")]),
        (T::UInt64, &[("18446744073709551615", "18446744073709551615")]),
        (T::Float16, &[("1.5", "1.5"), ("65504", "65504"), ("inf", "inf")]),
        (T::Float32, &[("0.1", "0.1"), ("-0", "-0.0"), ("3.4028235e38", "3.4028235e38"), ("NaN", "NaN")]),
        (
            T::Float64,
            &[("0.1234567890123456789", "0.12345678901234568"), ("-inf", "-inf"), ("1e308", "1e308")],
        ),
        (T::Decimal32(9, 2), &[("12.30", "12.30"), ("-9999999.99", "-9999999.99"), ("12.3400", "12.34")]),
        (T::Decimal64(18, 2), &[("1.2e1", "12.00"), ("120e-1", "12.00"), ("0", "0.00"), ("-0.0", "0.00")]),
        (
            T::Decimal128(10, 2),
            &[("99999999.99", "99999999.99"), (".5", "0.50"), ("5.", "5.00"), ("+1", "1.00")],
        ),
        (
            T::Decimal128(10, 2),
            &[("0000000000000000001.5", "1.50"), ("0e9999999", "0.00"), ("1000e-4", "0.10")],
        ),
        (T::Decimal128(4, -2), &[("1500", "1500"), ("999900", "999900"), ("-1.2e3", "-1200")]),
        (
            T::Decimal128(38, 0),
            &[("99999999999999999999999999999999999999", "99999999999999999999999999999999999999")],
        ),
        (T::Decimal256(76, 3), &[("-1e72", &format!("-1{}.000", "0".repeat(72)))]),
        (
            T::Date32,
            &[("2020-02-29", "2020-02-29"), ("20200229", "2020-02-29"), ("+12020-01-01", "+12020-01-01")],
        ),
        (T::Date32, &[("2020-01-31T00:00:00", "2020-01-31"), ("1969-12-31 00:00:00.000", "1969-12-31")]),
        (
            T::Date64,
            &[("2020-01-31", "2020-01-31T00:00:00"), ("2020-01-31T10:00:00.5", "2020-01-31T10:00:00.500")],
        ),
        (
            T::Time32(Second),
            &[("10:00:01", "10:00:01"), ("9:30 PM", "21:30:00"), ("10:00:00.000", "10:00:00")],
        ),
        (T::Time32(Millisecond), &[("10:00:00.5", "10:00:00.500")]),
        (
            T::Time64(Microsecond),
            &[("23:59:59.999999", "23:59:59.999999"), ("01:00:00.1000000000", "01:00:00.100")],
        ),
        (T::Time64(Nanosecond), &[("10:00:00.123456789", "10:00:00.123456789")]),
        (
            timestamp(Second),
            &[("2020-01-31", "2020-01-31T00:00:00"), ("1600-01-01 10:00:00.000", "1600-01-01T10:00:00")],
        ),
        (timestamp(Millisecond), &[("1969-12-31T23:59:59.999", "1969-12-31T23:59:59.999")]),
        (
            timestamp(Microsecond),
            &[
                ("2020-01-31 100000", "2020-01-31T10:00:00"),
                ("9999-12-31T00:00:00.1", "9999-12-31T00:00:00.100"),
            ],
        ),
        (timestamp(Nanosecond), &[("2020-01-31T10:00:00.1234567890000", "2020-01-31T10:00:00.123456789")]),
        (
            zoned(Second, "+02:00"),
            &[
                ("2020-01-31T10:00:00", "2020-01-31T10:00:00+02:00"),
                ("2020-01-31T10:00:00Z", "2020-01-31T12:00:00+02:00"),
            ],
        ),
        (
            zoned(Millisecond, "Europe/Berlin"),
            &[
                ("2020-07-01T10:00:00", "2020-07-01T10:00:00+02:00"),
                ("2020-10-25T02:30:00+01:00", "2020-10-25T02:30:00+01:00"),
            ],
        ),
        (T::Utf8, &[("x", "x"), (" x ", " x "), ("\"a\"\"b\"", "a\"b"), ("NULL", "NULL"), ("007", "007")]),
        (T::LargeUtf8, &[("x", "x")]),
        (T::Utf8View, &[("a text that is longer than a view", "a text that is longer than a view")]),
        (T::Binary, &[("00fF", "00ff")]),
        (T::LargeBinary, &[("00ff", "00ff")]),
        (T::BinaryView, &[("00ff", "00ff")]),
        (T::FixedSizeBinary(2), &[("00ff", "00ff")]),
    ];
    for (data_type, values) in cases {
        let texts: Vec<&str> = values.iter().map(|(text, _)| *text).collect();
        let loaded = load_column(data_type, &texts).unwrap();
        assert_eq!(loaded.data_type(), data_type);
        let options = arrow::util::display::FormatOptions::new();
        let format = arrow::util::display::ArrayFormatter::try_new(&loaded, &options).unwrap();
        for (row, (text, expected)) in values.iter().enumerate() {
            assert_eq!(format.value(row).to_string(), *expected, "{text} as {data_type}");
        }
    }
}

/// However large an exponent is, as many digits may make up for it.
#[test]
fn a_decimal_with_a_long_exponent_is_exact_or_refused() {
    let zeros = |count: usize| "0".repeat(count);
    let decimal = DataType::Decimal128(10, 2);
    let exact = [
        (format!("0.{}1e10000", zeros(9_999)), 100),
        (format!("-0.{}125e10001", zeros(9_999)), -1_250),
        (format!("1{}e-10000", zeros(10_000)), 100),
        (format!("5{}e-20002", zeros(20_000)), 5),
        ("0e-9223372036854775808".to_owned(), 0),
    ];
    let texts: Vec<&str> = exact.iter().map(|(text, _)| text.as_str()).collect();
    let loaded = load_column(&decimal, &texts).unwrap();
    let expected: Vec<i128> = exact.iter().map(|(_, unscaled)| *unscaled).collect();
    assert_eq!(loaded.as_primitive::<Decimal128Type>().values().to_vec(), expected);
    for text in [
        format!("0.{}1e20000", zeros(9_999)),
        format!("1{}e-10003", zeros(10_000)),
        "1e10000".to_owned(),
        "1e9223372036854775807".to_owned(),
        "1e-9223372036854775808".to_owned(),
        "1e9223372036854775808".to_owned(),
    ] {
        let told = ["rows.csv", "line 6", "column `v`", &decimal.to_string(), &text[..5]];
        refused(load_column(&decimal, &[&text]), ErrorCode::SourceInvalid, &told);
    }
}

#[test]
fn types_that_csv_cannot_hold_are_refused_before_a_row_is_read() {
    for data_type in [
        DataType::Duration(TimeUnit::Second),
        DataType::Interval(arrow::datatypes::IntervalUnit::DayTime),
        DataType::new_list(DataType::Int64, true),
    ] {
        let name = data_type.to_string();
        refused(load_column(&data_type, &[]), ErrorCode::UnsupportedType, &["column `v`", &name, "texts"]);
    }
}

#[test]
fn inference_changes_no_value() {
    let seconds = || timestamp(TimeUnit::Second);
    let cases: &[(&[&str], DataType)] = &[
        (&[], DataType::Utf8),
        (&[""], DataType::Utf8),
        (&["\"\"", ""], DataType::Utf8),
        (&["1", "", "-5"], DataType::Int64),
        (&["1", "\"\""], DataType::Int64),
        (&["0"], DataType::Int64),
        (&["01234"], DataType::Utf8),
        (&["1", "-01"], DataType::Utf8),
        (&["00"], DataType::Utf8),
        (&["+5"], DataType::Utf8),
        (&["-0"], DataType::Float64),
        (&["9223372036854775807", "-9223372036854775808"], DataType::Int64),
        (&["9223372036854775808"], DataType::Utf8),
        (&["1", "123456789012345678901234567890"], DataType::Utf8),
        (&["1", "2.5"], DataType::Float64),
        (&["9007199254740992", "2.5"], DataType::Float64),
        (&["9007199254740993", "2.5"], DataType::Utf8),
        (&["00.5"], DataType::Utf8),
        (&[".5", "-.5", "5.", "1e5", "1.5E-7", "1e+3", "NaN", "nan", "inf", "-inf"], DataType::Float64),
        (&["1e400"], DataType::Utf8),
        (&["."], DataType::Utf8),
        (&["1e"], DataType::Utf8),
        (&["-"], DataType::Utf8),
        (&["1.2.3"], DataType::Utf8),
        (&["true", "False"], DataType::Boolean),
        (&["true", "1"], DataType::Utf8),
        (&["2020-01-31"], DataType::Date32),
        (&["2020-02-30"], DataType::Utf8),
        (&["1234-5678"], DataType::Utf8),
        (&["2020-01-31", "1"], DataType::Utf8),
        (&["2020-01-31 10:00:00", "2020-01-31"], seconds()),
        (&["2020-01-31T10:00:00", "2020-01-31 10:00:00.5"], timestamp(TimeUnit::Millisecond)),
        (&["2020-01-31T10:00:00.123456"], timestamp(TimeUnit::Microsecond)),
        (&["2020-01-31T10:00:00.123456789"], timestamp(TimeUnit::Nanosecond)),
        (&["2020-01-31T10:00:00.1234567891"], DataType::Utf8),
        (&["2020-01-31T10:00:00.123456789", "1600-01-01T00:00:00"], DataType::Utf8),
        (&["2020-01-31T10:00:00.123456789", "1600-01-01"], DataType::Utf8),
        (&["1600-01-01T00:00:00"], seconds()),
        (&["2016-12-31T23:59:60"], DataType::Utf8),
        (&["2020-01-31T10:00:00 or so"], DataType::Utf8),
        (&["2020-01-31T10:00:00Z", "2020-01-31 10:00:00.5+02:00"], zoned(TimeUnit::Millisecond, "UTC")),
        (&["2020-01-31T10:00:00Z", "2020-01-31T10:00:00"], DataType::Utf8),
        (&["2020-01-31T10:00:00Z", "2020-01-31"], DataType::Utf8),
        (&["1", "x"], DataType::Utf8),
    ];
    for (values, expected) in cases {
        let mut text = "k,v\n".to_owned();
        values.iter().for_each(|value| text += &format!("k,{value}\n"));
        let loaded = load(&text, None).unwrap();
        let column = loaded.column(1);
        assert_eq!(column.data_type(), expected, "{values:?}");
        assert_eq!(loaded.num_rows(), values.len(), "{values:?}");
        if *expected == DataType::Utf8 {
            let kept: Vec<String> =
                column.as_string::<i32>().iter().map(|text| text.unwrap_or("").into()).collect();
            let given: Vec<String> = values.iter().map(|value| value.trim_matches('"').to_owned()).collect();
            assert_eq!(kept, given);
        }
    }
}

#[test]
fn a_table_of_a_file_with_only_a_header_keeps_the_rows_that_follow() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        files::write(&path, text.as_ref());
        path.display().to_string()
    };
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let definition = TableDefinition::csv(write("header.csv", "id,name\n"));
    let table = cache.define_table("t", definition).unwrap();
    assert!(table.info().unwrap().schema.fields().iter().all(|field| *field.data_type() == DataType::Utf8));
    table.append(Input::csv(write("rows.csv", "id,name\n01,x\n,\"\"\n"))).unwrap();
    let rows = table.scan().unwrap().concat().unwrap();
    let column = |index: usize| rows.column(index).as_string::<i32>().iter().collect::<Vec<_>>();
    assert_eq!((column(0), column(1)), (vec![Some("01"), None], vec![Some("x"), Some("")]));
}

#[test]
fn a_column_of_type_null_swallows_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let schema = Arc::new(Schema::new(vec![Field::new("n", DataType::Null, true)]));
    let definition = TableDefinition::new(Input::batches(schema, []));
    let table = cache.define_table("t", definition).unwrap();
    let path = dir.path().join("rows.csv");
    files::write(&path, b"n\n\nx\n");
    let appended = table.append(Input::csv(path.display().to_string()));
    refused(appended, ErrorCode::SourceInvalid, &["line 3", "column `n`", "`x`"]);
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let batch = RecordBatch::try_from_iter([("n", texts)]).unwrap();
    refused(table.append(batch.clone()), ErrorCode::SchemaMismatch, &["n"]);
    refused(table.replace(batch), ErrorCode::SchemaMismatch, &["n"]);
    assert_eq!(table.info().unwrap().rows, 0);
}

#[test]
fn nothing_is_null_and_quoted_nothing_is_an_empty_text() {
    let rows = load("a,b\n,\"\"\n\"\",\nx,\"\"\r\n\"\",\"\"", None).unwrap();
    let column = |index: usize| rows.column(index).as_string::<i32>().iter().collect::<Vec<_>>();
    assert_eq!(column(0), [None, Some(""), Some("x"), Some("")]);
    assert_eq!(column(1), [Some(""), None, Some(""), Some("")]);
    // A record of a single null is an empty line.
    let rows = load("\u{feff}a\r\n\r\n\"\"\r\nx\r\n\r\n\r\n\"\r\n\"\r\n", None).unwrap();
    let column: Vec<_> = rows.column(0).as_string::<i32>().iter().collect();
    assert_eq!(rows.schema().field(0).name(), "a");
    assert_eq!(column, [None, Some(""), Some("x"), None, None, Some("\r\n")]);
    let not_null = || Some(Schema::new(vec![Field::new("a", DataType::Utf8, false)]));
    refused(
        load("a\nx\n\n", not_null()),
        ErrorCode::SourceInvalid,
        &["line 3", "column `a`", "no nulls", "\"\""],
    );
    assert_eq!(load("a\nx\n\"\"\n", not_null()).unwrap().num_rows(), 2);
}

#[test]
fn what_is_no_record_is_an_error_with_its_line() {
    let wrong = |text: &[u8], told: &[&str]| refused(load(text, None), ErrorCode::SourceInvalid, told);
    wrong(b"a,b\n\"1\n2\",3\n4\n", &["line 4", "1 fields", "header 2"]);
    wrong(b"a,b\r\n\r\n1,2,3\r\n", &["line 3", "3 fields"]);
    wrong(b"a,b\r1,2\r3\r", &["line 3", "1 fields"]);
    wrong(b"a,b\n1,2\n3,\"4\n5,6\n", &["line 3", "quoted", "no end"]);
    wrong(b"a,b\n1,2\n3,\"4\"\"", &["line 3", "no end"]);
    wrong(b"a,b\n1,2\nx,\xFF\n", &["line 3", "column `b`", "UTF-8"]);
    // Two halves of a letter are not a letter, although they are beside each other in the batch.
    wrong(b"a,b\n1,2\n\xC3,\xA9\n", &["line 3", "column `a`", "UTF-8"]);
    wrong(b"\xEF\xBB\xBF", &["empty"]);
    wrong(b"\n\n", &["empty"]);
}

/// Texts of all kinds that a delimiter, a quote or a line end could break, with nulls, in files of one and of several
/// columns, of many reads, written in each of the ways that CSV allows.
#[test]
fn random_texts_come_back_as_they_were_written() {
    let mut random = Random::new(4);
    for round in 0..60 {
        let columns = 1 + random.below(4);
        let rows =
            [0, 1, 7, 300, 40_000][usize::try_from(random.below(if round < 50 { 4 } else { 5 })).unwrap()];
        let end = ["\n", "\r\n", "\r"][usize::try_from(random.below(3)).unwrap()];
        let mut file = (0..columns).map(|column| format!("c{column}")).collect::<Vec<_>>().join(",") + end;
        let mut expected: Vec<Vec<Option<String>>> = Vec::new();
        for _ in 0..rows {
            let fields: Vec<Option<String>> = (0..columns).map(|_| random_text(&mut random)).collect();
            let written = fields.iter().map(|field| written(field.as_deref(), &mut random));
            file += &(written.collect::<Vec<_>>().join(",") + end);
            expected.push(fields);
        }
        if columns > 1 && random.below(2) == 0 {
            file.truncate(file.len() - end.len());
        }
        let fields = (0..columns).map(|column| Field::new(format!("c{column}"), DataType::Utf8, true));
        let loaded = load(&file, Some(Schema::new(fields.collect::<Vec<_>>()))).unwrap();
        assert_eq!(loaded.num_rows(), expected.len(), "round {round}");
        for (column, array) in loaded.columns().iter().enumerate() {
            let texts = cast(array, &DataType::LargeUtf8).unwrap();
            for (row, text) in texts.as_string::<i64>().iter().enumerate() {
                assert_eq!(
                    text,
                    expected[row][column].as_deref(),
                    "round {round}, row {row}, column {column}"
                );
            }
        }
    }
}

fn random_text(random: &mut Random) -> Option<String> {
    const PARTS: [&str; 12] = ["a", "\"", ",", "\n", "\r", " ", "é", "\u{feff}", "\0", "日本", "''", "\r\n"];
    if random.below(5) == 0 {
        return None;
    }
    let parts = random.below(4);
    Some((0..parts).map(|_| PARTS[usize::try_from(random.below(12)).unwrap()]).collect())
}

/// A field in quotes where it must be, and sometimes where it need not be.
fn written(field: Option<&str>, random: &mut Random) -> String {
    let Some(text) = field else { return String::new() };
    let must = text.is_empty() || text.contains([',', '"', '\n', '\r', '\u{feff}']);
    if must || random.below(3) == 0 { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}
