//! Changes on their way into a cache: rows and position in one commit, acknowledged when it is durable.

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use pillion::source::{FeedEvent, Fetch, RowChanges, RowOperation};
use pillion::{Cache, TableDefinition, Transaction};

use super::*;
use crate::support::proxy::{Fate, Proxy};
use crate::support::random::Random;
use crate::support::rows::{all, sorted};

const TABLES: [&str; 2] = ["orders", "other"];

/// Adds changes of rows to a transaction, one by one. The first column is the key, and no value is out of line.
fn add(cache: &Cache, mut transaction: Transaction, changes: &RowChanges) -> Result<Transaction> {
    let table = cache.table(TABLES[changes.relation()])?;
    let keys = changes.rows().column(0).as_primitive::<Int32Type>().values();
    for (row, operation) in changes.operations().iter().enumerate() {
        transaction = match operation {
            RowOperation::Before | RowOperation::Delete => transaction.delete(&table, &[keys[row]])?,
            _ => {
                let columns = changes.rows().slice(row, 1).columns().to_vec();
                transaction.upsert(&table, RecordBatch::try_new(table.schema().clone(), columns).unwrap())
            }
        };
    }
    assert!(changes.unchanged().is_empty());
    Ok(transaction)
}

/// Commits the next source transaction, and says how many rows changed. `None` where the feed ends.
fn commit_next(cache: &Cache, feed: &mut dyn ChangeFeed, call: &Call) -> Option<Vec<u8>> {
    let mut transaction = cache.transaction();
    loop {
        transaction = match feed.next(call).ok()? {
            FeedEvent::Rows(changes) => add(cache, transaction, &changes).unwrap(),
            FeedEvent::Truncated(relations) => relations.iter().fold(transaction, |transaction, relation| {
                transaction.truncate(&cache.table(TABLES[*relation]).unwrap())
            }),
            FeedEvent::Committed { position, .. } => {
                transaction.source_position("shop", position.clone()).commit().unwrap();
                return Some(position);
            }
            FeedEvent::Idle { position, .. } => {
                cache.transaction().source_position("shop", position.clone()).commit().unwrap();
                return Some(position);
            }
            other => panic!("{other:?}"),
        };
    }
}

#[test]
fn a_cache_that_is_opened_again_has_every_transaction_once() {
    let Some(server) = shop() else { return };
    let mut random = Random::new(20_130_101);
    server.psql("INSERT INTO orders SELECT n, 'first' FROM generate_series(1, 50) n");
    let (direct, dir) = (server.source(), tempfile::tempdir().unwrap());
    let follow = Follow::new("pillion_shop", TABLES.map(Relation::table));
    let mut snapshot = direct.snapshot(&follow, &patient()).unwrap();
    let columns = [0, 1].map(|relation| snapshot.describe(relation, &patient()).unwrap());
    {
        let cache = Cache::open(dir.path()).unwrap();
        for (relation, name) in TABLES.iter().enumerate() {
            let fetched = snapshot.fetch(relation, &patient()).unwrap();
            let schema = fetched.schema().clone();
            let batches = fetched.collect::<Result<Vec<_>>>().unwrap();
            let rows = arrow::compute::concat_batches(&schema, &batches).unwrap();
            cache.define_table(name, TableDefinition::new(rows).primary_key(["id"])).unwrap();
        }
        cache.transaction().source_position("shop", snapshot.position()).commit().unwrap();
        cache.sync().unwrap();
    }
    drop(snapshot);
    let mut commits = 0;
    for round in 0..8_i32 {
        for _ in 0..30 {
            let (a, b) = (random.below(60), random.below(60));
            server.psql(&match random.below(6) {
                0 => format!("BEGIN; INSERT INTO orders VALUES ({a}) ON CONFLICT DO NOTHING; INSERT INTO other VALUES ({b}) ON CONFLICT DO NOTHING; COMMIT"),
                1 => format!("UPDATE orders SET id = {b} WHERE id = {a} AND NOT EXISTS (SELECT FROM orders WHERE id = {b})"),
                2 => format!("UPDATE orders SET item = 'changed {b}', total = {a} WHERE id > {a}"),
                3 => format!("DELETE FROM orders WHERE id = {a}; DELETE FROM other WHERE id = {b}"),
                4 if a < 3 => "TRUNCATE other".to_owned(),
                _ => format!("BEGIN; DELETE FROM orders WHERE id = {a}; INSERT INTO orders VALUES ({a}, 'again'); COMMIT"),
            });
        }
        let mark = 1000 + round;
        server.psql(&format!("INSERT INTO other VALUES ({mark})"));
        // The cache is opened anew for each connection, most of which end early.
        for connection in 0..3 {
            let limit = if connection == 2 { u64::MAX } else { 3_000 + random.below(20_000) };
            let proxy = Proxy::start(server.port(), Fate::CutAfter(limit));
            let source = Postgres::from_url(&server.url_at(proxy.port(), "sslmode=disable")).unwrap();
            let cache = Cache::open(dir.path()).unwrap();
            let held = cache.source_position("shop").unwrap().unwrap();
            if let Ok(Changes::Feed(mut feed)) = source.changes(&follow, &columns, &held, &patient()) {
                let has_all = || cache.table("other").unwrap().get(mark).unwrap().is_some();
                while !(connection == 2 && has_all()) {
                    // Only the last connection must bring everything.
                    let half_a_second = Call::within(std::time::Duration::from_millis(500));
                    let call = if connection == 2 { patient() } else { half_a_second };
                    let Some(position) = commit_next(&cache, &mut *feed, &call) else { break };
                    commits += 1;
                    if random.below(5) == 0 {
                        cache.sync().unwrap();
                        feed.acknowledge(&position).unwrap();
                    }
                    if connection < 2 && random.below(20) == 0 {
                        break;
                    }
                }
            }
            drop((cache, proxy));
            server.wait_for("SELECT active FROM pg_replication_slots", "f");
        }
        let cache = Cache::open(dir.path()).unwrap();
        for name in TABLES {
            let rows = cache.table(name).unwrap().scan().unwrap().collect::<Result<Vec<_>>>().unwrap();
            let schema = cache.table(name).unwrap().schema().clone();
            let held = sorted(&arrow::compute::concat_batches(&schema, &rows).unwrap());
            let there = sorted(&all(&direct, &Fetch::of(Relation::table(name))).unwrap());
            assert_eq!(held, there, "{name} after round {round}");
        }
    }
    assert!(commits > 100, "{commits} commits");
}
