//! Floats are stored in an order in which -0.0 is below 0.0, but SQL treats both as one value.

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{batch, compare, rows_of, vals};
use crate::{Outcome, Session};

/// Numbers `g`, each once with either zero in `f`; `v` counts up.
fn both_zeros(groups: i64) -> arrow::array::RecordBatch {
    let zero = |row: i64| Value::Float(if row % 2 == 0 { 0.0 } else { -0.0 });
    let rows = 0..2 * groups;
    batch(&[
        ("f", DataType::Float64, rows.clone().map(zero).collect()),
        ("g", DataType::Int64, rows.clone().map(|row| Value::Int(row / 2)).collect()),
        ("v", DataType::Int64, rows.map(Value::Int).collect()),
    ])
}

/// Rows sorted by a float are not sorted by the columns after it.
pub fn groups_of_sorted_zeros(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(both_zeros(20_000)).sort_by(["f", "g"]))?;
    for text in [
        "SELECT count(*), min(n), max(n) FROM (SELECT f, g, count(*) AS n FROM t GROUP BY f, g)",
        "SELECT count(*), 2, 1 + 1 FROM (SELECT DISTINCT f, g FROM t)",
        "SELECT count(*), min(n), max(n) FROM (SELECT g, count(*) AS n FROM t WHERE f = 0 GROUP BY g)",
        "SELECT count(*), min(n), max(n) FROM (SELECT a.g, count(*) AS n FROM t a JOIN t b ON a.f = b.f AND a.g = b.g WHERE a.v % 2 = 0 GROUP BY a.g)",
    ] {
        assert_eq!(rows_of(&session.sql(text, &[])?), [vals![20_000, 2, 2]], "{text}");
    }
    Ok(())
}

/// Two keys may be one value in SQL.
pub fn keys_of_both_zeros(session: &mut Session<'_>) -> Outcome {
    let keys: Vec<Value> = [-0.0, 0.0, 1.0].map(Value::Float).to_vec();
    session.define_keyed("t", "f", batch(&[("f", DataType::Float64, keys)]))?;
    let rows = rows_of(&session.sql("SELECT DISTINCT f FROM t", &[])?);
    assert_eq!(rows.len(), 2, "{rows:?}");
    let rows = rows_of(&session.sql("SELECT f, count(*) AS n FROM t GROUP BY f ORDER BY n", &[])?);
    assert_eq!(rows.len(), 2, "{rows:?}");
    assert_eq!(rows[1][1], Value::Int(2));
    for (condition, count) in [
        ("f = 0.0 AND f = -0.0", 2),
        ("f IN (-0.0)", 2),
        ("f IN (-0.0, 3, 4, 5, 6)", 2),
        ("f NOT IN (0.0, 3, 4, 5, 6)", 1),
        ("f BETWEEN 0.0 AND 0.5", 2),
        ("f < 0.0", 0),
        ("f IS NOT DISTINCT FROM -0.0", 2),
    ] {
        let rows = rows_of(&session.sql(&format!("SELECT count(*) FROM t WHERE {condition}"), &[])?);
        assert_eq!(rows, [vals![count]], "{condition}");
        let rows = rows_of(&session.sql(&format!("SELECT count(*) FILTER (WHERE {condition}) FROM t"), &[])?);
        assert_eq!(rows, [vals![count]], "{condition} as an expression");
    }
    Ok(())
}

/// A sort with a limit finds the first rows of the whole sort.
pub fn first_rows_of_sorted_zeros(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(both_zeros(4000)))?;
    let all = rows_of(&session.sql("SELECT f, v FROM t ORDER BY f, v", &[])?);
    let descending = rows_of(&session.sql("SELECT f, v FROM t ORDER BY f DESC, v", &[])?);
    assert!(all.is_sorted_by(|a, b| compare(&a[0], &b[0]).then(compare(&a[1], &b[1])).is_le()));
    for (offset, limit) in [(0, 4), (10, 4), (3998, 4), (7990, 20), (7998, 4)] {
        for (direction, sorted) in [("", &all), (" DESC", &descending)] {
            let text = format!("SELECT f, v FROM t ORDER BY f{direction}, v OFFSET {offset} LIMIT {limit}");
            let expected = &sorted[offset..sorted.len().min(offset + limit)];
            assert_eq!(rows_of(&session.sql(&text, &[])?), expected, "{text}");
        }
    }
    Ok(())
}

/// Distinct floats in order, with a limit.
pub fn first_of_distinct_zeros(session: &mut Session<'_>) -> Outcome {
    let floats = [-0.0, 0.0, f64::NAN, -1.0, 2.0, f64::INFINITY, -f64::NAN];
    let values = (0..700).map(|row| Value::Float(floats[row % floats.len()])).collect();
    session.define("t", TableDefinition::new(batch(&[("f", DataType::Float64, values)])))?;
    for direction in ["", " DESC", " NULLS FIRST"] {
        let text = format!("SELECT DISTINCT f FROM t ORDER BY f{direction}");
        let all = rows_of(&session.sql(&text, &[])?);
        assert_eq!(all.len(), 6, "{all:?}");
        for limit in 1..=7 {
            let found = rows_of(&session.sql(&format!("{text} LIMIT {limit}"), &[])?);
            let equal = |(a, b): (&Vec<Value>, &Vec<Value>)| match (&a[0], &b[0]) {
                (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits() || a == b,
                _ => false,
            };
            assert_eq!(found.len(), all.len().min(limit), "{text} LIMIT {limit}");
            assert!(found.iter().zip(&all).all(equal), "{text} LIMIT {limit}: {found:?} of {all:?}");
        }
    }
    Ok(())
}
