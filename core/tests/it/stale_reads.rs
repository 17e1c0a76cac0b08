//! Tables from a source whose rows may not be read when they are too old: what the error says, and how reads go on.

use std::time::{Duration, SystemTime};

use pillion::{Cache, ErrorCode, Table, TableDefinition};

use crate::support::scripted_source::{Mood, ROWS, Scripted, by_call, keyed, open, wait_until};

const HOUR: Duration = Duration::from_secs(3600);

fn definition() -> TableDefinition {
    keyed(by_call()).max_staleness(HOUR)
}

fn refusal(table: &Table) -> String {
    let error = table.get(1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Stale, "{error:?}");
    assert_eq!(table.scan().unwrap_err().code(), ErrorCode::Stale);
    error.message().to_owned()
}

#[test]
fn the_refusal_says_how_old_rows_are_and_why() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set_lag(3 * HOUR + Duration::from_secs(2));
    let table = cache.define_table("orders", definition()).unwrap();
    cache.pause_refreshes("orders").unwrap();
    let message = refusal(&table);
    for part in ["`orders`", "1080", "3600s", "no refresh has failed", "clock"] {
        assert!(message.contains(part), "{part} in {message}");
    }
    assert_eq!(cache.status().unwrap().tables[0].rows, 4);
    source.set(Mood::Fails(ErrorCode::SourceRefused));
    cache.refresh("orders").unwrap_err();
    wait_until("the reason", || refusal(&table).contains("refreshes fail: as the test said"));
    let version = cache.version().unwrap();
    cache.refresh("orders").unwrap_err();
    assert_eq!(cache.version().unwrap(), version, "the same reason is not noted again");

    let reader = Cache::open_read_only(dir.path()).unwrap();
    assert!(refusal(&reader.table("orders").unwrap()).contains("as the test said"));
    source.set(Mood::Answers);
    source.set_lag(Duration::ZERO);
    cache.refresh("orders").unwrap();
    assert!(table.get(1).unwrap().is_some() && reader.table("orders").unwrap().get(1).unwrap().is_some());
    source.set_lag(2 * HOUR);
    cache.refresh("orders").unwrap();
    assert!(refusal(&table).contains("no refresh has failed"), "the reason of before is gone");
}

#[test]
fn a_snapshot_stays_as_old_as_it_was() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set_lag(2 * HOUR);
    let table = cache.define_table("orders", definition()).unwrap();
    let old = cache.snapshot().unwrap();
    refusal(&table);
    source.set_lag(HOUR - Duration::from_secs(3));
    cache.refresh("orders").unwrap();
    let held = cache.snapshot().unwrap();
    let is_readable = held.table("orders").unwrap().get(1).is_ok();
    wait_until("the age", || table.get(1).is_err_and(|error| error.code() == ErrorCode::Stale));
    assert_eq!(held.table("orders").unwrap().get(1).is_ok(), is_readable);
    assert!(is_readable, "the snapshot was taken before the rows were too old");
    source.set_lag(Duration::ZERO);
    cache.refresh("orders").unwrap();
    assert!(table.get(1).is_ok());
    assert_eq!(old.table("orders").unwrap().get(1).unwrap_err().code(), ErrorCode::Stale);
}

#[test]
fn old_rows_are_still_added_to() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set_lag(2 * HOUR);
    let by_time = keyed(by_call().append_by("changed", Duration::ZERO)).max_staleness(HOUR);
    let table = cache.define_table("orders", by_time).unwrap();
    refusal(&table);
    source.set_lag(Duration::ZERO);
    source.set_rows(&[(4, 400, "four"), (5, 500, "five")]);
    cache.refresh("orders").unwrap();
    assert_eq!(table.info().unwrap().rows, 5, "rows that nobody may read are compared with new ones");
    assert!(table.get(1).unwrap().is_some());
}

#[test]
fn an_invalidated_table_is_loaded_whatever_was_noted() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", definition()).unwrap();
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    table.invalidate(&[1]).unwrap();
    wait_until("a failure", || cache.refreshes().unwrap()[0].failures > 0);
    assert!(cache.source_position("shop/orders").unwrap().is_some());
    drop((table, cache));
    let cache = open(&dir, &source);
    source.set(Mood::Answers);
    cache.follow_table("orders", definition()).unwrap();
    cache.refresh("orders").unwrap();
    assert!(cache.table("orders").unwrap().get(1).unwrap().is_some());
}

#[test]
fn another_bound_applies_when_the_table_is_loaded() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set_lag(2 * HOUR);
    let table = cache.define_table("orders", definition()).unwrap();
    refusal(&table);
    cache.follow_table("orders", keyed(by_call()).max_staleness(3 * HOUR)).unwrap();
    cache.refresh("orders").unwrap();
    assert!(cache.table("orders").unwrap().get(1).unwrap().is_some());
}

/// A source whose clock is ahead makes no row younger than the refresh that asked for it.
#[test]
fn a_clock_that_is_ahead_makes_no_rows_fresh() {
    for definition in [definition(), keyed(by_call().append_by("changed", Duration::ZERO))] {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        let cache = open(&dir, &source);
        source.set_lag(Duration::ZERO);
        *source.lead.lock() = 5 * HOUR;
        let table = cache.define_table("orders", definition).unwrap();
        // Loaded, and then added to.
        for _ in 0..2 {
            let as_of = table.info().unwrap().freshness.unwrap().as_of;
            assert!(as_of <= SystemTime::now(), "{as_of:?}");
            cache.refresh("orders").unwrap();
        }
    }
}
