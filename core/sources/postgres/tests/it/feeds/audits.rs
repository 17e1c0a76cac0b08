//! Tables that are compared with the server that they follow.

use std::path::Path;
use std::time::{Duration, SystemTime};

use pillion::source::{Fetch, TableSource};
use pillion::{
    AuditStatus, Cache, CacheOptions, Divergence, Durability, ErrorCode, Table, TableDefinition, Transaction,
    Value,
};

use super::*;
use crate::support::rows::{all, sorted};

/// A cache that follows some tables.
fn open(dir: &Path, server: &Server, tables: &[(&str, &[&str])]) -> Cache {
    let cache = CacheOptions::new().durability(Durability::Never).open(dir).unwrap();
    cache.add_source("shop", server.source()).unwrap();
    for (table, key) in tables {
        let origin = TableSource::new("shop", Relation::table(*table)).changes();
        cache
            .follow_table(table, TableDefinition::from_source(origin).primary_key(key.iter().copied()))
            .unwrap();
    }
    for (table, _) in tables {
        cache.refresh(table).unwrap();
    }
    cache
}

/// Changes held rows behind the back of the follower, as a fault would.
fn plant(cache: &Cache, table: &str, change: impl FnOnce(Transaction, &Table) -> Transaction) {
    let name = format!("shop/{table}");
    let record = cache.source_position(&name).unwrap().unwrap();
    let transaction = change(cache.transaction(), &cache.table(table).unwrap());
    transaction.source_position(name, record).commit().unwrap();
}

/// Gives a row the values of another one, but for its key, whose columns are the first.
fn overwrite(cache: &Cache, table: &str, sql: &str) {
    let rows = cache.sql(sql, &[]).unwrap().concat().unwrap();
    let schema = cache.table(table).unwrap().schema().clone();
    let rows = arrow::array::RecordBatch::try_new(schema, rows.columns().to_vec()).unwrap();
    plant(cache, table, |transaction, table| transaction.upsert(table, rows));
}

#[track_caller]
fn assert_same(cache: &Cache, source: &Postgres, table: &str) {
    let there = sorted(&all(source, &Fetch::of(Relation::table(table))).unwrap());
    let held = cache.table(table).unwrap();
    let rows = held.scan().unwrap().collect::<Result<Vec<_>>>().unwrap();
    assert_eq!(sorted(&arrow::compute::concat_batches(held.schema(), &rows).unwrap()), there, "{table}");
}

fn audited(cache: &Cache, table: &str) -> Option<AuditStatus> {
    let status = cache.refreshes().unwrap().into_iter().find(|status| status.table == table).unwrap();
    status.following.unwrap().audit
}

#[test]
fn rows_that_differ_are_found_named_and_mended() {
    let Some(server) = shop() else { return };
    server.psql(
        "INSERT INTO orders SELECT n, 'item ' || n, n / 7.0, repeat('note', n % 9), now() FROM generate_series(1, 40000) n; \
         INSERT INTO lines VALUES (1, 1, 'a'), (1, 2, 'b');",
    );
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let began = SystemTime::now();
    let cache = open(dir.path(), &server, &[("orders", &["id"]), ("lines", &["id", "part"])]);
    let clean = cache.table("orders").unwrap().audit().unwrap();
    assert_eq!((clean.rows, clean.divergent_rows, clean.mended_rows), (40_000, 0, 0));
    assert!(clean.sound_since.unwrap() >= began - Duration::from_secs(60), "the copy is known to be sound");
    let status = audited(&cache, "orders").unwrap();
    assert_eq!((status.rows, status.divergent_rows), (40_000, 0));
    assert_eq!(audited(&cache, "lines"), None);
    // One row with another value, one that is gone, and one that nobody has.
    overwrite(
        &cache,
        "orders",
        "SELECT id, item, CAST(total + 1 AS DECIMAL(10,2)), note, placed FROM orders WHERE id = 777",
    );
    plant(&cache, "orders", |transaction, table| transaction.delete(table, &[30_001]).unwrap());
    overwrite(&cache, "orders", "SELECT CAST(-5 AS INT), item, total, note, placed FROM orders WHERE id = 1");
    let version = cache.version().unwrap();
    let report = cache.table("orders").unwrap().audit().unwrap();
    assert_eq!((report.rows, report.divergent_rows, report.mended_rows), (40_000, 3, 3));
    let mut found: Vec<_> = report.divergent.iter().map(|row| (row.what, row.key.clone())).collect();
    found.sort_by_key(|(what, _)| *what);
    assert_eq!(
        found,
        [
            (Divergence::Changed, vec![Value::Int(777)]),
            (Divergence::Missing, vec![Value::Int(30_001)]),
            (Divergence::Extra, vec![Value::Int(-5)]),
        ]
    );
    assert!(report.sound_since.unwrap() > clean.sound_since.unwrap(), "the audit before found nothing");
    assert_same(&cache, &source, "orders");
    // Whoever subscribes hears of it.
    let changes: usize =
        cache.table("orders").unwrap().changes(version).unwrap().map(|rows| rows.unwrap().num_rows()).sum();
    assert_eq!(changes, 3);
    assert_eq!(cache.table("orders").unwrap().audit().unwrap().divergent_rows, 0);
    // It is known after a restart too, and is forgotten with the table.
    drop(cache);
    let cache = open(dir.path(), &server, &[("orders", &["id"]), ("lines", &["id", "part"])]);
    assert_eq!(audited(&cache, "orders").unwrap().divergent_rows, 3);
    assert_eq!(cache.table("orders").unwrap().audit().unwrap().divergent_rows, 0);
    cache.drop_table("orders").unwrap();
    assert_eq!(cache.source_position("//shop/orders").unwrap(), None);
}

#[test]
fn many_rows_that_differ_are_mended() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO lines SELECT n, n % 3, 'word ' || n FROM generate_series(1, 20000) n");
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server, &[("lines", &["id", "part"])]);
    plant(&cache, "lines", |transaction, table| transaction.truncate(table));
    overwrite(&cache, "lines", "SELECT CAST(-1 AS BIGINT), CAST(3 AS INT), 'nobody'");
    let report = cache.table("lines").unwrap().audit().unwrap();
    assert_eq!((report.rows, report.divergent_rows, report.mended_rows), (20_000, 20_001, 20_001));
    assert_eq!(report.divergent.len(), 1000, "the others are counted");
    assert_same(&cache, &source, "lines");
}

#[test]
fn rows_that_change_meanwhile_are_no_fault() {
    let Some(server) = shop() else { return };
    server
        .psql("INSERT INTO orders SELECT n, 'first', n, repeat('large', 2000) FROM generate_series(1, 60) n");
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server, &[("orders", &["id"]), ("lines", &["id", "part"])]);
    let mut random = Random::new(20_130_107);
    let (mut audits, mut faults) = (0, 0);
    for round in 0..3 {
        let mut writers = writers(&server, &mut random, 150);
        while writers.iter_mut().any(|writer| writer.try_wait().unwrap().is_none()) {
            for table in ["orders", "lines"] {
                let report = cache.table(table).unwrap().audit().unwrap();
                assert_eq!(report.divergent, [], "round {round}");
                audits += 1;
            }
        }
        // A fault under load is found, and mended by hand or by the stream.
        let writers = self::writers(&server, &mut random, 150);
        cache.refresh("orders").unwrap();
        overwrite(&cache, "orders", "SELECT id, 'wrong', total, note, placed FROM orders");
        while cache.table("orders").unwrap().audit().unwrap().divergent_rows > 0 {
            faults += 1;
        }
        for mut writer in writers {
            writer.wait().unwrap();
        }
        for table in ["orders", "lines"] {
            cache.refresh(table).unwrap();
            cache.table(table).unwrap().audit().unwrap();
            assert_same(&cache, &source, table);
        }
    }
    assert!(audits >= 6 && faults > 0, "{audits} audits, {faults} with faults");
}

#[test]
fn keys_of_every_type_are_compared_in_one_order() {
    let Some(server) = server_with(&[]) else { return };
    let keys = [
        ("int2", "n - 150"),
        ("int4", "(n - 150) * 7000000"),
        ("int8", "(n - 150)::int8 * 40000000000"),
        ("oid", "(4294967295 - n * 9000000::int8)::oid"),
        ("numeric(20,4)", "((n - 150) * 1234567.1234)::numeric(20,4)"),
        ("text", "chr(33 + n * 150) || E'\\'' || n"),
        ("varchar(40)", "md5(n::text)"),
        ("char(9)", "'k' || n"),
        ("citext", "CASE WHEN n % 2 = 0 THEN 'Ab' ELSE 'aB' END || n"),
        ("uuid", "md5(n::text)::uuid"),
        ("bytea", "decode(md5(n::text), 'hex')"),
        ("date", "'2000-01-01'::date + (n - 150) * 5000"),
        ("time", "'00:00'::time + n * interval '200 s 3 us'"),
        ("timestamp", "'2000-01-01'::timestamp + (n - 150) * interval '11 years'"),
        ("timestamptz", "'1970-01-01'::timestamptz + (n - 150) * interval '3 us'"),
        ("weekday", "(ARRAY['mo','di','mi'])[n]::weekday"),
        ("positive", "n"),
    ];
    server.psql(
        "CREATE EXTENSION citext; CREATE TYPE weekday AS ENUM ('mo', 'di', 'mi'); CREATE DOMAIN positive AS int4 CHECK (VALUE > 0)",
    );
    let names: Vec<String> = (0..keys.len()).map(|number| format!("k{number}")).collect();
    for ((kind, value), name) in keys.iter().zip(&names) {
        let rows = if *kind == "weekday" { 3 } else { 300 };
        server.psql(&format!(
            "CREATE TABLE {name} (k {kind}, p text, v int, PRIMARY KEY (k, p)); \
             INSERT INTO {name} SELECT {value}, 'part ' || n % 2, n FROM generate_series(1, {rows}) n"
        ));
    }
    let tables: Vec<(&str, &[&str])> = names.iter().map(|name| (name.as_str(), &["k", "p"][..])).collect();
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = open(dir.path(), &server, &tables);
    for ((kind, _), name) in keys.iter().zip(&names) {
        overwrite(&cache, name, &format!("SELECT k, p, CAST(-1 AS INT) FROM {name} WHERE v = 2"));
        let report = cache.table(name).unwrap().audit().unwrap();
        assert_eq!((report.divergent_rows, report.mended_rows), (1, 1), "{kind}: {:?}", report.divergent);
        assert_same(&cache, &source, name);
    }
}

#[test]
fn audits_begin_by_themselves_if_somebody_wants_that() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO other SELECT n FROM generate_series(1, 100) n");
    let (dir, source) = (tempfile::tempdir().unwrap(), server.source());
    let cache = CacheOptions::new().durability(Durability::Never).open(dir.path()).unwrap();
    cache.add_source("shop", server.source()).unwrap();
    let origin = TableSource::new("shop", Relation::table("other")).changes();
    let origin = origin.audit_every(Duration::from_millis(200), 100_000);
    cache.follow_table("other", TableDefinition::from_source(origin).primary_key(["id"])).unwrap();
    cache.refresh("other").unwrap();
    plant(&cache, "other", |transaction, table| transaction.delete(table, &[50]).unwrap());
    while audited(&cache, "other").is_none_or(|status| status.divergent_rows == 0) {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(audited(&cache, "other").unwrap().divergent_rows, 1);
    assert_same(&cache, &source, "other");
}

#[test]
fn what_cannot_be_audited_now_is_said() {
    let Some(mut server) = shop() else { return };
    let dir = tempfile::tempdir().unwrap();
    let cache = open(dir.path(), &server, &[("other", &["id"])]);
    let plain = TableDefinition::from_source(TableSource::new("shop", Relation::table("orders")).on_call());
    let plain = cache.define_table("orders", plain.primary_key(["id"])).unwrap();
    let error = plain.audit().unwrap_err();
    assert!(error.code() == ErrorCode::Unsupported && error.message().contains("does not follow"), "{error}");
    server.stop();
    let other = cache.table("other").unwrap();
    let error = other.audit().unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error:#}");
    assert_eq!(audited(&cache, "other"), None);
    cache.close().unwrap();
    assert!(other.audit().is_err());
}
