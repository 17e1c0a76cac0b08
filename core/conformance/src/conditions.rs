//! Conditions that query planners have handled wrongly: several on one key, long lists, values of other types, and
//! conditions that allow skipping segments.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{assert_rows, batch, compare, numbered, rows_of, vals};
use crate::samples;
use crate::{Outcome, Session};

/// Conditions on a key that contradict, repeat or include each other, in one place and in several.
pub fn several_conditions_on_one_key(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..20))?;
    let cases: [(&str, &[i64]); 14] = [
        ("SELECT id FROM t WHERE id = 1 AND id = 2", &[]),
        ("SELECT id FROM t WHERE id = 1 AND id = 1", &[1]),
        ("SELECT id FROM t WHERE id IN (1, 2, 3) AND id IN (2, 3, 4)", &[2, 3]),
        ("SELECT id FROM t WHERE id IN (1, 2, 2, 1)", &[1, 2]),
        ("SELECT id FROM t WHERE id = 1 OR id = 3 OR id = 99", &[1, 3]),
        ("SELECT id FROM t WHERE id = 5 AND id > 6", &[]),
        ("SELECT id FROM t WHERE id IN (1, 2, 3) AND id <> 2", &[1, 3]),
        ("SELECT id FROM (SELECT id FROM t WHERE id = 1) WHERE id = 2", &[]),
        ("SELECT id FROM (SELECT id FROM t WHERE id IN (1, 2)) WHERE id IN (2, 3)", &[2]),
        (
            "SELECT id FROM (SELECT id FROM t WHERE id IN (1, 2, 3) ORDER BY id LIMIT 2) WHERE id IN (2, 3)",
            &[2],
        ),
        ("WITH one AS (SELECT * FROM t WHERE id = 1) SELECT id FROM one WHERE id IN (1, 2)", &[1]),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id WHERE a.id = 3 AND b.id IN (3, 4)", &[3]),
        ("SELECT a.id FROM t a JOIN t b ON a.id = b.id WHERE a.id = 3 AND b.id = 4", &[]),
        ("SELECT id FROM t WHERE id = 4 AND id IN (SELECT id FROM t WHERE id IN (4, 5))", &[4]),
    ];
    for (text, expected) in cases {
        let expected: Vec<Vec<Value>> = expected.iter().map(|&id| vals![id]).collect();
        let mut found = rows_of(&session.sql(text, &[])?);
        found.sort_by(|a, b| compare(&a[0], &b[0]));
        assert_eq!(found, expected, "{text}");
    }
    Ok(())
}

/// A list of more keys than a lookup takes at once, with present and absent keys.
pub fn a_list_of_thousands_of_keys(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered((0..2000).map(|id| id * 2)))?;
    for count in [999, 1000, 1001, 3000] {
        let list: Vec<String> = (0..count).map(|id: i64| id.to_string()).collect();
        let found =
            session.sql(&format!("SELECT count(*), sum(id) FROM t WHERE id IN ({})", list.join(",")), &[])?;
        let expected = (0..count).filter(|id| id % 2 == 0 && *id < 4000);
        let number = i64::try_from(expected.clone().count())?;
        assert_rows(&found, &[vals![number, expected.sum::<i64>()]]);
    }
    Ok(())
}

/// Values of other types than the key's are compared by value.
pub fn values_of_other_types(session: &mut Session<'_>) -> Outcome {
    let days = (0..10).map(Value::Date).collect();
    let words = (0..10).map(|n: i64| n.to_string().into()).collect();
    let rows = batch(&[
        ("n", DataType::Int32, (0..10).map(Value::Int).collect()),
        ("day", DataType::Date32, days),
        ("word", DataType::Utf8, words),
    ]);
    let conditions: [(&str, &str, &[i64]); 16] = [
        ("n", "n = 3.0", &[3]),
        ("n", "n = 3.5", &[]),
        ("n", "n = 3000000000", &[]),
        ("n", "n IN (3, 4.0, 4.5, 5000000000)", &[3, 4]),
        ("n", "3 = n", &[3]),
        ("n", "n = '3'", &[3]),
        ("n", "n + 1 = 3", &[2]),
        ("n", "-n = -3", &[3]),
        ("n", "CAST(n AS VARCHAR) = '3'", &[3]),
        ("n", "NOT n <> 3", &[3]),
        ("n", "n BETWEEN 3 AND 3", &[3]),
        ("n", "n = 3 OR n IS NULL", &[3]),
        ("day", "day = '1970-01-04'", &[3]),
        ("day", "day = TIMESTAMP '1970-01-04 00:00:00'", &[3]),
        ("day", "day = TIMESTAMP '1970-01-04 12:00:00'", &[]),
        ("word", "word = '3' OR word = 'x'", &[3]),
    ];
    for key in ["n", "day", "word"] {
        session.define_keyed(&format!("by_{key}"), key, rows.clone())?;
    }
    for (key, condition, expected) in conditions {
        let expected: Vec<Vec<Value>> = expected.iter().map(|&n| vals![n]).collect();
        let found = session.sql(&format!("SELECT n FROM by_{key} WHERE {condition} ORDER BY n"), &[])?;
        assert_eq!(rows_of(&found), expected, "{condition}");
    }
    Ok(())
}

/// Comparisons on columns of many types whose segments hold narrow ranges: a skipped segment holds no matching row.
pub fn segments_left_out_hold_no_row(session: &mut Session<'_>) -> Outcome {
    let names = [
        "int8",
        "uint64",
        "float32",
        "utf8_view",
        "binary",
        "date32",
        "time64_nanosecond",
        "timestamp_millisecond_offset",
        "decimal128",
        "boolean",
        "fixed_size_binary",
    ];
    for name in names {
        let column = samples::column(name);
        let data_type = column.array.data_type().clone();
        let mut values = column.values.expect("a type of plain values");
        values.sort_by(compare);
        let rows = |from: usize, part: &[Value]| {
            let numbers = (from..from + part.len()).map(|n| Value::Int(i64::try_from(n).unwrap())).collect();
            batch(&[("n", DataType::Int64, numbers), ("c", data_type.clone(), part.to_vec())])
        };
        let size = values.len().div_ceil(6);
        session.define(name, TableDefinition::new(rows(0, &[])))?;
        for (part, chunk) in values.chunks(size).enumerate() {
            session.append(name, rows(part * size, chunk))?;
        }
        for bound in values.iter().filter(|value| !matches!(value, Value::Null)).step_by(3) {
            type Holds = fn(Ordering) -> bool;
            let operators: [(&str, Holds); 4] = [
                ("=", Ordering::is_eq),
                ("<>", Ordering::is_ne),
                ("<", Ordering::is_lt),
                (">=", Ordering::is_ge),
            ];
            for (operator, holds) in operators {
                let text = format!("SELECT n FROM {name} WHERE c {operator} $1 ORDER BY n");
                let found = rows_of(&session.sql(&text, std::slice::from_ref(bound))?);
                let filled = (0..).zip(&values).filter(|(_, value)| !matches!(value, Value::Null));
                let right = filled.filter(|(_, value)| holds(compare(value, bound)));
                let right: Vec<Vec<Value>> = right.map(|(n, _): (i64, _)| vals![n]).collect();
                assert_eq!(found, right, "{name} {operator} {bound}");
            }
        }
    }
    Ok(())
}
