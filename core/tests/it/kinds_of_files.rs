//! Files as people have them: each gives the table that one would expect, or an error that says what to do.
//!
//! The values are written here by hand. The connector's tests have the same files.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use parquet::arrow::ArrowWriter;
use pillion::{Cache, ErrorCode, FileOptions, Input, Result, TableDefinition};

use crate::support::{files, refused};

/// A file, or pattern of files, that the connector's tests have too.
fn case(name: &str) -> String {
    format!("{}/sources/object-store/tests/files/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// The rows of a new table.
fn load(input: Input) -> Result<RecordBatch> {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.define_table("t", TableDefinition::new(input))?.scan()?.concat()
}

fn rows(name: &str) -> RecordBatch {
    load(Input::files([case(name)])).unwrap()
}

/// The rows of a file that is read with options.
fn rows_with(name: &str, options: &[(&str, &str)]) -> RecordBatch {
    let set = |all: FileOptions, (name, value): &(&str, &str)| all.option(name, value).unwrap();
    load(Input::files_with([case(name)], options.iter().fold(FileOptions::new(), set))).unwrap()
}

/// Names and types of columns: `id Int64, name Utf8`.
fn columns(batch: &RecordBatch) -> String {
    let schema = batch.schema();
    let columns = schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
    columns.collect::<Vec<_>>().join(", ")
}

/// Rows as texts: values with a comma between them, and `-` for a null.
fn shown(batch: &RecordBatch) -> Vec<String> {
    let options = FormatOptions::new().with_null("-");
    let columns: Vec<ArrayFormatter<'_>> =
        batch.columns().iter().map(|column| ArrayFormatter::try_new(column, &options).unwrap()).collect();
    let row = |row| columns.iter().map(|column| column.value(row).to_string()).collect::<Vec<_>>().join(",");
    (0..batch.num_rows()).map(row).collect()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<String> {
    shown(&batch.project(&[batch.schema().index_of(name).unwrap()]).unwrap())
}

fn write_parquet(path: &Path, rows: &RecordBatch) {
    let mut writer = ArrowWriter::try_new(std::fs::File::create(path).unwrap(), rows.schema(), None).unwrap();
    writer.write(rows).unwrap();
    writer.close().unwrap();
}

#[test]
fn categories_of_pandas_are_texts() {
    let found = rows("pandas_categorical.parquet");
    assert_eq!(found.num_rows(), 1000);
    assert!(columns(&found).contains("city LargeUtf8") && !columns(&found).contains("Dictionary"));
    let mut cities = column(&found, "city");
    cities.sort();
    assert_eq!(cities.chunk_by(|a, b| a == b).map(<[String]>::len).collect::<Vec<_>>(), [250; 4]);
}

#[test]
fn times_of_several_units_have_the_finest() {
    let found = rows("units_*.parquet");
    assert!(columns(&found).contains("ts Timestamp(ns"), "{}", columns(&found));
    let times = column(&found, "ts");
    assert_eq!(times.len(), 4);
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
}

#[test]
fn columns_may_come_move_and_grow() {
    let found = rows("evolve_*.parquet");
    assert_eq!(columns(&found), "id Int64, a LargeUtf8, b Float64");
    assert_eq!(shown(&found), ["1,x,-", "2,y,2.5", "3,z,-"]);
}

/// A pattern that a table was defined from replaces its rows, and each file that has all columns can be added.
#[test]
fn files_that_differ_go_into_the_table_that_they_made() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let definition = TableDefinition::files([case("evolve_*.parquet")]);
    let table = cache.define_table("t", definition).unwrap();
    table.replace(Input::files([case("evolve_*.parquet")])).unwrap();
    table.append(Input::files([case("evolve_2.parquet")])).unwrap();
    assert_eq!(shown(&table.scan().unwrap().concat().unwrap()), ["1,x,-", "2,y,2.5", "3,z,-", "2,y,2.5"]);
    refused(table.append(Input::files([case("evolve_1.parquet")])), ErrorCode::SchemaMismatch, &["`b`"]);
}

#[test]
fn names_of_folders_are_columns() {
    let found = rows("hive/**/*.parquet");
    assert!(columns(&found).ends_with("year Int64, region Utf8"), "{}", columns(&found));
    let (mut years, regions) = (column(&found, "year"), column(&found, "region"));
    years.dedup();
    assert_eq!(years, ["2020", "2021"]);
    assert!(regions.iter().all(|region| region == "eu"));
    let off = rows_with("hive/**/*.parquet", &[("hive", "off")]);
    assert_eq!((off.num_rows(), off.num_columns() + 2), (found.num_rows(), found.num_columns()));
    // A pattern leaves files out, and columns of folders show before a load.
    let one = rows("hive/year=2020/**/*.parquet");
    assert_eq!(column(&one, "year").len(), years_of(&found, "2020"));
    let looked = Input::files([case("hive/**/*.parquet")]).look().remove(0).unwrap().schema.unwrap();
    assert_eq!(looked.field_with_name("year").unwrap().data_type(), &DataType::Int64);
}

fn years_of(rows: &RecordBatch, year: &str) -> usize {
    column(rows, "year").iter().filter(|found| *found == year).count()
}

#[test]
fn folders_of_other_columns_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    std::fs::create_dir(dir.path().join("m=1")).unwrap();
    files::write(&dir.path().join("m=1/a.csv"), b"id\n1\n");
    files::write(&dir.path().join("b.csv"), b"id\n2\n");
    let both = [path("m=1/a.csv"), path("b.csv")];
    refused(
        load(Input::files(&both)),
        ErrorCode::SourceInvalid,
        &["m=1/a.csv", "b.csv", "(m and none)", "`hive`"],
    );
    let off = FileOptions::new().folders(false);
    assert_eq!(shown(&load(Input::files_with(&both, off)).unwrap()), ["1", "2"]);
    // A table without the column of the folder.
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let table = cache.define_table("t", TableDefinition::csv(path("b.csv"))).unwrap();
    let added = table.append(Input::files([path("m=1/a.csv")]));
    refused(added, ErrorCode::SourceInvalid, &["m=1/a.csv", "`m`", "`hive`"]);
}

#[test]
fn delimiters_are_seen_or_told() {
    let found = rows("semicolon.csv");
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("id Int64, name Utf8, v Utf8", vec!["1,a,1,5".into(), "2,b,2,5".into()])
    );
    assert_eq!(rows_with("semicolon.csv", &[("delimiter", ";")]), found);
    let comma = FileOptions::new().delimiter(Some(b','));
    let error = load(Input::files_with([case("semicolon.csv")], comma)).unwrap_err();
    assert!(error.message().contains("line 2: it has 2 fields and the header 1"), "{error}");
    let found = rows("tsv.tsv");
    assert_eq!((columns(&found).as_str(), shown(&found)), ("id Int64, name Utf8", vec!["1,a".to_owned()]));
    // What shows nothing says what was tried.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("odd.csv");
    files::write(&path, b"a~b\n1~2,3\n");
    let error = refused(load(Input::csv(path.display().to_string())), ErrorCode::SourceInvalid, &["odd.csv"]);
    assert!(error.message().contains("`,`, `;`, tab and `|` were tried"), "{error}");
    let tilde = FileOptions::new().delimiter(Some(b'~'));
    let found = load(Input::files_with([path.display().to_string()], tilde)).unwrap();
    assert_eq!(shown(&found), ["1,2,3"]);
    files::write(&path, b"a;b,c\n1;2,3\n");
    let error = load(Input::csv(path.display().to_string())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    assert!(error.message().contains("at each `,` and at each `;`"), "{error}");
}

#[test]
fn quotes_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("q.csv");
    files::write(&path, b"a,b\n'x,y',\"\n");
    let with = |quote| load(Input::files_with([path.display().to_string()], FileOptions::new().quote(quote)));
    assert_eq!(shown(&with(Some(b'\'')).unwrap()), ["x,y,\""]);
    assert_eq!(with(None).unwrap_err().code(), ErrorCode::SourceInvalid);
}

#[test]
fn null_words_headers_and_types_are_told() {
    assert_eq!(columns(&rows("na.csv")), "id Int64, v Utf8");
    let found = rows_with("na.csv", &[("null", "NA,null")]);
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("id Int64, v Int64", vec!["1,-".into(), "2,3".into(), "3,-".into(), "4,-".into()])
    );
    let found = rows_with("no_header.csv", &[("header", "off")]);
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("column_1 Int64, column_2 Utf8", vec!["1,a".into(), "2,b".into()])
    );
    let found = rows("leading_zero.csv");
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("zip Utf8, n Int64", vec!["01234,1".into(), "94110,2".into()])
    );
    let found = rows_with("leading_zero.csv", &[("types", "zip=Int32,n=Decimal(10,2)")]);
    assert_eq!(columns(&found), "zip Int32, n Decimal128(10, 2)");
    assert_eq!(shown(&found), ["1234,1.00", "94110,2.00"]);
    let typo = FileOptions::new().types([("zpi", DataType::Utf8)]);
    refused(
        load(Input::files_with([case("leading_zero.csv")], typo)),
        ErrorCode::ColumnNotFound,
        &["`zpi`", "did you mean `zip`?"],
    );
}

#[test]
fn a_file_without_rows_has_columns_of_text() {
    let found = rows("header_only.csv");
    assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Utf8, v Utf8", 0));
    let found = rows_with("header_only.csv", &[("types", "id=Int64,v=Date32")]);
    assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Int64, v Date32", 0));
}

/// Whatever writes files may have none to write now and then.
#[test]
fn a_file_without_a_byte_has_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| files::write(&dir.path().join(name), text.as_bytes());
    write("a.csv", "");
    write("b.csv", "id,v\n1,x\n");
    write("c.ndjson", "");
    let all = |pattern: &str| load(Input::files([dir.path().join(pattern).to_str().unwrap()]));
    assert_eq!(shown(&all("*").unwrap()), ["1,x"]);
    // Nothing says what the columns are.
    assert_eq!(all("a.csv").unwrap_err().code(), ErrorCode::SourceInvalid);
    write("b.csv", "");
    assert_eq!(all("*.csv").unwrap_err().code(), ErrorCode::SourceInvalid);
}

/// The types follow from all rows of all files, not from the first.
#[test]
fn types_follow_from_all_files() {
    let dir = tempfile::tempdir().unwrap();
    files::write(&dir.path().join("1.csv"), b"id,v\n1,2\n");
    files::write(&dir.path().join("2.csv"), b"v,id\n007,2\n");
    let found = load(Input::files([dir.path().join("?.csv").display().to_string()])).unwrap();
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("id Int64, v Utf8", vec!["1,2".into(), "2,007".into()])
    );
    // Beside files that declare types, texts have those.
    let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![0.5]));
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![3]));
    write_parquet(
        &dir.path().join("3.parquet"),
        &RecordBatch::try_from_iter([("id", ids), ("v", floats)]).unwrap(),
    );
    let both = ["1.csv", "3.parquet"].map(|name| dir.path().join(name).display().to_string());
    let found = load(Input::files(both)).unwrap();
    assert_eq!(
        (columns(&found).as_str(), shown(&found)),
        ("id Int64, v Float64", vec!["1,2.0".into(), "3,0.5".into()])
    );
}

#[cfg(all(feature = "ndjson", feature = "gzip", feature = "zstd"))]
#[test]
fn compressed_files_and_json_are_read() {
    let found = rows("gz.csv.gz");
    assert_eq!((columns(&found).as_str(), shown(&found)), ("id Int64, name Utf8", vec!["1,a".to_owned()]));
    let found = rows("rows.ndjson");
    assert_eq!(columns(&found), "id Int64, a Utf8, b Float64");
    assert_eq!(shown(&found), ["1,x,-", "2,-,2.5"]);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let text = b"{\"id\": 1, \"t\": \"007\"}\n\n{\"t\": [1, {\"a\": null}], \"id\": 9007199254740993}\n";
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).unwrap();
    files::write(&dir.path().join("a.jsonl.gz"), &encoder.finish().unwrap());
    files::write(&dir.path().join("b.json.zst"), &zstd::encode_all(&text[..], 0).unwrap());
    let found = load(Input::files([path("?.json*")])).unwrap();
    assert_eq!(columns(&found), "id Int64, t Utf8");
    let twice = ["1,007", "9007199254740993,[1, {\"a\": null}]"].repeat(2);
    assert_eq!(shown(&found), twice);
    // A member that is not there is null in the table, and one that the table lacks is named.
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let table = cache.define_table("t", TableDefinition::files([path("a.jsonl.gz")])).unwrap();
    files::write(&dir.path().join("c.ndjson"), b"{\"id\": 3}\n");
    table.append(Input::files([path("c.ndjson")])).unwrap();
    assert_eq!(shown(&table.scan().unwrap().concat().unwrap())[2], "3,-");
    files::write(&dir.path().join("c.ndjson"), b"");
    table.append(Input::files([path("c.ndjson")])).unwrap();
    assert_eq!(table.info().unwrap().rows, 3);
    files::write(&dir.path().join("c.ndjson"), b"{\"id\": 3, \"tt\": 1}\n");
    let added = table.append(Input::files([path("c.ndjson")]));
    refused(added, ErrorCode::SourceInvalid, &["c.ndjson", "no column `tt`"]);
    for (text, part) in [
        ("{\"id\": 3\n", "line 1"),
        ("\n[1]\n", "line 2: it is a list"),
        ("{\"id\": 3, \"id\": 4}", "`id` twice"),
    ] {
        files::write(&dir.path().join("c.ndjson"), text.as_bytes());
        refused(
            table.append(Input::files([path("c.ndjson")])),
            ErrorCode::SourceInvalid,
            &["c.ndjson", part],
        );
    }
    files::write(&dir.path().join("d.csv.gz"), b"\x1f\x8b and no more");
    refused(load(Input::files([path("d.csv.gz")])), ErrorCode::SourceInvalid, &["d.csv.gz"]);
    files::write(&dir.path().join("plain.csv.gz"), b"id\n1\n");
    refused(
        load(Input::files([path("plain.csv.gz")])),
        ErrorCode::SourceInvalid,
        &["plain.csv.gz", "not compressed by gzip"],
    );
    files::write(&dir.path().join("e.csv.bz2"), b"BZh");
    refused(load(Input::files([path("e.csv.bz2")])), ErrorCode::Unsupported, &["e.csv.bz2", "bzip2"]);
    refused(load(Input::files([path("f.csv")])), ErrorCode::SourceNotFound, &["f.csv"]);
}

/// The file is whole; only this build cannot read it. pyarrow wrote them, and no build has LZO: that file says so of the other's bytes.
#[test]
fn a_codec_that_a_build_lacks_is_named() {
    for (name, codec) in [("lzo.parquet", "LZO"), ("brotli.parquet", "Brotli")] {
        let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
        let loaded = load(Input::files([path]));
        // Built together with the connector to Delta Lake, Parquet has Brotli.
        if codec != "LZO" && loaded.is_ok() {
            continue;
        }
        refused(loaded, ErrorCode::Unsupported, &[name, codec, "another compression"]);
    }
}

/// pyarrow wrote the files.
#[test]
fn compressed_arrow_files_are_read_or_their_codec_is_named() {
    for (name, codec) in [("lz4.arrow", "LZ4"), ("zstd.arrow", "Zstandard"), ("zstd.arrows", "Zstandard")] {
        let path = format!("{}/tests/files/{name}", env!("CARGO_MANIFEST_DIR"));
        let loaded = load(Input::files([path]));
        // DataFusion needs the libraries too, so a build with SQL has them.
        if cfg!(any(feature = "arrow-compression", feature = "sql")) {
            let rows = loaded.unwrap();
            assert_eq!(columns(&rows), "id Int64, name Utf8", "{name}");
            let shown = shown(&rows);
            assert_eq!((shown.len(), shown[0].as_str()), (64, "0,a"), "{name}");
            assert!(shown[63].starts_with("63,"), "{name}");
        } else {
            refused(loaded, ErrorCode::Unsupported, &[name, codec, "another compression"]);
        }
    }
}

/// A file's column that a table holds in another layout or in a wider type becomes that.
#[test]
fn columns_of_files_are_widened_to_those_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let of = |columns: [(&str, &ArrayRef); 2]| {
        RecordBatch::try_from_iter(columns.map(|(name, array)| (name, array.clone()))).unwrap()
    };
    let table = cache.define_table("t", TableDefinition::new(of([("n", &numbers), ("t", &texts)]))).unwrap();
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["b"]));
    let narrow = cast(&numbers, &DataType::Int16).unwrap();
    let path = dir.path().join("a.parquet");
    write_parquet(&path, &of([("t", &large), ("n", &narrow)]));
    table.append(Input::files([path.display().to_string()])).unwrap();
    assert_eq!(shown(&table.scan().unwrap().concat().unwrap()), ["1,a", "1,b"]);
    let seconds = cast(&numbers, &DataType::Timestamp(TimeUnit::Second, None)).unwrap();
    write_parquet(&path, &of([("t", &large), ("n", &seconds)]));
    let added = table.append(Input::files([path.display().to_string()]));
    refused(added, ErrorCode::SchemaMismatch, &["`n`", "Int64", "Timestamp"]);
}

/// What the caller says of columns and their nulls holds, and a column that differs is named.
#[test]
fn a_column_that_differs_from_the_table_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.csv");
    let told = Schema::new(vec![
        Field::new("id", DataType::Int32, false),
        Field::new("price", DataType::Utf8, true),
    ]);
    let typed = |text: &str| {
        files::write(&path, text.as_bytes());
        load(Input::csv_with_schema(path.display().to_string(), Arc::new(told.clone())))
    };
    let found = typed("price,id\n1,2\n").unwrap();
    assert_eq!(columns(&found), "price Utf8, id Int32");
    assert!(!found.schema().field(1).is_nullable());
    refused(
        typed("prise,id\n1,2\n"),
        ErrorCode::SourceInvalid,
        &["other columns than its table", "no column `prise`; did you mean `price`?"],
    );
    refused(
        typed("id\n1\n"),
        ErrorCode::SourceInvalid,
        &["other columns than its table", "`price` is missing"],
    );
    refused(typed("id,price\n,x\n"), ErrorCode::SourceInvalid, &["line 2", "column `id`", "no nulls"]);
    refused(typed("id,id\n1,x\n"), ErrorCode::SourceInvalid, &["`id` twice"]);
}
