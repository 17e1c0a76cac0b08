//! A snapshot with only some of its tables shows nothing of the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow::datatypes::DataType;
use pillion::{Cache, ErrorCode, Permitted, Snapshot, TableDefinition};

fn batch() -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    RecordBatch::try_from_iter([("id", ids)]).unwrap()
}

fn define(cache: &Cache) {
    for name in ["open", "secret", "secrets"] {
        cache.define_table(name, TableDefinition::new(batch()).primary_key(["id"])).unwrap();
    }
}

fn rows(snapshot: &Snapshot, statement: &str) -> usize {
    snapshot.sql(statement, &[]).unwrap().concat().unwrap().num_rows()
}

#[test]
fn nothing_shows_the_tables_that_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache);
    let whole = cache.snapshot().unwrap();
    // Planned before, for whoever sees all tables: by text, by shape of the text, and prepared.
    let statement = "SELECT * FROM secret WHERE id = 1";
    for _ in 0..3 {
        assert_eq!(rows(&whole, statement), 1);
    }
    let prepared = cache.prepare("SELECT * FROM secret WHERE id = $1").unwrap();
    assert_eq!(prepared.execute(&[1.into()]).unwrap().concat().unwrap().num_rows(), 1);

    let some = whole.only_tables(|name| name == "open").unwrap();
    assert_eq!(some.version().unwrap(), whole.version().unwrap());
    assert_eq!(some.tables().unwrap().iter().map(|table| table.name.as_str()).collect::<Vec<_>>(), ["open"]);
    assert_eq!(rows(&some, "SELECT * FROM open WHERE id = 1"), 1);
    assert_eq!(rows(&some, "SELECT * FROM information_schema.tables WHERE table_schema = 'public'"), 1);
    assert_eq!(some.table("secret").unwrap_err().code(), ErrorCode::TableNotFound);
    for statement in [
        statement,
        "SELECT * FROM secret WHERE id = 2",
        "SELECT count(*) FROM \"secret\"",
        "SELECT * FROM pillion.public.secret",
        "TABLE secret",
        "DESCRIBE secret",
        "EXPLAIN SELECT * FROM secret",
        "SHOW COLUMNS FROM secret",
        "SELECT * FROM open WHERE id IN (SELECT id FROM secret)",
        "WITH secret AS (SELECT * FROM secret) SELECT * FROM secret",
        "SELECT * FROM secrte",
    ] {
        let error = some.sql(statement, &[]).and_then(|answer| answer.concat());
        let error = error.expect_err(statement);
        assert!(!format!("{error:#}").contains("secrets"), "{statement}: {error:#}");
        assert!(!error.message().contains("did you mean"), "{statement}: {error}");
    }
    assert!(prepared.execute_at(&some, &[1.into()]).is_err());
    assert!(prepared.execute(&[1.into()]).is_ok(), "others go on");
    assert_eq!(rows(&cache.snapshot().unwrap(), "SELECT * FROM secret WHERE id = 2"), 1);
}

#[cfg(feature = "sidecar")]
#[test]
fn a_sidecar_shows_all_tables() {
    use pillion::{Attach, ConnectOptions, ServerOptions};

    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    define(&cache);
    let socket = dir.path().join("socket");
    let server = cache.serve(ServerOptions::new(&socket)).unwrap();
    let remote = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    let refused = remote.snapshot().unwrap().only_tables(|_| true).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unsupported);
    drop(remote);
    server.stop();
}

#[test]
fn statements_touch_only_the_tables_that_are_permitted() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache);
    let run = |reads: &'static [&str], writes: &'static [&str], text: &str| {
        let permitted = Permitted::new(move |it| reads.contains(&it), move |it| writes.contains(&it));
        cache.execute_permitted(text, &[], &permitted).map(|done| done.rows).map_err(|error| {
            assert!(!error.message().contains("secrets"), "{error}");
            error.code()
        })
    };
    let (denied, hidden) = (Err(ErrorCode::PermissionDenied), Err(ErrorCode::TableNotFound));
    for (reads, writes, text, expected) in [
        (&[][..], &["open"][..], "INSERT INTO open VALUES (3)", Ok(1)),
        (&["open"], &["open"], "INSERT INTO open SELECT id + 3 FROM open", Ok(3)),
        (&["open"], &[], "INSERT INTO open VALUES (9)", denied),
        (&[], &["secret"], "INSERT INTO open VALUES (9)", hidden),
        // What may only be written is not read, also not to write it somewhere else.
        (&[], &["open"], "INSERT INTO open SELECT id + 9 FROM open", denied),
        (&[], &["open"], "DELETE FROM open WHERE id = 1", denied),
        (&["open"], &["open", "secret"], "INSERT INTO open SELECT id + 9 FROM secret", denied),
        (&["open"], &["open"], "INSERT INTO open SELECT id + 9 FROM secret", hidden),
        (&["open"], &["open"], "DELETE FROM open WHERE id IN (SELECT id FROM secret)", hidden),
        (
            &["open"],
            &["open"],
            "INSERT INTO open WITH s AS (SELECT * FROM secret) SELECT id + 9 FROM s",
            hidden,
        ),
        (
            &["open"],
            &["open"],
            "INSERT INTO open SELECT 20 + count(*) FROM information_schema.tables WHERE table_name = 'secret'",
            Ok(1),
        ),
        (&["open"], &["open"], "DELETE FROM open WHERE id = 20", Ok(1)),
        (&["open"], &["open"], "DELETE FROM open WHERE id = 21", Ok(0)),
        (&["open"], &["open"], "DROP TABLE secret", denied),
        (&["open"], &["open"], "DROP TABLE IF EXISTS secret", denied),
        (&["open"], &["open"], "DROP TABLE nothing", denied),
        (&["open"], &["open"], "CREATE TABLE IF NOT EXISTS secret (id BIGINT)", denied),
        (&["open"], &["open"], "CREATE TABLE nothing (id BIGINT)", denied),
        (&["open"], &["copy"], "CREATE TABLE copy AS SELECT * FROM secret", hidden),
        (&["open"], &["copy"], "CREATE TABLE copy AS SELECT * FROM open", Ok(6)),
        (&[], &["copy"], "TRUNCATE copy", Ok(6)),
        (&[], &["copy"], "DROP TABLE copy", Ok(0)),
        (&["open"], &["open"], "TRUNCATE secret", hidden),
        (&["secret"], &[], "TRUNCATE secret", denied),
    ] {
        assert_eq!(run(reads, writes, text), expected, "{text}: reads {reads:?}, writes {writes:?}");
    }
    assert_eq!(rows(&cache.snapshot().unwrap(), "SELECT * FROM secret"), 2);
}

#[test]
fn a_prepared_statement_says_its_columns_and_parameters() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache);
    let prepared = cache.prepare("SELECT id, $1 AS given FROM open WHERE id = $2").unwrap();
    let schema = prepared.schema().unwrap();
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["id", "given"]
    );
    assert_eq!(*schema.field(0).data_type(), DataType::Int64);
    assert_eq!(prepared.parameter_types().unwrap(), [None, Some(DataType::Int64)]);
}
