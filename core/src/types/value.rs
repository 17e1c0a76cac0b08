//! Single values: parts of keys, parameters of queries, cells of rows.

use std::fmt;

use arrow::datatypes::{
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType,
};
use arrow::temporal_conversions::{as_datetime, date32_to_datetime, time64ns_to_time};

/// A single value; [`Value`] owns its text and bytes, [`ValueRef`] borrows them.
///
/// Integers of every width are [`Int`](Self::Int) or [`UInt`](Self::UInt): the width belongs to the column.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum AnyValue<S, B> {
    /// SQL null.
    Null,
    /// True or false.
    Bool(bool),
    /// A signed integer.
    Int(i64),
    /// An unsigned integer.
    UInt(u64),
    /// A floating-point number.
    Float(f64),
    /// `unscaled` / 10^`scale`.
    Decimal {
        /// The digits as one integer.
        unscaled: i128,
        /// How many of them stand after the point.
        scale: i8,
    },
    /// Text.
    Str(S),
    /// Bytes.
    Bytes(B),
    /// Days since 1970-01-01.
    Date(i32),
    /// Nanoseconds since midnight.
    Time(i64),
    /// A moment (columns with a time zone) or a reading of a wall clock (columns without one).
    Timestamp {
        /// Units since 1970-01-01 00:00:00.
        value: i64,
        /// Length of a unit.
        unit: TimeUnit,
    },
}

/// A value that owns its text or bytes.
pub type Value = AnyValue<String, Vec<u8>>;

/// A value that borrows its text or bytes.
pub type ValueRef<'a> = AnyValue<&'a str, &'a [u8]>;

impl<S, B> AnyValue<S, B> {
    fn map<T, C>(self, text: impl FnOnce(S) -> T, bytes: impl FnOnce(B) -> C) -> AnyValue<T, C> {
        match self {
            Self::Null => AnyValue::Null,
            Self::Bool(v) => AnyValue::Bool(v),
            Self::Int(v) => AnyValue::Int(v),
            Self::UInt(v) => AnyValue::UInt(v),
            Self::Float(v) => AnyValue::Float(v),
            Self::Decimal { unscaled, scale } => AnyValue::Decimal { unscaled, scale },
            Self::Str(v) => AnyValue::Str(text(v)),
            Self::Bytes(v) => AnyValue::Bytes(bytes(v)),
            Self::Date(v) => AnyValue::Date(v),
            Self::Time(v) => AnyValue::Time(v),
            Self::Timestamp { value, unit } => AnyValue::Timestamp { value, unit },
        }
    }

    /// What kind of value this is, for messages.
    pub(crate) fn kind_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::UInt(_) => "an integer",
            Self::Float(_) => "a floating-point number",
            Self::Decimal { .. } => "a decimal",
            Self::Str(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Date(_) => "a date",
            Self::Time(_) => "a time",
            Self::Timestamp { .. } => "a timestamp",
        }
    }
}

impl Value {
    /// The same value, borrowed.
    pub fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Str(text) => ValueRef::Str(text),
            Self::Bytes(bytes) => ValueRef::Bytes(bytes),
            other => other.clone().map(|_| "", |_| &[][..]),
        }
    }
}

impl ValueRef<'_> {
    /// The same value, owned.
    pub fn into_owned(self) -> Value {
        self.map(str::to_owned, <[u8]>::to_vec)
    }
}

impl<S: AsRef<str>, B: AsRef<[u8]>> fmt::Display for AnyValue<S, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(v) => v.fmt(f),
            Self::Int(v) => v.fmt(f),
            Self::UInt(v) => v.fmt(f),
            Self::Float(v) => v.fmt(f),
            Self::Decimal { unscaled, scale } => write_decimal(f, *unscaled, *scale),
            Self::Str(v) => v.as_ref().fmt(f),
            Self::Bytes(v) => {
                f.write_str("0x")?;
                v.as_ref().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
            Self::Date(days) => match date32_to_datetime(*days) {
                Some(moment) => write!(f, "{}", moment.date()),
                None => write!(f, "day {days}"),
            },
            Self::Time(nanoseconds) => match time64ns_to_time(*nanoseconds) {
                Some(time) => write!(f, "{time}"),
                None => write!(f, "{nanoseconds} ns"),
            },
            Self::Timestamp { value, unit } => {
                let moment = match unit {
                    TimeUnit::Second => as_datetime::<TimestampSecondType>(*value),
                    TimeUnit::Millisecond => as_datetime::<TimestampMillisecondType>(*value),
                    TimeUnit::Microsecond => as_datetime::<TimestampMicrosecondType>(*value),
                    TimeUnit::Nanosecond => as_datetime::<TimestampNanosecondType>(*value),
                };
                match moment {
                    Some(moment) => write!(f, "{moment}"),
                    None => write!(f, "{value} {unit:?}s"),
                }
            }
        }
    }
}

/// All digits, however many there are and wherever the point stands.
fn write_decimal(f: &mut fmt::Formatter<'_>, unscaled: i128, scale: i8) -> fmt::Result {
    let sign = if unscaled < 0 { "-" } else { "" };
    let digits = unscaled.unsigned_abs().to_string();
    let behind = usize::from(scale.unsigned_abs());
    if scale <= 0 {
        let zeros = if unscaled == 0 { 0 } else { behind };
        return write!(f, "{sign}{digits}{}", "0".repeat(zeros));
    }
    let digits = format!("{digits:0>width$}", width = behind + 1);
    let (whole, fraction) = digits.split_at(digits.len() - behind);
    write!(f, "{sign}{whole}.{fraction}")
}

macro_rules! from {
    ($($from:ty => |$v:ident| $value:expr;)+) => {
        $(
            impl From<$from> for Value {
                fn from($v: $from) -> Self {
                    $value
                }
            }
        )+
    };
}

from! {
    bool => |v| Self::Bool(v);
    i8 => |v| Self::Int(v.into());
    i16 => |v| Self::Int(v.into());
    i32 => |v| Self::Int(v.into());
    i64 => |v| Self::Int(v);
    u8 => |v| Self::UInt(v.into());
    u16 => |v| Self::UInt(v.into());
    u32 => |v| Self::UInt(v.into());
    u64 => |v| Self::UInt(v);
    f32 => |v| Self::Float(v.into());
    f64 => |v| Self::Float(v);
    &str => |v| Self::Str(v.to_owned());
    String => |v| Self::Str(v);
    &[u8] => |v| Self::Bytes(v.to_vec());
    Vec<u8> => |v| Self::Bytes(v);
    ValueRef<'_> => |v| v.into_owned();
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
