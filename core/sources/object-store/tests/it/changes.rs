//! What is noticed of files that change, come and go.

use std::fs::{self, File};
use std::io::Write;

use pillion::ErrorCode;
use pillion::source::{Fetch, Relation, Source};

use crate::support::files::{numbers, parquet, write};
use crate::support::{call, columns, failure, local, rows};

#[test]
fn ten_thousand_files_that_did_not_change_are_recognised_without_reading_one() {
    const FILES: usize = 10_000;
    let dir = tempfile::tempdir().unwrap();
    for number in 0..FILES {
        write(dir.path(), &format!("{}/{number}.csv", number % 100), "id\n1\n");
    }
    let source = local(dir.path());
    let relation = Relation::table("**/*.csv");
    let before = source.describe(&relation, &call()).unwrap();
    assert_eq!(before.all_parts().len(), FILES);
    // Whoever reads one of them again finds something else: size and time are as before.
    for number in 0..FILES {
        let path = dir.path().join(format!("{}/{number}.csv", number % 100));
        let time = fs::metadata(&path).unwrap().modified().unwrap();
        let mut file = File::options().write(true).open(&path).unwrap();
        file.write_all(b"\"brok").unwrap();
        file.set_modified(time).unwrap();
    }
    let after = source.describe(&relation, &call()).unwrap();
    assert!(before == after);
    // A source that knows nothing yet looks at files, but not for their mark.
    let new = local(dir.path());
    assert_eq!(new.mark(&relation, &call()).unwrap().as_deref(), before.change_mark());
    assert_eq!(failure(&new, &relation).code(), ErrorCode::SourceInvalid);
}

#[test]
fn marks_follow_files() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "a.csv", "id\n1\n");
    let source = local(dir.path());
    let relation = Relation::table("*.csv");
    let mark = || source.describe(&relation, &call()).unwrap().change_mark().unwrap().to_vec();
    let mut marks = vec![mark()];
    let fetched = source.fetch(&Fetch::of(relation.clone()), &call()).unwrap();
    assert_eq!(fetched.change_mark(), Some(&marks[0][..]));
    write(dir.path(), "a.csv", "id\n1\n2\n");
    marks.push(mark());
    write(dir.path(), "b.csv", "id\n1\n");
    marks.push(mark());
    fs::rename(dir.path().join("b.csv"), dir.path().join("c.csv")).unwrap();
    marks.push(mark());
    write(dir.path(), "not.txt", "id\n1\n");
    assert_eq!(marks.last(), Some(&mark()));
    fs::remove_file(dir.path().join("c.csv")).unwrap();
    assert_eq!(marks[1], mark());
    marks.sort();
    marks.dedup();
    assert_eq!(marks.len(), 4);
}

#[test]
fn rows_of_a_file_that_is_replaced_meanwhile_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let replace = |dir: &std::path::Path, name: &str| {
        write(dir, "_new", parquet(&numbers(500, 60_000), 1000));
        fs::rename(dir.join("_new"), dir.join(name)).unwrap();
    };
    let source = local(dir.path());
    let fetch = Fetch::of(Relation::table("*.parquet"));
    for second in ["a.parquet", "b.parquet"] {
        write(dir.path(), "a.parquet", parquet(&numbers(0, 60_000), 1000));
        write(dir.path(), "b.parquet", parquet(&numbers(0, 60_000), 1000));
        let mut fetched = source.fetch(&fetch, &call()).unwrap();
        assert!(fetched.next().unwrap().is_ok());
        replace(dir.path(), second);
        let mut failed = fetched.by_ref().filter_map(Result::err);
        let error = failed.next().expect("the rest of the file is another one");
        assert_eq!(error.code(), ErrorCode::SourceUnavailable);
        assert!(error.message().contains(second) && error.message().contains("replaced"), "{error}");
        drop(failed);
        assert!(fetched.next().is_none());
    }
    // Also where the last bytes were read before the change.
    write(dir.path(), "c.csv", "id\n1\n");
    let mut fetched = source.fetch(&Fetch::of(Relation::table("c.csv")), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    File::options().append(true).open(dir.path().join("c.csv")).unwrap().write_all(b"2\n").unwrap();
    assert_eq!(fetched.next().unwrap().unwrap_err().code(), ErrorCode::SourceUnavailable);
}

#[test]
fn what_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "flights/a.csv", "id\n1\n");
    let source = local(dir.path());
    for (relation, named) in [
        ("flights/b.csv", "flights/b.csv"),
        ("flihgts/*.csv", "did you mean `flights`"),
        ("flights/*.parquet", "flights/*.parquet"),
        ("flights", "flights"),
    ] {
        let error = failure(&source, &Relation::table(relation));
        assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
        assert!(error.message().contains(named), "{error}");
    }
    let error = failure(&local(&dir.path().join("no")), &Relation::table("*"));
    assert_eq!(error.code(), ErrorCode::SourceNotFound);
    assert_eq!(failure(&source, &Relation::table("../*")).code(), ErrorCode::InvalidArgument);
    assert_eq!(source.relations(&call()).unwrap(), ["flights/"]);
}

#[test]
fn no_files_are_no_rows_only_where_that_is_allowed() {
    let dir = tempfile::tempdir().unwrap();
    let source = local(dir.path());
    let allowed = Relation::table("new/*.csv").option("empty", "allow");
    assert!(failure(&source, &allowed).message().contains("option `types`"));
    let typed = allowed.option("types", "id=Int64,name=Utf8");
    let found = rows(&source, &typed);
    assert_eq!((columns(&found).as_str(), found.num_rows()), ("id Int64, name Utf8", 0));
    let before = source.describe(&typed, &call()).unwrap();
    write(dir.path(), "new/a.csv", "id,name\n1,x\n");
    let after = source.describe(&typed, &call()).unwrap();
    assert_eq!(before.schema(), after.schema());
    assert_ne!(before.change_mark(), after.change_mark());
}
