//! Statements for which DataFusion offers a scan conditions that do not hold there, with answers written by hand.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};

use super::oracle::Answer;
use crate::{Cache, CacheOptions, TableDefinition};

/// The name of a column, and its value in each row.
type Column<'a> = (&'a str, &'a dyn Fn(i64) -> Option<i64>);

/// A table of whole numbers, some of which may be missing.
fn rows(columns: &[Column<'_>], range: std::ops::Range<i64>) -> RecordBatch {
    let columns = columns.iter().map(|(name, value)| {
        let values: ArrayRef = Arc::new(range.clone().map(value).collect::<Int64Array>());
        (*name, values, true)
    });
    RecordBatch::try_from_iter_with_nullable(columns).unwrap()
}

/// Answers a statement by the cache and in contexts of DataFusion with and without our rules; all with some threads.
fn check(define: &dyn Fn(&Cache), cases: &[(&str, &[&[i64]])]) {
    for threads in [1, 3] {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheOptions::new().query_threads(threads).open(dir.path()).unwrap();
        define(&cache);
        for (text, expected) in cases {
            let expected: Vec<Vec<String>> =
                expected.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
            let batches = cache.sql(text, &[]).unwrap();
            let schema = batches.schema().clone();
            let found = Answer::new(&schema, &batches.collect_all().unwrap());
            assert_eq!(found.rows, expected, "{threads} threads: {text}");
            #[cfg(feature = "datafusion")]
            for (name, found) in super::foreign::answers(&cache, threads, text) {
                assert_eq!(found.rows, expected, "{threads} threads in a context {name}: {text}");
            }
        }
        cache.close().unwrap();
    }
}

#[test]
fn smallest_and_largest_values_of_several_columns_are_found_together() {
    let define = |cache: &Cache| {
        let part = |range| {
            let columns: [Column<'_>; 3] =
                [("id", &Some), ("v", &Some), ("n", &|id| (id >= 25_000).then_some(id % 100))];
            rows(&columns, range)
        };
        let table = cache.define_table("t", TableDefinition::new(part(0..10_000))).unwrap();
        for start in [10_000, 20_000, 30_000] {
            table.append(part(start..start + 10_000)).unwrap();
            // The last rows stay in the log, so that no answer comes from bounds.
            if start < 30_000 {
                cache.compact().unwrap();
            }
        }
    };
    check(
        &define,
        &[
            ("SELECT min(id), max(v + 1) FROM t", &[&[0, 40_000]]),
            ("SELECT min(id), max(n) FROM t", &[&[0, 99]]),
            ("SELECT max(n), min(id) FROM t", &[&[99, 0]]),
            ("SELECT min(n), max(n) FROM t", &[&[0, 99]]),
            ("SELECT max(id), min(v - 1), count(n) FROM t", &[&[39_999, -1, 15_000]]),
        ],
    );
}

#[test]
fn columns_of_the_same_name_are_not_confused() {
    let define = |cache: &Cache| {
        let define = |name: &str, columns: &[Column<'_>], count| {
            cache.define_table(name, TableDefinition::new(rows(columns, 0..count))).unwrap();
        };
        define("orders", &[("id", &Some), ("amount", &|id| Some(1_000_000 + id))], 40_000);
        define("payments", &[("id", &Some), ("amount", &|id| Some(20_000 - id))], 20_000);
        define("customers", &[("id", &Some)], 500);
        define("a", &[("id", &|row| Some(10_000 + row)), ("ty", &|row| Some(row % 50))], 3_000);
        define("b", &[("id", &Some)], 50);
        define("s", &[("id", &|_| Some(7))], 1);
    };
    check(
        &define,
        &[
            (
                "SELECT o.amount, p.amount FROM orders o JOIN payments p ON o.id = p.id JOIN customers c ON p.id = c.id ORDER BY p.amount LIMIT 1",
                &[&[1_000_499, 19_501]],
            ),
            (
                "SELECT s.id, x.aid FROM s JOIN (SELECT a.id AS aid, b.id AS bid FROM a LEFT JOIN b ON a.ty = b.id) x ON s.id = x.bid ORDER BY x.aid LIMIT 2",
                &[&[7, 10_007], &[7, 10_057]],
            ),
            (
                "SELECT count(*) FROM s JOIN (SELECT a.id AS aid, b.id AS bid FROM a LEFT JOIN b ON a.ty = b.id) x ON s.id = x.bid",
                &[&[60]],
            ),
            // Columns that change their places and names.
            (
                "SELECT x.id, x.ty FROM (SELECT ty AS id, id AS ty FROM a) x JOIN s ON s.id = x.id ORDER BY x.ty LIMIT 1",
                &[&[7, 10_007]],
            ),
            (
                "SELECT id, ty FROM (SELECT ty AS id, id AS ty FROM a WHERE id <> 10000) x ORDER BY ty LIMIT 1",
                &[&[1, 10_001]],
            ),
        ],
    );
}

#[test]
fn rows_that_a_limit_counts_are_not_left_out_below_it() {
    let define = |cache: &Cache| {
        let columns: [Column<'_>; 2] = [("id", &Some), ("v", &|id| Some(id % 10))];
        let definition = TableDefinition::new(rows(&columns, 1..5_001)).primary_key(["id"]).sort_by(["id"]);
        cache.define_table("t", definition).unwrap();
    };
    let first = "(SELECT id, v FROM t WHERE v > 3 ORDER BY id LIMIT 10) x ON x.id = s.k";
    let of = |key: i64| format!("SELECT * FROM (VALUES (CAST({key} AS BIGINT))) s(k) JOIN {first}");
    let (absent, there) = (of(500), of(14));
    let twice = "SELECT count(*) FROM (SELECT id FROM t WHERE v > 3 LIMIT 10) x";
    check(&define, &[(&absent, &[]), (&there, &[&[14, 14, 4]]), (twice, &[&[10]])]);
}
