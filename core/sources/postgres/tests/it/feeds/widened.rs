//! Columns that are added while tables are followed: their tables are copied anew, with the values that rows of before have at the server.

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
fn a_column_that_is_added_has_the_values_of_the_server() {
    let Some(server) = shop() else { return };
    server.psql(
        "CREATE DOMAIN fives AS int DEFAULT 5; INSERT INTO orders SELECT n, 'first', n, repeat('note', 3000) FROM generate_series(1, 20) n; \
         INSERT INTO lines VALUES (1, 1, 'a')",
    );
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server);
    let expected = |orders| vec![("lines".to_owned(), 1), ("orders".to_owned(), orders)];
    assert_eq!(copies(&cache), expected(1));
    for (number, script) in [
        "ALTER TABLE orders ADD added int; INSERT INTO orders (id, added) VALUES (100, 7)",
        "BEGIN; ALTER TABLE orders ADD late text; UPDATE orders SET late = 'yes', id = id + 1000 WHERE id > 10; DELETE FROM orders WHERE id = 1; COMMIT",
        // Rows of before have a value that nothing of the column shows any more.
        "ALTER TABLE orders ADD of_domain fives; INSERT INTO orders (id, of_domain) VALUES (201, 1)",
        "ALTER TABLE orders ADD seven int DEFAULT 7; ALTER TABLE orders ALTER seven DROP DEFAULT; VACUUM FULL orders; INSERT INTO orders (id) VALUES (202)",
        "ALTER TABLE orders ADD other text; ALTER TABLE orders ALTER other TYPE int USING id; INSERT INTO orders (id) VALUES (203)",
    ]
    .iter()
    .enumerate()
    {
        server.psql(script);
        catch_up(&cache, &server);
        assert_same(&cache, &source);
        assert_eq!(copies(&cache), expected(number as u64 + 2), "{script}");
    }
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
