//! Ranges of the column by which a table is sorted: the answer has every row of the range and no other.

use std::cmp::Ordering;

use arrow::datatypes::DataType;
use pillion::{TableDefinition, Value};

use crate::arrays;
use crate::model::{batch, compare, rows_of, same, vals};
use crate::random::Random;
use crate::samples::{self, Keys};
use crate::{Outcome, Session};

const SEED: u64 = 0x50_27ED;
/// How many conditions are tried on a type.
const CONDITIONS: usize = 12;
/// How many rows have each value.
const REPEATS: i64 = 3;

macro_rules! sorted_ranges {
    ($($name:ident)+) => {
        $(
            #[doc = concat!("Ranges of a sorted column of the type `", stringify!($name), "`.")]
            pub fn $name(session: &mut Session<'_>) -> Outcome {
                ranges_agree(session, samples::keys(stringify!($name)))
            }
        )+
    };
}

sorted_ranges! {
    boolean
    int8 int16 int32 int64
    uint8 uint16 uint32 uint64
    utf8 large_utf8 utf8_view
    binary large_binary binary_view fixed_size_binary
    date32 date64
    time32_second time32_millisecond time64_microsecond time64_nanosecond
    timestamp_second timestamp_millisecond timestamp_microsecond timestamp_nanosecond
    timestamp_second_utc timestamp_millisecond_offset timestamp_microsecond_utc timestamp_nanosecond_zone
    decimal32 decimal64 decimal128 decimal128_whole decimal128_negative_scale
}

/// A comparison of the column `k` or `m` with a value.
type Comparison<'a> = (&'static str, &'static str, &'a Value);

const OPERATORS: [&str; 5] = [">", ">=", "<", "<=", "="];

/// Ranges with present, absent and null bounds, over a sorted load, a sorted append that overlaps it, and an append of
/// nulls only.
fn ranges_agree(session: &mut Session<'_>, keys: Keys) -> Outcome {
    let Keys { data_type, present, absent } = keys;
    let mut random = Random(SEED);
    let mut rows = Vec::new();
    let mut part = |values: &[Value]| {
        let mut part = Vec::new();
        for value in values {
            for m in 0..REPEATS {
                part.push([value.clone(), Value::Int(m), Value::Int(i64::try_from(rows.len()).unwrap())]);
                rows.push(part[part.len() - 1].clone());
            }
        }
        random.shuffle(&mut part);
        let column = |number: usize| part.iter().map(|row: &[Value; 3]| row[number].clone()).collect();
        batch(&[
            ("k", data_type.clone(), column(0)),
            ("m", DataType::Int64, column(1)),
            ("n", DataType::Int64, column(2)),
        ])
    };
    let with_null = [present.as_slice(), &[Value::Null]].concat();
    let parts = [part(&with_null), part(&with_null[..with_null.len() / 2 + 1]), part(&[Value::Null])];
    session.define("t", TableDefinition::new(parts[0].clone()).sort_by(["k", "m"]))?;
    session.append("t", parts[1].clone())?;
    session.append("t", parts[2].clone())?;

    let bounds = [present, absent].concat();
    for _ in 0..CONDITIONS {
        let (a, b) = (&bounds[random.below(bounds.len())], &bounds[random.below(bounds.len())]);
        let (small, large) = if compare(a, b) == Ordering::Greater { (b, a) } else { (a, b) };
        let m = Value::Int(i64::try_from(random.below(5)).unwrap() - 1);
        let lower = OPERATORS[random.below(2)];
        let upper = OPERATORS[2 + random.below(2)];
        let conditions: [Vec<Comparison<'_>>; 5] = [
            vec![("k", lower, small), ("k", upper, large)],
            vec![("k", upper, small), ("k", lower, large)],
            vec![("k", OPERATORS[random.below(5)], a)],
            vec![("k", "=", a), ("m", OPERATORS[random.below(5)], &m)],
            vec![("k", ">=", small), ("k", "<=", large), ("m", OPERATORS[random.below(5)], &m)],
        ];
        check(session, &rows, &conditions[random.below(conditions.len())])?;
    }
    check(session, &rows, &[("k", ">=", &Value::Null)])?;
    Ok(())
}

/// Compares the rows that a query with all of `conditions` returns with those that satisfy them by plain comparison.
fn check(session: &mut Session<'_>, rows: &[[Value; 3]], conditions: &[Comparison<'_>]) -> Outcome {
    let text: Vec<String> = conditions
        .iter()
        .enumerate()
        .map(|(number, (column, operator, _))| format!("{column} {operator} ${}", number + 1))
        .collect();
    let text = format!("SELECT n FROM t WHERE {} ORDER BY n", text.join(" AND "));
    let values: Vec<Value> = conditions.iter().map(|(_, _, value)| (*value).clone()).collect();
    let found: Vec<Value> = arrays::values(session.sql(&text, &values)?.column(0));
    let expected: Vec<Value> = rows
        .iter()
        .filter(|row| conditions.iter().all(|condition| holds(row, condition)))
        .map(|row| row[2].clone())
        .collect();
    assert_eq!(found, expected, "{text} with {values:?}");
    Ok(())
}

fn holds(row: &[Value; 3], (column, operator, value): &Comparison<'_>) -> bool {
    let held = &row[usize::from(*column == "m")];
    if matches!(held, Value::Null) || matches!(value, Value::Null) {
        return false;
    }
    let order = compare(held, value);
    match *operator {
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        _ => order.is_eq(),
    }
}

/// Floats sort by their bits and compare as SQL does: slicing a batch must not use one order in place of the other.
pub fn floats(session: &mut Session<'_>) -> Outcome {
    let negative_nan = -f64::NAN.abs();
    let values =
        vals![1.5, f64::NAN, -0.0, 0.0, f64::NEG_INFINITY, Value::Null, negative_nan, -2.5, f64::INFINITY];
    let numbers: Vec<Value> = (0..).take(values.len()).map(Value::Int).collect();
    let columns = [("k", DataType::Float64, values.clone()), ("n", DataType::Int64, numbers)];
    session.define("sorted", TableDefinition::new(batch(&columns)).sort_by(["k"]))?;
    session.define("unsorted", TableDefinition::new(batch(&columns)))?;
    for bound in &values {
        for operator in OPERATORS {
            // An expression of the column gives no bound, so that no row is skipped before it is compared.
            let mut answers = Vec::new();
            for condition in [format!("k {operator} $1"), format!("coalesce(k, k) {operator} $1")] {
                for table in ["sorted", "unsorted"] {
                    let text = format!("SELECT n FROM {table} WHERE {condition} ORDER BY n");
                    answers.push(rows_of(&session.sql(&text, std::slice::from_ref(bound))?));
                }
            }
            let all_same = answers.windows(2).all(|pair| {
                pair[0].len() == pair[1].len()
                    && pair[0].iter().zip(&pair[1]).all(|(a, b)| same(&a[0], &b[0]))
            });
            assert!(all_same, "k {operator} {bound}: {answers:?}");
        }
    }
    Ok(())
}

/// A small range of a large sorted table hands out only its own rows.
pub fn a_small_range_reads_few_rows(session: &mut Session<'_>) -> Outcome {
    let rows = |ids: std::ops::Range<i64>| {
        let days = ids.clone().map(|id| Value::Int(id / 10)).collect();
        batch(&[("day", DataType::Int64, days), ("id", DataType::Int64, ids.map(Value::Int).collect())])
    };
    session.define("t", TableDefinition::new(rows(0..150_000)).sort_by(["day", "id"]))?;
    session.append("t", rows(50_000..50_100))?;
    session.compact()?;
    for (condition, expected) in [
        ("day >= 7000 AND day <= 7009", 100),
        ("day BETWEEN 7000 AND 7009", 100),
        ("day BETWEEN 5000 AND 5009", 200),
        ("day = 7000", 10),
        ("day = 7000 AND id > 70006", 3),
        ("day > 6999 AND day < 7001 AND id > 70006", 10),
        ("7000 <= day AND 7010 > day", 100),
        ("day < 3", 30),
        ("day > 14997", 20),
        ("day > 20000", 0),
        ("day BETWEEN 6553 AND 6554", 20),
    ] {
        let plan = session.sql(&format!("EXPLAIN SELECT id FROM t WHERE {condition}"), &[])?;
        let plan = format!("{:?}", rows_of(&plan));
        let is_read =
            plan.contains(&format!("rows={expected},")) || (expected == 0 && !plan.contains("PillionScan"));
        assert!(is_read, "{condition} should read {expected} rows: {plan}");
    }
    let text = "EXPLAIN ANALYZE SELECT id FROM t WHERE day BETWEEN 7000 AND 7009";
    let plan = format!("{:?}", rows_of(&session.sql(text, &[])?));
    let scan = plan.split("PillionScan").nth(1).unwrap_or_default();
    assert!(scan.contains("output_rows=100"), "{plan}");
    Ok(())
}
