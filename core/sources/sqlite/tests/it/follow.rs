//! A cache follows a SQLite file through random writes. The file is the oracle after each refresh.

use std::time::Duration;

use pillion::source::{Relation, TableSource};
use pillion::{Cache, TableDefinition};
use rusqlite::Connection;

use crate::support::database::Database;
use crate::support::random::Random;
use crate::support::rows::sorted;

const HISTORIES: u64 = 6;
const ROUNDS: usize = 14;

const SHOP: &str = "\
    CREATE TABLE stock (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE, price DECIMAL(9,2), is_new BOOLEAN); \
    CREATE TABLE orders (code TEXT PRIMARY KEY, state TEXT, changed DATETIME NOT NULL) WITHOUT ROWID; \
    CREATE TABLE events (what TEXT, weight REAL); \
    CREATE TABLE unrelated (id INTEGER PRIMARY KEY);";

/// Each table: what it is fetched by, and the statement whose rows the cache must have.
const TABLES: [(&str, &str); 4] = [
    (
        "stock",
        "SELECT id || '|' || ifnull(name, 'null') || '|' || ifnull(printf('%.2f', price), 'null') || '|' || \
        ifnull(iif(is_new, 'true', 'false'), 'null') FROM stock",
    ),
    (
        "orders",
        "SELECT code || '|' || state || '|' || strftime('%Y-%m-%dT%H:%M:%S', changed, 'auto') FROM orders",
    ),
    ("events", "SELECT rowid || '|' || what || '|' || printf('%.1f', weight) FROM events"),
    ("new_ones", "SELECT id || '|' || ifnull(name, 'null') FROM stock WHERE is_new"),
];

fn definition(table: &str) -> TableDefinition {
    let source = |relation| TableSource::new("shop", relation).on_call().not_on_start();
    match table {
        "stock" => TableDefinition::from_source(source(Relation::table("stock"))).primary_key(["id"]),
        // Changed rows replace those of their keys.
        "orders" => {
            let orders = source(Relation::table("orders")).append_by("changed", Duration::from_secs(20));
            TableDefinition::from_source(orders).primary_key(["code"])
        }
        // Rows without a key are added once.
        "events" => {
            let events =
                source(Relation::table("events").option("rowid", "number")).append_by_number("number", 3);
            TableDefinition::from_source(events)
        }
        _ => {
            let statement = Relation::statement("SELECT id, name, is_new FROM stock");
            let some = source(statement).columns(["id", "name"]).condition("is_new");
            TableDefinition::from_source(some)
        }
    }
}

/// A cache that follows all tables.
fn open(dir: &std::path::Path, database: &Database) -> Cache {
    let cache = Cache::open(dir).unwrap();
    cache.add_source("shop", database.source()).unwrap();
    for (table, _) in TABLES {
        cache.follow_table(table, definition(table)).unwrap();
    }
    cache
}

fn held(cache: &Cache, table: &str) -> Vec<String> {
    let batches: Vec<_> = cache.table(table).unwrap().scan().unwrap().map(Result::unwrap).collect();
    let mut rows: Vec<String> = batches.iter().flat_map(sorted).collect();
    rows.sort();
    rows
}

fn expected(connection: &Connection, statement: &str) -> Vec<String> {
    let mut prepared = connection.prepare(statement).unwrap();
    let mut rows: Vec<String> =
        prepared.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap();
    rows.sort();
    rows
}

/// One change of the file, by an application that gives every changed order a new time.
fn write(connection: &Connection, random: &mut Random, clock: &mut i64) {
    let (id, number) = (random.below(30), random.below(1000));
    *clock += random.below(5) as i64;
    // Up to half of the overlap late.
    let changed = *clock - random.below(10) as i64;
    let changed = match random.below(3) {
        0 => changed.to_string(),
        1 => format!("datetime({changed}, 'unixepoch')"),
        _ => format!("strftime('%Y-%m-%dT%H:%M:%SZ', {changed}, 'unixepoch')"),
    };
    let name = if number % 7 == 0 {
        "NULL".to_owned()
    } else {
        format!("'{}{number}'", ["a", "A", "\u{e4}"][id as usize % 3])
    };
    let sql = match random.below(9) {
        0 => format!("DELETE FROM stock WHERE id = {id}"),
        1 => format!("UPDATE stock SET price = {number} / 100.0 WHERE id > {id}"),
        2 | 3 => {
            format!("INSERT OR REPLACE INTO stock VALUES ({id}, {name}, {number} / 10.0, {})", number % 2)
        }
        4 => format!("INSERT INTO events VALUES ('e{number}', {id} / 2.0), ('e{number}', {id} / 2.0)"),
        5 => "INSERT INTO unrelated DEFAULT VALUES".to_owned(),
        6 => format!(
            "BEGIN; INSERT OR REPLACE INTO orders VALUES ('o{id}', 'new', {changed}); DELETE FROM stock; ROLLBACK"
        ),
        _ => format!("INSERT OR REPLACE INTO orders VALUES ('o{id}', 's{number}', {changed})"),
    };
    connection.execute_batch(&sql).unwrap();
}

#[test]
fn random_histories_are_followed_through_restarts() {
    for seed in 0..HISTORIES {
        let mut random = Random::of(seed);
        let (dir, database) = (tempfile::tempdir().unwrap(), Database::with(SHOP));
        let mut cache = open(dir.path(), &database);
        let (mut writer, mut clock) = (Some(database.connect()), 1_700_000_000_i64);
        for round in 0..ROUNDS {
            let connection = writer.get_or_insert_with(|| database.connect());
            for _ in 0..random.below(8) {
                write(connection, &mut random, &mut clock);
            }
            match random.below(8) {
                0 => connection.execute_batch("PRAGMA journal_mode = wal").unwrap(),
                1 => connection.execute_batch("PRAGMA journal_mode = delete").unwrap(),
                2 => connection.execute_batch("PRAGMA wal_checkpoint(truncate)").unwrap(),
                3 => writer = None, // closes the file, and moves its log into it
                4 | 5 => {
                    if random.below(2) == 0 {
                        cache.close().unwrap();
                    }
                    drop(cache);
                    cache = open(dir.path(), &database);
                }
                _ => {}
            }
            for (table, statement) in TABLES {
                cache.refresh(table).unwrap();
                let connection = writer.get_or_insert_with(|| database.connect());
                assert_eq!(
                    held(&cache, table),
                    expected(connection, statement),
                    "{table}, seed {seed}, round {round}"
                );
            }
            // Once more: nothing changed, which the marks show.
            cache.refresh("stock").unwrap();
        }
        let statuses = cache.refreshes().unwrap();
        assert!(statuses.iter().all(|status| status.failures == 0), "{statuses:?}");
    }
}
