//! Tables that are fed by a source: what is fetched, what stays when a source fails, and what goes on after a restart.

use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::{DataType, Int64Type};
use pillion::source::{Relation, TableSource};
use pillion::{Cache, CacheOptions, ErrorCode, RefreshState, RefreshStatus, TableDefinition};

use crate::support::random::Random;
use crate::support::scripted_source::{Mood, ROWS, Scripted, SourceRow, by_call, keyed, open, wait_until};

/// The ids of a table, in order.
fn ids(cache: &Cache) -> Vec<i64> {
    let mut ids = Vec::new();
    for batch in cache.table("orders").unwrap().scan_columns(["id"]).unwrap() {
        ids.extend(batch.unwrap().column(0).as_primitive::<Int64Type>().values());
    }
    ids.sort_unstable();
    ids
}

fn name_of(cache: &Cache, id: i64) -> Option<String> {
    cache.table("orders").unwrap().get(id).unwrap().map(|row| row.get::<&str>("name").unwrap().to_owned())
}

fn status(cache: &Cache) -> RefreshStatus {
    cache.refreshes().unwrap().into_iter().find(|status| status.table == "orders").unwrap()
}

#[test]
fn a_refresh_puts_the_rows_of_the_source_in_the_place_of_the_held_ones() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let before = SystemTime::now();
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    assert_eq!((ids(&cache), source.fetches()), (vec![1, 2, 3, 4], 1));
    let as_of = table.info().unwrap().freshness.unwrap().as_of;
    assert!(before <= as_of && as_of <= SystemTime::now());
    source.set_rows(&[(2, 250, "zwei"), (9, 900, "nine")]);
    cache.refresh("orders").unwrap();
    assert_eq!(ids(&cache), [2, 9]);
    assert_eq!(name_of(&cache, 2).unwrap(), "zwei");
    assert!(table.info().unwrap().freshness.unwrap().as_of > as_of, "the handle of the table is still good");
    source.set_rows(&[]);
    table.refresh().unwrap();
    assert_eq!(ids(&cache), [0; 0], "an empty source is an empty table");
    assert_eq!((status(&cache).succeeded, status(&cache).failures), (3, 0));
}

#[test]
fn only_refreshes_write_to_a_table_from_a_source() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    assert_eq!(table.delete(1).unwrap_err().code(), ErrorCode::WriteNotAllowed);
    assert_eq!(table.truncate().unwrap_err().code(), ErrorCode::WriteNotAllowed);
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
}

#[test]
fn rows_that_are_invalidated_come_back() {
    let by_time = || by_call().append_by("changed", Duration::ZERO);
    for (source, definition) in [
        (Scripted::new(&ROWS), keyed(by_call())),
        (Scripted::new(&ROWS).with_marks(), keyed(by_call())),
        (Scripted::new(&ROWS), keyed(by_time())),
        (Scripted::new(&ROWS).with_marks(), keyed(by_time())),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, &source);
        let table = cache.define_table("orders", definition).unwrap();
        source.set(Mood::Fails(ErrorCode::SourceUnavailable));
        table.invalidate(&[1]).unwrap();
        assert_eq!(ids(&cache), [2, 3, 4]);
        wait_until("a refresh by itself", || status(&cache).failures > 0);
        source.set(Mood::Answers);
        cache.refresh("orders").unwrap();
        assert_eq!(ids(&cache), [1, 2, 3, 4], "{source:?}");
    }
}

#[test]
fn rows_that_were_invalidated_before_a_restart_come_back() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    table.invalidate(&[1]).unwrap();
    drop((table, cache));
    source.set(Mood::Answers);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    wait_until("the row", || ids(&cache) == [1, 2, 3, 4]);
}

#[test]
fn unchanged_rows_are_not_fetched_and_count_as_fresh() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    let as_of = table.info().unwrap().freshness.unwrap().as_of;
    cache.refresh("orders").unwrap();
    assert_eq!(source.fetches(), 1);
    assert!(table.info().unwrap().freshness.unwrap().as_of > as_of);
    cache.close().unwrap();
    drop((cache, table));

    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    wait_until("the refresh at the start", || status(&cache).succeeded == 1);
    assert_eq!((source.fetches(), source.descriptions()), (1, 3), "the mark outlives the process");
    source.set_rows(&ROWS[..2]);
    cache.refresh("orders").unwrap();
    assert_eq!((source.fetches(), ids(&cache)), (2, vec![1, 2]));
}

#[test]
fn rows_are_appended_from_the_highest_position_on() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS[..3]));
    let cache = open(&dir, &source);
    let by_time = || by_call().append_by("changed", Duration::from_millis(100));
    cache.define_table("orders", keyed(by_time())).unwrap();
    // A late row within the overlap, one that changed, one at the position itself, a new one, and one that is too late.
    source.set_rows(&[
        (2, 350, "zwei"),
        (5, 210, "late"),
        (6, 300, "tie"),
        (7, 700, "new"),
        (8, 150, "too late"),
    ]);
    cache.refresh("orders").unwrap();
    assert_eq!(ids(&cache), [1, 2, 3, 5, 6, 7], "what is deleted at the source stays");
    assert_eq!(name_of(&cache, 2).unwrap(), "zwei");
    drop(cache);
    // After a restart the held rows say where to go on.
    let cache = open(&dir, &source);
    source.set_rows(&[(9, 650, "overlap"), (10, 500, "before")]);
    cache.follow_table("orders", keyed(by_time())).unwrap();
    wait_until("the refresh at the start", || status(&cache).succeeded == 1);
    assert_eq!(ids(&cache), [1, 2, 3, 5, 6, 7, 9]);
}

#[test]
fn rows_without_a_key_are_appended_once() {
    let rows: [SourceRow; 4] = [(1, 100, "a"), (2, 200, "b"), (2, 200, "b"), (3, 200, "c")];
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&rows));
    let cache = open(&dir, &source);
    let definition = || TableDefinition::from_source(by_call().append_by("changed", Duration::ZERO));
    cache.define_table("orders", definition()).unwrap();
    cache.refresh("orders").unwrap();
    assert_eq!(ids(&cache), [1, 2, 2, 3]);
    // A third row that is equal to two held ones, and a new one.
    source.set_rows(&[rows.as_slice(), &[(2, 200, "b"), (4, 400, "d")]].concat());
    cache.refresh("orders").unwrap();
    cache.refresh("orders").unwrap();
    assert_eq!(ids(&cache), [1, 2, 2, 2, 3, 4]);
}

/// A source may send texts in a dictionary: the table has the texts, and later refreshes find that it is the same column.
#[test]
fn columns_in_a_dictionary_are_loaded_and_appended() {
    for has_key in [true, false] {
        let source = Scripted::new(&[(1, 100, "a"), (2, 200, "b")]).with_dictionary();
        let dir = tempfile::tempdir().unwrap();
        let cache = open(&dir, &source);
        let definition = TableDefinition::from_source(by_call().append_by("changed", Duration::ZERO));
        let definition = if has_key { definition.primary_key(["id"]) } else { definition };
        cache.define_table("orders", definition).unwrap();
        assert_eq!(cache.table("orders").unwrap().schema().field(2).data_type(), &DataType::Utf8);
        // What is not sent again stays: these rows were added, not loaded anew.
        source.set_rows(&[(2, 200, "b"), (3, 300, "a")]);
        cache.refresh("orders").unwrap();
        assert_eq!(ids(&cache), [1, 2, 3], "with a key: {has_key}");
        let table = cache.table("orders").unwrap();
        let names: Vec<String> = table
            .scan()
            .unwrap()
            .flat_map(|batch| {
                batch
                    .unwrap()
                    .column(2)
                    .as_string::<i32>()
                    .iter()
                    .flatten()
                    .map(str::to_owned)
                    .collect::<Vec<_>>()
            })
            .collect();
        assert_eq!(names, ["a", "b", "a"]);
    }
}

#[test]
fn rows_stay_whatever_a_source_does() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let patient = || keyed(by_call().progress_timeout(Duration::from_millis(300)));
    cache.define_table("orders", patient()).unwrap();
    // Nothing is tried again by itself meanwhile, which would count too.
    cache.pause_refreshes("orders").unwrap();
    source.set_rows(&[(1, 1, "x"), (2, 2, "y"), (7, 7, "z")]);
    for (mood, code) in [
        (Mood::Fails(ErrorCode::SourceUnavailable), ErrorCode::SourceUnavailable),
        (Mood::Fails(ErrorCode::SourceRefused), ErrorCode::SourceRefused),
        (Mood::Fails(ErrorCode::SourceNotFound), ErrorCode::SourceNotFound),
        (Mood::BreaksOff, ErrorCode::SourceUnavailable),
        (Mood::Hangs, ErrorCode::Timeout),
        (Mood::SendsOtherColumns, ErrorCode::SourceInvalid),
        (Mood::Panics, ErrorCode::Internal),
    ] {
        source.set(mood);
        let error = cache.refresh("orders").unwrap_err();
        assert_eq!(error.code(), code, "{mood:?}: {error:?}");
        assert_eq!(ids(&cache), [1, 2, 3, 4], "{mood:?}");
        assert_eq!(status(&cache).last_error.unwrap().code(), code);
    }
    assert_eq!(status(&cache).failures, 7);
    source.set_rows(&[(5, 5, "x"), (5, 6, "twice")]);
    source.set(Mood::Answers);
    let error = cache.refresh("orders").unwrap_err();
    assert_eq!(error.code(), ErrorCode::DuplicateKey, "{error:?}");
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
    source.set_rows(&[(5, 5, "x")]);
    cache.refresh("orders").unwrap();
    assert_eq!((ids(&cache), status(&cache).failures), (vec![5], 0));
    assert!(status(&cache).last_error.is_none());
}

#[test]
fn a_table_appears_when_its_source_does() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set(Mood::Fails(ErrorCode::SourceNotFound));
    let error = cache.define_table("orders", keyed(by_call())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceNotFound);
    assert!(cache.refreshes().unwrap().is_empty(), "a definition that failed is not followed");

    cache.follow_table("orders", keyed(by_call())).unwrap();
    wait_until("a failure", || status(&cache).failures > 0);
    assert_eq!(cache.table("orders").unwrap_err().code(), ErrorCode::TableNotFound);
    source.set(Mood::Answers);
    wait_until("the table", || cache.table("orders").is_ok());
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
}

#[test]
fn what_is_on_disk_is_read_while_the_source_is_down() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    drop(cache);
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    let cache = open(&dir, &source);
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
    assert!(table.info().unwrap().freshness.is_some());
    wait_until("a failure", || status(&cache).failures > 0);
}

#[test]
fn another_definition_is_loaded_anew_while_the_old_rows_are_read() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    drop(cache);

    let other = || TableDefinition::from_source(by_call().columns(["name", "id"])).primary_key(["name"]);
    let cache = open(&dir, &source);
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    cache.follow_table("orders", other()).unwrap();
    wait_until("a failure", || status(&cache).failures > 0);
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
    assert_eq!(cache.table("orders").unwrap().schema().fields().len(), 3);
    source.set(Mood::Answers);
    cache.refresh("orders").unwrap();
    let table = cache.table("orders").unwrap();
    assert_eq!(
        table.schema().fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["name", "id"]
    );
    assert_eq!(table.get("three").unwrap().unwrap().get::<i64>("id").unwrap(), 3);
    assert_eq!(cache.tables().unwrap().len(), 1);
    let fetches = source.fetches();
    cache.refresh("orders").unwrap();
    assert_eq!(source.fetches(), fetches, "the new definition is kept with the rows");
}

#[test]
fn another_definition_is_noticed_at_the_next_start() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call().not_on_start())).unwrap();
    drop(cache);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call().not_on_start())).unwrap();
    assert_eq!(status(&cache).state, RefreshState::Waiting(None), "the same definition");
    drop(cache);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call().not_on_start().columns(["id", "name"]))).unwrap();
    wait_until("the new columns", || cache.table("orders").unwrap().schema().fields().len() == 2);
}

/// A bound on the age of rows is a rule of the table, which is loaded anew by it whatever its schedule says.
#[test]
fn another_bound_is_noticed_at_the_next_start() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call().not_on_start())).unwrap();
    drop(cache);
    let cache = open(&dir, &source);
    let bound = Duration::from_secs(3600);
    cache.follow_table("orders", keyed(by_call().not_on_start()).max_staleness(bound)).unwrap();
    let rules = || cache.table("orders").unwrap().info().unwrap().rules;
    wait_until("the bound", || rules().max_staleness == Some(bound));
}

/// The name of a source stays, and its URL becomes that of another database.
#[test]
fn rows_of_another_place_are_not_added() {
    let by_time = || keyed(by_call().append_by("changed", Duration::ZERO).not_on_start());
    let dir = tempfile::tempdir().unwrap();
    let source = Scripted::new(&ROWS).at("db://one/shop");
    open(&dir, &source).define_table("orders", by_time()).unwrap();
    let other = Scripted::new(&[(7, 100, "seven"), (8, 800, "eight")]).at("db://two/shop");
    let cache = open(&dir, &other);
    cache.follow_table("orders", by_time()).unwrap();
    wait_until("the rows of the other place", || ids(&cache) == [7, 8]);
    drop(cache);
    let cache = open(&dir, &other);
    cache.follow_table("orders", by_time()).unwrap();
    assert_eq!(status(&cache).state, RefreshState::Waiting(None), "the same place");
}

#[test]
fn a_cancelled_refresh_is_not_tried_again() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    source.set(Mood::Hangs);
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| cache.refresh("orders").unwrap_err());
        wait_until("the refresh", || matches!(status(&cache).state, RefreshState::Running { .. }));
        assert!(cache.cancel_refresh("orders").unwrap());
        assert_eq!(asked.join().unwrap().code(), ErrorCode::Cancelled);
    });
    let status = status(&cache);
    assert_eq!((status.failures, status.state), (0, RefreshState::Waiting(None)));
    assert_eq!((source.fetches(), ids(&cache)), (2, vec![1, 2, 3, 4]));
    source.set(Mood::Answers);
    cache.refresh("orders").unwrap();
}

/// The source is the oracle: whatever it inserts and changes in time is in the table after each refresh.
#[test]
fn random_histories_are_followed() {
    let names = ["a", "b", "c", "d"];
    for seed in 0..8 {
        let mut random = Random::new(seed);
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&[]));
        let cache = open(&dir, &source);
        let overlap = 20;
        let by_time = by_call().append_by("changed", Duration::from_millis(overlap));
        cache.define_table("orders", keyed(by_time)).unwrap();
        let (mut rows, mut clock): (Vec<SourceRow>, i64) = (Vec::new(), 1000);
        for _ in 0..12 {
            for _ in 0..random.below(6) {
                clock += i64::try_from(random.below(9)).unwrap();
                // Up to the overlap late, but never later than the newest row of the refresh before.
                let changed = clock - i64::try_from(random.below(overlap / 2)).unwrap();
                let name = names[usize::try_from(random.below(4)).unwrap()];
                let id = i64::try_from(random.below(12)).unwrap();
                rows.retain(|row| row.0 != id);
                rows.push((id, changed, name));
            }
            source.set_rows(&rows);
            cache.refresh("orders").unwrap();
            let mut expected: Vec<i64> = rows.iter().map(|row| row.0).collect();
            expected.sort_unstable();
            assert_eq!(ids(&cache), expected, "seed {seed}");
            for (id, _, name) in &rows {
                assert_eq!(name_of(&cache, *id).as_deref(), Some(*name), "seed {seed}");
            }
        }
    }
}

#[test]
fn a_table_that_something_else_filled_is_not_touched() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let schema = crate::support::scripted_source::schema();
    let by_hand = arrow::array::RecordBatch::new_empty(schema);
    cache.define_table("orders", TableDefinition::new(by_hand).primary_key(["id"])).unwrap();
    cache.follow_table("orders", keyed(by_call())).unwrap();
    let error = cache.refresh("orders").unwrap_err();
    assert_eq!(error.code(), ErrorCode::TableExists, "{error:?}");
    assert_eq!(ids(&cache), [0; 0]);
}

#[test]
fn tables_are_refreshed_by_the_clock_until_they_are_paused() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let often = by_call().every(Duration::from_millis(20));
    cache.follow_table("orders", keyed(often)).unwrap();
    wait_until("five refreshes", || status(&cache).succeeded >= 5);
    source.set_rows(&[(1, 1, "only")]);
    wait_until("the new rows", || ids(&cache) == [1]);
    cache.pause_refreshes("orders").unwrap();
    wait_until("the pause", || status(&cache).state == RefreshState::Paused);
    source.set_rows(&[]);
    let count = status(&cache).succeeded;
    cache.refresh("orders").unwrap();
    assert_eq!((status(&cache).succeeded, ids(&cache)), (count + 1, vec![]));
    cache.resume_refreshes("orders").unwrap();
    wait_until("another refresh", || status(&cache).succeeded > count + 1);
}

#[test]
fn a_refresh_can_be_watched_and_given_up() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    source.set(Mood::Hangs);
    std::thread::scope(|scope| {
        let refresh = scope.spawn(|| cache.refresh("orders"));
        let is_half = |state: &RefreshState| matches!(state, RefreshState::Running { rows: 2, expected_rows: Some(4), bytes, .. } if *bytes > 0);
        wait_until("half of the rows", || is_half(&status(&cache).state));
        assert!(cache.cancel_refresh("orders").unwrap());
        assert_eq!(refresh.join().unwrap().unwrap_err().code(), ErrorCode::Cancelled);
    });
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
    assert!(!cache.cancel_refresh("orders").unwrap());
}

#[test]
fn closing_a_cache_ends_its_refreshes() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set(Mood::Hangs);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    wait_until("the refresh", || matches!(status(&cache).state, RefreshState::Running { .. }));
    drop(cache);
    assert_eq!(source.at_once.0.load(Ordering::SeqCst), 0, "nothing is fetched any more");
    // Nobody owns the directory any more.
    drop(open(&dir, &source));
}

#[test]
fn tables_of_a_source_wait_for_each_other() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    for number in 0..12 {
        cache.follow_table(&format!("t{number}"), keyed(by_call())).unwrap();
    }
    wait_until("all tables", || cache.tables().unwrap().len() == 12);
    let most = source.at_once.1.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most), "{most} at once");
}

#[test]
fn a_source_that_hangs_leaves_places_to_others() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let slow = Scripted::new(&ROWS);
    slow.set(Mood::Hangs);
    cache.add_source("slow", slow.clone()).unwrap();
    for number in 0..10 {
        let from_slow = TableSource::new("slow", Relation::table("orders")).on_call();
        cache.follow_table(&format!("a{number}"), keyed(from_slow)).unwrap();
        cache.follow_table(&format!("b{number}"), keyed(by_call())).unwrap();
    }
    wait_until("the tables of the other source", || cache.tables().unwrap().len() == 10);
    let most = |source: &Scripted| source.at_once.1.load(Ordering::SeqCst);
    assert!((1..=2).contains(&most(&slow)) && (1..=2).contains(&most(&source)));
}

#[test]
fn as_many_tables_are_refreshed_at_once_as_the_cache_is_told() {
    for (told, of_source) in [(1, 1), (8, 4)] {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        source.set(Mood::Hangs);
        let cache = CacheOptions::new().refreshes_at_once(told).open(dir.path()).unwrap();
        cache.add_source("shop", source.clone()).unwrap();
        for number in 0..12 {
            cache.follow_table(&format!("t{number}"), keyed(by_call())).unwrap();
        }
        wait_until("all places", || source.at_once.1.load(Ordering::SeqCst) == of_source);
        for number in 0..12 {
            cache.cancel_refresh(&format!("t{number}")).unwrap();
        }
        drop(cache);
        assert_eq!(source.at_once.1.load(Ordering::SeqCst), of_source);
    }
    let none = CacheOptions::new().refreshes_at_once(0).open(tempfile::tempdir().unwrap().path());
    assert_eq!(none.unwrap_err().code(), ErrorCode::InvalidArgument);
}

#[test]
fn a_source_that_is_down_is_not_asked_by_every_table() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    for number in 0..40 {
        cache.follow_table(&format!("t{number}"), keyed(by_call())).unwrap();
    }
    wait_until("the first failures", || source.descriptions() >= 3);
    // One probe at a time follows, after waits that double from half a second on. Otherwise all forty would be asked at once.
    std::thread::sleep(Duration::from_millis(300));
    let asked = source.descriptions();
    assert!(asked <= 20, "asked {asked} times");
    source.set(Mood::Answers);
    wait_until("all tables", || cache.tables().unwrap().len() == 40);
}

/// Rows that a table does not keep are neither fetched nor added again and again.
#[test]
fn rows_that_are_too_old_stay_away() {
    const DAY: Duration = Duration::from_secs(86_400);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let day = 86_400_000;
    for has_key in [true, false] {
        let rows = [(1, now - 5 * day, "old"), (2, now - 4 * day, "old too")];
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&rows));
        let cache = open(&dir, &source);
        let definition = TableDefinition::from_source(by_call().append_by("changed", 2 * DAY));
        let definition = if has_key { definition.primary_key(["id"]) } else { definition };
        cache.define_table("orders", definition.retain("changed", DAY)).unwrap();
        assert_eq!((ids(&cache), source.sent()), (vec![], 2), "none is kept");
        // From the position on that no row shows any more.
        source.set_rows(&[&[(3, now - 9 * day, "below")], rows.as_slice(), &[(4, now, "new")]].concat());
        cache.refresh("orders").unwrap();
        assert_eq!((ids(&cache), source.sent()), (vec![4], 3), "with a key: {has_key}");
        cache.refresh("orders").unwrap();
        assert_eq!((ids(&cache), source.sent()), (vec![4], 1), "with a key: {has_key}");
    }
}

/// Two sources take all places, and never answer.
#[test]
fn sources_that_hang_keep_nothing_else_waiting() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let hung = Scripted::new(&ROWS);
    hung.set(Mood::HangsWhenDescribed);
    for name in ["a", "b"] {
        cache.add_source(name, hung.clone()).unwrap();
        for table in ["1", "2"] {
            let of = TableSource::new(name, Relation::table("orders")).on_call();
            let patient = keyed(of.progress_timeout(Duration::from_secs(24 * 3600)));
            cache.follow_table(&format!("{name}{table}"), patient).unwrap();
        }
    }
    wait_until("all places to be taken", || hung.descriptions() == 4);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    wait_until("the table of the other source", || cache.table("orders").is_ok());
    assert_eq!((ids(&cache), hung.descriptions()), (vec![1, 2, 3, 4], 4));
}

/// As many are dropped as there are threads for calls of async handles, and more.
#[test]
fn who_waits_no_longer_for_a_refresh_holds_no_thread() {
    use futures::FutureExt;

    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    source.set(Mood::HangsWhenDescribed);
    let of = TableSource::new("shop", Relation::table("orders")).on_call();
    let patient = keyed(of.progress_timeout(Duration::from_secs(24 * 3600)));
    cache.follow_table("orders", patient).unwrap();
    let cache = cache.into_async();
    for _ in 0..300 {
        assert!(cache.refresh("orders").now_or_never().is_none());
    }
    let tables = futures::executor::block_on(cache.tables()).unwrap();
    assert!(tables.is_empty(), "it is not loaded yet");
}

#[test]
fn what_a_source_does_not_do_is_refused_at_once() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let code = |source: TableSource| cache.follow_table("orders", keyed(source)).unwrap_err().code();
    assert_eq!(code(by_call().condition("id > 1")), ErrorCode::Unsupported);
    let statement = TableSource::new("shop", Relation::statement("SELECT 1"));
    assert_eq!(code(statement), ErrorCode::Unsupported);
    let unknown = cache.follow_table("orders", keyed(TableSource::new("shpo", Relation::table("orders"))));
    assert!(unknown.unwrap_err().message().contains("did you mean `shop`?"));
    assert_eq!(cache.add_source("shop", source.clone()).unwrap_err().code(), ErrorCode::InvalidArgument);
    assert_eq!(cache.add_source("a/b", source.clone()).unwrap_err().code(), ErrorCode::InvalidArgument);
    let reader = Cache::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.refresh("orders").unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(reader.add_source("x", source).unwrap_err().code(), ErrorCode::Unsupported);
}

#[test]
fn rows_that_could_not_be_added_to_are_not_loaded() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let refused = |appended: TableSource| {
        let error = cache.define_table("orders", keyed(appended)).unwrap_err();
        assert_eq!(source.fetches(), 0);
        assert_eq!(cache.table("orders").unwrap_err().code(), ErrorCode::TableNotFound);
        (error.code(), error.message().to_owned())
    };
    let (code, message) = refused(by_call().append_by("name", Duration::ZERO));
    assert_eq!(code, ErrorCode::UnsupportedType);
    assert!(message.contains("`name`") && message.contains("must be a timestamp"), "{message}");
    let (code, message) = refused(by_call().append_by("when", Duration::ZERO));
    assert!(code == ErrorCode::ColumnNotFound && message.contains("`when`"), "{message}");
    let unfetched = by_call().append_by("changed", Duration::ZERO).columns(["id", "name"]);
    assert_eq!(refused(unfetched).0, ErrorCode::ColumnNotFound);
    assert_eq!(refused(by_call().append_by_number("changed", 5)).0, ErrorCode::InvalidArgument);
    cache.define_table("orders", keyed(by_call().append_by("changed", Duration::ZERO))).unwrap();
    assert_eq!(ids(&cache), [1, 2, 3, 4]);
}

#[cfg(feature = "sidecar")]
#[test]
fn clients_of_a_sidecar_ask_it_to_refresh() {
    use pillion::{Attach, ConnectOptions, ServerOptions};

    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    cache.define_table("orders", keyed(by_call())).unwrap();
    let sockets = tempfile::tempdir().unwrap();
    let socket = sockets.path().join("s");
    let server = cache.serve(ServerOptions::new(&socket)).unwrap();
    for attach in [Attach::Never, Attach::Require] {
        let options = ConnectOptions::new().attach(attach);
        let client = options.connect(&socket).unwrap();
        source.set_rows(&[(7, 7, "seven")]);
        client.refresh("orders").unwrap();
        assert_eq!(ids(&client), [7], "the client sees what it asked for");
        source.set(Mood::Fails(ErrorCode::SourceRefused));
        let error = client.refresh("orders").unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceRefused);
        assert_eq!(error.kind(), pillion::ErrorKind::Source);
        client.pause_refreshes("orders").unwrap();
        let seen = status(&client);
        assert_eq!((seen.source.as_str(), seen.state), ("shop", RefreshState::Paused));
        let here = status(&cache);
        assert_eq!((seen.succeeded, seen.failures), (here.succeeded, here.failures));
        assert_eq!(seen.last_error.unwrap().code(), ErrorCode::SourceRefused);
        assert!(here.last_success.is_some() && seen.last_success == here.last_success);
        source.set(Mood::Answers);
        client.resume_refreshes("orders").unwrap();
        assert!(!client.cancel_refresh("orders").unwrap());
        assert_eq!(client.refresh("nothing").unwrap_err().code(), ErrorCode::InvalidArgument);
        let error = client.follow_table("more", keyed(by_call())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        client.refresh("orders").unwrap();
    }
    drop(server);
}
