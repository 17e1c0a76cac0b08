//! Files that people have.

use pillion::ErrorCode;
use pillion::source::{Relation, Source};

use crate::support::{call, cases, columns, failure, rows, shown};

#[test]
fn categories_of_pandas_are_texts() {
    let found = rows(&cases(), &Relation::table("pandas_categorical.parquet"));
    assert_eq!(found.num_rows(), 1000);
    let text = columns(&found);
    assert!(!text.contains("Dictionary"), "{text}");
    let city = found.schema().index_of("city").unwrap();
    assert!(text.contains("city LargeUtf8"), "{text}");
    let mut cities = shown(&found.project(&[city]).unwrap());
    cities.sort();
    let counts: Vec<usize> = cities.chunk_by(|a, b| a == b).map(<[String]>::len).collect();
    assert_eq!(counts, [250; 4]);
}

#[test]
fn times_of_several_units_have_the_finest() {
    let found = rows(&cases(), &Relation::table("units_*.parquet"));
    assert_eq!(found.num_rows(), 4);
    let text = columns(&found);
    assert!(text.contains("Timestamp(ns"), "{text}");
    let times = shown(&found.project(&[found.schema().index_of("ts").unwrap()]).unwrap());
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
}

#[test]
fn columns_may_come_move_and_grow() {
    let found = rows(&cases(), &Relation::table("evolve_*.parquet"));
    assert_eq!(columns(&found), "id Int64, a LargeUtf8, b Float64");
    assert_eq!(shown(&found), ["1,x,-", "2,y,2.5", "3,z,-"]);
}

#[test]
fn names_of_folders_are_columns() {
    let relation = Relation::table("hive/**/*.parquet");
    let found = rows(&cases(), &relation);
    let text = columns(&found);
    assert!(text.ends_with("year Int64, region Utf8"), "{text}");
    let parts = cases().describe(&relation, &call()).unwrap().all_parts().to_vec();
    let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["year=2020/region=eu", "year=2021/region=eu"]);
    let value = |text: &str| Some(text.to_owned());
    assert_eq!(parts[1].values, [("year".to_owned(), value("2021")), ("region".to_owned(), value("eu"))]);
    let years = shown(&found.project(&[found.schema().index_of("year").unwrap()]).unwrap());
    assert!(years.contains(&"2020".to_owned()) && years.contains(&"2021".to_owned()), "{years:?}");
    let off = rows(&cases(), &relation.option("hive", "off"));
    assert!(!columns(&off).contains("year"));
}

#[test]
fn delimiters_are_seen_or_told() {
    let found = rows(&cases(), &Relation::table("semicolon.csv"));
    assert_eq!(columns(&found), "id Int64, name Utf8, v Utf8");
    assert_eq!(shown(&found), ["1,a,1,5", "2,b,2,5"]);
    assert_eq!(rows(&cases(), &Relation::table("semicolon.csv").option("delimiter", ";")), found);
    let error = failure(&cases(), &Relation::table("semicolon.csv").option("delimiter", "comma"));
    assert_eq!(error.code(), ErrorCode::SourceInvalid);
    assert!(error.message().contains("line 2: it has 2 fields and the header 1"), "{error}");
    let found = rows(&cases(), &Relation::table("tsv.tsv"));
    assert_eq!((columns(&found).as_str(), shown(&found)), ("id Int64, name Utf8", vec!["1,a".to_owned()]));
}

#[test]
fn compressed_files_and_json_are_read() {
    let found = rows(&cases(), &Relation::table("gz.csv.gz"));
    assert_eq!((columns(&found).as_str(), shown(&found)), ("id Int64, name Utf8", vec!["1,a".to_owned()]));
    let found = rows(&cases(), &Relation::table("rows.ndjson"));
    assert_eq!(columns(&found), "id Int64, a Utf8, b Float64");
    assert_eq!(shown(&found), ["1,x,-", "2,-,2.5"]);
}

#[test]
fn null_words_headers_and_types_are_told() {
    let na = Relation::table("na.csv");
    assert_eq!(columns(&rows(&cases(), &na)), "id Int64, v Utf8");
    let found = rows(&cases(), &na.option("null", "NA,null"));
    assert_eq!(columns(&found), "id Int64, v Int64");
    assert_eq!(shown(&found), ["1,-", "2,3", "3,-", "4,-"]);
    let found = rows(&cases(), &Relation::table("no_header.csv").option("header", "off"));
    assert_eq!(columns(&found), "column_1 Int64, column_2 Utf8");
    assert_eq!(shown(&found), ["1,a", "2,b"]);
    let found = rows(&cases(), &Relation::table("leading_zero.csv"));
    assert_eq!(columns(&found), "zip Utf8, n Int64");
    assert_eq!(shown(&found), ["01234,1", "94110,2"]);
    let typed = Relation::table("leading_zero.csv").option("types", "zip=Int32,n=Decimal(10,2)");
    let found = rows(&cases(), &typed);
    assert_eq!(columns(&found), "zip Int32, n Decimal128(10, 2)");
    assert_eq!(shown(&found), ["1234,1.00", "94110,2.00"]);
}

#[test]
fn a_file_without_rows_has_columns_of_text() {
    let relation = Relation::table("header_only.csv");
    let found = rows(&cases(), &relation);
    assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Utf8, v Utf8", 0));
    let found = rows(&cases(), &relation.option("types", "id=Int64,v=Date32"));
    assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Int64, v Date32", 0));
}
