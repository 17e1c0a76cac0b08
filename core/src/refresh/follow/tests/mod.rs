//! Tables that follow a source which breaks off, loses changes and changes columns, in caches that are closed at any moment.

mod database;
mod keys;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;

use self::database::{Database, DbRow, Op, Rows, rows_of};
use super::planted;
use super::records::{FeedRecord, decode, feed_name};
use crate::refresh::record::Record;
use crate::source::{OnSchemaChange, Relation, TableSource};
use crate::storage::Files;
use crate::test_random::Random;
use crate::types::error::{ErrorCode, Result};
use crate::types::options::{CacheOptions, Durability};
use crate::way::embedded::Embedded;
use crate::{Cache, FollowPhase, RefreshStatus, TableDefinition};

const TABLES: [&str; 3] = ["orders", "lines", "notes"];
const COLUMNS: [&str; 3] = ["id", "name", "note"];
/// The runner of the tests ends one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

fn options(dir: &Path, durability: Durability) -> Cache {
    CacheOptions::new().durability(durability).open(dir).unwrap()
}

fn definition(table: &str) -> TableDefinition {
    TableDefinition::from_source(TableSource::new("shop", Relation::table(table)).changes())
        .primary_key(["id"])
}

fn open(dir: &Path, database: &Database) -> Cache {
    let cache = options(dir, Durability::Never);
    cache.add_source("shop", database.clone()).unwrap();
    cache
}

fn shop() -> Database {
    let database = Database::default();
    TABLES.iter().for_each(|table| database.create(table, &COLUMNS));
    database
}

fn row(id: i64, name: &str) -> DbRow {
    DbRow { id, name: Some(name.to_owned()), note: None }
}

fn held(batches: impl Iterator<Item = Result<RecordBatch>>) -> Rows {
    let mut rows = Rows::new();
    for batch in batches {
        for row in rows_of(&batch.unwrap()) {
            assert!(rows.insert(row.id, row).is_none(), "a key is there twice");
        }
    }
    rows
}

fn rows(cache: &Cache, table: &str) -> Rows {
    held(cache.table(table).unwrap().scan().unwrap())
}

fn status(cache: &Cache, table: &str) -> RefreshStatus {
    cache.refreshes().unwrap().into_iter().find(|status| status.table == table).unwrap()
}

fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Waits until a table has everything, and compares it.
fn assert_same(cache: &Cache, database: &Database, table: &str) {
    wait_until(|| cache.table(table).is_ok());
    cache.table(table).unwrap().wait_for(database.position(), PATIENCE).unwrap();
    assert_eq!(rows(cache, table), database.rows(table), "{table}");
}

fn random_row(random: &mut Random, id: i64) -> DbRow {
    let note = (0..random.below(3)).map(|_| random.next().to_string()).reduce(|a, b| a + &b);
    DbRow { id, name: random.percent(80).then(|| random.below(1000).to_string()), note }
}

/// Random changes of one transaction, of values that are not sent and keys that change too.
fn transaction(random: &mut Random, database: &Database) -> Vec<(&'static str, Op)> {
    let many = random.percent(5);
    let count = if many { 300 } else { 1 + random.below(8) };
    let ids = if many { 400 } else { 40 };
    (0..count)
        .map(|_| {
            let table = TABLES[random.below(if many { 1 } else { 3 })];
            let (id, other) = (random.below(ids) as i64, random.below(ids) as i64);
            let held = database.rows(table).get(&id).cloned();
            let kept = held.and_then(|row| row.note);
            let op = match random.below(20) {
                0..=5 => Op::Insert(random_row(random, id)),
                6..=9 => Op::Update { key: id, row: random_row(random, id) },
                10..=12 => Op::Update { key: id, row: DbRow { note: kept, ..random_row(random, id) } },
                13 => Op::Update { key: id, row: random_row(random, other) },
                14 | 15 => Op::Update { key: id, row: DbRow { note: kept, ..random_row(random, other) } },
                19 if random.percent(10) => Op::Truncate,
                _ => Op::Delete(id),
            };
            (table, op)
        })
        .collect()
}

/// Looks at the rows at one version, and compares those that are in step with what the source had there. Returns how many tables it
/// compared.
fn observe(cache: &Cache, database: &Database) -> usize {
    let feed = |cache: &Cache| cache.source_position(&feed_name("shop")).unwrap();
    let before = feed(cache);
    let epochs = |cache: &Cache| {
        TABLES.map(|table| {
            let record = cache.source_position(&format!("shop/{table}")).unwrap();
            record.as_deref().and_then(Record::decode).and_then(|record| record.epoch)
        })
    };
    let (of_tables, snapshot) = (epochs(cache), cache.snapshot().unwrap());
    // The snapshot is of this position if nothing was committed around it.
    if feed(cache) != before || epochs(cache) != of_tables {
        return 0;
    }
    let Some(feed) = decode::<FeedRecord>(before.as_deref()) else { return 0 };
    let mut compared = 0;
    for (table, epoch) in TABLES.iter().zip(of_tables) {
        if epoch == Some(feed.epoch) {
            let rows = held(snapshot.table(table).unwrap().scan().unwrap());
            assert_eq!(rows, database.rows_at(table, &feed.position), "{table} at {:?}", feed.position);
            compared += 1;
        }
    }
    compared
}

/// Follows through random transactions while connections break, changes are lost and the cache is closed and opened again.
fn run(database: &Database, seed: u64, rounds: usize, loses: bool) -> (usize, usize) {
    let mut random = Random::new(&[seed]);
    let dir = tempfile::tempdir().unwrap();
    let mut cache = open(dir.path(), database);
    let declare =
        |cache: &Cache| TABLES.iter().for_each(|table| cache.follow_table(table, definition(table)).unwrap());
    declare(&cache);
    let (mut compared, mut openings) = (0, 1);
    for round in 0..rounds {
        for _ in 0..random.below(12) {
            let ops = transaction(&mut random, database);
            database.commit(ops);
            compared += observe(&cache, database);
        }
        match random.below(10) {
            0 | 1 => database.break_after(Some(random.below(60))),
            2 => database.set_away(random.percent(50)),
            3 => database.pass(),
            4 if loses => database.lose(),
            5..=7 => {
                if random.percent(30) {
                    cache.close().unwrap();
                }
                drop(cache);
                database.set_away(false);
                database.break_after(random.percent(50).then(|| random.below(100)));
                cache = open(dir.path(), database);
                declare(&cache);
                openings += 1;
            }
            _ => {
                // Everything is mended, and the tables catch up.
                database.set_away(false);
                database.break_after(None);
                // It need not wait until it would try again by itself.
                TABLES.iter().for_each(|table| drop(cache.refresh(table)));
                if random.percent(50) || round + 1 == rounds {
                    TABLES.iter().for_each(|table| assert_same(&cache, database, table));
                }
            }
        }
    }
    database.set_away(false);
    database.break_after(None);
    drop(cache);
    let cache = open(dir.path(), database);
    declare(&cache);
    TABLES.iter().for_each(|table| assert_same(&cache, database, table));
    wait_until(|| database.names().len() == 1);
    (compared, openings)
}

#[test]
fn a_following_cache_has_every_change_once_whatever_is_cut() {
    let runs = std::env::var("PILLION_FOLLOW_RUNS").map_or(6, |runs| runs.parse().unwrap());
    let seed = std::env::var("PILLION_TEST_SEED").map_or(20_130_101, |seed| seed.parse().unwrap());
    let (mut compared, mut openings, mut snapshots) = (0, 0, 0);
    for run_number in 0..runs {
        println!("PILLION_TEST_SEED={}", seed + run_number);
        let database = shop();
        let (of_run, opened) = run(&database, seed + run_number, 40, run_number % 2 == 1);
        compared += of_run;
        openings += opened;
        snapshots += database.snapshots();
    }
    println!(
        "{runs} runs, {compared} tables compared at positions, {openings} openings, {snapshots} snapshots"
    );
    assert!(compared > 20 && openings > usize::try_from(runs).unwrap());
}

#[test]
fn a_source_that_hides_changes_of_keys_is_found_out() {
    let found = std::panic::catch_unwind(|| {
        let database = shop();
        database.hide_key_changes();
        run(&database, 7, 60, false)
    });
    assert!(found.is_err());
}

/// Follows, and says whether something was acknowledged that a crash of the machine could lose; and how often something was.
fn acknowledges_too_early(source: &str) -> (bool, usize) {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let files = Files::below(dir.path()).unwrap();
    let embedded = Embedded::with_files(files, CacheOptions::new().durability(Durability::Never)).unwrap();
    let owner = Arc::new(crate::refresh::Owner::new(embedded, 2));
    let (is_early, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let (weak, early, counted) = (Arc::downgrade(owner.embedded()), is_early.clone(), count.clone());
    database.on_acknowledge(move || {
        let Some(embedded) = weak.upgrade() else { return };
        early.fetch_or(embedded.could_lose_commits(), Ordering::Relaxed);
        counted.fetch_add(1, Ordering::Relaxed);
    });
    let cache = Cache::new(owner);
    cache.add_source(source, database.clone()).unwrap();
    let origin = TableSource::new(source, Relation::table("orders")).changes();
    let table =
        cache.define_table("orders", TableDefinition::from_source(origin).primary_key(["id"])).unwrap();
    for id in 0..3 {
        database.commit(vec![("orders", Op::Insert(row(id, "a")))]);
        table.wait_for(database.position(), PATIENCE).unwrap();
        let before = count.load(Ordering::Relaxed);
        wait_until(|| count.load(Ordering::Relaxed) > before);
    }
    drop((table, cache));
    (is_early.load(Ordering::Relaxed), count.load(Ordering::Relaxed))
}

#[test]
fn only_what_is_durable_is_acknowledged() {
    let (is_early, count) = acknowledges_too_early("sound");
    assert!(!is_early && count >= 3);
    planted::plant("planted");
    assert!(acknowledges_too_early("planted").0, "the planted bug is noticed");
}

#[test]
fn a_transaction_is_seen_as_a_whole_across_tables() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    for table in ["orders", "lines"] {
        cache.define_table(table, definition(table)).unwrap();
    }
    let many =
        (0..100).flat_map(|id| [("orders", Op::Insert(row(id, "a"))), ("lines", Op::Insert(row(id, "b")))]);
    let before = cache.tables().unwrap()[0].version;
    database.commit(many.collect());
    let version = cache.table("lines").unwrap().wait_for(database.position(), PATIENCE).unwrap();
    assert_eq!((rows(&cache, "orders").len(), rows(&cache, "lines").len()), (100, 100));
    assert_ne!(version, before);
    let error = cache.table("lines").unwrap().wait_for("nonsense", PATIENCE).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    let error = cache.table("lines").unwrap().wait_for("at 99999999", Duration::from_millis(10)).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(error.message().contains("the source has not sent it"), "{error}");
}

#[test]
fn a_transaction_of_many_rows_is_one_commit() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    let table = cache.define_table("orders", definition("orders")).unwrap();
    database.commit((0..40_000).map(|id| ("orders", Op::Insert(row(id, "first")))).collect());
    assert_same(&cache, &database, "orders");
    let since = table.info().unwrap().version;
    // More rows than a record of the log takes, and more keys than a commit deletes, of which some are inserted again.
    let many = (0..40_000).map(|id| match id % 4 {
        0 => Op::Delete(id),
        1 => Op::Update { key: id, row: row(id + 100_000, "moved") },
        _ => Op::Update { key: id, row: row(id, "changed") },
    });
    let again = (0..400).map(|id| Op::Insert(row(id * 4, "again")));
    database.commit(many.chain(again).map(|op| ("orders", op)).collect());
    assert_same(&cache, &database, "orders");
    assert_ne!(table.info().unwrap().version, since);
    assert_eq!(status(&cache, "orders").succeeded, 1, "no copy was made");
}

#[test]
fn a_dropped_table_is_forgotten_at_the_source() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    database.commit(vec![("orders", Op::Insert(row(1, "a"))), ("lines", Op::Insert(row(2, "b")))]);
    let cache = open(dir.path(), &database);
    for table in ["orders", "lines"] {
        cache.define_table(table, definition(table)).unwrap();
    }
    let names = database.names();
    assert_eq!(names.len(), 1);
    let snapshots = database.snapshots();
    cache.drop_table("orders").unwrap();
    wait_until(|| database.names().len() == 1 && database.names() != names);
    database.commit(vec![
        ("orders", Op::Delete(1)),
        ("lines", Op::Delete(2)),
        ("lines", Op::Insert(row(3, "c"))),
    ]);
    assert_same(&cache, &database, "lines");
    assert_eq!(database.snapshots(), snapshots + 1, "nothing is copied anew");
    assert_eq!(status(&cache, "lines").succeeded, 1);
    cache.drop_table("lines").unwrap();
    wait_until(|| database.names().is_empty());
    wait_until(|| cache.source_position("/shop/").unwrap().is_none());
    // The same once more.
    cache.define_table("lines", definition("lines")).unwrap();
    assert_same(&cache, &database, "lines");
}

#[test]
fn tables_that_are_not_declared_again_are_followed_on() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    for table in ["orders", "lines"] {
        cache.define_table(table, definition(table)).unwrap();
    }
    drop(cache);
    database.commit(vec![("orders", Op::Insert(row(1, "a"))), ("lines", Op::Insert(row(2, "b")))]);
    let cache = open(dir.path(), &database);
    wait_until(|| rows(&cache, "orders") == database.rows("orders"));
    cache.define_table("lines", definition("lines")).unwrap();
    assert_same(&cache, &database, "lines");
    // Another way of feeding ends it.
    let by_call = TableSource::new("shop", Relation::table("orders")).on_call().not_on_start();
    cache.define_table("orders", TableDefinition::from_source(by_call).primary_key(["id"])).unwrap();
    database.commit(vec![("orders", Op::Insert(row(5, "a"))), ("lines", Op::Insert(row(6, "b")))]);
    assert_same(&cache, &database, "lines");
    assert_eq!(rows(&cache, "orders").len(), 1);
    cache.refresh("orders").unwrap();
    assert_eq!(rows(&cache, "orders"), database.rows("orders"));
}

#[test]
fn a_definition_that_comes_back_does_not_bring_old_rows_back() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    database.commit(vec![("orders", Op::Insert(row(1, "a")))]);
    let cache = open(dir.path(), &database);
    for table in ["orders", "lines"] {
        cache.define_table(table, definition(table)).unwrap();
    }
    database.refuse(Some("orders"));
    let other = TableSource::new("shop", Relation::table("orders")).changes().columns(["id", "name"]);
    cache.follow_table("orders", TableDefinition::from_source(other).primary_key(["id"])).unwrap();
    wait_until(|| status(&cache, "orders").failures > 0);
    // The others go on, and the old rows of this one stay.
    database.commit(vec![
        ("orders", Op::Delete(1)),
        ("orders", Op::Insert(row(2, "b"))),
        ("lines", Op::Insert(row(3, "c"))),
    ]);
    assert_same(&cache, &database, "lines");
    assert_eq!(rows(&cache, "orders").len(), 1);
    database.refuse(None);
    cache.follow_table("orders", definition("orders")).unwrap();
    assert_same(&cache, &database, "orders");
}

#[test]
fn lost_changes_lead_to_a_new_copy_and_old_rows_serve_until_then() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    database.commit(vec![("orders", Op::Insert(row(1, "a"))), ("orders", Op::Insert(row(2, "b")))]);
    let cache = open(dir.path(), &database);
    cache.define_table("orders", definition("orders")).unwrap();
    database.refuse(Some("orders"));
    database.lose();
    database.commit(vec![("orders", Op::Delete(1))]);
    let why =
        |status: RefreshStatus| status.last_error.map(|error| error.message().to_owned()).unwrap_or_default();
    wait_until(|| why(status(&cache, "orders")).contains("cannot be followed"));
    assert_eq!(rows(&cache, "orders").len(), 2, "the old rows");
    assert_eq!(status(&cache, "orders").following.unwrap().phase, FollowPhase::Waiting);
    database.refuse(None);
    cache.refresh("orders").unwrap();
    assert_eq!(rows(&cache, "orders"), database.rows("orders"), "what was deleted meanwhile is gone");
    wait_until(|| status(&cache, "orders").following.unwrap().phase == FollowPhase::Following);
}

#[test]
fn a_table_of_other_columns_is_copied_anew_or_stale() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    cache.define_table("orders", definition("orders")).unwrap();
    let stale =
        TableSource::new("shop", Relation::table("lines")).changes().on_schema_change(OnSchemaChange::Stale);
    let stale = || TableDefinition::from_source(stale.clone()).primary_key(["id"]);
    cache.define_table("lines", stale()).unwrap();
    database.commit(vec![("orders", Op::Insert(row(1, "a"))), ("lines", Op::Insert(row(1, "a")))]);
    for table in ["orders", "lines"] {
        assert_same(&cache, &database, table);
        database.alter(table, &["id", "name", "note", "added"]);
    }
    database.commit(vec![("orders", Op::Insert(row(2, "b"))), ("lines", Op::Insert(row(2, "b")))]);
    assert_same(&cache, &database, "orders");
    assert!(cache.table("orders").unwrap().schema().column_with_name("added").is_some());
    wait_until(|| matches!(status(&cache, "lines").following.unwrap().phase, FollowPhase::Stale(_)));
    assert_eq!(rows(&cache, "lines").len(), 1);
    drop(cache);
    let cache = open(dir.path(), &database);
    cache.follow_table("orders", definition("orders")).unwrap();
    cache.follow_table("lines", stale()).unwrap();
    assert_same(&cache, &database, "orders");
    // Also after a restart.
    let stays = FollowPhase::Stale("it has other columns".to_owned());
    wait_until(|| status(&cache, "lines").following.unwrap().phase == stays);
    assert_eq!(rows(&cache, "lines").len(), 1);
    cache.refresh("lines").unwrap();
    assert_eq!(rows(&cache, "lines"), database.rows("lines"));
}

#[test]
fn a_table_that_cannot_be_copied_holds_up_no_other() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    database.refuse(Some("notes"));
    TABLES.iter().for_each(|table| cache.follow_table(table, definition(table)).unwrap());
    for table in ["orders", "lines"] {
        assert_same(&cache, &database, table);
    }
    let of_notes = status(&cache, "notes");
    assert!(of_notes.failures > 0 && cache.table("notes").is_err());
    database.commit(vec![("orders", Op::Insert(row(1, "a"))), ("notes", Op::Insert(row(1, "a")))]);
    assert_same(&cache, &database, "orders");
    database.refuse(None);
    cache.refresh("notes").unwrap();
    TABLES.iter().for_each(|table| assert_same(&cache, &database, table));
}

#[test]
fn what_does_not_suit_a_following_table_is_refused() {
    let (dir, database) = (tempfile::tempdir().unwrap(), shop());
    let cache = open(dir.path(), &database);
    let origin = || TableSource::new("shop", Relation::table("orders")).changes();
    let code = |definition: TableDefinition| cache.define_table("orders", definition).unwrap_err().code();
    assert_eq!(code(TableDefinition::from_source(origin())), ErrorCode::InvalidArgument);
    let keyed = |origin: TableSource| TableDefinition::from_source(origin).primary_key(["id"]);
    assert_eq!(code(keyed(origin()).retain("id", PATIENCE)), ErrorCode::InvalidArgument);
    assert_eq!(code(keyed(origin().append_by_number("id", 0))), ErrorCode::Unsupported);
    assert_eq!(code(TableDefinition::from_source(origin()).primary_key(["name"])), ErrorCode::Unsupported);
    let table = cache.define_table("orders", keyed(origin().columns(["name", "id"]))).unwrap();
    assert_eq!(table.schema().fields().len(), 2);
    assert_eq!(table.invalidate(&[1]).unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(cache.pause_refreshes("orders").unwrap_err().code(), ErrorCode::Unsupported);
    database.commit(vec![
        ("orders", Op::Insert(row(1, "a"))),
        ("orders", Op::Update { key: 1, row: row(4, "b") }),
    ]);
    table.wait_for(database.position(), PATIENCE).unwrap();
    assert_eq!(rows(&cache, "orders"), database.rows("orders"));
    let lines = TableSource::new("shop", Relation::table("lines")).changes();
    assert_eq!(
        cache
            .define_table("lines", TableDefinition::from_source(lines.publication("p")).primary_key(["id"]))
            .unwrap_err()
            .code(),
        ErrorCode::InvalidArgument
    );
}
