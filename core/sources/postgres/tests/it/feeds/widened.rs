//! Columns that are added while tables are followed: they appear without a new copy where nothing can be wrong with that.

use std::path::Path;
use std::time::Duration;

use pillion::source::{Fetch, TableSource};
use pillion::{Cache, CacheOptions, Durability, TableDefinition};

use super::*;
use crate::support::rows::{all, sorted};

/// The runner of the tests ends one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);
const TABLES: [(&str, &[&str]); 2] = [("orders", &["id"]), ("lines", &["id", "part"])];

fn open(dir: &Path, server: &Server) -> Cache {
    let cache = CacheOptions::new().durability(Durability::Never).open(dir).unwrap();
    cache.add_source("shop", server.source()).unwrap();
    for (table, key) in TABLES {
        let origin = TableSource::new("shop", Relation::table(table)).changes();
        cache
            .follow_table(table, TableDefinition::from_source(origin).primary_key(key.iter().copied()))
            .unwrap();
    }
    catch_up(&cache, server);
    cache
}

fn catch_up(cache: &Cache, server: &Server) {
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    for (table, _) in TABLES {
        while cache.table(table).is_err() {
            std::thread::sleep(Duration::from_millis(5));
        }
        cache.table(table).unwrap().wait_for(&position, PATIENCE).unwrap();
    }
}

#[track_caller]
fn assert_same(cache: &Cache, source: &Postgres) {
    for (table, _) in TABLES {
        let there = all(source, &Fetch::of(Relation::table(table))).unwrap();
        let held = cache.table(table).unwrap();
        let names = |schema: &arrow::datatypes::Schema| -> Vec<String> {
            schema.fields().iter().map(|field| field.name().clone()).collect()
        };
        assert_eq!(names(held.schema()), names(&there.schema()), "{table}");
        let rows = held.scan().unwrap().collect::<Result<Vec<_>>>().unwrap();
        let rows = arrow::compute::concat_batches(held.schema(), &rows).unwrap();
        assert_eq!(sorted(&rows), sorted(&there), "{table}");
        assert_eq!(held.audit().unwrap().divergent_rows, 0, "{table}");
    }
}

/// Copies since the cache was opened, also of the other table, which must stay as it is.
fn copies(cache: &Cache) -> Vec<(String, u64)> {
    let mut copies: Vec<(String, u64)> =
        cache.refreshes().unwrap().into_iter().map(|status| (status.table, status.succeeded)).collect();
    copies.sort();
    copies
}

#[test]
fn a_column_that_is_added_appears_without_a_new_copy() {
    let Some(server) = shop() else { return };
    server.psql(
        "CREATE TYPE mood AS ENUM ('happy', 'sad'); INSERT INTO orders SELECT n, 'first', n, repeat('note', 3000) FROM generate_series(1, 20) n; \
         INSERT INTO lines VALUES (1, 1, 'a')",
    );
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server);
    let expected = |orders| vec![("lines".to_owned(), 1), ("orders".to_owned(), orders)];
    assert_eq!(copies(&cache), expected(1));
    for script in [
        "ALTER TABLE orders ADD added int; INSERT INTO orders (id, added) VALUES (100, 7)",
        // Notes are large and are not sent with these.
        "UPDATE orders SET item = 'changed' WHERE id < 5; UPDATE orders SET added = id WHERE id > 15",
        "ALTER TABLE orders ADD feels mood, ADD at timestamptz; UPDATE orders SET feels = 'sad' WHERE id = 3",
        "BEGIN; ALTER TABLE orders ADD late text; UPDATE orders SET late = 'yes', id = id + 1000 WHERE id > 10; DELETE FROM orders WHERE id = 1; COMMIT",
    ] {
        server.psql(script);
        catch_up(&cache, &server);
        assert_same(&cache, &source);
        assert_eq!(copies(&cache), expected(1), "{script}");
    }
    let row = cache.table("orders").unwrap().get(2).unwrap().unwrap();
    assert_eq!(row.get::<Option<i32>>("added").unwrap(), None, "rows that were there have a null");
    // Where older rows may have another value, or rows of both shapes come in one transaction, all are copied.
    for (number, script) in [
        "ALTER TABLE orders ADD five int DEFAULT 5; INSERT INTO orders (id) VALUES (201)",
        "ALTER TABLE orders ADD gone int DEFAULT 6; ALTER TABLE orders ALTER gone DROP DEFAULT; INSERT INTO orders (id) VALUES (202)",
        "ALTER TABLE orders ADD no serial; INSERT INTO orders (id) VALUES (203)",
        "BEGIN; INSERT INTO orders (id) VALUES (204); ALTER TABLE orders ADD z int; INSERT INTO orders (id, z) VALUES (205, 1); COMMIT",
        "ALTER TABLE orders ADD y int, DROP z; INSERT INTO orders (id, y) VALUES (206, 1)",
    ]
    .iter()
    .enumerate()
    {
        server.psql(script);
        catch_up(&cache, &server);
        assert_same(&cache, &source);
        assert_eq!(copies(&cache), expected(number as u64 + 2), "{script}");
    }
    // While the cache is away.
    drop(cache);
    server.wait_for("SELECT active FROM pg_replication_slots", "f");
    server.psql("ALTER TABLE lines ADD far text");
    let cache = open(dir.path(), &server);
    server.psql("INSERT INTO lines VALUES (2, 2, 'b', 'c')");
    catch_up(&cache, &server);
    assert_same(&cache, &source);
    assert_eq!(copies(&cache), vec![("lines".to_owned(), 0), ("orders".to_owned(), 0)]);
}

#[test]
fn a_value_that_cannot_be_held_stops_its_table_alone() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders VALUES (1, 'a'); INSERT INTO lines VALUES (1, 1, 'a')");
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server);
    server
        .psql("INSERT INTO orders (id, placed) VALUES (2, 'infinity'); INSERT INTO lines VALUES (2, 2, 'b')");
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    cache.table("lines").unwrap().wait_for(&position, PATIENCE).unwrap();
    assert!(cache.table("lines").unwrap().get((2_i64, 2)).unwrap().is_some());
    let status = loop {
        let status = cache.refreshes().unwrap().into_iter().find(|status| status.table == "orders").unwrap();
        if status.last_error.is_some() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    let error = status.last_error.unwrap().to_string();
    assert!(error.contains("column `placed`") && error.contains("infinity"), "{error}");
    assert!(cache.table("orders").unwrap().get(1).unwrap().is_some(), "the old rows serve");
    assert!(cache.table("orders").unwrap().audit().is_err());
    // Mended there, it is copied again; meanwhile the other one follows on.
    server.psql("INSERT INTO lines VALUES (3, 3, 'c')");
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    cache.table("lines").unwrap().wait_for(&position, PATIENCE).unwrap();
    server.psql("UPDATE orders SET placed = 'epoch' WHERE id = 2");
    while cache.refresh("orders").is_err() {}
    assert_same(&cache, &source);
}
