//! Random conditions, compared with the same conditions evaluated over plain Rust rows in SQL's three-valued logic.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::model::{assert_rows, batch, compare, rows_of, vals};
use crate::random::Random;
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

/// The position of each column in a row.
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

/// A condition on every key column, so that a query may use the index.
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

/// Evaluates a condition for a row: `None` is SQL's unknown.
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

/// Conditions that name keys, alone and combined with others.
pub fn random_key_conditions(session: &mut Session<'_>) -> Outcome {
    agree(session, key_condition)
}
