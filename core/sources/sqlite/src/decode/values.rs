//! Single stored values as what their columns hold.

use std::cmp::Ordering;

use rusqlite::types::ValueRef;

use super::{Fault, decimal, moments};
use crate::types::Kind;

/// A value as its column holds it. Dates, times and timestamps are numbers in the unit of the column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Decimal(i128),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl Cell<'_> {
    /// Whether the value is at a position or above it, in the order in which Pillion compares. Nulls are nowhere.
    pub(crate) fn is_from(&self, position: &Cell<'_>) -> bool {
        let order = match (self, position) {
            (Cell::Int(value), Cell::Int(position)) => value.cmp(position),
            // A position may be beyond what the column can hold.
            (Cell::Int(value), Cell::Decimal(position)) => i128::from(*value).cmp(position),
            (Cell::Decimal(value), Cell::Decimal(position)) => value.cmp(position),
            (Cell::Float(value), Cell::Float(position)) => match value.partial_cmp(position) {
                Some(order) => order,
                None => return false, // SQLite stores no NaN, and nothing else is above one
            },
            (Cell::Text(value), Cell::Text(position)) => value.as_bytes().cmp(position.as_bytes()),
            (Cell::Bytes(value), Cell::Bytes(position)) => value.cmp(position),
            _ => return false,
        };
        order != Ordering::Less
    }
}

/// A stored value as its column holds it, or why it does not fit.
pub(crate) fn cell_of<'a>(kind: Kind, value: ValueRef<'a>) -> Result<Cell<'a>, Fault> {
    let cell = match (kind, value) {
        (_, ValueRef::Null) => Cell::Null,
        (Kind::Boolean, ValueRef::Integer(number @ 0..=1)) => Cell::Bool(number == 1),
        (Kind::Boolean, ValueRef::Text(text)) => Cell::Bool(truth(text)?),
        (Kind::Integer, ValueRef::Integer(number)) => Cell::Int(number),
        (Kind::Real, ValueRef::Real(number)) => Cell::Float(number),
        (Kind::Real, ValueRef::Integer(number)) => Cell::Float(float(number)?),
        (Kind::Decimal(precision, scale), value) => Cell::Decimal(match value {
            ValueRef::Integer(number) => decimal::of_integer(number, precision, scale)?,
            ValueRef::Real(number) => decimal::of_real(number, precision, scale)?,
            ValueRef::Text(text) => decimal::of_text(utf8(text)?, precision, scale)?,
            _ => return Err(unfit(kind, value)),
        }),
        (Kind::Text | Kind::LooseText | Kind::Shown, ValueRef::Text(text)) => Cell::Text(utf8(text)?),
        (Kind::Blob, ValueRef::Blob(bytes)) => Cell::Bytes(bytes),
        (Kind::Date, value) => Cell::Int(match value {
            ValueRef::Text(text) => moments::text_date(utf8(text)?)?,
            ValueRef::Integer(number) => moments::integer_date(number)?,
            ValueRef::Real(number) => moments::real_date(number)?,
            _ => return Err(unfit(kind, value)),
        }),
        (Kind::Time, ValueRef::Text(text)) => Cell::Int(moments::text_time(utf8(text)?)?),
        (Kind::Timestamp(unit, zone, stored), value) => Cell::Int(match value {
            ValueRef::Text(text) => moments::text_timestamp(utf8(text)?, unit, zone, stored)?,
            ValueRef::Integer(number) => moments::integer_timestamp(number, unit, stored)?,
            ValueRef::Real(number) => moments::real_timestamp(number, unit, stored)?,
            _ => return Err(unfit(kind, value)),
        }),
        _ => return Err(unfit(kind, value)),
    };
    Ok(cell)
}

fn truth(text: &[u8]) -> Result<bool, Fault> {
    let is = |words: [&str; 2]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
    if is(["true", "t"]) {
        Ok(true)
    } else if is(["false", "f"]) {
        Ok(false)
    } else {
        Err("is a text that is neither `true` nor `false`".to_owned())
    }
}

/// An integer as a real of the same value.
fn float(number: i64) -> Result<f64, Fault> {
    let float = number as f64;
    // The upper bound is the first float that no integer reaches.
    if float < 9_223_372_036_854_775_808.0 && float as i64 == number {
        Ok(float)
    } else {
        Err("is an integer that no REAL holds exactly".to_owned())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| "is a text that is not valid UTF-8".to_owned())
}

fn unfit(kind: Kind, value: ValueRef<'_>) -> Fault {
    let stored = match value {
        ValueRef::Null => "null",
        ValueRef::Integer(_) => "an integer",
        ValueRef::Real(_) => "a real",
        ValueRef::Text(_) => "a text",
        ValueRef::Blob(_) => "a blob",
    };
    format!("is {stored}, which is not {}", kind.shown())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_what_its_column_holds_or_does_not_fit() {
        use ValueRef::{Blob, Integer, Real, Text};
        for (kind, value, cell) in [
            (Kind::Boolean, Integer(1), Cell::Bool(true)),
            (Kind::Boolean, Text(b"FALSE"), Cell::Bool(false)),
            (Kind::Integer, Integer(i64::MIN), Cell::Int(i64::MIN)),
            (Kind::Real, Integer(1 << 60), Cell::Float(1_152_921_504_606_846_976.0)),
            (Kind::Text, Text("\u{e4}\0".as_bytes()), Cell::Text("\u{e4}\0")),
            (Kind::Blob, Blob(b"\xff"), Cell::Bytes(b"\xff")),
            (Kind::Date, ValueRef::Null, Cell::Null),
            (Kind::Time, Text(b"00:00:01"), Cell::Int(1_000_000)),
        ] {
            assert_eq!(cell_of(kind, value), Ok(cell));
        }
        for (kind, value, why) in [
            (Kind::Boolean, Integer(2), "an integer, which is not BOOLEAN"),
            (Kind::Boolean, Text(b"yes"), "neither"),
            (Kind::Integer, Real(1.5), "a real, which is not INTEGER"),
            (Kind::Integer, Text(b"1"), "a text, which is not INTEGER"),
            (Kind::Real, Integer(i64::MAX), "no REAL"),
            (Kind::Real, Integer((1 << 53) + 1), "no REAL"),
            (Kind::Text, Blob(b"a"), "a blob, which is not TEXT"),
            (Kind::Text, Integer(1), "an integer"),
            (Kind::Text, Text(b"\xff"), "UTF-8"),
            (Kind::Blob, Text(b"a"), "a text, which is not BLOB"),
            (Kind::Date, Blob(b"2024-01-01"), "a blob"),
            (Kind::Time, Integer(5), "an integer, which is not TIME"),
        ] {
            assert!(cell_of(kind, value).unwrap_err().contains(why), "{why}");
        }
    }

    #[test]
    fn positions_are_compared_as_pillion_compares() {
        assert!(Cell::Int(5).is_from(&Cell::Int(5)) && !Cell::Int(4).is_from(&Cell::Int(5)));
        assert!(!Cell::Null.is_from(&Cell::Int(i64::MIN)));
        assert!(!Cell::Int(i64::MAX).is_from(&Cell::Decimal(u64::MAX.into())));
        assert!(
            Cell::Text("a").is_from(&Cell::Text("Z")) && Cell::Text("\u{ff5e}").is_from(&Cell::Text("~"))
        );
        assert!(
            Cell::Float(-0.0).is_from(&Cell::Float(0.0)) && !Cell::Float(1.0).is_from(&Cell::Float(f64::NAN))
        );
    }
}
