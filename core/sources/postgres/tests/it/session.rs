//! A server that is cut off, hangs, is stopped and comes back, while the table that it feeds is read.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pillion::source::{Relation, TableSource};
use pillion::{Cache, ErrorCode, Table, TableDefinition};
use pillion_postgres::Postgres;

use crate::support::proxy::{Fate, Proxy};
use crate::support::server::Server;

const ROWS: i32 = 20_000;
/// The server sends about three times as much for all rows.
const MIDDLE: u64 = 1_000_000;

/// Ends the reader also if the test fails.
struct Reading<'a>(&'a AtomicBool);

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// Looks up every row again and again: each is there, as it was before a refresh or after it.
fn read_while(goes_on: &AtomicBool, stock: &Table, reads: &AtomicU64) {
    for id in (1..=ROWS).cycle() {
        let row = stock.get(id).unwrap().unwrap();
        let name = row.get::<&str>("name").unwrap();
        assert!(name.starts_with("old") || name.starts_with("new"), "{name}");
        reads.fetch_add(1, Ordering::Relaxed);
        if !goes_on.load(Ordering::Relaxed) {
            return;
        }
    }
}

#[test]
fn reads_go_on_while_a_server_is_cut_off_stopped_and_brought_back() {
    let Some(mut server) = Server::start() else { return };
    server.psql(&format!(
        "CREATE TABLE stock (id int PRIMARY KEY, name text NOT NULL); \
         INSERT INTO stock SELECT n, repeat('old', 50) FROM generate_series(1, {ROWS}) n;"
    ));
    let proxy = Proxy::start(server.port(), Fate::CutAfter(u64::MAX));
    let source = Postgres::from_url(&server.url_at(proxy.port(), "sslmode=disable")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    cache.add_source("shop", source).unwrap();
    let from = TableSource::new("shop", Relation::table("stock")).on_call();
    let from = from.progress_timeout(Duration::from_millis(700));
    let stock = cache.define_table("stock", TableDefinition::from_source(from).primary_key(["id"])).unwrap();
    // Only this test refreshes it.
    cache.pause_refreshes("stock").unwrap();
    let (goes_on, reads) = (AtomicBool::new(true), AtomicU64::new(0));
    let fails = |code: ErrorCode, what: &str| {
        let before = reads.load(Ordering::Relaxed);
        let error = cache.refresh("stock").unwrap_err();
        assert_eq!(error.code(), code, "{what}: {error:?}");
        assert_eq!(cache.refreshes().unwrap()[0].last_error.as_ref().unwrap().code(), code, "{what}");
        assert!(stock.get(7).unwrap().unwrap().get::<&str>("name").unwrap().starts_with("old"), "{what}");
        println!("{what}: {}; {} reads meanwhile", error, reads.load(Ordering::Relaxed) - before);
    };
    std::thread::scope(|scope| {
        let reading = Reading(&goes_on);
        scope.spawn(|| read_while(&goes_on, &stock, &reads));
        server.psql("UPDATE stock SET name = repeat('new', 50)");
        proxy.cut(Fate::CutAfter(MIDDLE));
        fails(ErrorCode::SourceUnavailable, "cut off in the middle of the rows");
        proxy.cut(Fate::HangAfter(MIDDLE));
        fails(ErrorCode::Timeout, "silent in the middle of the rows");
        proxy.cut(Fate::CutAfter(u64::MAX));
        server.stop();
        fails(ErrorCode::SourceUnavailable, "stopped");
        fails(ErrorCode::SourceUnavailable, "still stopped");
        server.crash();
        cache.refresh("stock").unwrap();
        let status = cache.refreshes().unwrap().remove(0);
        assert_eq!((status.failures, status.last_error.is_none()), (0, true));
        for id in [1, 7, ROWS] {
            assert!(stock.get(id).unwrap().unwrap().get::<&str>("name").unwrap().starts_with("new"));
        }
        drop(reading);
    });
    println!("back: the new rows are here; {} reads in all, none failed", reads.into_inner());
}
