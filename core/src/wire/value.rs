//! Single values on the wire.

use arrow::datatypes::TimeUnit;
use serde::{Deserialize, Serialize};

use crate::types::units::per_second;
use crate::types::value::{Value, ValueRef};
use crate::types::version::Version;

/// A value as it is sent: under the name of its kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WireValue {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    /// Unscaled, as 16 little-endian bytes, and scale.
    Decimal(#[serde(with = "serde_bytes")] Vec<u8>, i8),
    Str(String),
    Bytes(#[serde(with = "serde_bytes")] Vec<u8>),
    Date(i32),
    Time(i64),
    /// The value, and how many ticks of its unit a second has.
    Timestamp(i64, u64),
}

/// A version as it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WireVersion {
    incarnation: u64,
    sequence: u64,
}

impl From<Version> for WireVersion {
    fn from(version: Version) -> Self {
        let Version { incarnation, sequence } = version;
        Self { incarnation, sequence }
    }
}

impl From<WireVersion> for Version {
    fn from(version: WireVersion) -> Self {
        let WireVersion { incarnation, sequence } = version;
        Self { incarnation, sequence }
    }
}

impl From<ValueRef<'_>> for WireValue {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Bool(v) => Self::Bool(v),
            ValueRef::Int(v) => Self::Int(v),
            ValueRef::UInt(v) => Self::Uint(v),
            ValueRef::Float(v) => Self::Float(v),
            ValueRef::Decimal { unscaled, scale } => Self::Decimal(unscaled.to_le_bytes().to_vec(), scale),
            ValueRef::Str(v) => Self::Str(v.to_owned()),
            ValueRef::Bytes(v) => Self::Bytes(v.to_vec()),
            ValueRef::Date(v) => Self::Date(v),
            ValueRef::Time(v) => Self::Time(v),
            ValueRef::Timestamp { value, unit } => Self::Timestamp(value, ticks(unit)),
        }
    }
}

impl WireValue {
    /// Most bytes that it takes in a message.
    pub(crate) fn len_max(&self) -> usize {
        let text = match self {
            Self::Str(text) => text.len(),
            Self::Bytes(bytes) | Self::Decimal(bytes, _) => bytes.len(),
            _ => 0,
        };
        // Leaves room for the name of the kind and two numbers of nine bytes.
        32 + text
    }

    /// The value; `None` if it has a part that none of our clients sends.
    pub(crate) fn into_value(self) -> Option<Value> {
        Some(match self {
            Self::Null => Value::Null,
            Self::Bool(v) => Value::Bool(v),
            Self::Int(v) => Value::Int(v),
            Self::Uint(v) => Value::UInt(v),
            Self::Float(v) => Value::Float(v),
            Self::Decimal(bytes, scale) => {
                Value::Decimal { unscaled: i128::from_le_bytes(bytes.try_into().ok()?), scale }
            }
            Self::Str(v) => Value::Str(v),
            Self::Bytes(v) => Value::Bytes(v),
            Self::Date(v) => Value::Date(v),
            Self::Time(v) => Value::Time(v),
            Self::Timestamp(value, ticks) => Value::Timestamp { value, unit: unit_of(ticks)? },
        })
    }
}

/// How many ticks of a unit a second has.
pub(super) fn ticks(unit: TimeUnit) -> u64 {
    per_second(unit).unsigned_abs()
}

/// The unit that has this many ticks in a second, if there is one.
pub(super) fn unit_of(ticks: u64) -> Option<TimeUnit> {
    [TimeUnit::Second, TimeUnit::Millisecond, TimeUnit::Microsecond, TimeUnit::Nanosecond]
        .into_iter()
        .find(|unit| self::ticks(*unit) == ticks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{decode, encode};

    /// Peers of this version of the protocol send and read exactly these bytes.
    #[test]
    fn bytes_of_a_version_never_change() {
        let version = Version { incarnation: 0x0102_0304_0506_0708, sequence: 300 };
        let bytes = encode(&WireVersion::from(version)).unwrap();
        assert_eq!(bytes, b"\x82\xabincarnation\xcf\x01\x02\x03\x04\x05\x06\x07\x08\xa8sequence\xcd\x01\x2c");
        assert_eq!(Version::from(decode::<WireVersion>(&bytes).unwrap()), version);
    }
}
