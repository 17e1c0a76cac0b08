//! Conditions on the position from which rows are wanted.

use std::fmt::Write;

use arrow::datatypes::TimeUnit;
use pillion::{Error, ErrorCode, Result, Value};

use crate::names::quoted;
use crate::types::{Family, Kind};

const DAY_MICROSECONDS: i128 = 86_400_000_000;
/// The days of 0001-01-01 and 9999-12-31. The server has a year 0 too, in which a day is missing.
const FIRST_DAY: i128 = -719_162;
const LAST_DAY: i128 = 2_932_896;

/// `column >= value` in SQL, which compares as Pillion does.
pub(crate) fn condition(name: &str, kind: &Kind, value: &Value) -> Result<String> {
    comparison(&quoted(name), kind, value).ok_or_else(|| {
        Error::new(
            ErrorCode::InvalidArgument,
            format!("column `{name}` of type `{}` has no position `{value}`", kind.shown()),
        )
    })
}

/// `None` if the column has no such positions: its type has no order that Pillion shares, or the value is of another
/// kind.
fn comparison(column: &str, kind: &Kind, value: &Value) -> Option<String> {
    let all = || format!("{column} IS NOT NULL");
    let none = || "FALSE".to_owned();
    Some(match (kind.family(), value) {
        // The server takes a number below 100 for a year of this or the last century.
        (Family::Whole, Value::Int(_) | Value::UInt(_)) if kind.needs_cast() => {
            format!("CAST({column} AS UNSIGNED) >= {value}")
        }
        (Family::Whole, Value::Int(_) | Value::UInt(_))
        | (Family::Decimal, Value::Int(_) | Value::UInt(_) | Value::Decimal { .. }) => {
            format!("{column} >= {value}")
        }
        // The server has neither infinities nor NaN, which Pillion takes for the largest.
        (Family::Float, Value::Float(number)) if *number == f64::NEG_INFINITY => all(),
        (Family::Float, Value::Float(number)) if !number.is_finite() => none(),
        // Written so that reading it gives the same bits.
        (Family::Float, Value::Float(number)) => format!("{column} >= {number:e}"),
        // Collations ignore case and blanks at the end; Pillion compares the bytes.
        (Family::Text, Value::Str(text)) => {
            format!("CAST(CONVERT({column} USING utf8mb4) AS BINARY) >= {}", bytes(text.as_bytes()))
        }
        (Family::Bytes, Value::Bytes(value)) => format!("{column} >= {}", bytes(value)),
        (Family::Date, Value::Date(days)) => match i128::from(*days) {
            ..FIRST_DAY => all(),
            day @ FIRST_DAY..=LAST_DAY => format!("{column} >= DATE'{}'", date(day)),
            _ => none(),
        },
        (Family::Moment, Value::Timestamp { value, unit }) => {
            let moment = microseconds((*value).into(), *unit);
            let (day, time) = (moment.div_euclid(DAY_MICROSECONDS), moment.rem_euclid(DAY_MICROSECONDS));
            match day {
                ..FIRST_DAY => all(),
                FIRST_DAY..=LAST_DAY => format!("{column} >= TIMESTAMP'{} {}'", date(day), clock(time)),
                _ => none(),
            }
        }
        (Family::Time, Value::Time(nanoseconds)) => {
            format!("{column} >= TIME'{}'", clock(microseconds((*nanoseconds).into(), TimeUnit::Nanosecond)))
        }
        _ => return None,
    })
}

/// The first microsecond that is not before a time.
fn microseconds(value: i128, unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => value * 1_000_000,
        TimeUnit::Millisecond => value * 1_000,
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000) + i128::from(value.rem_euclid(1_000) != 0),
    }
}

/// A time of day, up to `24:00:00`.
fn clock(microseconds: i128) -> String {
    let (seconds, fraction) = (microseconds / 1_000_000, microseconds % 1_000_000);
    format!("{:02}:{:02}:{:02}.{fraction:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

/// A day since 1970-01-01, of a year after 0.
fn date(day: i128) -> String {
    // Counts years from March, so that the day that some years lack is the last one; 400 years have 146,097 days.
    let shifted = day + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i128::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A literal that no setting changes.
fn bytes(value: &[u8]) -> String {
    let mut literal = "X'".to_owned();
    for byte in value {
        let _ = write!(literal, "{byte:02X}"); // a String takes everything
    }
    literal.push('\'');
    literal
}
