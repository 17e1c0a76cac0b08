//! Rows by their keys, and rows of a table that come back after they were invalidated.

use std::thread::yield_now;

use arrow::datatypes::TimeUnit;
use pillion::source::{Relation, TableSource};
use pillion::{Cache, ErrorCode, TableDefinition, Value};

use crate::support::rows::{all, lines, table};
use crate::support::server::Server;

#[test]
fn rows_are_fetched_by_their_keys() {
    let Some(server) = Server::start() else { return };
    server.psql(
        "CREATE TABLE k (n int, i int8, s text COLLATE \"en-x-icu\", u uuid, b bytea, day date, t timestamp, d numeric(20,3), f float8, \
           o oid); \
         INSERT INTO k VALUES \
         (1, -5, 'o''\\', '00000000-0000-0000-0000-000000000001', '\\x00', '2000-01-01', '2000-01-01 00:00:00.000001', 1.5, 1, 7), \
         (2, 5, 'a', '70000000-0000-0000-0000-000000000000', '\\x61', '9999-12-31', '1969-12-31', -1, 2, 4294967295), \
         (3, 6, 'A', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '\\xff', '0001-01-01 BC', '1970-01-01', 0, 3, 9);",
    );
    let source = server.source();
    let by = |columns: &[&str], keys: Vec<Vec<Value>>| {
        let columns = columns.iter().map(|name| (*name).to_owned()).collect();
        let rows = all(&source, &table("k").keys(columns, keys).columns(["n"]))?;
        let mut rows = lines(&rows);
        rows.sort_unstable();
        Ok::<_, pillion::Error>(rows.concat())
    };
    let moment = Value::Timestamp { value: 946_684_800_000_001, unit: TimeUnit::Microsecond };
    for (column, keys, rows) in [
        ("i", vec![Value::Int(-5), Value::Int(6), Value::Int(99)], "13"),
        ("i", vec![Value::UInt(u64::MAX), Value::Int(5)], "2"),
        ("o", vec![Value::UInt(4_294_967_295), Value::Int(7)], "12"),
        ("s", vec![Value::from("a")], "2"),
        ("s", vec![Value::from("o'\\"), Value::from("' OR true --")], "1"),
        ("u", vec![Value::from("FFFFFFFF-ffff-ffff-ffff-ffffffffffff")], "3"),
        ("b", vec![Value::from(&b"\x61"[..])], "2"),
        ("day", vec![Value::Date(10_957), Value::Date(-719_528)], "13"),
        ("t", vec![moment], "1"),
        ("d", vec![Value::Decimal { unscaled: 15, scale: 1 }, Value::Int(0)], "13"),
    ] {
        let keys = keys.into_iter().map(|key| vec![key]).collect();
        assert_eq!(by(&[column], keys).unwrap(), rows, "{column}");
    }
    let pairs = vec![vec![Value::from("a"), Value::Int(5)], vec![Value::from("A"), Value::Int(5)]];
    assert_eq!(by(&["s", "i"], pairs).unwrap(), "2");
    assert_eq!(by(&["i"], Vec::new()).unwrap(), "");
    assert_eq!(by(&["f"], vec![vec![Value::Float(1.0)]]).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(by(&["x"], vec![vec![Value::Int(1)]]).unwrap_err().code(), ErrorCode::ColumnNotFound);
}

#[test]
fn only_invalidated_rows_are_fetched_again() {
    let Some(server) = Server::start() else { return };
    server.psql("CREATE TABLE stock (id int PRIMARY KEY, name text); INSERT INTO stock SELECT n, 'old' FROM generate_series(1, 1000) n;");
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("db", server.source()).unwrap();
    let from = TableSource::new("db", Relation::table("stock")).on_call();
    let stock = cache.define_table("stock", TableDefinition::from_source(from).primary_key(["id"])).unwrap();
    server.psql("UPDATE stock SET name = 'new' WHERE id <= 900; DELETE FROM stock WHERE id = 3;");
    let name = |id: i32| stock.get(id).unwrap().map(|row| row.get::<&str>("name").unwrap().to_owned());
    stock.invalidate(&(1..=700).collect::<Vec<i32>>()).unwrap();
    while name(700).is_none() {
        yield_now();
    }
    assert_eq!((name(1).as_deref(), name(3), name(699).as_deref()), (Some("new"), None, Some("new")));
    assert_eq!(name(701).as_deref(), Some("old"), "nobody asked for it");
    assert_eq!(stock.info().unwrap().rows, 999);
    stock.refresh().unwrap();
    assert_eq!(name(701).as_deref(), Some("new"));
}
