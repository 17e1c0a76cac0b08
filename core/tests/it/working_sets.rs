//! Tables that hold only some rows of their source: what they answer, and what they refuse.

use std::time::{Duration, SystemTime};

use pillion::{Cache, ErrorCode, OnMiss, Table, TableDefinition, TableRules, Value, WorkingSet};

use crate::support::refused;
use crate::support::scripted_source::{ROWS, Scripted, by_call, keyed, open, wait_until};

/// The rows up to half a second, and those called `four`.
const SOME: &str = "changed < timestamp '1970-01-01 00:00:00.250' OR name = 'four'";

fn some() -> TableDefinition {
    keyed(by_call().rows_where(SOME))
}

/// A cache whose table `orders` holds rows 1, 2 and 4, and `whole` holds every row.
fn filled(dir: &tempfile::TempDir, source: &Scripted, definition: TableDefinition) -> (Cache, Table) {
    let cache = open(dir, source);
    let table = cache.define_table("orders", definition).unwrap();
    cache.define_table("whole", keyed(by_call())).unwrap();
    (cache, table)
}

/// The first column of an answer as text, in order.
fn answer(cache: &Cache, sql: &str) -> Vec<String> {
    let batches = cache.sql(sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error}"));
    assert!(batches.certificate().is_complete(), "{sql}");
    let rows = batches.concat().unwrap();
    let texts = arrow::compute::cast(rows.column(0), &arrow::datatypes::DataType::Utf8).unwrap();
    let texts = arrow::array::AsArray::as_string::<i32>(&texts).clone();
    let mut texts: Vec<String> = texts.iter().map(|text| text.unwrap_or("null").to_owned()).collect();
    texts.sort();
    texts
}

fn not_covered(cache: &Cache, sql: &str) -> String {
    let error = cache.sql(sql, &[]).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotCovered, "{sql}: {error}");
    error.message().to_owned()
}

#[test]
fn a_query_is_answered_if_its_conditions_keep_to_the_held_rows() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source, some());
    assert_eq!(table.info().unwrap().rows, 3);
    for condition in [
        "name = 'four'",
        "changed < timestamp '1970-01-01 00:00:00.2'",
        "changed = timestamp '1970-01-01 00:00:00.1' AND id > 0",
        "name IN ('four') OR changed BETWEEN timestamp '1969-01-01 00:00:00' AND timestamp '1970-01-01 00:00:00.1'",
        "id IN (1, 2, 4)",
        "id = 3 AND name = 'four'",
        "false",
    ] {
        let query = |table: &str| format!("SELECT id FROM {table} WHERE {condition}");
        assert_eq!(answer(&cache, &query("orders")), answer(&cache, &query("whole")), "{condition}");
        let count = |table: &str| format!("SELECT count(*) FROM {table} WHERE {condition}");
        assert_eq!(answer(&cache, &count("orders")), answer(&cache, &count("whole")), "{condition}");
    }
    for condition in [
        "true",
        "id = 3",
        "id < 3",
        "name <> 'one'",
        "name IS NULL",
        "changed <= timestamp '1970-01-01 00:00:00.25'",
    ] {
        let message = not_covered(&cache, &format!("SELECT id FROM orders WHERE {condition}"));
        assert!(message.contains("`orders`") && message.contains("name = 'four'"), "{message}");
    }
    // What needs no row of its own asks nothing.
    for whole in [
        "SELECT count(*) FROM orders",
        "SELECT min(id), max(id) FROM orders",
        "SELECT id FROM orders LIMIT 1",
        "SELECT id FROM orders ORDER BY changed DESC LIMIT 1",
    ] {
        let message = not_covered(&cache, whole);
        assert!(message.contains("all rows"), "{message}");
    }
}

/// What others are known to answer from half of the rows.
#[test]
fn joins_subqueries_and_limits_are_asked_table_by_table() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, _) = filled(&dir, &source, some());
    // A filter above a LEFT JOIN is one of the right side only if it refuses nulls.
    not_covered(&cache, "SELECT a.id FROM whole a LEFT JOIN orders o ON a.id = o.id WHERE o.name IS NULL");
    not_covered(
        &cache,
        "SELECT a.id, o.name FROM whole a LEFT JOIN orders o ON a.id = o.id WHERE a.name = 'four'",
    );
    // A join that neither adds nor removes rows, because its key is unique, is not made.
    let none = cache.sql("SELECT a.id FROM whole a LEFT JOIN orders o ON a.id = o.id", &[]).unwrap();
    assert!(none.certificate().tables().is_empty());
    assert_eq!(none.concat().unwrap().num_rows(), 4);
    // In ON it keeps rows of the left side without a partner.
    let left =
        "SELECT a.id FROM whole a LEFT JOIN orders o ON a.id = o.id AND o.name = 'four' WHERE o.id IS NULL";
    assert_eq!(answer(&cache, left), ["1", "2", "3"]);
    not_covered(&cache, "SELECT o.id FROM orders o LEFT JOIN whole a ON a.id = o.id AND o.name = 'four'");
    // Correlated NOT EXISTS.
    not_covered(&cache, "SELECT id FROM whole a WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = a.id)");
    let exists = "SELECT id FROM whole a WHERE NOT EXISTS (SELECT 1 FROM orders o WHERE o.id = a.id AND o.name = 'four')";
    assert_eq!(answer(&cache, exists), ["1", "2", "3"]);
    not_covered(&cache, "SELECT id FROM whole WHERE id NOT IN (SELECT id FROM orders)");
    // A second scan of the table with another filter, and a filter that is wider than the first.
    not_covered(
        &cache,
        "SELECT id FROM orders WHERE name = 'four' UNION ALL SELECT id FROM orders WHERE id > 1",
    );
    not_covered(
        &cache,
        "SELECT o.id FROM orders o JOIN orders p ON o.id = p.id WHERE o.name = 'four' AND p.id > 0",
    );
    // Equalities are carried through inner joins.
    let carried = "SELECT o.id FROM whole a JOIN orders o ON a.name = o.name WHERE a.name = 'four'";
    assert_eq!(answer(&cache, carried), ["4"]);
    // A limit below a filter.
    not_covered(
        &cache,
        "SELECT id FROM (SELECT * FROM orders ORDER BY id DESC LIMIT 2) AS last WHERE name = 'four'",
    );
    let above = "SELECT id FROM (SELECT * FROM orders WHERE name = 'four' ORDER BY id DESC LIMIT 2) AS last";
    assert_eq!(answer(&cache, above), ["4"]);
    not_covered(&cache, "SELECT a.id, (SELECT count(*) FROM orders o WHERE o.id = a.id) FROM whole a");
}

#[test]
fn a_prepared_query_is_asked_with_its_parameters() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, _) = filled(&dir, &source, some());
    let by_name = cache.prepare("SELECT id FROM orders WHERE name = $1").unwrap();
    let by_id = cache.prepare("SELECT id FROM orders WHERE id = $1").unwrap();
    for _ in 0..3 {
        assert_eq!(by_name.execute(&[Value::from("four")]).unwrap().concat().unwrap().num_rows(), 1);
        refused(by_name.execute(&[Value::from("one")]), ErrorCode::NotCovered, &["`orders`", "'one'"]);
        // A row that is there answers for its key, on the point path too.
        let found = by_id.execute(&[Value::from(1)]).unwrap();
        assert!(found.certificate().is_complete() && found.certificate().tables().len() == 1);
        assert_eq!(found.concat().unwrap().num_rows(), 1);
        refused(by_id.execute(&[Value::from(3)]), ErrorCode::NotCovered, &["id = 3"]);
        assert_eq!(answer(&cache, "SELECT id FROM orders WHERE id = 2"), ["2"]);
        not_covered(&cache, "SELECT id FROM orders WHERE id = 7");
        not_covered(&cache, "SELECT id FROM orders WHERE id IN (1, 7)");
    }
}

#[test]
fn a_key_is_absent_only_if_it_shows_that_it_would_be_held() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source, some());
    assert_eq!(table.get(4).unwrap().unwrap().get::<i64>("id").unwrap(), 4);
    let error = table.get(3).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NotCovered);
    assert!(error.message().contains(SOME) && error.message().contains("key"), "{error}");
    assert_eq!(table.get_many(&[1, 3]).unwrap_err().code(), ErrorCode::NotCovered);
    assert_eq!(table.get_many(&[1, 2]).unwrap().len(), 2);
    assert_eq!(table.scan().unwrap_err().code(), ErrorCode::NotCovered);
    let held = cache.snapshot().unwrap();
    assert_eq!(held.table("orders").unwrap().get(3).unwrap_err().code(), ErrorCode::NotCovered);
    assert_eq!(cache.table("whole").unwrap().get(9).unwrap().map(|_| ()), None);

    let below_three = keyed(by_call().rows_where("id < 3"));
    let table = cache.define_table("low", below_three).unwrap();
    assert!(table.get(1).unwrap().is_some());
    assert!(table.get(-7).unwrap().is_none(), "the source has no such row");
    assert_eq!(table.get(3).unwrap_err().code(), ErrorCode::NotCovered);
}

#[test]
fn an_incomplete_answer_is_marked_where_a_table_allows_it() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source, keyed(by_call().rows_where(SOME).on_miss(OnMiss::Local)));
    assert!(table.get(3).unwrap().is_none());
    for (sql, is_complete) in [
        ("SELECT id FROM orders", false),
        ("SELECT count(*) FROM orders", false),
        ("SELECT id FROM orders WHERE id = 3", false),
        ("SELECT id FROM orders WHERE id = 1", true),
        ("SELECT id FROM orders WHERE name = 'four'", true),
        ("SELECT id FROM whole", true),
    ] {
        let answer = cache.sql(sql, &[]).unwrap();
        assert_eq!(answer.certificate().is_complete(), is_complete, "{sql}");
        for table in answer.certificate().tables() {
            assert_eq!(table.table, "orders");
            assert!(
                table.coverage.as_ref().unwrap().contains("'four'") && table.freshness.is_some(),
                "{table:?}"
            );
        }
    }
    let scanned = table.scan().unwrap();
    assert!(!scanned.certificate().is_complete());
    assert_eq!(scanned.concat().unwrap().num_rows(), 3);
    let explained =
        cache.sql("EXPLAIN SELECT id FROM orders WHERE name = 'four'", &[]).unwrap().concat().unwrap();
    let explained = arrow::util::pretty::pretty_format_batches(&[explained]).unwrap().to_string();
    assert!(explained.contains("coverage=[orders: complete"), "{explained}");
}

#[test]
fn what_is_covered_survives_restarts_and_is_known_to_readers() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let (cache, table) = filled(&dir, &source, some());
    let coverage = table.info().unwrap().coverage.unwrap();
    assert!(coverage.contains("'1970-01-01 00:00:00.250'") && coverage.contains("'four'"), "{coverage}");
    let asks = |cache: &Cache| {
        let table = cache.table("orders").unwrap();
        assert_eq!(table.info().unwrap().coverage.as_ref(), Some(&coverage));
        assert_eq!(table.info().unwrap().rules.working_set, Some(WorkingSet::new(SOME)));
        assert_eq!(table.get(3).unwrap_err().code(), ErrorCode::NotCovered);
        assert!(table.get(4).unwrap().is_some());
        assert_eq!(answer(cache, "SELECT id FROM orders WHERE name = 'four'"), ["4"]);
        not_covered(cache, "SELECT id FROM orders");
    };
    asks(&cache);
    asks(&Cache::open_read_only(dir.path()).unwrap());
    #[cfg(feature = "sidecar")]
    {
        let socket = dir.path().join("sock");
        let server = cache.serve(pillion::ServerOptions::new(&socket)).unwrap();
        let options = pillion::ConnectOptions::new().attach(pillion::Attach::Never);
        let client = options.connect(&socket).unwrap();
        asks(&client);
        let answer = client.sql("SELECT id FROM orders WHERE name = 'four'", &[]).unwrap();
        let here = cache.sql("SELECT id FROM orders WHERE name = 'four'", &[]).unwrap();
        assert_eq!(answer.certificate(), here.certificate());
        drop((answer, here, client));
        drop(server);
    }
    drop((cache, table));
    asks(&Cache::open(dir.path()).unwrap());
}

#[test]
fn a_window_that_moves_lets_rows_in_and_out() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    let ago = |age: Duration| i64::try_from((now - age).as_millis()).unwrap();
    let day = Duration::from_secs(86_400);
    let rows = [(1, ago(day), "new"), (2, ago(3 * day), "older"), (3, ago(9 * day), "old")];
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&rows).with_marks());
    let week = "changed >= now() - interval '7 days'";
    let (cache, table) = filled(&dir, &source, keyed(by_call().rows_where(week)));
    assert_eq!(table.info().unwrap().rows, 2);
    assert_eq!(answer(&cache, "SELECT id FROM orders WHERE changed > now() - interval '2 days'"), ["1"]);
    assert_eq!(answer(&cache, &format!("SELECT id FROM orders WHERE {week}")), ["1", "2"]);
    let message = not_covered(&cache, "SELECT id FROM orders WHERE changed > now() - interval '8 days'");
    assert!(message.contains(week), "{message}");
    // The window has moved: nothing changed at the source, and all rows are fetched all the same.
    let (before, fetches) = (table.info().unwrap().coverage.unwrap(), source.fetches());
    cache.refresh("orders").unwrap();
    assert_eq!(source.fetches(), fetches + 1);
    assert!(table.info().unwrap().coverage.unwrap() > before);
    // A window that stands still goes by the mark.
    let fixed = cache.define_table("fixed", keyed(by_call().rows_where("id < 3"))).unwrap();
    let fetches = source.fetches();
    cache.refresh("fixed").unwrap();
    assert_eq!(source.fetches(), fetches);
    assert!(fixed.get(0).unwrap().is_none());
    // A row that changes so that it does not belong any more goes.
    source.set_rows(&[(1, ago(day), "new"), (2, ago(8 * day), "older")]);
    cache.refresh("orders").unwrap();
    assert_eq!(answer(&cache, &format!("SELECT id FROM orders WHERE {week}")), ["1"]);
}

#[test]
fn another_condition_fetches_the_rows_anew() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_marks());
    let (cache, _) = filled(&dir, &source, keyed(by_call().rows_where("id < 3")));
    not_covered(&cache, "SELECT id FROM orders WHERE id = 3");
    drop(cache);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call().rows_where("id < 4"))).unwrap();
    cache.refresh("orders").unwrap();
    assert_eq!(answer(&cache, "SELECT id FROM orders WHERE id <= 3"), ["1", "2", "3"]);
    // And none at all.
    drop(cache);
    let cache = open(&dir, &source);
    cache.follow_table("orders", keyed(by_call())).unwrap();
    cache.refresh("orders").unwrap();
    assert_eq!(answer(&cache, "SELECT id FROM orders"), ["1", "2", "3", "4"]);
    assert_eq!(cache.table("orders").unwrap().info().unwrap().rules.working_set, None);
}

#[test]
fn rows_that_were_invalidated_are_not_taken_for_absent() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS).with_keys());
    let (cache, table) = filled(&dir, &source, keyed(by_call().rows_where("id < 4")));
    cache.pause_refreshes("orders").unwrap();
    table.invalidate(&[2]).unwrap();
    assert_eq!(table.info().unwrap().coverage, None);
    let error = table.get(2).unwrap_err();
    assert!(error.code() == ErrorCode::NotCovered && error.message().contains("next refresh"), "{error}");
    assert!(table.get(1).unwrap().is_some());
    not_covered(&cache, "SELECT id FROM orders WHERE id < 3");
    cache.resume_refreshes("orders").unwrap();
    wait_until("the row", || table.get(2).is_ok());
    assert_eq!(answer(&cache, "SELECT id FROM orders WHERE id < 3"), ["1", "2"]);
    assert!(table.get(0).unwrap().is_none());
    // Also where nobody refreshes the table.
    drop((table, cache));
    let cache = Cache::open(dir.path()).unwrap();
    let table = cache.table("orders").unwrap();
    assert!(table.get(0).unwrap().is_none());
    table.invalidate(&[1]).unwrap();
    assert_eq!(table.get(1).unwrap_err().code(), ErrorCode::NotCovered);
    assert_eq!(table.get(0).unwrap_err().code(), ErrorCode::NotCovered);
}

#[test]
fn an_empty_source_has_no_rows_and_says_so() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&[]));
    let (cache, table) = filled(&dir, &source, keyed(by_call().rows_where("id < 3")));
    assert!(table.get(1).unwrap().is_none());
    assert_eq!(answer(&cache, "SELECT id FROM orders WHERE id < 3"), [""; 0]);
    not_covered(&cache, "SELECT id FROM orders");
}

#[test]
fn conditions_that_cannot_be_proven_are_refused() {
    let (dir, source) = (tempfile::tempdir().unwrap(), Scripted::new(&ROWS));
    let cache = open(&dir, &source);
    let define = |definition: TableDefinition| cache.define_table("orders", definition);
    let with = |condition: &str| define(keyed(by_call().rows_where(condition)));
    refused(with("id + 1 > 5 AND length(name) = 3"), ErrorCode::Unsupported, &["length", "not understood"]);
    refused(with("id > random()"), ErrorCode::Unsupported, &["random"]);
    refused(with("nme = 'x'"), ErrorCode::ColumnNotFound, &["nme"]);
    refused(with("id >"), ErrorCode::InvalidSql, &["id >"]);
    refused(with("id > 1; DROP TABLE orders"), ErrorCode::InvalidSql, &[]);
    refused(with("id > (SELECT 1)"), ErrorCode::Unsupported, &[]);
    refused(with(&"id = 1 OR ".repeat(1000)), ErrorCode::InvalidSql, &["bytes"]);
    let appending = by_call().append_by("changed", Duration::ZERO).rows_where("id < 3");
    refused(define(keyed(appending)), ErrorCode::InvalidArgument, &["append_by"]);
    let retained = keyed(by_call().rows_where("id < 3")).retain("changed", Duration::from_secs(9));
    refused(define(retained), ErrorCode::InvalidArgument, &["retain"]);
    let columns = keyed(by_call().columns(["id"]).rows_where("name = 'one'"));
    refused(define(columns), ErrorCode::ColumnNotFound, &["name"]);
    assert!(cache.status().unwrap().tables.is_empty());
    // Nothing feeds a table of batches.
    let mut rules = TableRules::default();
    rules.working_set = Some(WorkingSet::new("id < 3"));
    let batches = TableDefinition::new(crate::support::numbered(0..3)).rules(rules);
    refused(cache.define_table("t", batches), ErrorCode::InvalidArgument, &["source"]);
}
