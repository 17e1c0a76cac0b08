//! Every format gives exactly the rows that were written, or says what is wrong where.

use std::io::Write;
use std::sync::Arc;

use arrow::array::builder::{StringRunBuilder, StringViewBuilder};
use arrow::array::types::{Int8Type, Int32Type};
use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float64Array,
    Int8Array, Int64Array, ListArray, RecordBatch, StringArray, StructArray, Time64NanosecondArray,
    TimestampMicrosecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Fields};
#[cfg(feature = "arrow-compression")]
use arrow::ipc::CompressionType;
use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

#[cfg(feature = "arrow-compression")]
use crate::support::files::compressed_arrow_file;
use crate::support::files::{arrow_file, arrow_stream, batch, numbers, parquet, write};
use crate::support::{call, columns, failure, local, rows, shown, try_rows};

fn types() -> RecordBatch {
    let items =
        ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1), None]), None, Some(vec![])]);
    let fields = Fields::from(vec![Field::new("x", DataType::Int64, true)]);
    let inner: Vec<ArrayRef> = vec![Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]))];
    batch([
        ("boolean", Arc::new(BooleanArray::from(vec![Some(true), None, Some(false)])) as ArrayRef),
        ("int8", Arc::new(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]))),
        ("uint64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("float", Arc::new(Float64Array::from(vec![Some(-0.0), None, Some(f64::MIN_POSITIVE)]))),
        (
            "decimal",
            Arc::new(
                Decimal128Array::from(vec![Some(-1), None, Some(10_i128.pow(37))])
                    .with_precision_and_scale(38, 2)
                    .unwrap(),
            ),
        ),
        ("text", Arc::new(StringArray::from(vec![Some(""), None, Some("ä\n\"")]))),
        ("bytes", Arc::new(BinaryArray::from_opt_vec(vec![Some(&[0, 255]), None, Some(&[])]))),
        ("date", Arc::new(Date32Array::from(vec![Some(-1), None, Some(2_932_896)]))),
        ("time", Arc::new(Time64NanosecondArray::from(vec![Some(0), None, Some(86_399_999_999_999)]))),
        (
            "moment",
            Arc::new(
                TimestampMicrosecondArray::from(vec![Some(-62_135_596_800_000_000), None, Some(1)])
                    .with_timezone("UTC"),
            ),
        ),
        ("list", Arc::new(items)),
        ("struct", Arc::new(StructArray::new(fields, inner, None))),
    ])
}

#[test]
fn files_with_types_give_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let written = types();
    write(dir.path(), "all.parquet", parquet(&written, 2));
    write(dir.path(), "all.arrow", arrow_file(&written));
    write(dir.path(), "all.arrows", arrow_stream(&written));
    for name in ["all.parquet", "all.arrow", "all.arrows"] {
        assert_eq!(rows(&local(dir.path()), &Relation::table(name)), written, "{name}");
        let empty = written.slice(0, 0);
        write(
            dir.path(),
            "empty.bin",
            if name == "all.parquet" { parquet(&empty, 2) } else { arrow_file(&empty) },
        );
        let format = if name == "all.parquet" { "parquet" } else { "arrow" };
        let found = rows(&local(dir.path()), &Relation::table("empty.bin").option("format", format));
        assert_eq!(found, empty, "{name}");
    }
}

#[test]
fn columns_that_tables_cannot_hold_are_decoded() {
    let mut runs = StringRunBuilder::<Int32Type>::new();
    runs.extend(["a", "a", "b"].map(Some));
    let mut views = StringViewBuilder::new();
    for text in [Some("a text that is longer than twelve bytes"), None, Some("b")] {
        views.append_option(text);
    }
    let dictionary: DictionaryArray<Int8Type> = vec![Some("x"), None, Some("x")].into_iter().collect();
    let written = batch([
        ("dictionary", Arc::new(dictionary) as ArrayRef),
        ("runs", Arc::new(runs.finish())),
        ("views", Arc::new(views.finish())),
    ]);
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.arrow", arrow_file(&written));
    let found = rows(&local(dir.path()), &Relation::table("a.arrow"));
    assert_eq!(columns(&found), "dictionary Utf8, runs Utf8, views Utf8View");
    assert_eq!(shown(&found), ["x,a,a text that is longer than twelve bytes", "-,a,-", "x,b,b"]);
}

#[test]
fn columns_are_read_as_text_or_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "all.parquet", parquet(&types(), 2));
    let source = local(dir.path());
    let names = ["boolean", "decimal", "moment", "list", "struct"];
    let relation = Relation::table("all.parquet").as_text(names).leave_out(["bytes", "text"]);
    let found = rows(&source, &relation);
    assert_eq!(found.num_columns(), 10);
    let texts = found.project(&names.map(|name| found.schema().index_of(name).unwrap())).unwrap();
    assert!(texts.schema().fields().iter().all(|field| field.data_type() == &DataType::Utf8));
    assert_eq!(
        shown(&texts)[2],
        "false,100000000000000000000000000000000000.00,1970-01-01T00:00:00.000001Z,[],{x: 3}"
    );
    assert_eq!(texts.column(0).null_count(), 1);
    for relation in [relation.clone().leave_out(["no"]), relation.as_text(["txt"])] {
        assert_eq!(failure(&source, &relation).code(), ErrorCode::ColumnNotFound);
    }
}

#[test]
fn types_that_a_definition_gives_must_hold_all_values() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "n.parquet", parquet(&numbers(0, 3), 10));
    let source = local(dir.path());
    let relation = |types: &str| Relation::table("n.parquet").option("types", types);
    assert_eq!(columns(&rows(&source, &relation("text=LargeUtf8"))), "id Int64, text LargeUtf8");
    let error = failure(&source, &relation("id=Int32"));
    assert_eq!(error.code(), ErrorCode::SchemaMismatch);
    assert!(error.message().contains("column `id` is Int64"), "{error}");
}

#[test]
fn what_files_cannot_agree_on_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", parquet(&numbers(0, 3), 10));
    write(
        dir.path(),
        "b.parquet",
        parquet(&batch([("id", Arc::new(StringArray::from(vec!["x"])) as ArrayRef)]), 10),
    );
    let source = local(dir.path());
    let error = failure(&source, &Relation::table("*.parquet"));
    assert_eq!(error.code(), ErrorCode::SchemaMismatch);
    for part in ["`id`", "b.parquet", "Utf8", "Int64", "a.parquet"] {
        assert!(error.message().contains(part), "{error}");
    }
    let found = rows(&source, &Relation::table("*.parquet").as_text(["id"]));
    assert_eq!(shown(&found), ["0,text 0", "1,text 1", "2,text 2", "x,-"]);
    assert_eq!(rows(&source, &Relation::table("*.parquet").leave_out(["id"])).num_rows(), 4);
}

#[test]
fn files_of_several_formats_are_one_relation() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.parquet", parquet(&numbers(0, 2), 10));
    write(dir.path(), "b.csv", "text;id\nsecond;2\n");
    write(dir.path(), "c.ndjson", "{\"id\": 3}\n");
    write(dir.path(), "d.csv", "");
    let found = rows(&local(dir.path()), &Relation::table("*"));
    assert_eq!(columns(&found), "id Int64, text Utf8");
    assert_eq!(shown(&found), ["0,text 0", "1,text 1", "2,second", "3,-"]);
}

#[test]
fn types_of_texts_follow_from_all_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "n,d,t\n1,2013-01-01,x\n");
    write(dir.path(), "b.csv", "t,n,d\n7,2.5,2013-01-02T10:00:00\n");
    write(dir.path(), "c.csv", "n\n");
    let found = rows(&local(dir.path()), &Relation::table("*.csv"));
    assert_eq!(columns(&found), "n Float64, d Timestamp(s), t Utf8");
    assert_eq!(shown(&found), ["1.0,2013-01-01T00:00:00,x", "2.5,2013-01-02T10:00:00,7"]);
}

#[test]
fn csv_is_read_as_it_is_said_to_be_written() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "a|b\n'x|y'|NA\n'NA'|''\n");
    let relation =
        Relation::table("a.csv").option("quote", "'").option("delimiter", "pipe").option("null", "NA");
    let found = rows(&local(dir.path()), &relation);
    assert_eq!(shown(&found), ["x|y,-", "NA,"]);
    assert_eq!((found.column(0).null_count(), found.column(1).null_count()), (0, 1));
    write(dir.path(), "b.csv", "a,b\n\"x,y\n");
    let found = rows(&local(dir.path()), &Relation::table("b.csv").option("quote", "off"));
    assert_eq!(shown(&found), ["\"x,y"]);
    write(dir.path(), "c.csv", "a;b,c\n1;2,3\n");
    let error = failure(&local(dir.path()), &Relation::table("c.csv"));
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    write(dir.path(), "d.csv", "a,b\n1,2\n3\n");
    let error = failure(&local(dir.path()), &Relation::table("d.csv"));
    assert_eq!(error.code(), ErrorCode::SourceInvalid);
    assert!(error.message().contains("d.csv`, line 3:") && error.message().contains("were tried"), "{error}");
    write(dir.path(), "e.csv", "a,a\n1,2\n");
    assert!(failure(&local(dir.path()), &Relation::table("e.csv")).message().contains("column `a` twice"));
}

#[test]
fn a_text_that_its_type_cannot_hold_is_named_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "id,price\n1,2.50\n2,2.555\n");
    write(dir.path(), "a.ndjson", "{\"price\": 2.50}\n\n{\"price\": 2.555}\n");
    for name in ["a.csv", "a.ndjson"] {
        let error =
            failure(&local(dir.path()), &Relation::table(name).option("types", "price=Decimal(10,2)"));
        assert_eq!(error.code(), ErrorCode::SourceInvalid);
        for part in [name, "line 3", "`price`", "Decimal128(10, 2)", "`2.555`"] {
            assert!(error.message().contains(part), "{error}");
        }
    }
}

#[test]
fn json_is_read_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let lines = [
        r#"{"n": 9007199254740993, "d": 0.1, "t": "a\nb", "x": 1}"#,
        "",
        r#"  {"d": 1e3, "n": -1, "nested": {"a": [1, 2]}, "x": "y", "b": true}"#,
        r#"{"ünı": "\u00fc", "n": null}"#,
    ];
    write(dir.path(), "a.jsonl", lines.join("\r\n"));
    let found = rows(&local(dir.path()), &Relation::table("a.jsonl"));
    assert_eq!(columns(&found), "n Int64, d Float64, t Utf8, x Utf8, nested Utf8, b Boolean, ünı Utf8");
    assert_eq!(
        shown(&found),
        ["9007199254740993,0.1,a\nb,1,-,-,-", r#"-1,1000.0,-,y,{"a": [1, 2]},true,-"#, "-,-,-,-,-,-,ü",]
    );
    for (text, why) in [
        ("{\"a\": 1}\n{\"a\": }\n", "line 2: expected value, at byte 7"),
        ("{\"a\": 1, \"a\": 2}\n", "line 1: the object has `a` twice"),
        ("[{\"a\": 1}]", "it is a list"),
        ("{\n\"a\": 1}", "line 1: EOF while parsing"),
        ("{\"a\": \"\\ud800\"}", "line 1: "),
        ("7\n", "line 1: invalid type"),
    ] {
        write(dir.path(), "b.json", text);
        let error = failure(&local(dir.path()), &Relation::table("b.json"));
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{text}");
        assert!(error.message().contains(why), "{text}: {error}");
    }
}

#[test]
fn compressed_files_are_whole_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let text: String = (0..50_000).map(|number| format!("{number},text {number}\n")).collect();
    let text = format!("id,text\n{text}");
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(text.as_bytes(), 1).unwrap();
    write(dir.path(), "a.csv.gz", &gzip);
    write(dir.path(), "a.csv.zst", &zstd);
    let source = local(dir.path());
    for name in ["a.csv.gz", "a.csv.zst"] {
        assert_eq!(rows(&source, &Relation::table(name)), numbers(0, 50_000), "{name}");
    }
    write(dir.path(), "cut.csv.gz", &gzip[..gzip.len() / 2]);
    write(dir.path(), "cut.csv.zst", &zstd[..zstd.len() / 2]);
    for name in ["cut.csv.gz", "cut.csv.zst"] {
        let error = failure(&source, &Relation::table(name));
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{name}: {error}");
        assert!(error.message().contains(name), "{error}");
    }
    for (name, why) in
        [("a.csv.bz2", "bzip2"), ("a.csv.xz", "xz"), ("a.parquet.gz", "decompress it"), ("a.xyz", "ending")]
    {
        write(dir.path(), name, "x");
        let error = failure(&source, &Relation::table(name));
        assert!(error.message().contains(why) && error.message().contains(name), "{error}");
    }
}

#[test]
fn damaged_files_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let source = local(dir.path());
    let file = parquet(&numbers(0, 5000), 1000);
    for len in [0, 3, file.len() / 2, file.len() - 1] {
        write(dir.path(), "a.parquet", &file[..len]);
        let error = failure(&source, &Relation::table("a.parquet"));
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{len}: {error}");
        assert!(error.message().contains("a.parquet"), "{error}");
    }
    let file = arrow_file(&numbers(0, 5000));
    for len in [0, 5, 100, file.len() / 2] {
        write(dir.path(), "a.arrow", &file[..len]);
        assert_eq!(failure(&source, &Relation::table("a.arrow")).code(), ErrorCode::SourceInvalid, "{len}");
    }
}

#[test]
#[cfg(feature = "arrow-compression")]
fn compressed_arrow_files_give_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let source = local(dir.path());
    for codec in [CompressionType::LZ4_FRAME, CompressionType::ZSTD] {
        write(dir.path(), "a.arrow", compressed_arrow_file(&numbers(0, 100_000), codec));
        assert_eq!(rows(&source, &Relation::table("a.arrow")), numbers(0, 100_000), "{codec:?}");
        // Half of the rows' bytes, as a writer leaves them that was stopped.
        let file = compressed_arrow_file(&numbers(0, 100_000), codec);
        write(dir.path(), "half.arrow", &file[..file.len() / 2]);
        assert_eq!(failure(&source, &Relation::table("half.arrow")).code(), ErrorCode::SourceInvalid);
    }
}

/// A decoder that reserves as much memory as a damaged length says ends the process, and this test with it.
#[test]
fn no_damaged_byte_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let source = local(dir.path());
    let rows_of_file = numbers(0, 20);
    let text = b"id,text\n1,a\n2,b\n3,c\n";
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text).unwrap();
    let files = [
        ("a.parquet", parquet(&rows_of_file, 8)),
        ("a.arrow", arrow_file(&rows_of_file)),
        ("a.arrows", arrow_stream(&rows_of_file)),
        ("a.csv.gz", gzip.finish().unwrap()),
        ("a.csv.zst", zstd::encode_all(&text[..], 1).unwrap()),
    ];
    for (name, file) in files {
        let mut refused = 0;
        for position in 0..file.len() {
            let mut damaged = file.clone();
            damaged[position] = if position % 2 == 0 { 0x7F } else { 0xFF };
            write(dir.path(), name, &damaged);
            if let Err(error) = try_rows(&source, &Fetch::of(Relation::table(name))) {
                assert_ne!(error.code(), ErrorCode::Internal, "{name}, byte {position}: {error}");
                refused += 1;
            }
        }
        assert!(refused > 0, "{name}");
    }
}

#[test]
fn only_wanted_columns_come_and_batches_are_small() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "n.parquet", parquet(&numbers(0, 50_000), 20_000));
    let source = local(dir.path());
    let fetch = Fetch::of(Relation::table("n.parquet")).columns(["text"]);
    let sizes: Vec<usize> =
        source.fetch(&fetch, &call()).unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert!(sizes.len() > 5 && sizes.iter().all(|rows| *rows <= 8192), "{sizes:?}");
    assert_eq!(try_rows(&source, &fetch).unwrap(), numbers(0, 50_000).project(&[1]).unwrap());
    let wide = StringArray::from_iter_values((0..64).map(|row| format!("{row}").repeat(500_000)));
    let wide = batch([("text", Arc::new(wide) as ArrayRef)]);
    write(dir.path(), "w.parquet", parquet(&wide, 100));
    write(dir.path(), "w.arrow", arrow_file(&wide));
    for name in ["w.parquet", "w.arrow"] {
        let fetched = source.fetch(&Fetch::of(Relation::table(name)), &call()).unwrap();
        let sizes: Vec<usize> = fetched.map(|batch| batch.unwrap().num_rows()).collect();
        assert!(sizes.iter().all(|rows| *rows < 16), "{name}: {sizes:?}");
        assert_eq!(rows(&source, &Relation::table(name)), wide, "{name}");
    }
}

#[test]
fn what_is_not_known_is_refused_with_the_nearest() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "a\n1\n");
    let source = local(dir.path());
    let relation = Relation::table("a.csv");
    for (option, value, near) in [
        ("delimitr", ";", "did you mean `delimiter`"),
        ("format", "parket", "did you mean `parquet`"),
        ("header", "maybe", "`on` or `off`"),
        ("delimiter", ";;", "one ASCII character"),
        ("types", "a=Intt", "is not a type"),
        ("empty", "yes", "`allow` or `refuse`"),
    ] {
        let error = failure(&source, &relation.clone().option(option, value));
        assert_eq!(error.code(), ErrorCode::InvalidArgument, "{error}");
        assert!(error.message().contains(near), "{error}");
    }
    write(dir.path(), "a.ndjson", "{}\n");
    let error = failure(&source, &Relation::table("a.ndjson").option("delimiter", ";"));
    assert!(error.message().contains("`delimiter` is of CSV files"), "{error}");
    let fetch = Fetch::of(relation.clone()).condition("a > 1");
    assert_eq!(try_rows(&source, &fetch).unwrap_err().code(), ErrorCode::Unsupported);
    let error = failure(&source, &Relation::statement("SELECT 1"));
    assert_eq!(error.code(), ErrorCode::Unsupported);
    let error = try_rows(&source, &Fetch::of(relation).columns(["b"])).unwrap_err();
    assert_eq!(error.code(), ErrorCode::ColumnNotFound);
}
