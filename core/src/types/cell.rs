//! Single values of Arrow arrays.

use arrow::array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Float16Type, Float32Type,
    Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType, Time32SecondType,
    Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit};

use super::error::{Error, ErrorCode, Result};
use super::value::ValueRef;

impl<'a> ValueRef<'a> {
    /// The value of an array at an index; null for a null. For rows of answers that a program makes parameters or keys of.
    ///
    /// # Errors
    /// [`TypeMismatch`](crate::ErrorCode::TypeMismatch) for nested values, intervals, durations and 256-bit decimals, which only
    /// batches carry.
    ///
    /// # Panics
    /// If the array has no such index.
    pub fn at(array: &'a dyn Array, index: usize) -> Result<Self> {
        value_at(array, index)
    }
}

/// The value of `array` at `index`.
///
/// # Errors
/// [`ErrorCode::TypeMismatch`] for nested values, which only batches carry.
pub(crate) fn value_at(array: &dyn Array, index: usize) -> Result<ValueRef<'_>> {
    use DataType as T;
    macro_rules! primitive {
        ($type:ty) => {
            array.as_primitive::<$type>().value(index)
        };
    }
    if array.is_null(index) || matches!(array.data_type(), T::Null) {
        return Ok(ValueRef::Null);
    }
    Ok(match array.data_type() {
        T::Boolean => ValueRef::Bool(array.as_boolean().value(index)),
        T::Int8 => ValueRef::Int(primitive!(Int8Type).into()),
        T::Int16 => ValueRef::Int(primitive!(Int16Type).into()),
        T::Int32 => ValueRef::Int(primitive!(Int32Type).into()),
        T::Int64 => ValueRef::Int(primitive!(Int64Type)),
        T::UInt8 => ValueRef::UInt(primitive!(UInt8Type).into()),
        T::UInt16 => ValueRef::UInt(primitive!(UInt16Type).into()),
        T::UInt32 => ValueRef::UInt(primitive!(UInt32Type).into()),
        T::UInt64 => ValueRef::UInt(primitive!(UInt64Type)),
        T::Float16 => ValueRef::Float(primitive!(Float16Type).into()),
        T::Float32 => ValueRef::Float(primitive!(Float32Type).into()),
        T::Float64 => ValueRef::Float(primitive!(Float64Type)),
        T::Decimal32(_, scale) => {
            ValueRef::Decimal { unscaled: primitive!(Decimal32Type).into(), scale: *scale }
        }
        T::Decimal64(_, scale) => {
            ValueRef::Decimal { unscaled: primitive!(Decimal64Type).into(), scale: *scale }
        }
        T::Decimal128(_, scale) => ValueRef::Decimal { unscaled: primitive!(Decimal128Type), scale: *scale },
        T::Date32 => ValueRef::Date(primitive!(Date32Type)),
        T::Date64 => ValueRef::Timestamp { value: primitive!(Date64Type), unit: TimeUnit::Millisecond },
        T::Time32(TimeUnit::Second) => {
            ValueRef::Time(i64::from(primitive!(Time32SecondType)) * 1_000_000_000)
        }
        T::Time32(_) => ValueRef::Time(i64::from(primitive!(Time32MillisecondType)) * 1_000_000),
        T::Time64(TimeUnit::Microsecond) => {
            let microseconds = primitive!(Time64MicrosecondType);
            let nanoseconds = microseconds.checked_mul(1_000);
            ValueRef::Time(nanoseconds.ok_or_else(|| no_time(microseconds))?)
        }
        T::Time64(_) => ValueRef::Time(primitive!(Time64NanosecondType)),
        T::Timestamp(unit, _) => {
            let value = match unit {
                TimeUnit::Second => primitive!(TimestampSecondType),
                TimeUnit::Millisecond => primitive!(TimestampMillisecondType),
                TimeUnit::Microsecond => primitive!(TimestampMicrosecondType),
                TimeUnit::Nanosecond => primitive!(TimestampNanosecondType),
            };
            ValueRef::Timestamp { value, unit: *unit }
        }
        T::Utf8 | T::LargeUtf8 | T::Utf8View => ValueRef::Str(text_at(array, index)?),
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => {
            ValueRef::Bytes(bytes_at(array, index)?)
        }
        _ => return Err(mismatch(array, "a single value; use `to_batch`")),
    })
}

/// The text of `array` at `index`, which is not null.
///
/// # Errors
/// [`ErrorCode::TypeMismatch`] for arrays of other types.
#[inline]
pub(crate) fn text_at(array: &dyn Array, index: usize) -> Result<&str> {
    match array.data_type() {
        DataType::Utf8 => Ok(array.as_string::<i32>().value(index)),
        DataType::LargeUtf8 => Ok(array.as_string::<i64>().value(index)),
        DataType::Utf8View => Ok(array.as_string_view().value(index)),
        _ => Err(mismatch(array, "&str")),
    }
}

/// The bytes of `array` at `index`, which are not null.
///
/// # Errors
/// [`ErrorCode::TypeMismatch`] for arrays of other types.
#[inline]
pub(crate) fn bytes_at(array: &dyn Array, index: usize) -> Result<&[u8]> {
    match array.data_type() {
        DataType::Binary => Ok(array.as_binary::<i32>().value(index)),
        DataType::LargeBinary => Ok(array.as_binary::<i64>().value(index)),
        DataType::BinaryView => Ok(array.as_binary_view().value(index)),
        DataType::FixedSizeBinary(_) => Ok(array.as_fixed_size_binary().value(index)),
        _ => Err(mismatch(array, "&[u8]")),
    }
}

/// The error of an array that does not have the type that is wanted.
#[cold]
pub(crate) fn mismatch(array: &dyn Array, wanted: &str) -> Error {
    Error::new(ErrorCode::TypeMismatch, format!("{} cannot be read as {wanted}", array.data_type()))
}

/// The error of microseconds that are not a time of day.
#[cold]
fn no_time(microseconds: i64) -> Error {
    Error::new(
        ErrorCode::TypeMismatch,
        format!("{microseconds} microseconds since midnight are not a time of day; use `to_batch`"),
    )
}
