//! Tables that follow a real server by themselves, while connections are cut, the server crashes and the cache is closed and opened at
//! random.
//!
//! `PILLION_FEED_ROUNDS` says how many rounds, and `PILLION_TEST_SEED` repeats the random choices.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::AsArray;
use arrow::datatypes::{Decimal128Type, Int32Type, Int64Type};
use pillion::source::{Fetch, OnSchemaChange, TableSource};
use pillion::{Cache, CacheOptions, Durability, FollowPhase, RefreshStatus, TableDefinition};

use super::planted::{Bug, Planted};
use super::*;
use crate::support::proxy::{Fate, Proxy};
use crate::support::random::Random;
use crate::support::rows::{all, sorted};

const TABLES: [(&str, &[&str]); 2] = [("orders", &["id"]), ("lines", &["id", "part"])];
/// The runner of the tests ends one that waits for ever.
const PATIENCE: Duration = Duration::from_secs(600);

fn definition(table: &str, key: &[&str]) -> TableDefinition {
    let origin = TableSource::new("shop", Relation::table(table)).changes();
    TableDefinition::from_source(origin).primary_key(key.iter().copied())
}

fn open(dir: &Path, source: impl Source) -> Cache {
    let cache = CacheOptions::new().durability(Durability::Never).open(dir).unwrap();
    cache.add_source("shop", source).unwrap();
    for (table, key) in TABLES {
        cache.follow_table(table, definition(table, key)).unwrap();
    }
    cache
}

fn status(cache: &Cache, table: &str) -> RefreshStatus {
    cache.refreshes().unwrap().into_iter().find(|status| status.table == table).unwrap()
}

fn wait_until(what: impl Fn() -> bool) {
    while !what() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn rows(cache: &Cache, table: &str) -> Vec<String> {
    let table = cache.table(table).unwrap();
    let batches = table.scan().unwrap().collect::<Result<Vec<_>>>().unwrap();
    sorted(&arrow::compute::concat_batches(table.schema(), &batches).unwrap())
}

/// Waits until the cache has what the server has committed by now.
fn catch_up(cache: &Cache, server: &Server) {
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    for (table, _) in TABLES {
        wait_until(|| cache.table(table).is_ok());
        cache.table(table).unwrap().wait_for(&position, PATIENCE).unwrap();
    }
}

fn difference(cache: &Cache, source: &Postgres) -> Option<String> {
    TABLES.iter().find_map(|(table, _)| {
        let there = sorted(&all(source, &Fetch::of(Relation::table(*table))).unwrap());
        let held = rows(cache, table);
        (held != there).then(|| format!("{table}: {held:?}\nand at the source {there:?}"))
    })
}

/// What two tables hold together at one version: it changes in the middle of a transaction only.
fn balance(cache: &Cache) -> Option<i128> {
    let snapshot = cache.snapshot().unwrap();
    let (orders, lines) = (snapshot.table("orders").ok()?, snapshot.table("lines").ok()?);
    let mut sum = 0;
    for batch in orders.scan().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int32Type>();
        let totals = batch.column_by_name("total").unwrap().as_primitive::<Decimal128Type>();
        sum +=
            (0..ids.len()).filter(|row| ids.value(*row) < 0).map(|row| totals.value(row) / 100).sum::<i128>();
    }
    for batch in lines.scan().unwrap() {
        let batch = batch.unwrap();
        let ids = batch.column_by_name("id").unwrap().as_primitive::<Int64Type>();
        let parts = batch.column_by_name("part").unwrap().as_primitive::<Int32Type>();
        sum += (0..ids.len())
            .filter(|row| ids.value(*row) < 0)
            .map(|row| i128::from(parts.value(row)))
            .sum::<i128>();
    }
    Some(sum)
}

fn books(server: &Server) {
    server.psql("INSERT INTO orders SELECT -n, 'book', 0 FROM generate_series(101, 103) n; INSERT INTO lines SELECT -n, 0, 'book' FROM generate_series(101, 103) n");
}

#[test]
fn a_cache_that_follows_has_every_change_once_whatever_is_cut() {
    let rounds = std::env::var("PILLION_FEED_ROUNDS").map_or(10, |rounds| rounds.parse().unwrap());
    let mut random = Random::new(20_130_101);
    let Some(mut server) = shop() else { return };
    books(&server);
    server.psql(
        "INSERT INTO orders SELECT n, 'first', n, repeat('large', 2000) FROM generate_series(1000, 1010) n",
    );
    let (direct, dir) = (server.source(), tempfile::tempdir().unwrap());
    // One port all the time: another one would be another place.
    let proxy = Proxy::start(server.port(), Fate::CutAfter(u64::MAX));
    let source = || Postgres::from_url(&server_url(&proxy)).unwrap();
    let mut cache = open(dir.path(), source());
    let (mut cuts, mut checks, mut crashes, mut openings, mut copies) = (0, 0, 0, 1, 0);
    let count =
        |cache: &Cache| -> u64 { cache.refreshes().unwrap().iter().map(|status| status.succeeded).sum() };
    for round in 0..rounds {
        let writers = writers(&server, &mut random, 20);
        let mut has_crashed = false;
        for _ in 0..4 {
            for _ in 0..random.below(60) {
                if let Some(balance) = balance(&cache) {
                    assert_eq!(balance, 0, "round {round}: half a transaction is visible");
                    checks += 1;
                }
            }
            match random.below(6) {
                0 | 1 => {
                    proxy.cut(Fate::CutAfter(2_000 + random.below(40_000)));
                    cuts += 1;
                }
                2 if !has_crashed => {
                    server.crash();
                    (has_crashed, crashes) = (true, crashes + 1);
                }
                3 | 4 => {
                    if random.below(3) == 0 {
                        cache.close().unwrap();
                    }
                    copies += count(&cache);
                    drop(cache);
                    cache = open(dir.path(), source());
                    openings += 1;
                }
                _ => {}
            }
        }
        for mut writer in writers {
            // A crash of the server ends its writers in the middle.
            assert!(writer.wait().unwrap().success() || has_crashed);
        }
        proxy.cut(Fate::CutAfter(u64::MAX));
        // Opened again, it need not wait until it would try again by itself.
        copies += count(&cache);
        drop(cache);
        cache = open(dir.path(), source());
        catch_up(&cache, &server);
        assert_eq!(difference(&cache, &direct), None, "after round {round}");
    }
    copies += count(&cache);
    println!(
        "{rounds} rounds, {cuts} cuts, {crashes} crashes of the server, {openings} openings of the cache, {checks} versions checked"
    );
    assert_eq!(copies, 2, "each table is copied once, and nothing is lost");
    assert_eq!(server.psql("SELECT count(*) FROM pg_replication_slots"), "1");
    for (table, _) in TABLES {
        cache.drop_table(table).unwrap();
    }
    server.wait_for("SELECT count(*) FROM pg_replication_slots", "0");
    server.wait_for("SELECT count(*) FROM pg_publication", "0");
}

fn server_url(proxy: &Proxy) -> String {
    format!(
        "postgresql://postgres:{}@127.0.0.1:{}/postgres?sslmode=disable",
        crate::support::server::SECRET_IN_URL,
        proxy.port()
    )
}

/// Follows with a bug planted, and drops the cache while a transaction is held back. Returns how often tables were copied after that, and
/// whether the rows are right.
fn follow_with(bug: Bug) -> Option<(u64, bool)> {
    let server = shop()?;
    server.psql("INSERT INTO orders VALUES (1, 'a', 1)");
    let dir = tempfile::tempdir().unwrap();
    let planted = Planted {
        source: Arc::new(server.source()),
        bug,
        is_held_back: Arc::new(AtomicBool::new(false)),
        is_held: Arc::default(),
    };
    let cache = open(dir.path(), planted.clone());
    catch_up(&cache, &server);
    planted.is_held_back.store(true, Ordering::SeqCst);
    let before = server.psql("SELECT pg_current_wal_insert_lsn()");
    server.psql("UPDATE orders SET id = 2");
    if bug != Bug::HidesKeys {
        wait_until(|| *planted.is_held.lock().unwrap());
        if bug == Bug::AcknowledgesEarly {
            server
                .wait_for(&format!("SELECT confirmed_flush_lsn > '{before}' FROM pg_replication_slots"), "t");
        }
        drop(cache);
    } else {
        planted.is_held_back.store(false, Ordering::SeqCst);
        catch_up(&cache, &server);
        drop(cache);
    }
    planted.is_held_back.store(false, Ordering::SeqCst);
    server.wait_for("SELECT active FROM pg_replication_slots", "f");
    let cache = open(dir.path(), planted);
    catch_up(&cache, &server);
    let copies = cache.refreshes().unwrap().iter().map(|status| status.succeeded).sum();
    Some((copies, difference(&cache, &server.source()).is_none()))
}

#[test]
fn planted_bugs_are_found_out() {
    let Some(late) = follow_with(Bug::IsLate) else { return };
    assert_eq!(late, (0, true), "what was not committed comes again");
    assert_eq!(
        follow_with(Bug::AcknowledgesEarly).unwrap(),
        (2, true),
        "the server has lost it, and everything is copied anew"
    );
    assert_eq!(follow_with(Bug::HidesKeys).unwrap(), (0, false));
}

#[test]
fn columns_and_slots_that_go_lead_to_a_new_copy_or_a_stale_table() {
    let Some(server) = shop() else { return };
    server.psql("INSERT INTO orders VALUES (1, 'a', 1); INSERT INTO lines VALUES (1, 1, 'w')");
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().open(dir.path()).unwrap();
    cache.add_source("shop", server.source()).unwrap();
    let lines =
        TableSource::new("shop", Relation::table("lines")).changes().on_schema_change(OnSchemaChange::Stale);
    cache.define_table("lines", TableDefinition::from_source(lines).primary_key(["id", "part"])).unwrap();
    cache.define_table("orders", definition("orders", &["id"])).unwrap();
    // An added column appears.
    server.psql("ALTER TABLE orders ADD added int; INSERT INTO orders VALUES (2, 'b', 2, NULL, NULL, 7)");
    catch_up(&cache, &server);
    let row = cache.table("orders").unwrap().get(2).unwrap().unwrap();
    assert_eq!(row.get::<i32>("added").unwrap(), 7);
    assert_eq!(
        cache.table("orders").unwrap().get(1).unwrap().unwrap().get::<Option<i32>>("added").unwrap(),
        None
    );
    // A slot that is gone: what was deleted meanwhile is gone here too.
    let slot = status(&cache, "orders").following.unwrap().name.unwrap();
    server.psql(&format!(
        "DO $$ BEGIN LOOP BEGIN PERFORM pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active; \
         PERFORM pg_drop_replication_slot('{slot}'); EXIT; EXCEPTION WHEN object_in_use THEN NULL; END; END LOOP; END $$; \
         DELETE FROM orders WHERE id = 1"
    ));
    catch_up(&cache, &server);
    assert_eq!(difference(&cache, &server.source()), None);
    assert_ne!(status(&cache, "orders").following.unwrap().name.unwrap(), slot);
    // A retyped column: the table stays as it is, until somebody asks.
    server.psql("ALTER TABLE lines ALTER word TYPE varchar(30); INSERT INTO lines VALUES (2, 2, 'v')");
    wait_until(
        || matches!(status(&cache, "lines").following.unwrap().phase, FollowPhase::Stale(why) if why.contains("word")),
    );
    server.psql("INSERT INTO orders (id) VALUES (9)");
    let position = server.psql("SELECT pg_current_wal_flush_lsn()");
    let orders = cache.table("orders").unwrap();
    orders.wait_for(position, PATIENCE).unwrap();
    assert!(orders.get(9).unwrap().is_some());
    assert_eq!(rows(&cache, "lines").len(), 1);
    cache.refresh("lines").unwrap();
    assert_eq!(difference(&cache, &server.source()), None);
}

/// Where a worker has its cache, and its source.
const WORKER_DIR: &str = "PILLION_FOLLOW_WORKER_DIR";
const WORKER_URL: &str = "PILLION_FOLLOW_WORKER_URL";

/// Follows until it is killed, if the test below starts it.
#[test]
fn worker() {
    let (Ok(dir), Ok(url)) = (std::env::var(WORKER_DIR), std::env::var(WORKER_URL)) else { return };
    let _cache = open(Path::new(&dir), Postgres::from_url(&url).unwrap());
    loop {
        std::thread::park();
    }
}

/// A process that is killed when it is dropped.
struct Worker(Child);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

#[test]
fn a_process_that_is_killed_loses_and_doubles_nothing() {
    let rounds = std::env::var("PILLION_FEED_ROUNDS").map_or(6, |rounds| rounds.parse().unwrap());
    let mut random = Random::new(20_130_101);
    let Some(server) = shop() else { return };
    books(&server);
    server.psql(
        "INSERT INTO orders SELECT n, 'first', n, repeat('large', 200) FROM generate_series(1000, 30000) n",
    );
    let dir = tempfile::tempdir().unwrap();
    let url = server.url_at(server.port(), "sslmode=disable");
    let slots = "SELECT string_agg(slot_name, ' ') FROM pg_replication_slots";
    let mut kills = 0;
    let mut slot = None;
    for round in 0..rounds {
        let writers = writers(&server, &mut random, 30);
        for _ in 0..4 {
            let mut command = std::process::Command::new(std::env::current_exe().unwrap());
            command
                .args(["feeds::following::worker", "--exact"])
                .env(WORKER_DIR, dir.path())
                .env(WORKER_URL, &url);
            let worker = Worker(command.stdout(std::process::Stdio::null()).spawn().unwrap());
            // Also in the first copy, and before anything has begun.
            std::thread::sleep(Duration::from_millis(random.below(700)));
            drop(worker);
            kills += 1;
        }
        for mut writer in writers {
            assert!(writer.wait().unwrap().success());
        }
        let cache = open(dir.path(), server.source());
        catch_up(&cache, &server);
        assert_eq!(difference(&cache, &server.source()), None, "after round {round}");
        assert_eq!(balance(&cache), Some(0));
        server.wait_for("SELECT count(*) FROM pg_replication_slots", "1");
        let now = server.psql(slots);
        assert_eq!(slot.get_or_insert_with(|| now.clone()), &now, "nothing is copied anew");
    }
    println!("{rounds} rounds, {kills} processes killed");
}
