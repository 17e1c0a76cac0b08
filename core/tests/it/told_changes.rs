//! Tables that are refreshed when their source tells a change.

use std::sync::atomic::Ordering;
use std::time::Duration;

use pillion::source::{Relation, TableSource};
use pillion::{Cache, ErrorCode, RefreshState, TableDefinition};

use crate::support::scripted_source::{Mood, ROWS, Scripted, by_call, keyed, open, wait_until};

/// So long that no test waits for it.
const NEVER: Duration = Duration::from_secs(24 * 3600);

fn on_change() -> TableDefinition {
    keyed(by_call().on_change(NEVER))
}

fn succeeded(cache: &Cache) -> u64 {
    cache.refreshes().unwrap()[0].succeeded
}

fn rows(cache: &Cache) -> u64 {
    cache.table("orders").unwrap().info().unwrap().rows
}

#[test]
fn a_change_that_is_told_is_fetched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_changes());
    let cache = open(&dir, &source);
    cache.define_table("orders", on_change()).unwrap();
    let before = succeeded(&cache);
    source.set_rows(&ROWS[..2]);
    // Many changes at once are one refresh, or few.
    for _ in 0..100 {
        assert_eq!(source.tell(), 1);
    }
    wait_until("the change", || rows(&cache) == 2);
    assert!((1..10).contains(&(succeeded(&cache) - before)), "{} refreshes", succeeded(&cache) - before);
    // The same definition again changes nothing, another one watches anew.
    cache.follow_table("orders", on_change()).unwrap();
    assert_eq!(source.tell(), 1);
    cache.follow_table("orders", keyed(by_call().on_change(NEVER / 2))).unwrap();
    wait_until("the other watch", || source.tell() == 1);
    source.set_rows(&ROWS[..1]);
    source.tell();
    wait_until("the next change", || rows(&cache) == 1);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    assert_eq!(source.tell(), 0, "it is refreshed by call from now on");
}

#[test]
fn a_change_during_a_refresh_is_not_lost() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_changes());
    let cache = open(&dir, &source);
    cache.define_table("orders", on_change()).unwrap();
    source.set(Mood::Hangs);
    source.tell();
    let is_running = || matches!(cache.refreshes().unwrap()[0].state, RefreshState::Running { .. });
    wait_until("a refresh", is_running);
    source.set_rows(&ROWS[..3]);
    source.tell();
    source.set(Mood::Answers);
    cache.cancel_refresh("orders").unwrap();
    wait_until("the change", || rows(&cache) == 3);
}

#[test]
fn watches_end_with_what_is_watched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_changes());
    let cache = open(&dir, &source);
    cache.define_table("orders", on_change()).unwrap();
    assert_eq!(source.tell(), 1);
    cache.drop_table("orders").unwrap();
    wait_until("the end", || source.tell() == 0);
    cache.define_table("orders", on_change()).unwrap();
    assert_eq!(source.tell(), 1);
    drop(cache);
    wait_until("the end", || source.tell() == 0);
}

#[test]
fn a_source_that_cannot_watch_yet_is_looked_at_by_time() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_changes());
    let cache = open(&dir, &source);
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    cache.follow_table("orders", keyed(by_call().on_change(Duration::from_millis(50)))).unwrap();
    wait_until("a failure", || cache.refreshes().unwrap()[0].failures > 0);
    assert_eq!(source.tell(), 0);
    source.set(Mood::Answers);
    wait_until("the table", || cache.table("orders").is_ok());
    assert_eq!(source.tell(), 1);
    source.set_rows(&ROWS[..1]);
    wait_until("the change", || rows(&cache) == 1);

    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let refused = open(&dir, &source).follow_table("orders", on_change()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Unsupported);
}

/// A table is defined anew while the source begins to watch what the table was before.
#[test]
fn only_what_a_table_is_of_is_watched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_changes());
    let cache = open(&dir, &source);
    let of = |relation: &str| {
        let source = TableSource::new("shop", Relation::table(relation));
        keyed(source.on_call().on_change(NEVER))
    };
    let gate = source.watch_gate.lock();
    cache.follow_table("orders", of("old")).unwrap();
    wait_until("the first watch", || source.watches.load(Ordering::SeqCst) == 1);
    cache.follow_table("orders", of("new")).unwrap();
    drop(gate);
    wait_until("the other watch", || source.watched() == ["new"]);
}
