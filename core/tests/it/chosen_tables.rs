//! A snapshot with only some of its tables shows nothing of the others.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use pillion::{Cache, ErrorCode, Snapshot, TableDefinition};

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
