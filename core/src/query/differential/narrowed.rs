//! Conditions that are found out while a query runs leave out batches and rows, and no answer changes.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use self::LeavesOut::{Nothing, Perhaps, Something};
use super::oracle::Oracle;
use super::rows::Rows;
use super::statements::{Order, Statement};
use super::{Counts, compare};
use crate::{Cache, CacheOptions, TableDefinition};

/// Rows of each of the segments.
const SEGMENT_ROWS: i64 = 2_000;
const SEGMENTS: i64 = 5;

/// Rows with nulls, a text, and a float whose zeros have both signs.
fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let id: ArrayRef = Arc::new(Int64Array::from_iter_values(ids.clone()));
    let n: ArrayRef = Arc::new(Int64Array::from_iter(ids.clone().map(|id| (id % 7 != 0).then_some(id / 2))));
    let name: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("{id:06}"))));
    let f: ArrayRef = Arc::new(Float64Array::from_iter_values(ids.map(|id| match id % 3 {
        0 => 0.0,
        1 => -0.0,
        _ => id as f64,
    })));
    RecordBatch::try_from_iter_with_nullable([
        ("id", id, false),
        ("n", n, true),
        ("name", name, false),
        ("f", f, false),
    ])
    .unwrap()
}

/// A table in several segments and the log.
fn open(threads: usize, key: &[&str]) -> (tempfile::TempDir, Cache, Rows) {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(threads).open(dir.path()).unwrap();
    let first = rows(0..SEGMENT_ROWS);
    let mut model = Rows { schema: first.schema(), rows: first.clone() };
    let table =
        cache.define_table("t", TableDefinition::new(first).primary_key(key.iter().copied())).unwrap();
    for number in 1..=SEGMENTS {
        let more = rows(number * SEGMENT_ROWS..(number + 1) * SEGMENT_ROWS);
        model.append(&more);
        table.append(more).unwrap();
        if number < SEGMENTS {
            cache.compact().unwrap();
        }
    }
    (dir, cache, model)
}

/// Whether plans show after they ran that the scan of `t` left out batches, and rows.
fn left_out(cache: &Cache, text: &str) -> (bool, bool) {
    let shown = cache.sql(&format!("EXPLAIN ANALYZE {text}"), &[]).unwrap().concat().unwrap();
    let plan = arrow::util::pretty::pretty_format_batches(&[shown]).unwrap().to_string();
    let plan: String = plan.lines().filter(|line| line.contains("PillionScan: table=t,")).collect();
    // Counts come with units: 2.00 K.
    let is_some = |name: &str| {
        let name = format!("{name}=");
        plan.match_indices(&name).any(|(at, found)| {
            !plan[at + found.len()..].starts_with("0,") && !plan[at + found.len()..].starts_with("0]")
        })
    };
    (is_some("batches_left_out"), is_some("rows_left_out"))
}

/// What a statement must do to the scan of `t`, if anything.
#[derive(Clone, Copy)]
enum LeavesOut {
    Something,
    Nothing,
    /// As it happens.
    Perhaps,
}

/// Threads decide which part of a table is read first, so that only one leaves out what it must.
fn check(leaves_out: LeavesOut, threads: usize, (is_needed, is_any): (bool, bool), text: &str) {
    match leaves_out {
        Something => assert!(is_needed || threads > 1, "{text}"),
        Nothing => assert!(!is_any, "{threads} threads: {text}"),
        Perhaps => {}
    }
}

#[test]
fn first_rows_leave_out_the_batches_that_come_later() {
    for threads in [1, 3] {
        first_rows(threads);
    }
}

fn first_rows(threads: usize) {
    let (_dir, cache, model) = open(threads, &[]);
    let oracle = Oracle::new(&[("t", &model)]);
    type Columns = &'static [(&'static str, &'static str)];
    let cases: [(&str, Columns, LeavesOut); 7] = [
        ("id, name", &[("id", "")], Something),
        ("name, id", &[("name", "")], Something),
        ("n, id", &[("n", ""), ("id", "")], Something),
        ("n, id", &[("n", " NULLS FIRST"), ("id", "")], Perhaps),
        ("n, id", &[("n", " DESC"), ("id", "")], Perhaps),
        ("id, name", &[("id", " DESC")], Perhaps),
        // Both zeros are equal to a condition, and not to a sort.
        ("f, id", &[("f", ""), ("id", "")], Nothing),
    ];
    for (columns, order, leaves_out) in cases {
        let text = format!("SELECT {columns} FROM t");
        let order = order.iter().map(|(name, direction)| ((*name).to_owned(), *direction)).collect();
        let order = Some(Order { columns: order, offset: 2, limit: 5 });
        let statement = Statement { text, order };
        compare(&cache, &oracle, &statement, &mut Counts::default()).unwrap();
        let (batches, rows) = left_out(&cache, &statement.whole());
        check(leaves_out, threads, (batches, batches || rows), &statement.whole());
    }
    cache.close().unwrap();
}

#[test]
fn a_join_leaves_out_the_batches_and_rows_without_its_keys() {
    for threads in [1, 3] {
        joined(threads);
    }
}

fn joined(threads: usize) {
    let (_dir, cache, model) = open(threads, &[]);
    let few = |ids: &[i64]| {
        let ids: ArrayRef = Arc::new(Int64Array::from(ids.to_vec()));
        let name: ArrayRef = Arc::new(Float64Array::from(vec![0.0; ids.len()]));
        RecordBatch::try_from_iter([("k", ids), ("z", name)]).unwrap()
    };
    let s = few(&[2_500, 2_501, 2_777, 3_999, 1_000_000]);
    let s = Rows { schema: s.schema(), rows: s };
    cache.define_table("s", TableDefinition::new(s.rows.clone())).unwrap();
    let oracle = Oracle::new(&[("t", &model), ("s", &s)]);
    let cases = [
        ("SELECT s.k, t.name FROM s JOIN t ON s.k = t.id", Something),
        ("SELECT s.k, t.name FROM s JOIN t ON s.k = t.n", Something),
        ("SELECT s.k, t.name FROM s LEFT JOIN t ON s.k = t.id", Something),
        ("SELECT s.k, t.name FROM s FULL JOIN t ON s.k = t.id", Nothing),
        ("SELECT t.name FROM t WHERE id IN (SELECT k FROM s)", Something),
        ("SELECT t.name FROM t WHERE id NOT IN (SELECT k FROM s)", Nothing),
        ("SELECT t.name FROM s RIGHT ANTI JOIN t ON s.k = t.id", Nothing),
        ("SELECT s.k, t.n FROM s JOIN t ON s.k IS NOT DISTINCT FROM t.n", Nothing),
        // 0.0 matches -0.0, but not its bits.
        ("SELECT t.id FROM s JOIN t ON s.z = t.f WHERE s.k = 2500", Nothing),
        ("SELECT t.id FROM (SELECT * FROM s WHERE k < 0) s JOIN t ON s.k = t.id", Perhaps),
    ];
    for (text, leaves_out) in cases {
        let statement = Statement { text: text.to_owned(), order: None };
        compare(&cache, &oracle, &statement, &mut Counts::default()).unwrap();
        let (batches, rows) = left_out(&cache, text);
        check(leaves_out, threads, (batches && rows, batches || rows), text);
    }
    // What a run found out is not there for the next one.
    let prepared = cache.prepare("SELECT t.id FROM s JOIN t ON s.k = t.id WHERE s.k = $1").unwrap();
    for key in [2_500_i64, 3_999, 2_777] {
        let found = prepared.execute(&[key.into()]).unwrap().concat().unwrap();
        assert_eq!(found.num_rows(), 1, "{key}");
    }
    cache.close().unwrap();
}

/// `count`, `min` and `max` of whole parts are known, and rows are read only where something else is asked.
#[test]
fn bounds_answer_without_a_scan_where_they_are_exact() {
    let (_dir, cache, _) = open(1, &["id"]);
    let reads = |text: &str| {
        let plan = cache.sql(&format!("EXPLAIN {text}"), &[]).unwrap().concat().unwrap();
        arrow::util::pretty::pretty_format_batches(&[plan]).unwrap().to_string().contains("PillionScan")
    };
    let first = |text: &str| {
        let row = cache.sql(text, &[]).unwrap().concat().unwrap();
        let column = arrow::array::AsArray::as_primitive::<arrow::datatypes::Int64Type>(row.column(0));
        column.value(0)
    };
    let (all, bounds) = ("SELECT count(*) FROM t", "SELECT max(id), min(id), max(name), count(n) FROM t");
    // The last rows are in the log, whose bounds nobody knows; how many there are is known.
    assert_eq!((reads(all), first(all)), (false, (SEGMENTS + 1) * SEGMENT_ROWS));
    assert_eq!((reads(bounds), first(bounds)), (true, (SEGMENTS + 1) * SEGMENT_ROWS - 1));
    cache.compact().unwrap();
    assert_eq!((reads(bounds), first(bounds)), (false, (SEGMENTS + 1) * SEGMENT_ROWS - 1));
    // The bounds of the float are those of bits: which zero comes is left open, so they are not taken.
    assert!(reads("SELECT min(f) FROM t"));
    assert!(reads("SELECT count(*) FROM t WHERE id > 5"), "a condition");
    // The largest row goes: its part still has it as its bound, which no longer counts.
    cache.execute("DELETE FROM t WHERE id >= 11990", &[]).unwrap();
    assert_eq!((reads(all), first(all)), (false, 11_990));
    assert_eq!((reads(bounds), first(bounds)), (true, 11_989));
    // A limit without a condition reads no more parts than it needs.
    let limited = cache.sql("EXPLAIN SELECT id FROM t LIMIT 3", &[]).unwrap().concat().unwrap();
    let limited = arrow::util::pretty::pretty_format_batches(&[limited]).unwrap().to_string();
    assert!(limited.contains("PillionScan"), "{limited}");
    cache.close().unwrap();
}
