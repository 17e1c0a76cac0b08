//! Single values for C: parts of keys, and cells of rows.
#![expect(unsafe_code, reason = "texts and bytes are pointers in C")]

use arrow::datatypes::TimeUnit;
use pillion::{Error, ErrorCode, Result, ValueRef};

use crate::border::values;

/// Which kind of value it is, and in which member it stands.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PillionKind {
    /// SQL null; no member.
    Null = 0,
    /// `integer`, 0 or 1.
    Bool = 1,
    /// `integer`: a signed integer of any width.
    Int = 2,
    /// `natural`: an unsigned integer of any width.
    Uint = 3,
    /// `real`: a floating-point number of any width.
    Float = 4,
    /// `natural` and `integer`: the lower and the upper 64 bits of an integer with sign, and `scale`: how many of its decimal digits
    /// stand after the point.
    Decimal = 5,
    /// `data` and `len`: UTF-8. No zero ends it.
    Text = 6,
    /// `data` and `len`.
    Bytes = 7,
    /// `integer`: days since 1970-01-01.
    Date = 8,
    /// `integer`: nanoseconds since midnight.
    Time = 9,
    /// `integer` of `unit` since 1970-01-01 00:00:00: a moment in columns with a time zone, and otherwise a reading of a wall clock.
    Timestamp = 10,
}

const KINDS: [PillionKind; 11] = [
    PillionKind::Null,
    PillionKind::Bool,
    PillionKind::Int,
    PillionKind::Uint,
    PillionKind::Float,
    PillionKind::Decimal,
    PillionKind::Text,
    PillionKind::Bytes,
    PillionKind::Date,
    PillionKind::Time,
    PillionKind::Timestamp,
];

/// A single value. Zero memory is a null; set `kind` and the members that it names.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct PillionValue {
    /// A `pillion_kind`.
    pub kind: u32,
    /// Of a timestamp: digits of a second after the point, which are 0, 3, 6 or 9.
    pub unit: u32,
    /// Of a decimal.
    pub scale: i32,
    /// Length of `data` in bytes.
    pub len: usize,
    /// See `kind`.
    pub integer: i64,
    /// See `kind`.
    pub natural: u64,
    /// See `kind`.
    pub real: f64,
    /// See `kind`. Of a value that was read: it belongs to the row, and is valid until the row is freed.
    pub data: *const u8,
}

impl PillionValue {
    const NULL: Self = Self {
        kind: PillionKind::Null as u32,
        unit: 0,
        scale: 0,
        len: 0,
        integer: 0,
        natural: 0,
        real: 0.0,
        data: std::ptr::null(),
    };

    fn of_integer(kind: PillionKind, integer: i64) -> Self {
        Self { kind: kind as u32, integer, ..Self::NULL }
    }

    fn of_data(kind: PillionKind, data: &[u8]) -> Self {
        Self { kind: kind as u32, data: data.as_ptr(), len: data.len(), ..Self::NULL }
    }

    /// The value of a cell; texts and bytes are those of the row.
    ///
    /// # Errors
    /// [`ErrorCode::TypeMismatch`] for kinds of values that C does not have yet.
    pub(crate) fn of(value: ValueRef<'_>) -> Result<Self> {
        use PillionKind as K;
        Ok(match value {
            ValueRef::Null => Self::NULL,
            ValueRef::Bool(value) => Self::of_integer(K::Bool, value.into()),
            ValueRef::Int(value) => Self::of_integer(K::Int, value),
            ValueRef::UInt(natural) => Self { kind: K::Uint as u32, natural, ..Self::NULL },
            ValueRef::Float(real) => Self { kind: K::Float as u32, real, ..Self::NULL },
            ValueRef::Decimal { unscaled, scale } => Self {
                kind: K::Decimal as u32,
                scale: scale.into(),
                natural: unscaled.cast_unsigned() as u64,
                integer: (unscaled >> 64) as i64,
                ..Self::NULL
            },
            ValueRef::Str(text) => Self::of_data(K::Text, text.as_bytes()),
            ValueRef::Bytes(bytes) => Self::of_data(K::Bytes, bytes),
            ValueRef::Date(days) => Self::of_integer(K::Date, days.into()),
            ValueRef::Time(nanoseconds) => Self::of_integer(K::Time, nanoseconds),
            ValueRef::Timestamp { value, unit } => {
                let unit = match unit {
                    TimeUnit::Second => 0,
                    TimeUnit::Millisecond => 3,
                    TimeUnit::Microsecond => 6,
                    TimeUnit::Nanosecond => 9,
                };
                Self { unit, ..Self::of_integer(K::Timestamp, value) }
            }
            _ => {
                let message = "the value has a kind that C does not have; read the row as Arrow";
                return Err(Error::new(ErrorCode::TypeMismatch, message));
            }
        })
    }

    /// The same value in Rust.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for an unknown kind, a member that is out of range, and a text that is not UTF-8.
    ///
    /// # Safety
    /// Of a text and of bytes, `data` is null or points to `len` bytes that nobody changes during `'a`.
    pub(crate) unsafe fn read<'a>(&self) -> Result<ValueRef<'a>> {
        use PillionKind as K;
        let kind = KINDS.iter().find(|kind| **kind as u32 == self.kind);
        let kind = kind.ok_or_else(|| invalid(format!("{} is not a kind of values", self.kind)))?;
        Ok(match kind {
            K::Null => ValueRef::Null,
            K::Bool => ValueRef::Bool(self.integer != 0),
            K::Int => ValueRef::Int(self.integer),
            K::Uint => ValueRef::UInt(self.natural),
            K::Float => ValueRef::Float(self.real),
            K::Decimal => {
                let scale = i8::try_from(self.scale)
                    .map_err(|_| invalid(format!("{} is not a scale of decimals", self.scale)))?;
                ValueRef::Decimal {
                    unscaled: i128::from(self.integer) << 64 | i128::from(self.natural),
                    scale,
                }
            }
            // SAFETY: the caller's promise.
            K::Text => ValueRef::Str(
                std::str::from_utf8(unsafe { values(self.data, self.len, "the text of a value") }?)
                    .map_err(|error| invalid("the text of a value is not UTF-8").with_source(error))?,
            ),
            // SAFETY: the caller's promise.
            K::Bytes => ValueRef::Bytes(unsafe { values(self.data, self.len, "the bytes of a value") }?),
            K::Date => ValueRef::Date(
                i32::try_from(self.integer).map_err(|_| invalid(format!("{} is not a day", self.integer)))?,
            ),
            K::Time => ValueRef::Time(self.integer),
            K::Timestamp => {
                let unit = match self.unit {
                    0 => TimeUnit::Second,
                    3 => TimeUnit::Millisecond,
                    6 => TimeUnit::Microsecond,
                    9 => TimeUnit::Nanosecond,
                    other => return Err(invalid(format!("{other} is not a unit of timestamps"))),
                };
                ValueRef::Timestamp { value: self.integer, unit }
            }
        })
    }
}

fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_back_as_they_went() {
        for value in [
            ValueRef::Null,
            ValueRef::Bool(true),
            ValueRef::Int(i64::MIN),
            ValueRef::UInt(u64::MAX),
            ValueRef::Float(-0.5),
            ValueRef::Decimal { unscaled: i128::MIN, scale: -3 },
            ValueRef::Decimal { unscaled: -1, scale: 2 },
            ValueRef::Decimal { unscaled: i128::MAX, scale: 38 },
            ValueRef::Str("ä"),
            ValueRef::Bytes(&[0, 255]),
            ValueRef::Bytes(&[]),
            ValueRef::Date(-1),
            ValueRef::Time(1),
            ValueRef::Timestamp { value: -1, unit: TimeUnit::Microsecond },
        ] {
            let sent = PillionValue::of(value).unwrap();
            // SAFETY: the data of `sent` are those of `value`.
            assert_eq!(unsafe { sent.read() }.unwrap(), value);
        }
    }

    #[test]
    fn wrong_values_are_refused() {
        let date = PillionValue { kind: 8, integer: i64::MAX, ..PillionValue::NULL };
        let kind = PillionValue { kind: 99, ..PillionValue::NULL };
        let unit = PillionValue { kind: 10, unit: 4, ..PillionValue::NULL };
        let scale = PillionValue { kind: 5, scale: 300, ..PillionValue::NULL };
        let null = PillionValue { kind: 6, len: 3, ..PillionValue::NULL };
        let long = PillionValue { kind: 7, len: usize::MAX, data: [0].as_ptr(), ..PillionValue::NULL };
        let text = PillionValue { kind: 6, len: 1, data: [0xff].as_ptr(), ..PillionValue::NULL };
        for wrong in [date, kind, unit, scale, null, long, text] {
            // SAFETY: data are null, too long to be looked at, or one byte of a constant.
            assert_eq!(unsafe { wrong.read() }.unwrap_err().code(), ErrorCode::InvalidArgument);
        }
    }
}
