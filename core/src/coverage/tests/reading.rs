//! What a condition is for a row, evaluated as SQL says and not by sets.

use std::cmp::Ordering;

use arrow::datatypes::TimeUnit;

use super::super::compare::Comparison;
use super::super::predicate::Predicate;
use super::compare_decimals;
use crate::types::value::Value;

/// How an engine compares floats.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reading {
    /// By IEEE 754: a NaN is not even equal to itself, the zeros are equal.
    Ieee,
    /// In the total order: by sign and bits.
    Total,
    /// A NaN is above all numbers and equal to each other one, the zeros are equal.
    Above,
}

impl Reading {
    pub(super) const ALL: [Self; 3] = [Self::Ieee, Self::Total, Self::Above];

    /// What a condition without unknown parts is; `None` for null.
    pub(super) fn truth<'a>(self, predicate: &Predicate, value: &dyn Fn(&str) -> &'a Value) -> Option<bool> {
        self.evaluate(predicate, value, None)
    }

    /// Whether a condition may be true, whatever its unknown parts are, each taken for itself.
    pub(super) fn may_be_true<'a>(self, predicate: &Predicate, value: &dyn Fn(&str) -> &'a Value) -> bool {
        let unknown = count(predicate);
        (0..3_usize.pow(u32::try_from(unknown.min(5)).unwrap())).any(|choice| {
            let mut left = choice;
            let choices = (0..unknown).map(|_| {
                let one = [None, Some(true), Some(false)][left % 3];
                left /= 3;
                one
            });
            let choices = choices.collect::<Vec<_>>();
            self.evaluate(predicate, value, Some((&choices, &std::cell::Cell::new(0)))) == Some(true)
        })
    }

    fn evaluate<'a>(
        self,
        predicate: &Predicate,
        value: &dyn Fn(&str) -> &'a Value,
        unknown: Option<(&[Option<bool>], &std::cell::Cell<usize>)>,
    ) -> Option<bool> {
        let equal = |column: &Value, other: &Value| self.compare(column, Comparison::Equal, other);
        match predicate {
            Predicate::Constant(constant) => *constant,
            Predicate::Compare { column, operator, value: literal } => {
                self.compare(value(column), *operator, literal)
            }
            Predicate::In { column, values } => {
                let column = value(column);
                let found = values.iter().map(|value| equal(column, value)).collect::<Vec<_>>();
                if found.contains(&Some(true)) {
                    Some(true)
                } else if found.contains(&None) {
                    None
                } else {
                    Some(false)
                }
            }
            Predicate::IsNull { column } => Some(value(column) == &Value::Null),
            Predicate::Prefix { column, prefix } => match value(column) {
                Value::Str(text) => Some(text.starts_with(prefix)),
                _ => None,
            },
            Predicate::Not(inner) => self.evaluate(inner, value, unknown).map(|truth| !truth),
            Predicate::And(parts) => {
                // Each part is evaluated, so that each unknown one has its own turn.
                let truths: Vec<_> = parts.iter().map(|part| self.evaluate(part, value, unknown)).collect();
                if truths.contains(&Some(false)) {
                    Some(false)
                } else if truths.contains(&None) {
                    None
                } else {
                    Some(true)
                }
            }
            Predicate::Or(parts) => {
                let truths: Vec<_> = parts.iter().map(|part| self.evaluate(part, value, unknown)).collect();
                if truths.contains(&Some(true)) {
                    Some(true)
                } else if truths.contains(&None) {
                    None
                } else {
                    Some(false)
                }
            }
            Predicate::Unknown => {
                let (choices, next) = unknown.unwrap();
                next.set(next.get() + 1);
                choices[(next.get() - 1) % choices.len()]
            }
        }
    }

    /// A comparison; null if either side is.
    fn compare(self, a: &Value, operator: Comparison, b: &Value) -> Option<bool> {
        let ordering = match (a, b) {
            (Value::Null, _) | (_, Value::Null) => return None,
            (Value::Float(a), b) => self.floats(*a, float(b)),
            (a, Value::Float(b)) => self.floats(float(a), *b),
            (Value::Str(a), Value::Str(b)) => Some(a.as_bytes().cmp(b.as_bytes())),
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (a, b) => match (moment(a), moment(b)) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => Some(compare_decimals(number(a), number(b))),
            },
        };
        Some(match operator {
            Comparison::Equal => ordering == Some(Ordering::Equal),
            Comparison::NotEqual => ordering != Some(Ordering::Equal),
            Comparison::Less => ordering == Some(Ordering::Less),
            Comparison::LessOrEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
            Comparison::Greater => ordering == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
        })
    }

    fn floats(self, a: f64, b: f64) -> Option<Ordering> {
        match self {
            Self::Ieee => a.partial_cmp(&b),
            Self::Total => Some(a.total_cmp(&b)),
            Self::Above => Some(match (a.is_nan(), b.is_nan()) {
                (false, false) => a.partial_cmp(&b).unwrap(),
                (a, b) => a.cmp(&b),
            }),
        }
    }
}

/// How many parts are unknown.
fn count(predicate: &Predicate) -> usize {
    match predicate {
        Predicate::Unknown => 1,
        Predicate::Not(inner) => count(inner),
        Predicate::And(parts) | Predicate::Or(parts) => parts.iter().map(count).sum(),
        _ => 0,
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers")]
fn float(value: &Value) -> f64 {
    match value {
        Value::Float(value) => *value,
        Value::Int(value) => *value as f64,
        Value::UInt(value) => *value as f64,
        value => panic!("{value:?} is not compared with a float"),
    }
}

/// Nanoseconds since 1970.
fn moment(value: &Value) -> Option<i128> {
    match value {
        Value::Date(days) => Some(i128::from(*days) * 86_400 * 1_000_000_000),
        Value::Timestamp { value, unit } => Some(
            i128::from(*value)
                * match unit {
                    TimeUnit::Second => 1_000_000_000,
                    TimeUnit::Millisecond => 1_000_000,
                    TimeUnit::Microsecond => 1_000,
                    TimeUnit::Nanosecond => 1,
                },
        ),
        _ => None,
    }
}

/// Digits, and how many of them stand after the point.
fn number(value: &Value) -> (i128, i8) {
    match value {
        Value::Int(value) => ((*value).into(), 0),
        Value::UInt(value) => ((*value).into(), 0),
        Value::Decimal { unscaled, scale } => (*unscaled, *scale),
        value => panic!("{value:?} is not a number"),
    }
}
