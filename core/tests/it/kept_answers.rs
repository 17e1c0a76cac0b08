//! Answers that are kept until a table changes: which are, for how long, and that they equal fresh ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::Duration;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema};
use futures::StreamExt;
use pillion::{Cache, CacheOptions, ErrorCode, Event, Recorder, Table, TableDefinition, Value};

use crate::support::scripted_source::{ROWS, Scripted, by_call, keyed};

/// How many answers were kept ones, and how many were not.
#[derive(Debug, Default)]
struct Counts {
    hits: AtomicU64,
    misses: AtomicU64,
}

impl Recorder for Counts {
    fn record(&self, event: &Event<'_>) {
        if let Event::KeptAnswers { hits, misses } = event {
            self.hits.fetch_add(*hits, Ordering::Relaxed);
            self.misses.fetch_add(*misses, Ordering::Relaxed);
        }
    }
}

impl Counts {
    /// What was counted since the last look: hits, and misses.
    fn take(&self) -> (u64, u64) {
        (self.hits.swap(0, Ordering::Relaxed), self.misses.swap(0, Ordering::Relaxed))
    }
}

fn rows(ids: std::ops::Range<i64>, value: i64) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("value", DataType::Int64, true),
        Field::new("text", DataType::Utf8, true),
    ]);
    let texts = StringArray::from_iter_values(ids.clone().map(|id| format!("text {id}")));
    let values = Int64Array::from_iter_values(ids.clone().map(|_| value));
    let ids = Int64Array::from_iter_values(ids);
    RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids), Arc::new(values), Arc::new(texts)]).unwrap()
}

fn open(bytes: usize) -> (tempfile::TempDir, Arc<Counts>, Cache) {
    let (dir, counts) = (tempfile::tempdir().unwrap(), Arc::new(Counts::default()));
    let options = CacheOptions::new().result_cache(bytes).recorder(counts.clone());
    let cache = options.open(dir.path().join("cache")).unwrap();
    for name in ["t", "u"] {
        cache.define_table(name, TableDefinition::new(vec![rows(0..1000, 1)]).primary_key(["id"])).unwrap();
    }
    (dir, counts, cache)
}

fn ask(cache: &Cache, text: &str, parameters: &[Value]) -> RecordBatch {
    cache.sql(text, parameters).unwrap().concat().unwrap()
}

fn number(batch: &RecordBatch, column: usize) -> i64 {
    batch.column(column).as_primitive::<Int64Type>().value(0)
}

const SUM: &str = "SELECT sum(value) AS s, count(*) AS n FROM t WHERE value > 0";

#[test]
fn an_answer_is_kept_until_a_table_that_it_read_changes() {
    let (_dir, counts, cache) = open(1 << 20);
    let (t, u) = (cache.table("t").unwrap(), cache.table("u").unwrap());
    let first = ask(&cache, SUM, &[]);
    assert_eq!((number(&first, 0), counts.take()), (1000, (0, 1)));
    assert_eq!((ask(&cache, SUM, &[]), counts.take()), (first.clone(), (1, 0)));
    // Prepared or not, it is the same statement.
    let prepared = cache.prepare(SUM).unwrap();
    assert_eq!((prepared.execute(&[]).unwrap().concat().unwrap(), counts.take()), (first.clone(), (1, 0)));
    // Another table changes, and the answer is of the newest version nevertheless.
    u.upsert(vec![rows(0..1, 5)]).unwrap();
    let answer = cache.sql(SUM, &[]).unwrap();
    assert_eq!((answer.version(), counts.take()), (cache.version().unwrap(), (1, 0)));
    assert_eq!(answer.concat().unwrap(), first);
    type Change<'a> = (&'a str, Box<dyn Fn() + 'a>, i64);
    let changes: [Change<'_>; 6] = [
        ("upsert", Box::new(|| _ = t.upsert(vec![rows(0..1, 5)]).unwrap()), 1004),
        ("delete", Box::new(|| _ = t.delete(0).unwrap()), 999),
        ("append", Box::new(|| _ = t.append(vec![rows(0..1, 7)]).unwrap()), 1006),
        ("fold", Box::new(|| cache.compact().unwrap()), 1006),
        ("replace", Box::new(|| _ = t.replace(vec![rows(0..3, 2)]).unwrap()), 6),
        (
            "drop",
            Box::new(|| {
                cache.drop_table("t").unwrap();
                let definition = TableDefinition::new(vec![rows(0..4, 2)]).primary_key(["id"]);
                cache.define_table("t", definition).unwrap();
            }),
            8,
        ),
    ];
    for (name, change, sum) in changes {
        change();
        assert_eq!((number(&ask(&cache, SUM, &[]), 0), counts.take()), (sum, (0, 1)), "{name}");
        assert_eq!((number(&ask(&cache, SUM, &[]), 0), counts.take()), (sum, (1, 0)), "{name}");
    }
    cache.drop_table("t").unwrap();
    assert_eq!(cache.sql(SUM, &[]).unwrap_err().code(), ErrorCode::TableNotFound);
}

#[test]
fn parameters_and_versions_have_answers_of_their_own() {
    let (_dir, counts, cache) = open(1 << 20);
    let text = "SELECT count(*), sum(id) FROM t WHERE value + id > $1";
    let count = |most: i64| number(&ask(&cache, text, &[Value::Int(most)]), 0);
    assert_eq!((count(10), count(20), count(10)), (990, 980, 990));
    assert_eq!(counts.take(), (1, 2));
    let wrong = cache.sql(text, &[Value::Int(1), Value::Int(2)]).unwrap_err();
    assert_eq!(wrong.code(), ErrorCode::InvalidParameter);
    let snapshot = cache.snapshot().unwrap();
    cache.table("t").unwrap().upsert(vec![rows(0..1, 500)]).unwrap();
    counts.take();
    assert_eq!(count(10), 991);
    let held = snapshot.sql(text, &[Value::Int(10)]).unwrap();
    assert_eq!(held.version(), snapshot.version().unwrap());
    assert_eq!((number(&held.concat().unwrap(), 0), counts.take()), (990, (0, 2)));
    assert_eq!((count(10), counts.take()), (991, (0, 1)));
}

#[test]
fn answers_that_depend_on_more_than_rows_are_computed_each_time() {
    let (_dir, counts, cache) = open(1 << 20);
    let others = [
        "SELECT count(*), now() FROM t",
        "SELECT count(*) FROM t WHERE current_date > '2020-01-01'",
        "SELECT id, random() FROM t WHERE value > 0",
        "SELECT max(id) FROM t WHERE id IN (SELECT id FROM u WHERE random() < 2)",
        "SELECT id FROM t WHERE value > 0 ORDER BY random() LIMIT 3",
        "SELECT sum(value) OVER (ORDER BY uuid()) FROM t",
        "EXPLAIN SELECT sum(value) FROM t",
        "EXPLAIN ANALYZE SELECT sum(value) FROM t",
        "SELECT table_name FROM information_schema.tables",
        "SHOW TABLES",
        "DESCRIBE t",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT sum(i) FROM n",
    ];
    for text in others {
        ask(&cache, text, &[]);
        ask(&cache, text, &[]);
        assert_eq!(counts.take(), (0, 2), "{text}");
    }
    let kept = [
        "SELECT 1 + 1",
        "SELECT upper(text) FROM t WHERE value > 0 ORDER BY id LIMIT 3",
        "SELECT t.id, u.text FROM t JOIN u ON t.id = u.value ORDER BY 1",
        "SELECT sum(value) OVER (ORDER BY id) FROM t",
        "SELECT * FROM t WHERE value < 0",
        "SELECT text FROM t WHERE EXISTS (SELECT 1 FROM u WHERE u.id = t.value) ORDER BY id",
    ];
    for text in kept {
        let first = ask(&cache, text, &[]);
        assert_eq!(ask(&cache, text, &[]), first, "{text}");
        assert_eq!(counts.take(), (1, 1), "{text}");
    }
}

#[test]
fn half_an_answer_is_not_kept() {
    let (_dir, counts, cache) = open(64 << 20);
    let definition = TableDefinition::new(vec![rows(0..200_000, 1)]).primary_key(["id"]);
    cache.define_table("large", definition).unwrap();
    let text = "SELECT id, value + 1 FROM large";
    // Read in part, cancelled as an iterator, cancelled as a stream, not read at all, failed.
    assert!(cache.sql(text, &[]).unwrap().next().unwrap().is_ok());
    let mut answer = cache.sql(text, &[]).unwrap();
    assert!(answer.next().unwrap().is_ok());
    answer.canceller().cancel();
    assert_eq!(answer.next().unwrap().unwrap_err().code(), ErrorCode::Cancelled);
    futures::executor::block_on(async {
        let mut answer = cache.sql(text, &[]).unwrap().into_stream();
        assert!(answer.next().await.unwrap().is_ok());
        answer.canceller().cancel();
        while answer.next().await.is_some() {}
    });
    drop(cache.sql(text, &[]).unwrap());
    let failing = "SELECT id / (id - 150000) FROM large WHERE value > 0";
    cache.sql(failing, &[]).unwrap().concat().unwrap_err();
    cache.sql(failing, &[]).unwrap().concat().unwrap_err();
    assert_eq!(counts.take(), (0, 6));
    assert_eq!((ask(&cache, text, &[]).num_rows(), counts.take()), (200_000, (0, 1)));
    assert_eq!((ask(&cache, text, &[]).num_rows(), counts.take()), (200_000, (1, 0)));
    // As a stream, too.
    let other = "SELECT id, value + 2 FROM large";
    for _ in 0..2 {
        let batches = cache.sql(other, &[]).unwrap().into_stream();
        let rows =
            futures::executor::block_on(batches.fold(0, async |rows, it| rows + it.unwrap().num_rows()));
        assert_eq!(rows, 200_000);
    }
    assert_eq!(counts.take(), (1, 1));
}

#[test]
fn memory_is_bounded_and_without_any_nothing_is_kept() {
    let (_dir, counts, cache) = open(64 << 10);
    // Too long to be kept.
    let all = "SELECT id, value, text FROM t WHERE value > 0";
    assert_eq!((ask(&cache, all, &[]), counts.take()), (ask(&cache, all, &[]), (0, 1)));
    assert_eq!(counts.take(), (0, 1));
    // More answers than there is room for: those that are asked for again and again stay.
    let text = "SELECT text, id FROM t WHERE value + id > $1 ORDER BY id LIMIT 5";
    for round in 0..500 {
        ask(&cache, text, &[Value::Int(round)]);
        ask(&cache, text, &[Value::Int(1)]);
    }
    let (hits, misses) = counts.take();
    assert!(hits >= 400, "{hits} hits");
    assert!(misses >= 500, "{misses} misses");
    let (mut again, asked) = (0, 500);
    for round in 0..asked {
        ask(&cache, text, &[Value::Int(round)]);
        again += counts.take().0;
    }
    assert!(again < 200, "{again} of {asked} answers were kept in 64 KiB");
    let (_dir, counts, cache) = open(0);
    assert_eq!(ask(&cache, SUM, &[]), ask(&cache, SUM, &[]));
    assert_eq!(counts.take(), (0, 0));
}

#[test]
fn a_kept_answer_shares_no_memory_with_files() {
    let (_dir, counts, cache) = open(1 << 20);
    cache.compact().unwrap();
    let text = "SELECT text FROM t WHERE value > 0";
    let address = |batch: &RecordBatch| batch.column(0).to_data().buffers()[1].as_ptr();
    let first = cache.sql(text, &[]).unwrap().collect_all().unwrap();
    let again = cache.sql(text, &[]).unwrap().collect_all().unwrap();
    assert_eq!(counts.take(), (1, 1));
    assert_eq!(first, again);
    assert_ne!(address(&first[0]), address(&again[0]));
}

#[test]
fn rows_that_are_too_old_are_refused_although_their_answer_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (source, counts) = (Scripted::new(&ROWS), Arc::new(Counts::default()));
    let cache = CacheOptions::new().result_cache(1 << 20).recorder(counts.clone()).open(dir.path()).unwrap();
    cache.add_source("shop", source).unwrap();
    cache.define_table("orders", keyed(by_call()).max_staleness(Duration::from_millis(400))).unwrap();
    let text = "SELECT count(*) FROM orders WHERE id > 0";
    while counts.take() != (1, 0) {
        cache.refresh("orders").unwrap();
        drop(cache.sql(text, &[]).and_then(pillion::Batches::concat));
        counts.take();
        drop(cache.sql(text, &[]).and_then(pillion::Batches::concat));
    }
    std::thread::sleep(Duration::from_millis(500));
    let refused = cache.sql(text, &[]).and_then(pillion::Batches::concat).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::Stale);
}

/// Each commit sets all values of a table to one number, so that any mixture of two versions shows.
#[test]
fn answers_equal_fresh_ones_while_others_write() {
    let (_dir, counts, cache) = open(1 << 20);
    let (stop, t) = (AtomicBool::new(false), cache.table("t").unwrap());
    let write = |table: &Table| {
        for round in 2..400 {
            table.upsert(vec![rows(0..1000, round)]).unwrap();
        }
    };
    scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let snapshot = cache.snapshot().unwrap();
                    let value =
                        snapshot.table("t").unwrap().get(7).unwrap().unwrap().get::<i64>("value").unwrap();
                    for _ in 0..3 {
                        let answer = snapshot.sql(SUM, &[]).unwrap();
                        assert_eq!(answer.version(), snapshot.version().unwrap());
                        let answer = answer.concat().unwrap();
                        assert_eq!((number(&answer, 0), number(&answer, 1)), (1000 * value, 1000));
                    }
                    let newest = ask(&cache, SUM, &[]);
                    assert!(number(&newest, 0) >= 1000 * value, "newer than the snapshot");
                }
            });
        }
        write(&t);
        stop.store(true, Ordering::Relaxed);
    });
    let (hits, misses) = counts.take();
    assert!(hits > 0 && misses > 0, "{hits} hits, {misses} misses");
}
