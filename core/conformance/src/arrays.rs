//! Conversions between plain Rust values and Arrow arrays, without code of the product.

use std::sync::Arc;

use arrow::array::types::*;
use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray,
    LargeBinaryArray, LargeStringArray, NullArray, PrimitiveArray, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, DataType as T, TimeUnit};
use pillion::Value;

/// Calls a macro with the Arrow type of each data type whose values are integers in memory.
macro_rules! integral {
    ($data_type:expr, $then:ident, $otherwise:expr) => {{
        match $data_type {
            T::Int8 => $then!(Int8Type),
            T::Int16 => $then!(Int16Type),
            T::Int32 => $then!(Int32Type),
            T::Int64 => $then!(Int64Type),
            T::UInt8 => $then!(UInt8Type),
            T::UInt16 => $then!(UInt16Type),
            T::UInt32 => $then!(UInt32Type),
            T::UInt64 => $then!(UInt64Type),
            T::Date32 => $then!(Date32Type),
            T::Date64 => $then!(Date64Type),
            T::Time32(TimeUnit::Second) => $then!(Time32SecondType),
            T::Time32(_) => $then!(Time32MillisecondType),
            T::Time64(TimeUnit::Microsecond) => $then!(Time64MicrosecondType),
            T::Time64(_) => $then!(Time64NanosecondType),
            T::Timestamp(TimeUnit::Second, _) => $then!(TimestampSecondType),
            T::Timestamp(TimeUnit::Millisecond, _) => $then!(TimestampMillisecondType),
            T::Timestamp(TimeUnit::Microsecond, _) => $then!(TimestampMicrosecondType),
            T::Timestamp(TimeUnit::Nanosecond, _) => $then!(TimestampNanosecondType),
            T::Decimal32(_, _) => $then!(Decimal32Type),
            T::Decimal64(_, _) => $then!(Decimal64Type),
            T::Decimal128(_, _) => $then!(Decimal128Type),
            _ => $otherwise,
        }
    }};
}

/// An array of single values.
pub(crate) fn array(data_type: &DataType, values: &[Value]) -> ArrayRef {
    macro_rules! primitive {
        ($type:ty) => {{
            let native = values.iter().map(|value| {
                raw(data_type, value).map(|raw| <$type as ArrowPrimitiveType>::Native::try_from(raw).unwrap())
            });
            Arc::new(native.collect::<PrimitiveArray<$type>>().with_data_type(data_type.clone())) as ArrayRef
        }};
    }
    macro_rules! bytes {
        ($type:ty, $of:ident) => {
            Arc::new(values.iter().map($of).collect::<$type>()) as ArrayRef
        };
    }
    integral!(
        data_type,
        primitive,
        match data_type {
            T::Null => Arc::new(NullArray::new(values.len())),
            T::Boolean => Arc::new(values.iter().map(boolean).collect::<BooleanArray>()),
            T::Float16 => {
                let wide = array(&T::Float32, values);
                arrow::compute::cast(&wide, &T::Float16).unwrap()
            }
            #[expect(clippy::cast_possible_truncation, reason = "models of 32 bits hold values of 32 bits")]
            T::Float32 => {
                let values = values.iter().map(|value| float(value).map(|value| value as f32));
                Arc::new(values.collect::<PrimitiveArray<Float32Type>>())
            }
            T::Float64 => Arc::new(values.iter().map(float).collect::<PrimitiveArray<Float64Type>>()),
            T::Utf8 => bytes!(StringArray, text),
            T::LargeUtf8 => bytes!(LargeStringArray, text),
            T::Utf8View => bytes!(StringViewArray, text),
            T::Binary => bytes!(BinaryArray, binary),
            T::LargeBinary => bytes!(LargeBinaryArray, binary),
            T::BinaryView => bytes!(BinaryViewArray, binary),
            T::FixedSizeBinary(width) => {
                let values = values.iter().map(binary);
                Arc::new(FixedSizeBinaryArray::try_from_sparse_iter_with_size(values, *width).unwrap())
            }
            other => panic!("{other} has no plain values"),
        }
    )
}

/// The single values of an array.
pub(crate) fn values(array: &dyn Array) -> Vec<Value> {
    (0..array.len()).map(|row| if array.is_null(row) { Value::Null } else { value(array, row) }).collect()
}

fn value(array: &dyn Array, row: usize) -> Value {
    macro_rules! primitive {
        ($type:ty) => {
            typed(array.data_type(), array.as_primitive::<$type>().value(row).into())
        };
    }
    integral!(
        array.data_type(),
        primitive,
        match array.data_type() {
            T::Null => Value::Null,
            T::Boolean => Value::Bool(array.as_boolean().value(row)),
            T::Float16 => Value::Float(array.as_primitive::<Float16Type>().value(row).into()),
            T::Float32 => Value::Float(array.as_primitive::<Float32Type>().value(row).into()),
            T::Float64 => Value::Float(array.as_primitive::<Float64Type>().value(row)),
            T::Utf8 => Value::Str(array.as_string::<i32>().value(row).to_owned()),
            T::LargeUtf8 => Value::Str(array.as_string::<i64>().value(row).to_owned()),
            T::Utf8View => Value::Str(array.as_string_view().value(row).to_owned()),
            T::Binary => Value::Bytes(array.as_binary::<i32>().value(row).to_owned()),
            T::LargeBinary => Value::Bytes(array.as_binary::<i64>().value(row).to_owned()),
            T::BinaryView => Value::Bytes(array.as_binary_view().value(row).to_owned()),
            T::FixedSizeBinary(_) => Value::Bytes(array.as_fixed_size_binary().value(row).to_owned()),
            other => panic!("{other} has no plain values"),
        }
    )
}

/// The number that stands for a value in an array.
fn raw(data_type: &DataType, value: &Value) -> Option<i128> {
    Some(match *value {
        Value::Null => return None,
        Value::Int(v) => v.into(),
        Value::UInt(v) => v.into(),
        Value::Decimal { unscaled, .. } => unscaled,
        Value::Date(days) if data_type == &T::Date64 => i128::from(days) * 86_400_000,
        Value::Date(days) => days.into(),
        Value::Timestamp { value, .. } => value.into(),
        Value::Time(nanoseconds) => i128::from(nanoseconds) / nanoseconds_per_tick(data_type),
        ref other => panic!("{other} is not of {data_type}"),
    })
}

/// The value that a number in an array stands for.
fn typed(data_type: &DataType, raw: i128) -> Value {
    let narrow = || i64::try_from(raw).unwrap();
    match data_type {
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Value::UInt(u64::try_from(raw).unwrap()),
        T::Date32 => Value::Date(i32::try_from(raw).unwrap()),
        T::Date64 => Value::Timestamp { value: narrow(), unit: TimeUnit::Millisecond },
        T::Timestamp(unit, _) => Value::Timestamp { value: narrow(), unit: *unit },
        T::Time32(_) | T::Time64(_) => {
            Value::Time(i64::try_from(raw * nanoseconds_per_tick(data_type)).unwrap())
        }
        T::Decimal32(_, scale) | T::Decimal64(_, scale) | T::Decimal128(_, scale) => {
            Value::Decimal { unscaled: raw, scale: *scale }
        }
        _ => Value::Int(narrow()),
    }
}

fn nanoseconds_per_tick(data_type: &DataType) -> i128 {
    match data_type {
        DataType::Time32(unit) | DataType::Time64(unit) => match unit {
            TimeUnit::Second => 1_000_000_000,
            TimeUnit::Millisecond => 1_000_000,
            TimeUnit::Microsecond => 1_000,
            TimeUnit::Nanosecond => 1,
        },
        other => panic!("{other} is not a time of day"),
    }
}

fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Null => None,
        Value::Bool(v) => Some(*v),
        other => panic!("{other} is not a boolean"),
    }
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Null => None,
        Value::Float(v) => Some(*v),
        other => panic!("{other} is not a number"),
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Null => None,
        Value::Str(v) => Some(v),
        other => panic!("{other} is not text"),
    }
}

fn binary(value: &Value) -> Option<&[u8]> {
    match value {
        Value::Null => None,
        Value::Bytes(v) => Some(v),
        other => panic!("{other} is not bytes"),
    }
}
