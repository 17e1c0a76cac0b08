//! Rows of a table from a source that are invalidated: which of them are fetched again, and by which keys.

use std::time::Duration;

use pillion::{Cache, ErrorCode, RefreshState, Value};

use crate::support::random::Random;
use crate::support::scripted_source::{Mood, ROWS, Scripted, UNKNOWN_KEY, by_call, keyed, open, wait_until};

/// `id` and `name` of all rows.
fn rows(cache: &Cache) -> Vec<(i64, String)> {
    let table = cache.table("orders").unwrap();
    let ids: Vec<i64> = (0..20).chain([UNKNOWN_KEY]).collect();
    let rows = table.get_many(&ids).unwrap().into_iter().flatten();
    rows.map(|row| (row.get("id").unwrap(), row.get::<&str>("name").unwrap().to_owned())).collect()
}

fn names(rows: &[(i64, &str)]) -> Vec<(i64, String)> {
    rows.iter().map(|(id, name)| (*id, (*name).to_owned())).collect()
}

fn is_idle(cache: &Cache) -> bool {
    matches!(cache.refreshes().unwrap()[0].state, RefreshState::Waiting(_))
}

fn ints(keys: &[i64]) -> Vec<Vec<Value>> {
    keys.iter().map(|key| vec![Value::Int(*key)]).collect()
}

#[test]
fn only_invalidated_rows_are_fetched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks().with_keys());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    let freshness = table.info().unwrap().freshness;
    // The first row changes, the second does unnoticed, the third is gone.
    source.set_rows(&[(1, 110, "eins"), (2, 210, "zwei"), (4, 400, "four")]);
    table.invalidate(&[1, 3]).unwrap();
    wait_until("the row", || table.get(1).unwrap().is_some());
    assert_eq!(rows(&cache), names(&[(1, "eins"), (2, "two"), (4, "four")]));
    assert_eq!(*source.keys.lock(), [ints(&[1, 3])]);
    assert_eq!(table.info().unwrap().freshness, freshness, "the other rows are as old as they were");
    assert_eq!(source.fetches(), 2);
    // The table is whole again: the next refresh goes by the mark.
    cache.refresh("orders").unwrap();
    assert_eq!(rows(&cache), names(&[(1, "eins"), (2, "zwei"), (4, "four")]));
    cache.refresh("orders").unwrap();
    assert_eq!(source.fetches(), 3);
    drop((table, cache));
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    cache.refresh("orders").unwrap();
    assert_eq!(source.fetches(), 3, "also after a restart");
}

#[test]
fn a_source_that_is_down_is_asked_for_the_rows_later() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    table.invalidate(&[1]).unwrap();
    wait_until("a failure", || cache.refreshes().unwrap()[0].failures > 0);
    table.invalidate(&[2]).unwrap();
    source.set(Mood::Answers);
    wait_until("the rows", || table.info().unwrap().rows == 4);
    assert_eq!(source.keys.lock().last(), Some(&ints(&[1, 2])));
    // Down once more, until the process is another one: nobody knows any more which rows are missing.
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    table.invalidate(&[1]).unwrap();
    wait_until("a failure", || cache.refreshes().unwrap()[0].failures > 0);
    drop((table, cache));
    let asked = source.keys.lock().len();
    source.set(Mood::Answers);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    wait_until("the rows", || cache.table("orders").unwrap().info().unwrap().rows == 4);
    assert_eq!(source.keys.lock().len(), asked);
}

#[test]
fn all_rows_are_fetched_where_keys_would_not_do() {
    let by_time = || by_call().append_by("changed", Duration::ZERO);
    for (source, definition, key) in [
        (Scripted::new(&ROWS), keyed(by_call()), 1),
        // A row that is newer than all others would hide those between.
        (Scripted::new(&ROWS).with_keys(), keyed(by_time()), 1),
        (
            Scripted::new(&[ROWS.as_slice(), &[(UNKNOWN_KEY, 1, "x")]].concat()).with_keys(),
            keyed(by_call()),
            UNKNOWN_KEY,
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, &source);
        let table = cache.define_table("orders", definition).unwrap();
        let before = table.info().unwrap().rows;
        table.invalidate(&[key]).unwrap();
        wait_until("the row", || table.info().unwrap().rows == before);
        assert!(source.keys.lock().is_empty());
    }
}

/// Rows are invalidated from several threads while refreshes run and the source changes. In the end the table has what the source has.
#[test]
fn invalidations_and_refreshes_take_turns() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    let all = ["a", "b", "c", "d"];
    std::thread::scope(|scope| {
        for seed in 0..3 {
            let (table, cache) = (table.clone(), cache.clone());
            scope.spawn(move || {
                let mut random = Random::new(seed);
                for _ in 0..60 {
                    let key = i64::try_from(random.below(8)).unwrap();
                    table.invalidate(&[key, key + 1]).unwrap();
                    if random.below(5) == 0 {
                        cache.refresh("orders").unwrap();
                    }
                }
            });
        }
        let mut random = Random::new(99);
        for round in 0..60 {
            let names = (0..8).map(|id| (id, round, all[usize::try_from(random.below(4)).unwrap()]));
            source.set_rows(&names.filter(|row| row.0 % 5 != round % 5).collect::<Vec<_>>());
            std::thread::yield_now();
        }
    });
    wait_until("the last refresh", || is_idle(&cache));
    let expected: Vec<(i64, String)> =
        source.rows.lock().iter().map(|row| (row.0, row.2.to_owned())).collect();
    // Rows that nobody invalidated since they changed are as old as the last load of all rows: one more shows the end.
    table.invalidate(&(0..10).collect::<Vec<i64>>()).unwrap();
    wait_until("all rows", || rows(&cache) == expected);
    cache.refresh("orders").unwrap();
    assert_eq!(rows(&cache), expected);
}

/// The source has answered once, and does not when it is asked something else by the same refresh.
#[test]
fn a_source_that_hangs_after_its_first_answer_is_given_up() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let cache = open(&dir, &source);
    let patient = keyed(by_call().progress_timeout(Duration::from_millis(300)));
    let table = cache.define_table("orders", patient).unwrap();
    // A key that comes twice: the refresh asks for all rows instead.
    source.set_rows(&[(1, 100, "one"), (1, 110, "eins")]);
    source.set(Mood::HangsWhenDescribed);
    table.invalidate(&[1]).unwrap();
    wait_until("the timeout", || cache.refreshes().unwrap()[0].failures > 0);
    let error = cache.refreshes().unwrap()[0].last_error.clone().unwrap();
    assert_eq!(error.code(), ErrorCode::Timeout, "{error:?}");
    assert_eq!(*source.keys.lock().first().unwrap(), ints(&[1]), "it had answered before");
}

/// Rows by keys come in the form in which the source sends all rows, and still fit the table.
#[test]
fn invalidated_rows_with_texts_in_a_dictionary_come_alone() {
    let source = Scripted::new(&ROWS).with_keys().with_dictionary();
    let dir = tempfile::tempdir().unwrap();
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    source.set_rows(&[(1, 110, "eins"), (2, 210, "zwei")]);
    table.invalidate(&[1]).unwrap();
    wait_until("the row", || table.get(1).unwrap().is_some());
    let expected = [(1, "eins"), (2, "two"), (3, "three"), (4, "four")];
    assert_eq!(rows(&cache), names(&expected), "the other rows were not fetched");
}
