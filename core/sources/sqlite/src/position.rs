//! The position from which rows are wanted: a condition that indexes answer, and what is compared afterwards.
//!
//! One column may hold a time as texts of several forms and as numbers, so no condition alone finds the rows. The condition lets all
//! rows through that may be wanted, and values that do not fit their column as far as that is cheap; then each
//! row's value is compared as Pillion compares it.

use arrow::datatypes::TimeUnit;
use pillion::{Error, ErrorCode, Result, Value};
use rusqlite::types::Value as Bound;

use crate::decode::{Cell, JULIAN_1970, JULIAN_MAX, date_text, position};
use crate::types::{Affinity, Kind, Stored};

const DAY_SECONDS: i128 = 86_400;
/// Texts that begin below the digits end here. It does not look like a number, which SQLite would compare as one.
const BELOW_DIGITS: &str = "/\u{10ffff}";
/// A part of a Julian day that covers what is lost in rounding.
const JULIAN_ROUNDING: f64 = 0.001;

/// A position in a column.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) kind: Kind,
    value: Held,
}

#[derive(Debug)]
enum Held {
    Number(i128),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
}

/// A condition with the values of its parameters.
pub(crate) type Condition = (String, Vec<Bound>);

impl Position {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a value that the column has no order for.
    pub(crate) fn new(column: &str, kind: Kind, value: &Value) -> Result<Self> {
        let held = match (kind, value) {
            (Kind::Integer, Value::Int(number)) => Held::Number((*number).into()),
            (Kind::Integer, Value::UInt(number)) => Held::Number((*number).into()),
            (Kind::Real, Value::Float(number)) => Held::Float(*number),
            (Kind::Decimal(_, scale), Value::Int(number)) => {
                Held::Number(rescaled((*number).into(), 0, scale))
            }
            (Kind::Decimal(_, scale), Value::Decimal { unscaled, scale: of_value }) => {
                Held::Number(rescaled(*unscaled, *of_value, scale))
            }
            (Kind::Text | Kind::LooseText | Kind::Shown, Value::Str(text)) => Held::Text(text.clone()),
            (Kind::Blob, Value::Bytes(bytes)) => Held::Bytes(bytes.clone()),
            (Kind::Date, Value::Date(day)) => Held::Number((*day).into()),
            (Kind::Time, Value::Time(time)) => {
                Held::Number(position(*time, TimeUnit::Nanosecond, TimeUnit::Microsecond))
            }
            (Kind::Timestamp(to, ..), Value::Timestamp { value, unit }) => {
                Held::Number(position(*value, *unit, to))
            }
            _ => {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!("column `{column}` of type {} has no position `{value}`", kind.shown()),
                ));
            }
        };
        Ok(Self { kind, value: held })
    }

    /// Whether a value is at the position or above it.
    pub(crate) fn is_reached_by(&self, cell: &Cell<'_>) -> bool {
        let position = match &self.value {
            Held::Number(number) => Cell::Decimal(*number),
            Held::Float(number) => Cell::Float(*number),
            Held::Text(text) => Cell::Text(text),
            Held::Bytes(bytes) => Cell::Bytes(bytes),
        };
        cell.is_from(&position)
    }

    /// A condition that all wanted rows satisfy, and most others do not. `None` where only comparing every row is right.
    /// `affinity` is that of the stored column, and `is_utf8` says how the file encodes texts.
    pub(crate) fn condition(&self, column: &str, affinity: Affinity, is_utf8: bool) -> Option<Condition> {
        let is_numeric = affinity == Affinity::Numeric;
        let from = |bound: Bound| Some((format!("{column} >= ?1"), vec![bound]));
        match (self.kind, &self.value) {
            (Kind::Integer, Held::Number(number)) if is_numeric => from(integer(*number)),
            (Kind::Real, Held::Float(number)) if is_numeric => from(Bound::Real(*number)),
            (Kind::Text, Held::Text(text)) if affinity == Affinity::Text && is_utf8 => {
                Some((format!("{column} COLLATE BINARY >= ?1"), vec![Bound::Text(text.clone())]))
            }
            (Kind::Date, Held::Number(day)) if affinity != Affinity::None => {
                Some(mixed(column, *day, *day * DAY_SECONDS, *day as f64 + JULIAN_1970))
            }
            (Kind::Timestamp(unit, _, stored), Held::Number(number)) if affinity != Affinity::None => {
                let per_second = position(1, TimeUnit::Second, unit);
                let seconds = number.div_euclid(per_second);
                let julian = seconds as f64 / DAY_SECONDS as f64 + JULIAN_1970 - JULIAN_ROUNDING;
                match stored {
                    // An offset moves the day of a text by up to one.
                    Stored::Any => Some(mixed(column, seconds.div_euclid(DAY_SECONDS) - 1, seconds, julian)),
                    Stored::Unix(TimeUnit::Second) if is_numeric => from(integer(seconds)),
                    Stored::Unix(_) if is_numeric => from(integer(*number)),
                    Stored::Julian if is_numeric => from(Bound::Real(julian)),
                    _ => None,
                }
            }
            _ => None,
        }
    }
}

/// Texts from a day on and those that are no days, seconds since 1970, and Julian days. Each is a range of an index.
fn mixed(column: &str, day: i128, seconds: i128, julian: f64) -> Condition {
    let day = date_text(i64::try_from(day).unwrap_or(if day < 0 { i64::MIN } else { i64::MAX }));
    let condition = format!(
        "({column} COLLATE BINARY >= ?1 OR ({column} COLLATE BINARY >= '' AND {column} COLLATE BINARY <= ?2) \
         OR ({column} >= ?3 AND {column} < '') OR ({column} >= ?4 AND {column} <= ?5))"
    );
    let bounds = vec![
        Bound::Text(day),
        Bound::Text(BELOW_DIGITS.to_owned()),
        integer(seconds),
        Bound::Real(julian),
        Bound::Real(JULIAN_MAX),
    ];
    (condition, bounds)
}

/// A number as SQLite compares it; a larger one than its integers as a real that is not above it.
fn integer(number: i128) -> Bound {
    i64::try_from(number).map_or_else(|_| Bound::Real(number as f64), Bound::Integer)
}

/// A decimal with another number of digits behind the point: the first that is not below it, or as good as infinite.
fn rescaled(unscaled: i128, from: i8, to: u8) -> i128 {
    let digits = i32::from(to) - i32::from(from);
    let Some(power) = 10_i128.checked_pow(digits.unsigned_abs()) else {
        return if digits < 0 { i128::from(unscaled > 0) } else { unscaled.signum() * i128::MAX };
    };
    if digits < 0 {
        unscaled.div_euclid(power) + i128::from(unscaled.rem_euclid(power) != 0)
    } else {
        unscaled.saturating_mul(power)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_in_the_unit_of_its_column() {
        let of = |kind, value: Value| Position::new("c", kind, &value).unwrap();
        let decimal = of(Kind::Decimal(10, 2), Value::Decimal { unscaled: 1_001, scale: 3 });
        assert!(decimal.is_reached_by(&Cell::Decimal(101)) && !decimal.is_reached_by(&Cell::Decimal(100)));
        let above = of(Kind::Integer, Value::UInt(u64::MAX));
        assert!(!above.is_reached_by(&Cell::Int(i64::MAX)));
        assert_eq!((rescaled(-5, 1, 0), rescaled(5, 1, 0), rescaled(5, 0, 2)), (0, 1, 500));
        assert_eq!((rescaled(1, -128, 38), rescaled(-1, 127, 0)), (i128::MAX, 0));
        for (kind, value) in [
            (Kind::Integer, Value::from("5")),
            (Kind::Boolean, Value::Bool(true)),
            (Kind::Date, Value::Int(5)),
            (Kind::Text, Value::Null),
        ] {
            assert_eq!(Position::new("c", kind, &value).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
    }

    #[test]
    fn only_conditions_that_lose_nothing_are_given() {
        let text = Position::new("c", Kind::Text, &Value::from("a")).unwrap();
        assert_eq!(text.condition("c", Affinity::Text, true).unwrap().0, "c COLLATE BINARY >= ?1");
        assert!(text.condition("c", Affinity::Text, false).is_none());
        assert!(text.condition("c", Affinity::Numeric, true).is_none(), "numbers sort below texts");
        let number = Position::new("c", Kind::Integer, &Value::Int(5)).unwrap();
        assert_eq!(number.condition("c", Affinity::Numeric, false).unwrap().1, [Bound::Integer(5)]);
        assert!(number.condition("c", Affinity::Text, true).is_none());
        let day = Position::new("c", Kind::Date, &Value::Date(0)).unwrap();
        assert_eq!(
            day.condition("c", Affinity::Numeric, true).unwrap().1[0],
            Bound::Text("1970-01-01".into())
        );
    }
}
