//! Joins on a key, answered by a cache and by plain DataFusion: every kind of join, type of key and size of the other side.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch};
use arrow::compute::{cast, kernels::numeric};
use arrow::datatypes::{DataType, Field, Schema, TimeUnit};

use super::oracle::{Answer, Oracle};
use super::rows::Rows;
use super::statements::{Order, Statement};
use super::{Counts, compare};
use crate::{Cache, CacheOptions, TableDefinition};

/// Rows of the large table: lookups are for one row of 64 at most.
const ROWS: i64 = 6_400;
/// Rows of the other side: none, few, as many as are looked up, and too many.
const SMALL: [i64; 5] = [0, 1, 40, 100, 1_000];

/// Rows `(key, value)` with a key of one or two columns.
fn rows(types: &[DataType], pairs: &[(Option<i64>, i64)]) -> RecordBatch {
    let keys: Int64Array = pairs.iter().map(|(key, _)| *key).collect();
    let part = |part: usize, data_type: &DataType| -> ArrayRef {
        let hundred = Int64Array::new_scalar(100);
        let numbers: ArrayRef = match (types.len(), part) {
            (1, _) => Arc::new(keys.clone()),
            (_, 0) => numeric::div(&keys, &hundred).unwrap(),
            _ => numeric::rem(&keys, &hundred).unwrap(),
        };
        // Not all types can be made of numbers at once.
        let between = match data_type {
            DataType::Date32 => DataType::Int32,
            DataType::Utf8View | DataType::Binary => DataType::Utf8,
            other => other.clone(),
        };
        cast(&cast(&numbers, &between).unwrap(), data_type).unwrap()
    };
    let mut columns: Vec<ArrayRef> =
        types.iter().enumerate().map(|(number, data_type)| part(number, data_type)).collect();
    columns.push(Arc::new(Int64Array::from_iter_values(pairs.iter().map(|(_, value)| *value))));
    let mut fields: Vec<Field> = columns[..types.len()]
        .iter()
        .enumerate()
        .map(|(number, column)| Field::new(format!("k{number}"), column.data_type().clone(), true))
        .collect();
    fields.push(Field::new("v", DataType::Int64, false));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap()
}

pub(super) fn table_of(rows: RecordBatch) -> Rows {
    Rows { schema: rows.schema(), rows }
}

/// The numbers of keys looked up, of rows found and of scans that plans show after they ran.
pub(super) fn counts_of(cache: &Cache, text: &str) -> Vec<[usize; 3]> {
    let shown = cache.sql(&format!("EXPLAIN ANALYZE {text}"), &[]).unwrap().concat().unwrap();
    let plan = arrow::util::pretty::pretty_format_batches(&[shown]).unwrap().to_string();
    let count = |line: &str, name: &str| -> usize {
        let (_, rest) = line.split_once(&format!("{name}=")).unwrap_or_else(|| panic!("{name} in {line}"));
        let end = rest.find([',', ']']).unwrap();
        rest[..end].parse().unwrap_or_else(|_| panic!("{name} in {line}"))
    };
    let metrics = |line: &str| line.split_once("metrics=[").unwrap().1.to_owned();
    let joins = plan.lines().filter(|line| line.contains("PillionIndexJoin")).map(metrics);
    joins.map(|line| ["keys", "found", "scans"].map(|name| count(&line, name))).collect()
}

/// A large table in segments and in the log, with replaced and deleted rows, and what it should hold.
pub(super) fn large(cache: &Cache, types: &[DataType], sort_by: &[&str]) -> RecordBatch {
    let all: Vec<_> = (0..ROWS).map(|key| (Some(key), key * 2)).collect();
    let key: Vec<String> = (0..types.len()).map(|number| format!("k{number}")).collect();
    let definition = TableDefinition::new(rows(types, &all)).primary_key(key);
    let definition =
        if sort_by.is_empty() { definition } else { definition.sort_by(sort_by.iter().copied()) };
    let table = cache.define_table("b", definition).unwrap();
    if !sort_by.is_empty() {
        // Rows in the log would have no order.
        return rows(types, &all);
    }
    let replaced = |key: i64| key % 11 == 0;
    let new: Vec<_> = (0..ROWS).filter(|key| replaced(*key)).map(|key| (Some(key), key + 100_000)).collect();
    table.upsert(rows(types, &new)).unwrap();
    cache.execute("DELETE FROM b WHERE v % 14 = 0", &[]).unwrap();
    let now = all.into_iter().filter(|(key, _)| !replaced(key.unwrap())).chain(new);
    rows(types, &now.filter(|(_, value)| value % 14 != 0).collect::<Vec<_>>())
}

/// The other side: keys that are there, absent, given twice, and null.
pub(super) fn small(types: &[DataType], len: i64) -> RecordBatch {
    let pairs = (0..len).map(|row| ((row % 9 != 8).then_some(row * 13 % (ROWS + 500) / 2 * 2), row));
    rows(types, &pairs.collect::<Vec<_>>())
}

pub(super) fn statements(types: &[DataType]) -> Vec<String> {
    let on: Vec<String> = (0..types.len()).map(|number| format!("s.k{number} = b.k{number}")).collect();
    let on = on.join(" AND ");
    let mut texts = Vec::new();
    for kind in ["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"] {
        texts.push(format!("SELECT s.k0, s.v AS sv, b.v AS bv, b.k0 AS bk FROM s {kind} b ON {on}"));
        texts.push(format!("SELECT s.v AS sv, b.v AS bv FROM s {kind} b ON {on} AND s.v < b.v"));
        texts.push(format!("SELECT s.v AS sv, b.v AS bv FROM s {kind} b ON {on} WHERE b.v % 3 <> 0"));
    }
    for kind in ["LEFT SEMI JOIN", "LEFT ANTI JOIN"] {
        texts.push(format!("SELECT s.* FROM s {kind} b ON {on}"));
        texts.push(format!(
            "SELECT s.* FROM s {kind} (SELECT * FROM b WHERE v < 3000) b ON {on} AND s.v < b.v"
        ));
    }
    for kind in ["RIGHT SEMI JOIN", "RIGHT ANTI JOIN"] {
        texts.push(format!("SELECT b.* FROM s {kind} b ON {on}"));
    }
    texts.push(format!("SELECT s.v FROM s WHERE s.v < 7 OR EXISTS (SELECT 1 FROM b WHERE {on})"));
    texts.push("SELECT k0, v FROM s WHERE k0 NOT IN (SELECT k0 FROM b)".to_owned());
    texts.push("SELECT k0, v FROM b WHERE k0 IN (SELECT k0 FROM s)".to_owned());
    texts.push("SELECT k0, v FROM b WHERE k0 NOT IN (SELECT k0 FROM s WHERE k0 IS NOT NULL)".to_owned());
    texts.push(format!("SELECT b.k0, count(*) AS n, sum(s.v) AS t FROM s JOIN b ON {on} GROUP BY b.k0"));
    if types == [DataType::Int64] {
        // Each step decides anew.
        texts.push(
            "WITH RECURSIVE r(k) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT b.v + 1 FROM r JOIN b ON r.k = b.k0) SELECT k FROM r"
                .to_owned(),
        );
    }
    texts.push(format!("SELECT a.v, s.v AS sv FROM s JOIN b ON {on} JOIN b a ON a.v = b.v AND a.k0 = s.k0"));
    texts
}

#[test]
fn joins_on_keys_are_answered_as_by_plain_datafusion() {
    let (mut counts, mut failures) = (Counts::default(), Vec::new());
    let keys: [&[DataType]; 8] = [
        &[DataType::Int64],
        &[DataType::Int32],
        &[DataType::Utf8],
        &[DataType::Utf8View],
        &[DataType::Binary],
        &[DataType::Date32],
        &[DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))],
        &[DataType::Int16, DataType::Utf8],
    ];
    for (number, types) in keys.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let cache = CacheOptions::new().query_threads(1 + number % 3).open(dir.path()).unwrap();
        let b = table_of(large(&cache, types, &[]));
        // Of the other types, few rows only.
        let sizes = if matches!(number, 0 | 7) { &SMALL[..] } else { &SMALL[2..3] };
        for &len in sizes {
            let s = table_of(small(types, len));
            if cache.table("s").is_ok() {
                cache.drop_table("s").unwrap();
            }
            cache.define_table("s", TableDefinition::new(s.rows.clone())).unwrap();
            let oracle = Oracle::new(&[("s", &s), ("b", &b)]);
            for text in statements(types) {
                let statement = Statement { text, order: None };
                if let Err(failure) = compare(&cache, &oracle, &statement, &mut counts) {
                    failures.push(format!("{types:?}, {len} rows: {}\n{failure}", statement.text));
                }
            }
        }
        cache.close().unwrap();
    }
    assert!(failures.is_empty(), "{} failures: {}", failures.len(), failures.join("\n\n"));
    assert_eq!(counts.equal, (2 * 5 + 6) * 24 + 5, "{counts:?}");
}

#[test]
fn few_keys_are_looked_up_and_many_are_not() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(2).open(dir.path()).unwrap();
    large(&cache, &[DataType::Int64], &[]);
    cache.define_table("s", TableDefinition::new(small(&[DataType::Int64], 1_000))).unwrap();
    let text = |below: i64| {
        format!("SELECT s.v, b.v FROM (SELECT * FROM s WHERE v % 1000 < {below}) s JOIN b ON s.k0 = b.k0")
    };
    // 45 of 50 keys are not null; some rows were deleted.
    let [[keys, found, scans]] = counts_of(&cache, &text(50))[..] else { panic!("no index join") };
    assert_eq!((keys, scans), (45, 0));
    assert!(found > 20 && found < 45, "{found}");
    // Nobody can know before how many rows pass the condition; here too many do.
    assert_eq!(counts_of(&cache, &text(500)), [[0, 0, 1]]);
    // A key is looked up once, however often it is given.
    let twice = "SELECT count(*) FROM (SELECT * FROM s WHERE v < 8 UNION ALL SELECT * FROM s WHERE v < 8) s JOIN b ON s.k0 = b.k0";
    assert_eq!(counts_of(&cache, twice)[0][0], 8);
    // Rows of the table that match nothing must come, so it is scanned.
    let all = "SELECT count(*) FROM b LEFT JOIN (SELECT * FROM s WHERE v < 8) s ON s.k0 = b.k0";
    assert_eq!(counts_of(&cache, all), Vec::<[usize; 3]>::new());
    // So that a column is no key.
    let other = "SELECT count(*) FROM (SELECT * FROM s WHERE v < 8) s JOIN b ON s.k0 = b.v";
    assert_eq!(counts_of(&cache, other), Vec::<[usize; 3]>::new());
    // A prepared statement decides at each run.
    let prepared = cache.prepare(&text(0).replace("< 0", "< $1")).unwrap();
    for below in [3_i64, 700, 3] {
        let rows: usize = prepared
            .execute(&[below.into()])
            .unwrap()
            .collect_all()
            .unwrap()
            .iter()
            .map(RecordBatch::num_rows)
            .sum();
        let expected = cache.sql(&text(below), &[]).unwrap().collect_all().unwrap();
        assert_eq!(rows, expected.iter().map(RecordBatch::num_rows).sum::<usize>());
    }
    cache.close().unwrap();
}

#[test]
fn rows_that_are_looked_up_come_in_the_order_of_the_table() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_threads(1).open(dir.path()).unwrap();
    let types = [DataType::Int64];
    let b = table_of(large(&cache, &types, &["v"]));
    let s = table_of(small(&types, 90));
    cache.define_table("s", TableDefinition::new(s.rows.clone())).unwrap();
    let oracle = Oracle::new(&[("s", &s), ("b", &b)]);
    let text = "SELECT b.v, s.v AS sv FROM (SELECT * FROM s WHERE v % 100 >= 0) s JOIN b ON s.k0 = b.k0";
    let columns = vec![("v".to_owned(), ""), ("sv".to_owned(), "")];
    let order = Some(Order { columns, offset: 0, limit: 1_000 });
    let statement = Statement { text: text.to_owned(), order };
    compare(&cache, &oracle, &statement, &mut Counts::default()).unwrap();
    let batches = cache.sql(&format!("{text} ORDER BY b.v"), &[]).unwrap();
    let schema = batches.schema().clone();
    let answer = Answer::new(&schema, &batches.collect_all().unwrap());
    let values: Vec<i64> = answer.rows.iter().map(|row| row[0].parse().unwrap()).collect();
    assert!(values.len() > 60 && values.is_sorted(), "{values:?}");
    assert_eq!(counts_of(&cache, &format!("{text} ORDER BY b.v"))[0][2], 0);
    cache.close().unwrap();
}
