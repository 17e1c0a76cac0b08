//! Columns from encoded keys: the inverse of [`key::encode_cell`](super::encode_cell).

use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{
    ArrayRef, BinaryArray, BinaryViewArray, BooleanArray, FixedSizeBinaryArray, LargeBinaryArray,
    LargeStringArray, PrimitiveArray, StringArray, StringViewArray,
};
use arrow::datatypes::{DataType, TimeUnit};

use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, ErrorCode, Result};

/// The columns of keys that have parts of these types.
///
/// # Errors
/// [`ErrorCode::Corrupt`] if the bytes are not keys of these types.
pub(crate) fn decode_keys(keys: &KeyColumn, types: &[&DataType]) -> Result<Vec<ArrayRef>> {
    let mut rest: Vec<&[u8]> = keys.iter().map(|(key, _)| key).collect();
    let columns = types.iter().map(|data_type| column(&mut rest, data_type).ok_or_else(damaged));
    let columns = columns.collect::<Result<_>>()?;
    if rest.iter().any(|rest| !rest.is_empty()) {
        return Err(damaged());
    }
    Ok(columns)
}

fn damaged() -> Error {
    Error::new(ErrorCode::Corrupt, "a key in the log does not fit its table")
}

/// Takes the next part of every key.
fn column(keys: &mut [&[u8]], data_type: &DataType) -> Option<ArrayRef> {
    use DataType as T;
    macro_rules! fixed {
        ($type:ty) => {
            primitive::<$type>(keys, data_type)
        };
    }
    macro_rules! text {
        ($array:ty) => {{
            let parts = keys.iter_mut().map(|key| String::from_utf8(bytes(key)?).ok());
            Some(Arc::new(<$array>::from_iter_values(parts.collect::<Option<Vec<_>>>()?)) as ArrayRef)
        }};
    }
    macro_rules! binary {
        ($array:ty) => {{
            let parts = keys.iter_mut().map(bytes).collect::<Option<Vec<_>>>()?;
            Some(Arc::new(<$array>::from_iter_values(parts)) as ArrayRef)
        }};
    }
    match data_type {
        T::Boolean => {
            let parts = keys.iter_mut().map(|key| take::<1>(key).map(|[byte]| byte != 0));
            Some(Arc::new(BooleanArray::from(parts.collect::<Option<Vec<_>>>()?)))
        }
        T::Int8 => fixed!(Int8Type),
        T::Int16 => fixed!(Int16Type),
        T::Int32 => fixed!(Int32Type),
        T::Int64 => fixed!(Int64Type),
        T::UInt8 => fixed!(UInt8Type),
        T::UInt16 => fixed!(UInt16Type),
        T::UInt32 => fixed!(UInt32Type),
        T::UInt64 => fixed!(UInt64Type),
        T::Float32 => fixed!(Float32Type),
        T::Float64 => fixed!(Float64Type),
        T::Date32 => fixed!(Date32Type),
        T::Date64 => fixed!(Date64Type),
        T::Time32(TimeUnit::Second) => fixed!(Time32SecondType),
        T::Time32(_) => fixed!(Time32MillisecondType),
        T::Time64(TimeUnit::Microsecond) => fixed!(Time64MicrosecondType),
        T::Time64(_) => fixed!(Time64NanosecondType),
        T::Timestamp(TimeUnit::Second, _) => fixed!(TimestampSecondType),
        T::Timestamp(TimeUnit::Millisecond, _) => fixed!(TimestampMillisecondType),
        T::Timestamp(TimeUnit::Microsecond, _) => fixed!(TimestampMicrosecondType),
        T::Timestamp(TimeUnit::Nanosecond, _) => fixed!(TimestampNanosecondType),
        T::Duration(TimeUnit::Second) => fixed!(DurationSecondType),
        T::Duration(TimeUnit::Millisecond) => fixed!(DurationMillisecondType),
        T::Duration(TimeUnit::Microsecond) => fixed!(DurationMicrosecondType),
        T::Duration(TimeUnit::Nanosecond) => fixed!(DurationNanosecondType),
        T::Decimal32(_, _) => fixed!(Decimal32Type),
        T::Decimal64(_, _) => fixed!(Decimal64Type),
        T::Decimal128(_, _) => fixed!(Decimal128Type),
        T::Utf8 => text!(StringArray),
        T::LargeUtf8 => text!(LargeStringArray),
        T::Utf8View => text!(StringViewArray),
        T::Binary => binary!(BinaryArray),
        T::LargeBinary => binary!(LargeBinaryArray),
        T::BinaryView => binary!(BinaryViewArray),
        T::FixedSizeBinary(width) => {
            let len = usize::try_from(*width).ok()?;
            let parts = keys.iter_mut().map(|key| {
                let (part, rest) = key.split_at_checked(len)?;
                *key = rest;
                Some(part)
            });
            let parts = parts.collect::<Option<Vec<_>>>()?;
            let array =
                FixedSizeBinaryArray::try_from_sparse_iter_with_size(parts.into_iter().map(Some), *width);
            Some(Arc::new(array.ok()?))
        }
        _ => None,
    }
}

fn primitive<T: ArrowPrimitiveType>(keys: &mut [&[u8]], data_type: &DataType) -> Option<ArrayRef>
where
    T::Native: Part,
{
    let values = keys.iter_mut().map(T::Native::take).collect::<Option<Vec<_>>>()?;
    let array = PrimitiveArray::<T>::from_iter_values(values);
    Some(Arc::new(array.with_data_type(data_type.clone())))
}

/// Takes the first bytes of a key.
fn take<const N: usize>(key: &mut &[u8]) -> Option<[u8; N]> {
    let (part, rest) = key.split_first_chunk()?;
    *key = rest;
    Some(*part)
}

/// Takes a part of any length, in which zeros are escaped.
fn bytes(key: &mut &[u8]) -> Option<Vec<u8>> {
    let mut part = Vec::new();
    loop {
        let zero = key.iter().position(|&byte| byte == 0)?;
        part.extend_from_slice(&key[..zero]);
        let after = *key.get(zero + 1)?;
        *key = &key[zero + 2..];
        match after {
            0 => return Some(part),
            0xFF => part.push(0),
            _ => return None,
        }
    }
}

/// A number of fixed width that is read from its order-preserving bytes.
trait Part: Copy {
    fn take(key: &mut &[u8]) -> Option<Self>;
}

macro_rules! unsigned_parts {
    ($($type:ty),+) => {
        $(
            impl Part for $type {
                fn take(key: &mut &[u8]) -> Option<Self> {
                    take(key).map(Self::from_be_bytes)
                }
            }
        )+
    };
}

macro_rules! signed_parts {
    ($($type:ty => $unsigned:ty),+) => {
        $(
            impl Part for $type {
                fn take(key: &mut &[u8]) -> Option<Self> {
                    let bits = <$unsigned as Part>::take(key)?;
                    Some((bits ^ (1 << (<$unsigned>::BITS - 1))).cast_signed())
                }
            }
        )+
    };
}

macro_rules! float_parts {
    ($($type:ty => $unsigned:ty),+) => {
        $(
            impl Part for $type {
                fn take(key: &mut &[u8]) -> Option<Self> {
                    let bits = <$unsigned as Part>::take(key)?;
                    let sign = 1 << (<$unsigned>::BITS - 1);
                    Some(Self::from_bits(if bits & sign == 0 { !bits } else { bits & !sign }))
                }
            }
        )+
    };
}

unsigned_parts!(u8, u16, u32, u64, u128);
signed_parts!(i8 => u8, i16 => u16, i32 => u32, i64 => u64, i128 => u128);
float_parts!(f32 => u32, f64 => u64);

#[cfg(test)]
mod tests {
    use arrow::array::RecordBatch;

    use super::*;
    use crate::storage::key::tests::samples;

    #[test]
    fn keys_of_every_type_come_back() {
        let first: ArrayRef = Arc::new(StringArray::from(vec!["a\0b"; 16]));
        for array in samples() {
            let first = first.slice(0, array.len());
            let batch = RecordBatch::try_from_iter([("first", first), ("second", array)]).unwrap();
            for columns in [&[0, 1][..], &[1, 0], &[1]] {
                let keys = KeyColumn::of(&batch, columns).unwrap();
                let expected = batch.project(columns).unwrap();
                let types: Vec<&DataType> =
                    expected.columns().iter().map(|column| column.data_type()).collect();
                let found = decode_keys(&keys, &types).unwrap();
                // By their bytes: NaN differs from itself.
                assert_eq!(format!("{found:?}"), format!("{:?}", expected.columns()));
                assert!(decode_keys(&keys, &types[1..]).is_err(), "bytes are left");
            }
        }
    }
}
