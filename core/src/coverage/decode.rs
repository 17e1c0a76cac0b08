//! Cells of Arrow's arrays.

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Decimal128Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, TimeUnit};

use super::point::{Number, Point};
use super::set::Cell;

/// The cells of a column. `None` for a type whose order is not known here.
pub(super) fn cells(array: &dyn Array) -> Option<Vec<Cell>> {
    use DataType as T;
    macro_rules! whole {
        ($type:ty) => {
            Some(primitive::<$type>(array, |value| Cell::Point(Point::Int(value.into()))))
        };
    }
    macro_rules! bytes {
        ($array:expr) => {
            Some($array.iter().map(|value| bytes(value.map(AsRef::<[u8]>::as_ref))).collect())
        };
    }
    match array.data_type() {
        T::Boolean => Some(
            array
                .as_boolean()
                .iter()
                .map(|value| value.map_or(Cell::Null, |value| Cell::Point(Point::Int(value.into()))))
                .collect(),
        ),
        T::Int8 => whole!(Int8Type),
        T::Int16 => whole!(Int16Type),
        T::Int32 => whole!(Int32Type),
        T::Int64 => whole!(Int64Type),
        T::UInt8 => whole!(UInt8Type),
        T::UInt16 => whole!(UInt16Type),
        T::UInt32 => whole!(UInt32Type),
        T::UInt64 => whole!(UInt64Type),
        T::Decimal128(..) => whole!(Decimal128Type),
        T::Float32 => Some(primitive::<Float32Type>(array, |value| float(value.into()))),
        T::Float64 => Some(primitive::<Float64Type>(array, float)),
        T::Date32 => whole!(Date32Type),
        T::Time32(TimeUnit::Second) => whole!(Time32SecondType),
        T::Time32(_) => whole!(Time32MillisecondType),
        T::Time64(TimeUnit::Microsecond) => whole!(Time64MicrosecondType),
        T::Time64(_) => whole!(Time64NanosecondType),
        T::Timestamp(TimeUnit::Second, _) => whole!(TimestampSecondType),
        T::Timestamp(TimeUnit::Millisecond, _) => whole!(TimestampMillisecondType),
        T::Timestamp(TimeUnit::Microsecond, _) => whole!(TimestampMicrosecondType),
        T::Timestamp(TimeUnit::Nanosecond, _) => whole!(TimestampNanosecondType),
        T::Utf8 => bytes!(array.as_string::<i32>()),
        T::LargeUtf8 => bytes!(array.as_string::<i64>()),
        T::Utf8View => bytes!(array.as_string_view()),
        T::Binary => bytes!(array.as_binary::<i32>()),
        T::LargeBinary => bytes!(array.as_binary::<i64>()),
        T::BinaryView => bytes!(array.as_binary_view()),
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(array: &dyn Array, cell: impl Fn(T::Native) -> Cell) -> Vec<Cell> {
    array.as_primitive::<T>().iter().map(|value| value.map_or(Cell::Null, &cell)).collect()
}

fn float(value: f64) -> Cell {
    Number::new(value).map_or(Cell::NaN, |number| Cell::Point(Point::Float(number)))
}

fn bytes(value: Option<&[u8]>) -> Cell {
    value.map_or(Cell::Null, |value| Cell::Point(Point::Bytes(value.to_vec())))
}
