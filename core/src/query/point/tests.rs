//! What the point path leaves to the ordinary one, and what it keeps.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray};

use super::taken;
use crate::answer::batches::Canceller;
use crate::types::value::Value;
use crate::{Cache, ErrorCode, TableDefinition};

fn cache(dir: &tempfile::TempDir) -> Cache {
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|id| format!("row {id}"))));
    let rows = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
    cache.define_table("t", TableDefinition::new(rows).primary_key(["id"])).unwrap();
    cache
}

/// Whether a statement takes the point path.
fn takes(cache: &Cache, text: &str) -> bool {
    let before = taken::of_thread();
    cache.sql(text, &[]).unwrap().concat().unwrap();
    taken::of_thread() > before
}

#[test]
fn a_statement_takes_it_once_one_like_it_was_planned() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    let like = |id: i64| format!("SELECT name FROM t WHERE id = {id}");
    assert!(!takes(&cache, &like(5)));
    assert!(takes(&cache, &like(6)) && takes(&cache, &like(1000)) && !takes(&cache, &like(-5)));
    let prepared = cache.prepare("SELECT name FROM t WHERE id = $1").unwrap();
    for (times, id) in [(0, 1), (1, 2), (1, 3)] {
        let before = taken::of_thread();
        prepared.execute(&[Value::Int(id)]).unwrap().concat().unwrap();
        assert_eq!(taken::of_thread() - before, times);
    }
    for text in ["SELECT count(*) FROM t", "SELECT COUNT(*) AS n FROM t AS x;"] {
        assert!(!takes(&cache, text) && takes(&cache, text), "{text}");
        cache.table("t").unwrap().delete(7).unwrap();
        cache.table("t").unwrap().delete(8).unwrap();
        assert!(takes(&cache, text));
        let counted = cache.sql(text, &[]).unwrap().concat().unwrap();
        assert_eq!(counted.column(0).as_ref(), &Int64Array::from(vec![98]) as &dyn Array);
    }
    let ordinary = [
        "SELECT name FROM t WHERE id > 5",
        "SELECT name FROM t WHERE name = 'row 5'",
        "SELECT name FROM t WHERE id = 5 ORDER BY id",
        "SELECT name FROM t WHERE id = 5 AND id + 1 > 2",
        "SELECT name FROM t WHERE id = 5 AND name LIKE 'row%'",
        "SELECT id + 1 FROM t WHERE id = 5",
        "SELECT name IS NULL FROM t WHERE id = 5",
        "SELECT upper(name) FROM t WHERE id = 5",
        "SELECT count(*) FROM t WHERE id = 5",
        "SELECT 7 FROM t WHERE id = 5",
        "SELECT count(2) FROM t",
        "SELECT count(name) FROM t",
        "SELECT count(*) FROM t LIMIT 1",
        "SELECT count(*) + 1 FROM t",
        "SELECT count(DISTINCT 1) FROM t",
        "SELECT 1",
        "SELECT name FROM t WHERE id = 5 OFFSET 1",
        "SELECT a.name FROM t a JOIN t b ON a.id = b.id WHERE a.id = 5",
        "SELECT name FROM t WHERE id = 5 -- comment",
        "EXPLAIN SELECT name FROM t WHERE id = 5",
    ];
    for text in ordinary {
        assert!(!takes(&cache, text) && !takes(&cache, text) && !takes(&cache, text), "{text}");
    }
}

#[test]
fn further_conditions_are_those_that_no_row_can_fail() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    let rows = |text: &str| cache.sql(text, &[]).unwrap().concat().unwrap().num_rows();
    for condition in ["name = 'row 5'", "name <> 'row 6' AND name IS NOT NULL", "'row 9' > name"] {
        let of = |id: i64| format!("SELECT id FROM t WHERE id = {id} AND {condition}");
        assert!(!takes(&cache, &of(5)) && takes(&cache, &of(5)), "{condition}");
        assert_eq!(rows(&of(5)), 1, "{condition}");
        assert_eq!(rows(&of(1000)), 0, "{condition}");
    }
    // What is wrong with a value is told also where there is no row, and however often it was right before.
    let dates = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("day", Arc::new(arrow::array::Date32Array::from(vec![1]))),
    ]);
    cache.define_table("d", TableDefinition::new(dates.unwrap()).primary_key(["id"])).unwrap();
    let of = |id: i64, day: &str| format!("SELECT id FROM d WHERE id = {id} AND day >= '{day}'");
    for _ in 0..3 {
        assert_eq!(rows(&of(1, "1970-01-01")), 1);
        assert!(cache.sql(&of(7, "no day"), &[]).and_then(|answer| answer.concat()).is_err());
    }
}

#[test]
fn a_long_expression_takes_no_more_stack_than_it_did() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    let text = format!("SELECT name FROM t WHERE id = 5 AND (id{} > 0)", " + id".repeat(200));
    let prepared = cache.prepare(&text).unwrap();
    let small = std::thread::Builder::new().stack_size(1 << 20).spawn(move || {
        for _ in 0..3 {
            assert_eq!(cache.sql(&text, &[]).unwrap().concat().unwrap().num_rows(), 1);
            assert_eq!(prepared.execute(&[]).unwrap().concat().unwrap().num_rows(), 1);
        }
    });
    small.unwrap().join().unwrap();
}

#[test]
fn many_forms_do_not_pile_up() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    for number in 0..300 {
        let text = format!("SELECT name AS n{number} FROM t WHERE id = 5");
        takes(&cache, &text);
        assert!(takes(&cache, &text), "the newest form is known");
    }
}

#[test]
fn a_cancelled_call_is_not_answered() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    let text = "SELECT name FROM t WHERE id = 5";
    let prepared = cache.prepare(text).unwrap();
    for _ in 0..2 {
        cache.sql(text, &[]).unwrap().concat().unwrap();
        prepared.execute(&[]).unwrap().concat().unwrap();
    }
    let canceller = Canceller::new(None);
    canceller.run(|| {
        assert!(takes(&cache, text));
        canceller.cancel();
        for outcome in [cache.sql(text, &[]), prepared.execute(&[])] {
            assert_eq!(outcome.unwrap_err().code(), ErrorCode::Cancelled);
        }
    });
    assert!(takes(&cache, text));
}

#[test]
fn an_answer_keeps_its_version() {
    let dir = tempfile::tempdir().unwrap();
    let cache = cache(&dir);
    let text = "SELECT name FROM t WHERE id = 5";
    cache.sql(text, &[]).unwrap().concat().unwrap();
    let held = cache.snapshot().unwrap();
    cache.table("t").unwrap().delete(5).unwrap();
    let before = taken::of_thread();
    let newest = cache.sql(text, &[]).unwrap();
    assert_eq!(newest.version(), cache.version().unwrap());
    assert_eq!(newest.concat().unwrap().num_rows(), 0);
    let earlier = held.sql(text, &[]).unwrap();
    assert_eq!((earlier.version(), earlier.freshness().is_some()), (held.version().unwrap(), true));
    let earlier = earlier.concat().unwrap();
    assert_eq!((earlier.num_rows(), taken::of_thread() - before), (1, 2));
}
