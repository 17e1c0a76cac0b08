//! Working sets whose sources answer what is not held: the answers are those of a full copy, and failures say what is missing.

use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::util::pretty::pretty_format_batches;
use pillion::source::{Relation, TableSource};
use pillion::{Batches, Cache, ErrorCode, OnMiss, ReadBounds, Table, TableDefinition, Tier, Value};

use crate::support::refused;
use crate::support::scripted_source::{Mood, ROWS, Scripted, UNKNOWN_KEY, by_call, keyed, open, wait_until};

/// Rows 1, 2 and 4.
const SOME: &str = "changed < timestamp '1970-01-01 00:00:00.250' OR name = 'four'";

fn delegating() -> TableDefinition {
    keyed(by_call().rows_where(SOME).on_miss(OnMiss::Delegate))
}

/// A cache whose table `orders` holds rows 1, 2 and 4 and delegates the rest, and `whole` holds every row.
fn filled(dir: &tempfile::TempDir, source: &Scripted) -> (Cache, Table) {
    let cache = open(dir, source);
    let table = cache.define_table("orders", delegating()).unwrap();
    cache.define_table("whole", keyed(by_call())).unwrap();
    (cache, table)
}

fn ask(cache: &Cache, sql: &str) -> Batches {
    cache.sql(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"))
}

/// Columns, types and rows of an answer.
fn answer(cache: &Cache, sql: &str) -> RecordBatch {
    ask(cache, sql).concat().unwrap_or_else(|error| panic!("{sql}: {error}"))
}

fn explained(cache: &Cache, sql: &str) -> String {
    pretty_format_batches(&[answer(cache, &format!("EXPLAIN {sql}"))]).unwrap().to_string()
}

/// Statements over a table `t`, and who answers them where `t` is `orders`.
const STATEMENTS: &[(&str, Tier)] = &[
    ("SELECT id FROM t WHERE name = 'four'", Tier::Local),
    ("SELECT id FROM t WHERE id = 1", Tier::Local),
    ("SELECT * FROM t ORDER BY id", Tier::Delegated),
    ("SELECT count(*) FROM t", Tier::Delegated),
    ("SELECT count(*), min(id) AS a, max(name) AS b, sum(id) AS c FROM t", Tier::Delegated),
    ("SELECT id, name FROM t WHERE id = 3", Tier::Delegated),
    ("SELECT id FROM t WHERE id = 7", Tier::Delegated),
    ("SELECT name FROM t WHERE id IN (1, 3, 9) ORDER BY id", Tier::Delegated),
    ("SELECT name AS a, id + 1 AS b FROM t WHERE id > 1 ORDER BY id DESC LIMIT 2", Tier::Delegated),
    ("SELECT changed FROM t WHERE name <> 'one' ORDER BY changed", Tier::Delegated),
    ("SELECT id FROM t WHERE name LIKE 't%' ORDER BY id", Tier::Delegated),
    // A filter above a LEFT JOIN is one of the right side only if it refuses nulls.
    ("SELECT a.id FROM whole a LEFT JOIN t o ON a.id = o.id WHERE o.name IS NULL ORDER BY 1", Tier::Mixed),
    ("SELECT a.id, o.name FROM whole a LEFT JOIN t o ON a.id = o.id AND o.id > 2 ORDER BY 1", Tier::Mixed),
    // Correlated NOT EXISTS, and NOT IN.
    (
        "SELECT id FROM whole a WHERE NOT EXISTS (SELECT 1 FROM t o WHERE o.id = a.id AND o.id <> 2) ORDER BY 1",
        Tier::Mixed,
    ),
    ("SELECT id FROM whole WHERE id NOT IN (SELECT id FROM t WHERE id > 2) ORDER BY 1", Tier::Mixed),
    // A second scan of the table with another filter.
    ("SELECT id FROM t WHERE name = 'four' UNION ALL SELECT id FROM t WHERE id > 2 ORDER BY 1", Tier::Mixed),
    ("SELECT o.id FROM t o JOIN t p ON o.id = p.id WHERE p.id > 2 ORDER BY 1", Tier::Mixed),
    // A limit below a filter.
    (
        "SELECT id FROM (SELECT * FROM t ORDER BY id DESC LIMIT 2) AS last WHERE name = 'four'",
        Tier::Delegated,
    ),
    ("SELECT id, (SELECT count(*) FROM t o WHERE o.id = a.id) AS c FROM whole a ORDER BY 1", Tier::Mixed),
    ("SELECT (SELECT max(id) FROM t) AS most", Tier::Delegated),
    // The planner replaces the count of a whole table by its result.
    ("SELECT id, (SELECT count(*) FROM whole) AS c FROM t WHERE id = 3", Tier::Mixed),
    // Keys that are named several times, and far ones.
    ("SELECT id FROM t WHERE id IN (3, 3, 1, 9, 3, 1, 12) ORDER BY id", Tier::Delegated),
    (
        "SELECT id FROM t WHERE name IN ('three', 'three', 'one', 'nine', 'three') ORDER BY id",
        Tier::Delegated,
    ),
    (
        "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT o.id FROM r JOIN t AS o ON o.id = n + 1) SELECT n FROM r",
        Tier::Mixed,
    ),
];

#[test]
fn answers_do_not_depend_on_who_gives_them() {
    for source in
        [Scripted::new(&ROWS), Scripted::new(&ROWS).with_keys(), Scripted::new(&ROWS).with_dictionary()]
    {
        let dir = tempfile::tempdir().unwrap();
        let (cache, _) = filled(&dir, &source);
        for (sql, tier) in STATEMENTS {
            let name = |table: &str| {
                sql.replace("FROM t", &format!("FROM {table}")).replace("JOIN t ", &format!("JOIN {table} "))
            };
            let began = SystemTime::now();
            let asked = ask(&cache, &name("orders"));
            assert_eq!(asked.tier(), *tier, "{sql}");
            assert!(asked.certificate().is_complete(), "{sql}");
            let delegated = asked.certificate().tables().iter().filter(|table| table.tier == Tier::Delegated);
            let moments: Vec<_> = delegated.map(|table| table.freshness.unwrap().as_of).collect();
            assert_eq!(moments.is_empty(), *tier == Tier::Local, "{sql}");
            assert!(moments.iter().all(|moment| *moment >= began), "{sql}");
            let oldest = moments.iter().min();
            match tier {
                Tier::Delegated => assert_eq!(asked.freshness().unwrap().as_of, *oldest.unwrap(), "{sql}"),
                Tier::Mixed => assert!(asked.freshness().unwrap().as_of <= *oldest.unwrap(), "{sql}"),
                _ => {}
            }
            let expected = answer(&cache, &name("whole"));
            let given = asked.concat().unwrap();
            assert_eq!(given, expected, "{sql}");
        }
    }
}

/// Rows of many keys, of which some are named several times.
fn read_many(cache: &Cache) {
    let many = |last: i64| {
        let keys: Vec<String> = (0..last).chain([3, 3, 1, 3]).map(|key| key.to_string()).collect();
        keys.join(", ")
    };
    for last in [4, 400, 499, 600, 1200] {
        for condition in
            [format!("id IN ({})", many(last)), format!("id IN ({}) AND name <> 'two'", many(last))]
        {
            let rows = |table: &str| {
                answer(cache, &format!("SELECT id, name FROM {table} WHERE {condition} ORDER BY id"))
            };
            assert_eq!(rows("orders"), rows("whole"), "{last}");
        }
    }
    let keys: Vec<i64> = (0..1200).chain([3, 1]).collect();
    let found = cache.table("orders").unwrap().get_many(&keys).unwrap();
    let ids = |from: usize| found[from..].iter().flatten().map(|row| row.get::<i64>("id").unwrap());
    assert_eq!((ids(0).collect::<Vec<_>>(), ids(1200).count()), (vec![1, 2, 3, 4, 3, 1], 2));
}

#[test]
fn a_row_comes_once_however_often_its_key_is_named() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, _) = filled(&dir, &source);
    read_many(&cache);
    assert!(source.keys.lock().iter().all(|keys| keys.len() <= 500));
    let fetches = source.fetches();
    answer(&cache, &format!("SELECT id FROM orders WHERE id IN ({})", vec!["3"; 1001].join(", ")));
    assert_eq!((source.fetches(), source.keys.lock().last().unwrap().len()), (fetches + 1, 1));
}

/// Reads of a snapshot whose table was dropped, and whose name is that of another one.
fn read_dropped(cache: &Cache, drop_it: impl FnOnce()) {
    let snapshot = cache.snapshot().unwrap();
    drop_it();
    let table = snapshot.table("orders").unwrap();
    assert!(table.get(1).unwrap().is_some());
    // A handle has the number of the table, and a sidecar that is asked by it no name to say.
    refused(table.get(3), ErrorCode::TableNotFound, &["table"]);
    refused(table.scan().and_then(Batches::concat), ErrorCode::TableNotFound, &["table"]);
    for condition in ["id = 3", "changed > timestamp '1970-01-01 00:00:00'", "name = 'three'"] {
        let asked = snapshot.sql(&format!("SELECT id FROM orders WHERE {condition}"), &[]);
        refused(asked.and_then(Batches::concat), ErrorCode::TableNotFound, &["table"]);
    }
    assert!(cache.table("orders").unwrap().get(3).unwrap().is_some());
}

#[test]
fn a_dropped_table_gets_no_rows_of_the_next_one_with_its_name() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, _) = filled(&dir, &source);
    read_dropped(&cache, || {
        cache.drop_table("orders").unwrap();
        cache.define_table("orders", delegating()).unwrap();
    });
}

#[test]
fn explain_names_the_tier_of_each_scan_and_why() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, _) = filled(&dir, &source);
    let fetches = source.fetches();
    let plan = explained(&cache, "SELECT name FROM orders WHERE id = 3");
    for part in ["PillionDelegated: table=orders, tier=delegated", "shop/orders", "keys=1", "id = 3"] {
        assert!(plan.contains(part), "{part} in {plan}");
    }
    let plan = explained(&cache, "SELECT a.id FROM whole a JOIN orders o ON a.id = o.id + 1");
    assert!(plan.contains("tier=local") && plan.contains("asks for all rows"), "{plan}");
    assert_eq!(source.fetches(), fetches, "nothing was fetched for a plan");
    answer(&cache, "EXPLAIN ANALYZE SELECT name FROM orders");
    assert_eq!(source.fetches(), fetches + 1);
}

#[test]
fn a_key_that_is_not_held_is_one_fetch() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, table) = filled(&dir, &source);
    let fetches = source.fetches();
    let held = table.get(1).unwrap().unwrap();
    assert_eq!((held.tier(), source.fetches()), (Tier::Local, fetches));
    let began = SystemTime::now();
    let row = table.get(3).unwrap().unwrap();
    assert_eq!((row.tier(), source.fetches(), source.sent()), (Tier::Delegated, fetches + 1, 1));
    assert_eq!((row.get::<i64>("id").unwrap(), row.get::<&str>("name").unwrap()), (3, "three"));
    assert!(row.freshness().unwrap().as_of >= began && row.version() == held.version());
    assert_eq!(
        row.to_batch().unwrap(),
        cache.table("whole").unwrap().get(3).unwrap().unwrap().to_batch().unwrap()
    );
    assert!(table.get(9).unwrap().is_none());
    let rows = table.get_many(&[3, 1, 9, 3, 4]).unwrap();
    let shown: Vec<_> =
        rows.iter().map(|row| row.as_ref().map(|row| (row.get::<i64>(0).unwrap(), row.tier()))).collect();
    let (here, there) = (Tier::Local, Tier::Delegated);
    assert_eq!(shown, [Some((3, there)), Some((1, here)), None, Some((3, there)), Some((4, here))]);
    assert_eq!(source.fetches(), fetches + 3);
    let mut asked = source.keys.lock().last().unwrap().clone();
    asked.sort_by_key(|key| format!("{key:?}"));
    assert_eq!(asked, [[Value::Int(3)], [Value::Int(9)]], "each missing key once, and no held one");
    // A source that does not find rows by keys sends all of them.
    assert!(table.get(UNKNOWN_KEY).unwrap().is_none());
    // A prepared statement looks up the key here, and asks the source if it is not there.
    let by_id = cache.prepare("SELECT name FROM orders WHERE id = $1").unwrap();
    for (id, tier) in [(1, here), (3, there), (4, here), (3, there), (9, there)] {
        let answer = by_id.execute(&[Value::from(id)]).unwrap();
        assert_eq!(answer.tier(), tier);
        assert_eq!(answer.concat().unwrap().num_rows(), usize::from(id != 9));
    }
}

#[test]
fn scans_of_a_table_come_from_its_source() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source);
    let whole = cache.table("whole").unwrap();
    let scanned = table.scan().unwrap();
    assert_eq!((scanned.tier(), scanned.certificate().is_complete()), (Tier::Delegated, true));
    assert_eq!(scanned.concat().unwrap(), whole.scan().unwrap().concat().unwrap());
    let columns = ["name", "id"];
    assert_eq!(
        table.scan_columns(columns).unwrap().concat().unwrap(),
        whole.scan_columns(columns).unwrap().concat().unwrap()
    );
    let streamed = futures::executor::block_on_stream(table.scan().unwrap().into_stream());
    assert_eq!(streamed.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 4);
    // A snapshot holds what the cache holds. The rest is as of now.
    let snapshot = cache.snapshot().unwrap();
    source.set_rows(&[(1, 100, "one"), (3, 300, "drei")]);
    cache.refresh("orders").unwrap();
    let held = snapshot.table("orders").unwrap();
    assert_eq!(held.get(2).unwrap().unwrap().tier(), Tier::Local);
    assert_eq!(held.get(3).unwrap().unwrap().get::<&str>("name").unwrap(), "drei");
}

#[test]
fn a_source_that_fails_is_an_error_that_names_what_is_missing() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, table) = filled(&dir, &source);
    let held = || {
        assert_eq!(answer(&cache, "SELECT id FROM orders WHERE name = 'four'").num_rows(), 1);
        assert!(table.get(1).unwrap().is_some());
    };
    source.set(Mood::Fails(ErrorCode::SourceRefused));
    let parts = ["`orders`", "id = 3", "as the test said"];
    refused(cache.sql("SELECT name FROM orders WHERE id = 3", &[]), ErrorCode::SourceRefused, &parts);
    refused(table.get(3), ErrorCode::SourceRefused, &["`orders`", "key (3) (id)", "as the test said"]);
    refused(table.get_many(&[1, 3]), ErrorCode::SourceRefused, &["`orders`"]);
    refused(table.scan(), ErrorCode::SourceRefused, &["all rows"]);
    held();
    source.set(Mood::Panics);
    refused(table.get(3), ErrorCode::Internal, &["panicked"]);
    source.set(Mood::BreaksOff);
    let cut = cache.sql("SELECT id FROM orders", &[]).and_then(Batches::concat);
    refused(cut, ErrorCode::SourceUnavailable, &["`orders`", "all rows", "the connection was cut"]);
    let scanned: Vec<_> = table.scan().unwrap().collect();
    assert_eq!(scanned.last().unwrap().as_ref().unwrap_err().code(), ErrorCode::SourceUnavailable);
    source.set(Mood::SendsOtherColumns);
    let other = cache.sql("SELECT id FROM orders", &[]).and_then(Batches::concat);
    refused(other, ErrorCode::SourceInvalid, &["`orders`"]);
    held();
    source.set(Mood::Answers);
    assert_eq!(answer(&cache, "SELECT id FROM orders").num_rows(), 4);
    assert!(table.get(3).unwrap().is_some());
}

#[test]
fn a_source_out_of_reach_is_left_alone_for_a_while() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (_cache, table) = filled(&dir, &source);
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    let fetches = source.fetches();
    for _ in 0..20 {
        refused(table.get(3), ErrorCode::SourceUnavailable, &["`orders`"]);
    }
    let asked = source.fetches() - fetches;
    assert!((3..20).contains(&asked), "{asked}");
    source.set(Mood::Answers);
    wait_until("the source to be asked again", || table.get(3).is_ok_and(|row| row.is_some()));
}

#[test]
fn a_source_that_hangs_holds_nobody_up_for_ever() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let impatient = by_call().progress_timeout(Duration::from_millis(300)).rows_where(SOME);
    let table = cache.define_table("orders", keyed(impatient.on_miss(OnMiss::Delegate))).unwrap();
    source.set(Mood::Hangs);
    let answer = cache.sql("SELECT id FROM orders", &[]).and_then(Batches::concat);
    refused(answer, ErrorCode::Timeout, &["`orders`", "sent nothing for 300ms"]);
    refused(table.get(9), ErrorCode::Timeout, &["`orders`", "key (9) (id)"]);
    assert!(table.get(1).unwrap().is_some());
    // Whoever drops or cancels an answer ends the fetch.
    let patient = open(&tempfile::tempdir().unwrap(), &source);
    source.set(Mood::Answers);
    patient.define_table("orders", delegating()).unwrap();
    source.set(Mood::Hangs);
    let mut answer = patient.sql("SELECT id FROM orders", &[]).unwrap();
    let canceller = answer.canceller();
    let error = std::thread::scope(|scope| {
        let waits = scope.spawn(|| answer.by_ref().find_map(Result::err));
        canceller.cancel();
        waits.join().unwrap().unwrap()
    });
    assert_eq!(error.code(), ErrorCode::Cancelled);
    drop(answer);
    drop(patient.sql("SELECT id FROM orders", &[]).unwrap());
    wait_until("the end of the fetches", || source.at_once.0.load(std::sync::atomic::Ordering::SeqCst) == 0);
}

#[test]
fn few_fetches_of_a_source_are_under_way_at_a_time() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, table) = filled(&dir, &source);
    source.at_once.1.store(0, std::sync::atomic::Ordering::SeqCst);
    std::thread::scope(|scope| {
        for _ in 0..24 {
            scope.spawn(|| {
                for _ in 0..5 {
                    assert!(table.get(3).unwrap().is_some());
                    let join = "SELECT count(*) FROM orders a JOIN orders b ON a.id = b.id";
                    assert_eq!(answer(&cache, join).num_rows(), 1);
                }
            });
        }
    });
    let most = source.at_once.1.load(std::sync::atomic::Ordering::SeqCst);
    assert!((2..=8).contains(&most), "{most}");
}

#[test]
fn an_empty_source_has_no_rows_wherever_they_are_asked_for() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&[]));
    let (cache, table) = filled(&dir, &source);
    assert!(table.get(1).unwrap().is_none());
    assert_eq!(answer(&cache, "SELECT id, name FROM orders"), answer(&cache, "SELECT id, name FROM whole"));
    assert_eq!(answer(&cache, "SELECT count(*) FROM orders"), answer(&cache, "SELECT count(*) FROM whole"));
    source.set_rows(&[(5, 500, "five")]);
    assert_eq!(answer(&cache, "SELECT id FROM orders").num_rows(), 1);
    assert!(table.get(5).unwrap().is_some());
}

#[test]
fn a_window_shorter_than_the_question_is_no_window_on_the_answer() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let ago = |days: u32| i64::try_from((now - days * Duration::from_secs(86_400)).as_millis()).unwrap();
    let (dir, source) = (
        tempfile::tempdir().unwrap(),
        Scripted::new(&[(1, ago(0), "new"), (2, ago(1), "old"), (3, ago(9), "older")]),
    );
    let cache = open(&dir, &source);
    let day = by_call().rows_where("changed >= now() - interval '12 hours'").on_miss(OnMiss::Delegate);
    cache.define_table("orders", keyed(day)).unwrap();
    let within = |interval: &str| {
        let asked =
            ask(&cache, &format!("SELECT id FROM orders WHERE changed >= now() - interval '{interval}'"));
        (asked.tier(), asked.concat().unwrap().num_rows())
    };
    assert_eq!(within("6 hours"), (Tier::Local, 1));
    assert_eq!(within("2 days"), (Tier::Delegated, 2));
    assert_eq!(within("10 days"), (Tier::Delegated, 3));
}

#[test]
fn without_a_source_the_error_says_who_has_it() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source);
    let reader = Cache::open_read_only(dir.path()).unwrap();
    refused(
        reader.sql("SELECT id FROM orders", &[]),
        ErrorCode::NotCovered,
        &["`orders`", "all rows", "socket"],
    );
    let read = reader.table("orders").unwrap();
    refused(read.get(3), ErrorCode::NotCovered, &["`orders`", "socket"]);
    refused(read.scan(), ErrorCode::NotCovered, &["`orders`", "socket"]);
    assert!(read.get(1).unwrap().is_some());
    assert_eq!(read.info().unwrap().rules.working_set.unwrap().on_miss, OnMiss::Delegate);
    drop((read, reader, table, cache));
    // A process that does not know the source says so, and answers what is held.
    let cache = Cache::open(dir.path()).unwrap();
    let table = cache.table("orders").unwrap();
    refused(table.get(3), ErrorCode::NotCovered, &["`orders`", "add_source"]);
    refused(cache.sql("SELECT id FROM orders", &[]), ErrorCode::NotCovered, &["add_source"]);
    assert!(table.get(4).unwrap().is_some());
    cache.add_source("shop", source).unwrap();
    cache.follow_table("orders", delegating()).unwrap();
    assert!(table.get(3).unwrap().is_some());
    cache.close().unwrap();
    refused(table.get(3), ErrorCode::Closed, &[]);
}

#[test]
fn the_number_of_rows_comes_without_columns_and_types_are_those_of_the_table() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_dictionary());
    let (cache, table) = filled(&dir, &source);
    assert_eq!(answer(&cache, "SELECT 1 FROM orders").num_rows(), 4);
    let rows = ask(&cache, "SELECT name FROM orders ORDER BY name");
    assert_eq!(rows.schema().field(0).data_type(), table.schema().field(2).data_type());
    assert_eq!(rows.concat().unwrap(), answer(&cache, "SELECT name FROM whole ORDER BY name"));
}

fn name_of(table: &Table, bounds: ReadBounds, id: i64) -> (String, Tier) {
    let row = table.get_within(bounds, id).unwrap().unwrap();
    (row.get::<&str>("name").unwrap().to_owned(), row.tier())
}

/// Reads of a cache in which `name` of row 1 has become `eins` at the source, and of none here.
fn read_within_bounds(cache: &Cache) {
    let (orders, whole) = (cache.table("orders").unwrap(), cache.table("whole").unwrap());
    let (here, there) = (Tier::Local, Tier::Delegated);
    let (plain, exact) = (ReadBounds::new(), ReadBounds::new().authoritative());
    for table in [&orders, &whole] {
        assert_eq!(name_of(table, plain, 1), ("one".to_owned(), here));
        assert_eq!(name_of(table, exact, 1), ("eins".to_owned(), there));
        assert_eq!(name_of(table, plain, 1), ("one".to_owned(), here));
        let rows = table.get_many_within(exact, &[1, 9]).unwrap();
        assert_eq!(rows[0].as_ref().unwrap().get::<&str>("name").unwrap(), "eins");
        assert!(rows[1].is_none());
        let scanned = table.scan_within(exact).unwrap();
        assert_eq!(scanned.tier(), there);
        assert!(format!("{:?}", scanned.concat().unwrap()).contains("eins"));
        let by_id = format!("SELECT name FROM {} WHERE id = $1", table.name());
        let by_id = cache.prepare(&by_id).unwrap();
        for _ in 0..2 {
            for (bounds, tier, name) in [(plain, here, "one"), (exact, there, "eins")] {
                let answer = by_id.execute_within(bounds, &[Value::from(1)]).unwrap();
                assert_eq!(answer.tier(), tier);
                assert!(format!("{:?}", answer.concat().unwrap()).contains(name));
            }
        }
    }
    let count = "SELECT count(*) FROM whole a JOIN own o ON a.id = o.id WHERE a.name = 'eins'";
    let counted = |bounds| {
        let answer = cache.sql_within(bounds, count, &[]).unwrap();
        (answer.tier(), format!("{:?}", answer.concat().unwrap().column(0)))
    };
    let (tier, shown) = counted(exact);
    assert!(tier == Tier::Mixed && shown.contains('1'), "a table without a source is read here: {shown}");
    let (tier, shown) = counted(plain);
    assert!(tier == here && shown.contains('0'), "{shown}");
    // Every round of a recursive query is read within the bounds: one that read the held row would be the last.
    let rounds = "WITH RECURSIVE r(n) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT n + 1 FROM r JOIN orders o ON o.id = 1 AND \
                  o.name = 'eins' WHERE n < 5) SELECT n FROM r";
    assert_eq!(cache.sql_within(exact, rounds, &[]).unwrap().concat().unwrap().num_rows(), 5);
    assert_eq!(cache.sql_within(plain, rounds, &[]).unwrap().concat().unwrap().num_rows(), 1);
    // The rows are two hours old.
    let hours = |hours: u64| ReadBounds::new().max_staleness(Duration::from_secs(3600 * hours));
    assert_eq!(name_of(&orders, hours(1), 1), ("eins".to_owned(), there));
    assert_eq!(name_of(&orders, hours(9), 1), ("one".to_owned(), here));
    assert_eq!(name_of(&whole, hours(9), 1), ("one".to_owned(), here));
    refused(whole.get_within(hours(1), 1), ErrorCode::Stale, &["`whole`"]);
    refused(cache.sql_within(hours(1), "SELECT id FROM whole", &[]), ErrorCode::Stale, &["`whole`"]);
    let fresh = cache.sql_within(hours(1), "SELECT name FROM orders WHERE name = 'four'", &[]).unwrap();
    assert_eq!(fresh.tier(), there);
}

/// Reads of a cache whose source sends rows that are two hours old.
fn read_of_late_source(cache: &Cache) {
    let orders = cache.table("orders").unwrap();
    let hours = |hours: u64| ReadBounds::new().max_staleness(Duration::from_secs(3600 * hours));
    for sql in ["SELECT id FROM orders", "SELECT id FROM orders WHERE id IN (1, 3)"] {
        let late = cache.sql_within(hours(1), sql, &[]).and_then(Batches::concat);
        refused(late, ErrorCode::Stale, &["`orders`", "max_staleness"]);
        assert!(cache.sql_within(hours(3), sql, &[]).and_then(Batches::concat).is_ok());
    }
    refused(orders.get_within(hours(1), 3), ErrorCode::Stale, &["`orders`"]);
    refused(orders.get_many_within(hours(1).authoritative(), &[1, 3]), ErrorCode::Stale, &["`orders`"]);
    assert!(orders.get_within(hours(3), 3).unwrap().is_some() && orders.get(3).unwrap().is_some());
}

/// A cache for [`read_within_bounds`].
fn of_old_rows(dir: &tempfile::TempDir, source: &Scripted) -> Cache {
    source.set_lag(Duration::from_secs(7200));
    let (cache, _) = filled(dir, source);
    crate::support::define(&cache, "own", 1..3).unwrap();
    let mut rows = ROWS;
    rows[0].2 = "eins";
    source.set_rows(&rows);
    source.set_lag(Duration::ZERO);
    cache
}

#[test]
fn bounds_of_one_read_hold_for_it_alone() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let cache = of_old_rows(&dir, &source);
    read_within_bounds(&cache);
    source.set_lag(Duration::from_secs(7200));
    read_of_late_source(&cache);
    source.set_lag(Duration::ZERO);
    let exact = ReadBounds::new().authoritative();
    source.set(Mood::Fails(ErrorCode::SourceRefused));
    let whole = cache.table("whole").unwrap();
    refused(whole.get_within(exact, 1), ErrorCode::SourceRefused, &["`whole`", "as the test said"]);
    assert!(whole.get(1).unwrap().is_some());
    let reader = Cache::open_read_only(dir.path()).unwrap();
    let sql = "SELECT id FROM whole";
    refused(reader.sql_within(exact, sql, &[]), ErrorCode::NotCovered, &["`whole`", "socket"]);
    // A rule of the table is one for the source too.
    let other = by_call().rows_where(SOME).on_miss(OnMiss::Delegate);
    source.set(Mood::Answers);
    source.set_lag(Duration::from_secs(7200));
    let bounded =
        cache.define_table("bounded", keyed(other).max_staleness(Duration::from_secs(3600))).unwrap();
    source.set_lag(Duration::ZERO);
    assert_eq!(bounded.get(1).unwrap().unwrap().tier(), Tier::Delegated);
    assert_eq!(ask(&cache, "SELECT id FROM bounded WHERE id = 1").tier(), Tier::Delegated);
}

#[test]
fn a_read_may_be_answered_in_part_and_says_so() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, table) = filled(&dir, &source);
    cache.define_table("refusing", keyed(by_call().rows_where(SOME))).unwrap();
    let partly = ReadBounds::new().or_partial();
    let asked = |sql: &str| {
        let answer = cache.sql_within(partly, sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
        let certificate = answer.certificate().clone();
        let reasons: Vec<String> = certificate.tables().iter().map(|table| table.reason.clone()).collect();
        (answer.tier(), certificate.is_complete(), answer.concat().unwrap().num_rows(), reasons.concat())
    };
    // A source that answers makes the answer whole.
    assert_eq!(asked("SELECT id FROM orders").0, Tier::Delegated);
    assert!(matches!(asked("SELECT id FROM orders"), (_, true, 4, _)));
    assert!(matches!(asked("SELECT id FROM refusing"), (Tier::Local, false, 3, _)));
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    for _ in 0..5 {
        let (tier, is_complete, rows, reason) = asked("SELECT id FROM orders");
        assert_eq!((tier, is_complete, rows), (Tier::Local, false, 3));
        assert!(
            reason.contains("all rows")
                && (reason.contains("as the test said") || reason.contains("out of reach")),
            "{reason}"
        );
        let (tier, is_complete, rows, _) = asked("SELECT id FROM orders WHERE id IN (1, 3)");
        assert_eq!((tier, is_complete, rows), (Tier::Local, false, 1));
        assert!(matches!(asked("SELECT id FROM orders WHERE name = 'four'"), (Tier::Local, true, 1, _)));
        let (_, is_complete, rows, _) = asked(
            "SELECT a.id FROM whole a LEFT JOIN orders o ON a.id = o.id AND o.id > 2 WHERE o.id IS NULL",
        );
        assert_eq!((is_complete, rows), (false, 3));
    }
    // A source that answers does not suffer from another one.
    cache.add_source("other", Scripted::new(&ROWS)).unwrap();
    let of_other = TableSource::new("other", Relation::table("orders")).on_call().rows_where(SOME);
    cache.define_table("others", keyed(of_other.on_miss(OnMiss::Delegate))).unwrap();
    let (tier, is_complete, rows, _) = asked("SELECT id FROM orders UNION ALL SELECT id FROM others");
    assert_eq!((tier, is_complete, rows), (Tier::Mixed, false, 7));
    refused(cache.sql("SELECT id FROM orders", &[]), ErrorCode::SourceUnavailable, &["`orders`"]);
    refused(table.get_within(partly, 3), ErrorCode::SourceUnavailable, &["`orders`"]);
    let reader = Cache::open_read_only(dir.path()).unwrap();
    let answer = reader.sql_within(partly, "SELECT id FROM orders", &[]).unwrap();
    assert!(!answer.certificate().is_complete());
    assert_eq!(answer.concat().unwrap().num_rows(), 3);
}

#[cfg(feature = "sidecar")]
mod served {
    use pillion::{Attach, ConnectOptions, ServerOptions};

    use super::*;

    #[test]
    fn clients_and_readers_get_what_the_owner_gets() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
        let (cache, _) = filled(&dir, &source);
        let socket = dir.path().join("sock");
        let server = cache.serve(ServerOptions::new(&socket)).unwrap();
        for attach in [Attach::Never, Attach::Require] {
            let client = ConnectOptions::new().attach(attach).connect(&socket).unwrap();
            for (sql, tier) in STATEMENTS {
                let sql = sql.replace("FROM t", "FROM orders").replace("JOIN t ", "JOIN orders ");
                let here = ask(&cache, &sql);
                let there = ask(&client, &sql);
                assert_eq!((here.tier(), there.tier()), (*tier, *tier), "{attach:?} {sql}");
                let shown = |batches: &Batches| -> Vec<String> {
                    batches.certificate().tables().iter().map(ToString::to_string).collect()
                };
                assert_eq!(shown(&there), shown(&here), "{attach:?} {sql}");
                assert_eq!(there.concat().unwrap(), here.concat().unwrap(), "{attach:?} {sql}");
            }
            let table = client.table("orders").unwrap();
            let tiers = |keys: &[i64]| -> Vec<Option<Tier>> {
                let rows = table.get_many(keys).unwrap();
                rows.iter().map(|row| row.as_ref().map(pillion::Row::tier)).collect()
            };
            assert_eq!(tiers(&[1, 3, 9]), [Some(Tier::Local), Some(Tier::Delegated), None], "{attach:?}");
            assert_eq!(table.get(3).unwrap().unwrap().tier(), Tier::Delegated, "{attach:?}");
            assert_eq!(table.get(1).unwrap().unwrap().tier(), Tier::Local, "{attach:?}");
            let held = client.snapshot().unwrap();
            assert_eq!(
                held.table("orders").unwrap().get(3).unwrap().unwrap().get::<&str>("name").unwrap(),
                "three"
            );
            assert_eq!(table.scan().unwrap().concat().unwrap().num_rows(), 4);
            assert_eq!(table.info().unwrap().rules, cache.table("orders").unwrap().info().unwrap().rules);
            source.set(Mood::Fails(ErrorCode::SourceRefused));
            refused(table.get(3), ErrorCode::SourceRefused, &["`orders`", "as the test said"]);
            refused(
                client.sql("SELECT id FROM orders", &[]).and_then(Batches::concat),
                ErrorCode::SourceRefused,
                &["`orders`"],
            );
            source.set(Mood::Answers);
        }
        drop(server);
    }

    #[test]
    fn readers_get_a_row_once_and_none_of_another_table() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
        let (cache, _) = filled(&dir, &source);
        let socket = dir.path().join("sock");
        let server = cache.serve(ServerOptions::new(&socket)).unwrap();
        for attach in [Attach::Never, Attach::Require] {
            let client = ConnectOptions::new().attach(attach).connect(&socket).unwrap();
            read_many(&client);
        }
        let client = ConnectOptions::new().attach(Attach::Require).connect(&socket).unwrap();
        read_dropped(&client, || {
            cache.drop_table("orders").unwrap();
            cache.define_table("orders", delegating()).unwrap();
        });
        // Without a sidecar there is nobody to ask, and the held rows are a part.
        drop(server);
        let partly = client.sql_within(ReadBounds::new().or_partial(), "SELECT id FROM orders", &[]).unwrap();
        assert!(!partly.certificate().is_complete());
        assert_eq!(partly.concat().unwrap().num_rows(), 3);
    }

    #[test]
    fn a_reader_that_gives_up_ends_the_fetch_at_the_sidecar() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        let (cache, _) = filled(&dir, &source);
        let socket = dir.path().join("sock");
        let _server = cache.serve(ServerOptions::new(&socket)).unwrap();
        let client = ConnectOptions::new().attach(Attach::Require).connect(&socket).unwrap().into_async();
        let table = futures::executor::block_on(client.table("orders")).unwrap();
        source.set(Mood::Hangs);
        let under_way = || source.at_once.0.load(std::sync::atomic::Ordering::SeqCst);
        let mut waits = Box::pin(table.get(9));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        wait_until("the source to be asked", || under_way() == 1);
        drop(waits);
        wait_until("the end of the fetch", || under_way() == 0);
    }

    #[test]
    fn queries_of_held_rows_do_not_wait_behind_lookups_that_wait_for_a_source() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        let (cache, _) = filled(&dir, &source);
        let socket = dir.path().join("sock");
        let _server = cache.serve(ServerOptions::new(&socket)).unwrap();
        let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
        let table = client.table("orders").unwrap();
        source.set(Mood::Hangs);
        let under_way = || source.at_once.0.load(std::sync::atomic::Ordering::SeqCst);
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..40).map(|_| scope.spawn(|| table.get(9))).collect();
            wait_until("many to wait for the source", || under_way() == 8);
            for _ in 0..50 {
                assert_eq!(answer(&client, "SELECT id FROM orders WHERE name = 'four'").num_rows(), 1);
            }
            assert_eq!(under_way(), 8, "they still wait");
            source.set(Mood::Answers);
            source.end_hanging();
            waiting.into_iter().for_each(|lookup| drop(lookup.join().unwrap()));
        });
    }

    #[test]
    fn bounds_go_along_to_whoever_asks_the_source() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
        let cache = of_old_rows(&dir, &source);
        let socket = dir.path().join("sock");
        let _server = cache.serve(ServerOptions::new(&socket)).unwrap();
        for attach in [Attach::Never, Attach::Require] {
            let client = ConnectOptions::new().attach(attach).connect(&socket).unwrap();
            read_within_bounds(&client);
            source.set_lag(Duration::from_secs(7200));
            read_of_late_source(&client);
            source.set_lag(Duration::ZERO);
            source.set(Mood::Fails(ErrorCode::SourceRefused));
            let sql = "SELECT id FROM orders";
            let partly = client.sql_within(ReadBounds::new().or_partial(), sql, &[]).unwrap();
            assert!(!partly.certificate().is_complete(), "{attach:?}");
            assert_eq!(partly.concat().unwrap().num_rows(), 3);
            source.set(Mood::Answers);
        }
    }

    #[test]
    fn a_lookup_that_waits_for_a_source_holds_up_no_other() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        let (cache, _) = filled(&dir, &source);
        let socket = dir.path().join("sock");
        let _server = cache.serve(ServerOptions::new(&socket)).unwrap();
        let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
        let table = client.table("orders").unwrap();
        assert!(table.get(1).unwrap().is_some());
        source.set(Mood::Hangs);
        let under_way = || source.at_once.0.load(std::sync::atomic::Ordering::SeqCst);
        std::thread::scope(|scope| {
            let one = scope.spawn(|| table.get(9));
            let many = scope.spawn(|| table.get_many(&[1, 9]));
            wait_until("both to wait for the source", || under_way() == 2);
            for _ in 0..100 {
                assert!(table.get(1).unwrap().is_some());
                assert!(table.get_many(&[2, 4]).unwrap().iter().all(Option::is_some));
            }
            assert_eq!(under_way(), 2, "they still wait");
            cache.drop_table("whole").unwrap();
            // The end of the cache's sources ends the waiting.
            source.set(Mood::Answers);
            cache.replace_source("shop", Scripted::new(&ROWS)).unwrap();
            source.end_hanging();
            one.join().unwrap().unwrap_err();
            many.join().unwrap().unwrap_err();
        });
    }

    #[test]
    fn async_code_does_not_wait_for_a_source() {
        let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
        let (cache, _) = filled(&dir, &source);
        let table = cache.into_async();
        let table = futures::executor::block_on(table.table("orders")).unwrap();
        source.set(Mood::Hangs);
        let mut waits = Box::pin(table.get(9));
        let poll = std::task::Poll::is_pending;
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(poll(&waits.as_mut().poll(&mut context)), "the thread goes on");
        assert!(futures::executor::block_on(table.get(1)).unwrap().is_some());
        drop(waits);
        source.set(Mood::Answers);
        source.end_hanging();
        assert!(futures::executor::block_on(table.get(3)).unwrap().is_some());
    }
}
