//! Conditions made at random, against the same conditions evaluated over plain Rust rows in SQL's three-valued logic.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{assert_rows, batch, compare, numbered, rows_of, vals};
use crate::random::Random;
use crate::samples;
use crate::{Outcome, Session};

const SEED: u64 = 0x5EED;
const CONDITIONS: usize = 60;

/// The rows: a key of two columns, and columns with nulls.
fn rows() -> Vec<[Value; 4]> {
    let words = ["", "a", "ab", "b", "ba", "é"];
    let mut rows = Vec::new();
    for a in 0..12_i64 {
        for b in 0..10_i64 {
            let n = a * 31 + b * 17;
            let small: Option<i64> = (n % 7 != 2).then_some(n % 5 - 2);
            let word = (n % 6 != 1).then(|| words[usize::try_from(n % 6).unwrap()]);
            rows.push([a.into(), words[usize::try_from(b % 6).unwrap()].into(), small.into(), word.into()]);
        }
    }
    rows.sort_by(|x, y| compare(&x[0], &y[0]).then(compare(&x[1], &y[1])));
    rows.dedup_by(|x, y| x[0] == y[0] && x[1] == y[1]);
    rows
}

/// Columns by their place in a row.
const COLUMNS: [&str; 4] = ["a", "b", "small", "word"];

#[derive(Clone, Debug)]
enum Condition {
    Compare(usize, &'static str, Value),
    In(usize, Vec<Value>, bool),
    Between(usize, Value, Value),
    IsNull(usize, bool),
    And(Box<Self>, Box<Self>),
    Or(Box<Self>, Box<Self>),
    Not(Box<Self>),
}

fn literal(random: &mut Random, column: usize) -> Value {
    let words = ["", "a", "ab", "b", "ba", "é", "zz"];
    match column {
        _ if random.one_in(20) => Value::Null,
        0 => Value::Int(i64::try_from(random.below(14)).unwrap() - 1),
        2 => Value::Int(i64::try_from(random.below(7)).unwrap() - 3),
        _ => words[random.below(words.len())].into(),
    }
}

fn condition(random: &mut Random, depth: usize) -> Condition {
    let column = random.below(COLUMNS.len());
    match random.below(if depth == 0 { 5 } else { 10 }) {
        0 | 1 => {
            let operator = ["=", "<>", "<", "<=", ">", ">="][random.below(6)];
            Condition::Compare(column, operator, literal(random, column))
        }
        2 => {
            let list = (0..=random.below(4)).map(|_| literal(random, column)).collect();
            Condition::In(column, list, random.one_in(3))
        }
        3 => Condition::Between(column, literal(random, column), literal(random, column)),
        4 => Condition::IsNull(column, random.one_in(2)),
        5..=7 => Condition::And(condition(random, depth - 1).into(), condition(random, depth - 1).into()),
        8 => Condition::Or(condition(random, depth - 1).into(), condition(random, depth - 1).into()),
        _ => Condition::Not(condition(random, depth - 1).into()),
    }
}

/// A condition on every key column, so that it may be answered through the index.
fn key_condition(random: &mut Random) -> Condition {
    let part = |random: &mut Random, column| {
        if random.one_in(2) {
            Condition::Compare(column, "=", literal(random, column))
        } else {
            Condition::In(column, (0..=random.below(4)).map(|_| literal(random, column)).collect(), false)
        }
    };
    let both = Condition::And(part(random, 0).into(), part(random, 1).into());
    match random.below(3) {
        0 => both,
        1 => Condition::And(both.into(), condition(random, 1).into()),
        _ => Condition::And(condition(random, 1).into(), both.into()),
    }
}

/// The text of a condition; values are literals or parameters.
fn write(condition: &Condition, parameters: &mut Option<Vec<Value>>) -> String {
    let mut place = |value: &Value| match (parameters.as_mut(), value) {
        (_, Value::Null) => "NULL".to_owned(),
        (Some(parameters), value) => {
            parameters.push(value.clone());
            format!("${}", parameters.len())
        }
        (None, Value::Str(text)) => format!("'{text}'"),
        (None, value) => value.to_string(),
    };
    match condition {
        Condition::Compare(column, operator, value) => {
            format!("{} {operator} {}", COLUMNS[*column], place(value))
        }
        Condition::In(column, list, negated) => {
            let list: Vec<String> = list.iter().map(place).collect();
            format!("{} {}IN ({})", COLUMNS[*column], if *negated { "NOT " } else { "" }, list.join(", "))
        }
        Condition::Between(column, low, high) => {
            let low = place(low);
            format!("{} BETWEEN {low} AND {}", COLUMNS[*column], place(high))
        }
        Condition::IsNull(column, negated) => {
            format!("{} IS {}NULL", COLUMNS[*column], if *negated { "NOT " } else { "" })
        }
        Condition::And(a, b) => {
            let a = write(a, parameters);
            format!("({a}) AND ({})", write(b, parameters))
        }
        Condition::Or(a, b) => {
            let a = write(a, parameters);
            format!("({a}) OR ({})", write(b, parameters))
        }
        Condition::Not(inner) => format!("NOT ({})", write(inner, parameters)),
    }
}

/// What a condition says of a row: `None` is SQL's unknown.
fn holds(condition: &Condition, row: &[Value; 4]) -> Option<bool> {
    let order = |value: &Value, other: &Value| match (value, other) {
        (Value::Null, _) | (_, Value::Null) => None,
        _ => Some(compare(value, other)),
    };
    let and = |a: Option<bool>, b: Option<bool>| match (a, b) {
        (Some(false), _) | (_, Some(false)) => Some(false),
        (Some(true), Some(true)) => Some(true),
        _ => None,
    };
    let or = |a: Option<bool>, b: Option<bool>| and(a.map(|a| !a), b.map(|b| !b)).map(|neither| !neither);
    match condition {
        Condition::Compare(column, operator, value) => {
            let order = order(&row[*column], value)?;
            Some(match *operator {
                "=" => order.is_eq(),
                "<>" => order.is_ne(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_ge(),
            })
        }
        Condition::In(column, list, negated) => {
            let equal = list.iter().map(|value| order(&row[*column], value).map(Ordering::is_eq));
            equal.fold(Some(false), or).map(|found| found != *negated)
        }
        Condition::Between(column, low, high) => {
            let (low, high) = (order(&row[*column], low), order(&row[*column], high));
            and(low.map(Ordering::is_ge), high.map(Ordering::is_le))
        }
        Condition::IsNull(column, negated) => Some(matches!(row[*column], Value::Null) != *negated),
        Condition::And(a, b) => and(holds(a, row), holds(b, row)),
        Condition::Or(a, b) => or(holds(a, row), holds(b, row)),
        Condition::Not(inner) => holds(inner, row).map(|holds| !holds),
    }
}

fn define(session: &mut Session<'_>) -> Result<Vec<[Value; 4]>, pillion::Error> {
    let rows = rows();
    let part = |part: &[[Value; 4]]| {
        let column = |place: usize| part.iter().map(|row| row[place].clone()).collect();
        batch(&[
            ("a", DataType::Int64, column(0)),
            ("b", DataType::Utf8, column(1)),
            ("small", DataType::Int64, column(2)),
            ("word", DataType::Utf8, column(3)),
        ])
    };
    let parts: Vec<&[[Value; 4]]> = rows.chunks(rows.len() / 3 + 1).collect();
    let definition = TableDefinition::new(part(parts[1])).primary_key(["a", "b"]);
    session.define("t", definition)?;
    session.append("t", part(parts[0]))?;
    session.append("t", part(parts[2]))?;
    Ok(rows)
}

fn agree(session: &mut Session<'_>, mut make: impl FnMut(&mut Random) -> Condition) -> Outcome {
    let rows = define(session)?;
    let mut random = Random(SEED);
    let mut found_some = 0;
    for number in 0..CONDITIONS {
        let condition = make(&mut random);
        let expected: Vec<Vec<Value>> =
            rows.iter().filter(|row| holds(&condition, row) == Some(true)).map(|row| row.to_vec()).collect();
        found_some += usize::from(!expected.is_empty());
        let mut parameters = (number % 2 == 0).then(Vec::new);
        let text = format!(
            "SELECT a, b, small, word FROM t WHERE {} ORDER BY a, b",
            write(&condition, &mut parameters)
        );
        let parameters = parameters.unwrap_or_default();
        let found = session.sql(&text, &parameters).unwrap_or_else(|error| {
            panic!("condition {number} of seed {SEED:#x}: {text} {parameters:?}: {error:?}")
        });
        assert_eq!(rows_of(&found), expected, "condition {number} of seed {SEED:#x}: {text} {parameters:?}");
        let count = format!("SELECT count(*) FROM t WHERE {}", text.split_once("WHERE ").unwrap().1);
        let count = count.replace(" ORDER BY a, b", "");
        assert_rows(&session.sql(&count, &parameters)?, &[vals![i64::try_from(expected.len())?]]);
    }
    assert!(found_some > CONDITIONS / 10, "only {found_some} conditions select rows");
    Ok(())
}

/// Conditions of any kind.
pub fn random_conditions(session: &mut Session<'_>) -> Outcome {
    agree(session, |random| condition(random, 3))
}

/// Conditions that name keys, alone and together with others.
pub fn random_key_conditions(session: &mut Session<'_>) -> Outcome {
    agree(session, key_condition)
}

/// Conditions on a key that contradict, repeat or surround each other, in one place and in several.
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

/// A list of more keys than a lookup takes at once, with keys that are there and keys that are not.
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

/// Values of other types than the key's are compared by what they are worth.
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

/// Comparisons on columns of many types whose segments hold narrow ranges: what is left out unread holds no row.
pub fn segments_left_out_hold_no_row(session: &mut Session<'_>) -> Outcome {
    let names = [
        "int8", "uint64", "float32", "utf8_view", "binary", "date32", "time64_nanosecond", "timestamp_millisecond_offset",
        "decimal128", "boolean", "fixed_size_binary",
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
            let operators: [(&str, fn(Ordering) -> bool); 4] =
                [("=", Ordering::is_eq), ("<>", Ordering::is_ne), ("<", Ordering::is_lt), (">=", Ordering::is_ge)];
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
