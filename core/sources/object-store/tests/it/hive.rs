//! Folders as columns, and the parts that they make.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array};
use pillion::ErrorCode;
use pillion::source::{Fetch, Part, Relation, Source};

use crate::support::files::{batch, numbers, parquet, write};
use crate::support::{call, columns, failure, local, rows, shown, try_rows};

fn parts(source: &impl Source, relation: &Relation) -> Vec<Part> {
    source.describe(relation, &call()).unwrap().all_parts().to_vec()
}

#[test]
fn partitions_are_parts_whose_marks_are_those_of_their_files() {
    let dir = tempfile::tempdir().unwrap();
    for (path, first) in
        [("year=2013/month=1/a", 0), ("year=2013/month=1/b", 10), ("year=2013/month=12/a", 20)]
    {
        write(dir.path(), &format!("{path}.parquet"), parquet(&numbers(first, 2), 10));
    }
    write(dir.path(), "year=2013/_SUCCESS", "");
    write(dir.path(), "year=__HIVE_DEFAULT_PARTITION__/month=1/a.parquet", parquet(&numbers(30, 2), 10));
    let source = local(dir.path());
    let relation = Relation::table("**/*.parquet");
    let found = rows(&source, &relation);
    assert_eq!(columns(&found), "id Int64, text Utf8, year Int64, month Int64");
    assert_eq!(found.num_rows(), 8);
    assert!(shown(&found).contains(&"31,text 31,-,1".to_owned()));
    let before = parts(&source, &relation);
    let names: Vec<&str> = before.iter().map(|part| part.name.as_str()).collect();
    assert_eq!(names, ["year=%/month=1", "year=2013/month=1", "year=2013/month=12"]);
    assert_eq!(before[0].values, [("year".to_owned(), None), ("month".to_owned(), Some("1".to_owned()))]);
    let part = Fetch::of(relation.clone()).parts(["year=2013/month=1"]).columns(["month", "id"]);
    assert_eq!(shown(&try_rows(&source, &part).unwrap()), ["1,0", "1,1", "1,10", "1,11"]);
    write(dir.path(), "year=2013/month=1/c.parquet", parquet(&numbers(40, 1), 10));
    let after = parts(&source, &relation);
    let changed: Vec<bool> = before.iter().zip(&after).map(|(a, b)| a.mark != b.mark).collect();
    assert_eq!(changed, [false, true, false]);
    let gone = Fetch::of(relation).parts(["year=1999/month=1"]);
    assert_eq!(try_rows(&source, &gone).unwrap_err().code(), ErrorCode::SourceNotFound);
}

#[test]
fn only_columns_of_folders_need_no_column_of_a_file() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "k=a/1.parquet", parquet(&numbers(0, 3), 2));
    write(dir.path(), "k=b/1.csv", "id,text\n7,x\n");
    write(dir.path(), "k=b/2.ndjson", "{\"id\": 1}\n{\"id\": 2}\n");
    write(dir.path(), "k=c/1.arrow", crate::support::files::arrow_file(&numbers(0, 2)));
    let fetch = Fetch::of(Relation::table("")).columns(["k"]);
    assert_eq!(
        shown(&try_rows(&local(dir.path()), &fetch).unwrap()),
        ["a", "a", "a", "b", "b", "b", "c", "c"]
    );
}

#[test]
fn a_folder_speaks_for_a_column_that_the_file_has_too() {
    let dir = tempfile::tempdir().unwrap();
    let file = batch([
        ("k", Arc::new(Int64Array::from(vec![5])) as ArrayRef),
        ("v", Arc::new(Int64Array::from(vec![6]))),
    ]);
    write(dir.path(), "k=x/1.parquet", parquet(&file, 10));
    assert_eq!(shown(&rows(&local(dir.path()), &Relation::table("**"))), ["6,x"]);
    let off = Relation::table("**").option("hive", "off");
    assert_eq!(shown(&rows(&local(dir.path()), &off)), ["5,6"]);
}

#[test]
fn parts_do_not_show_values_of_columns_that_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "k=x/1.csv", "id\n1\n");
    let relation = Relation::table("**").leave_out(["k"]);
    let source = local(dir.path());
    assert_eq!(columns(&rows(&source, &relation)), "id Int64");
    let parts = parts(&source, &relation);
    assert_eq!((parts[0].name.as_str(), parts[0].values.len()), ("k=x", 0));
}

#[test]
fn files_outside_of_folders_are_parts_by_name() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "b.csv", "id\n1\n");
    write(dir.path(), "a.csv", "id\n2\n");
    let source = local(dir.path());
    let parts = parts(&source, &Relation::table("*.csv"));
    let found: Vec<(&str, usize)> =
        parts.iter().map(|part| (part.name.as_str(), part.values.len())).collect();
    assert_eq!(found, [("a.csv", 0), ("b.csv", 0)]);
    // In the order of names.
    assert_eq!(shown(&rows(&source, &Relation::table("*.csv"))), ["2", "1"]);
    write(dir.path(), "k=1/c.csv", "id\n2\n");
    let error = failure(&source, &Relation::table("**"));
    assert_eq!(error.code(), ErrorCode::SourceInvalid);
    assert!(error.message().contains("`hive` to `off`"), "{error}");
}
