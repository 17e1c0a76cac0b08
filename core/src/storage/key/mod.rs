//! The stable byte encoding of keys.
//!
//! An encoded key is the concatenation of its parts; comparing two encoded keys byte by byte gives the order
//! of their columns, and equal keys have equal bytes. The encoding is on disk (bounds of segments, hashes of the key
//! index), so it never changes within a format version. The parts:
//!
//! | column | bytes |
//! | --- | --- |
//! | Boolean | one, 0 or 1 |
//! | signed integers, dates, times, timestamps, durations, decimals | big-endian, sign bit flipped |
//! | unsigned integers | big-endian |
//! | floats | IEEE 754 totalOrder: big-endian bits, all flipped if negative, otherwise the sign bit flipped |
//! | text, bytes | the bytes with 00 written as 00 FF, then 00 00 |
//! | fixed-size binary | the bytes |
//!
//! So floats are compared by their bits. In SQL, -0.0 = 0.0; here they are two keys, and a NaN equals the NaN of the
//! same bits. A timestamp is compared by its number in the column's unit, whatever its time zone.

pub(crate) mod bounds;
pub(crate) mod decode;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType, DurationSecondType,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, Time32MillisecondType,
    Time32SecondType, Time64MicrosecondType, Time64NanosecondType, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::array::{Array, AsArray};
use arrow::compute::kernels::cast_utils::Parser;
use arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use smallvec::SmallVec;
use xxhash_rust::xxh3::xxh3_64;

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::{Key, KeyParts};
use crate::types::units::per_second;
use crate::types::value::ValueRef;

/// The most bytes of a row's encoded key: the record of a commit that deletes the row holds the key.
pub(crate) const KEY_LEN_MAX: usize = 4 << 20;

/// An encoded key; short ones live on the stack.
pub(crate) type KeyBytes = SmallVec<[u8; 64]>;

/// Hash of an encoded key, as the key index stores it.
pub(crate) fn hash(key: &[u8]) -> u64 {
    xxh3_64(key)
}

/// Whether a column of this type may be part of a primary key.
pub(crate) fn is_key_type(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::Boolean
            | T::Int8
            | T::Int16
            | T::Int32
            | T::Int64
            | T::UInt8
            | T::UInt16
            | T::UInt32
            | T::UInt64
            | T::Float32
            | T::Float64
            | T::Date32
            | T::Date64
            | T::Time32(_)
            | T::Time64(_)
            | T::Timestamp(_, _)
            | T::Duration(_)
            | T::Decimal32(_, _)
            | T::Decimal64(_, _)
            | T::Decimal128(_, _)
            | T::Utf8
            | T::LargeUtf8
            | T::Utf8View
            | T::Binary
            | T::LargeBinary
            | T::BinaryView
            | T::FixedSizeBinary(_)
    )
}

/// Encodes the key that a caller wrote for the key columns of `schema`.
pub(crate) fn encode_key(schema: &SchemaRef, columns: &[usize], key: &dyn Key) -> Result<KeyBytes> {
    let mut encoder = KeyEncoder { schema, columns, next: 0, bytes: KeyBytes::new() };
    key.write_to(&mut encoder)?;
    if encoder.next < columns.len() {
        return Err(arity_error(schema, columns, encoder.next));
    }
    Ok(encoder.bytes)
}

struct KeyEncoder<'a> {
    schema: &'a SchemaRef,
    columns: &'a [usize],
    next: usize,
    bytes: KeyBytes,
}

impl KeyParts for KeyEncoder<'_> {
    fn part(&mut self, value: ValueRef<'_>) -> Result<()> {
        let Some(&column) = self.columns.get(self.next) else {
            return Err(arity_error(self.schema, self.columns, self.next + 1));
        };
        let field = self.schema.field(column);
        self.next += 1;
        encode_value(&mut self.bytes, field.data_type(), value).map_err(|reason| {
            Error::new(
                ErrorCode::InvalidKey,
                format!("key column `{}` is {}: {reason}", field.name(), field.data_type()),
            )
        })
    }
}

fn arity_error(schema: &SchemaRef, columns: &[usize], found: usize) -> Error {
    let names: Vec<_> = columns.iter().map(|&column| schema.field(column).name().as_str()).collect();
    Error::new(
        ErrorCode::InvalidKey,
        format!("the key is ({}): {} parts, not {found}", names.join(", "), columns.len()),
    )
}

/// Appends one part: the value that a caller wrote for a key column of this type.
///
/// # Errors
/// Why the value is not one of that type.
pub(crate) fn encode_value(
    out: &mut KeyBytes,
    data_type: &DataType,
    value: ValueRef<'_>,
) -> Result<(), String> {
    use DataType as T;
    let mismatch = || format!("{} does not fit it", value.kind_name());
    if matches!(value, ValueRef::Null) {
        return Err("a key is never null".to_owned());
    }
    match data_type {
        T::Boolean => match value {
            ValueRef::Bool(v) => out.push(v.into()),
            _ => return Err(mismatch()),
        },
        T::Int8 => put_int::<Int8Type>(out, integer(value)?)?,
        T::Int16 => put_int::<Int16Type>(out, integer(value)?)?,
        T::Int32 => put_int::<Int32Type>(out, integer(value)?)?,
        T::Int64 => put_int::<Int64Type>(out, integer(value)?)?,
        T::UInt8 => put_int::<UInt8Type>(out, integer(value)?)?,
        T::UInt16 => put_int::<UInt16Type>(out, integer(value)?)?,
        T::UInt32 => put_int::<UInt32Type>(out, integer(value)?)?,
        T::UInt64 => put_int::<UInt64Type>(out, integer(value)?)?,
        T::Float32 => {
            let wide = float(value)?;
            #[expect(clippy::cast_possible_truncation, reason = "checked to be exact on the next line")]
            let narrow = wide as f32;
            if f64::from(narrow).to_bits() != wide.to_bits() && !wide.is_nan() {
                return Err(format!("{wide} is not a value of it"));
            }
            narrow.put(out);
        }
        T::Float64 => float(value)?.put(out),
        T::Date32 => match value {
            ValueRef::Date(days) => days.put(out),
            ValueRef::Str(text) => parse::<Date32Type>(text)?.put(out),
            _ => return Err(mismatch()),
        },
        T::Date64 => match value {
            ValueRef::Date(days) => (i64::from(days) * 86_400_000).put(out),
            ValueRef::Timestamp { value, unit } => rescale(value, unit, TimeUnit::Millisecond)?.put(out),
            ValueRef::Str(text) => (i64::from(parse::<Date32Type>(text)?) * 86_400_000).put(out),
            _ => return Err(mismatch()),
        },
        T::Time32(unit) => {
            let narrow = i32::try_from(rescale(time(value)?, TimeUnit::Nanosecond, *unit)?);
            narrow.map_err(|_| "out of range".to_owned())?.put(out);
        }
        T::Time64(unit) => rescale(time(value)?, TimeUnit::Nanosecond, *unit)?.put(out),
        T::Timestamp(unit, zone) => match value {
            ValueRef::Timestamp { value, unit: from } => rescale(value, from, *unit)?.put(out),
            ValueRef::Str(text) => {
                let zone = zone.as_deref().unwrap_or("+00:00");
                let zone = zone.parse().map_err(|error| format!("its time zone is unknown: {error}"))?;
                let moment = arrow::compute::kernels::cast_utils::string_to_datetime::<
                    arrow::array::timezone::Tz,
                >(&zone, text)
                .map_err(|error| error.to_string())?;
                let nanoseconds = moment
                    .timestamp_nanos_opt()
                    .ok_or_else(|| format!("`{text}` is outside the years 1677 to 2262"))?;
                rescale(nanoseconds, TimeUnit::Nanosecond, *unit)?.put(out);
            }
            _ => return Err(mismatch()),
        },
        T::Duration(_) => put_int::<Int64Type>(out, integer(value)?)?,
        T::Decimal32(_, scale) => {
            let narrow = i32::try_from(decimal(value, *scale)?);
            narrow.map_err(|_| "out of range".to_owned())?.put(out);
        }
        T::Decimal64(_, scale) => {
            let narrow = i64::try_from(decimal(value, *scale)?);
            narrow.map_err(|_| "out of range".to_owned())?.put(out);
        }
        T::Decimal128(_, scale) => decimal(value, *scale)?.put(out),
        T::Utf8 | T::LargeUtf8 | T::Utf8View => match value {
            ValueRef::Str(text) => put_bytes(out, text.as_bytes()),
            _ => return Err(mismatch()),
        },
        T::Binary | T::LargeBinary | T::BinaryView => match value {
            ValueRef::Bytes(bytes) => put_bytes(out, bytes),
            _ => return Err(mismatch()),
        },
        T::FixedSizeBinary(width) => match value {
            ValueRef::Bytes(bytes) if usize::try_from(*width) == Ok(bytes.len()) => {
                out.extend_from_slice(bytes);
            }
            ValueRef::Bytes(bytes) => return Err(format!("{} bytes do not fit it", bytes.len())),
            _ => return Err(mismatch()),
        },
        _ => return Err("not a key type".to_owned()),
    }
    Ok(())
}

fn integer(value: ValueRef<'_>) -> Result<i128, String> {
    match value {
        ValueRef::Int(v) => Ok(v.into()),
        ValueRef::UInt(v) => Ok(v.into()),
        _ => Err(format!("{} does not fit it", value.kind_name())),
    }
}

fn float(value: ValueRef<'_>) -> Result<f64, String> {
    match value {
        ValueRef::Float(v) => Ok(v),
        _ => Err(format!("{} does not fit it", value.kind_name())),
    }
}

fn time(value: ValueRef<'_>) -> Result<i64, String> {
    match value {
        ValueRef::Time(nanoseconds) => Ok(nanoseconds),
        ValueRef::Str(text) => parse::<Time64NanosecondType>(text),
        _ => Err(format!("{} does not fit it", value.kind_name())),
    }
}

fn parse<T: Parser>(text: &str) -> Result<T::Native, String> {
    T::parse(text).ok_or_else(|| format!("`{text}` cannot be read as one"))
}

/// `value` in another unit, or an error if it falls between two ticks of that unit.
pub(crate) fn rescale(value: i64, from: TimeUnit, to: TimeUnit) -> Result<i64, String> {
    let (of_from, of_to) = (i128::from(per_second(from)), i128::from(per_second(to)));
    let exact = of_to.checked_mul(value.into()).filter(|ticks| ticks % of_from == 0);
    exact
        .and_then(|ticks| i64::try_from(ticks / of_from).ok())
        .ok_or_else(|| format!("{value} {from:?}s are not a whole number of its {to:?}s"))
}

/// The unscaled integer of `value` at the column's scale.
fn decimal(value: ValueRef<'_>, scale: i8) -> Result<i128, String> {
    let (unscaled, from) = match value {
        ValueRef::Int(v) => (v.into(), 0),
        ValueRef::UInt(v) => (v.into(), 0),
        ValueRef::Decimal { unscaled, scale } => (unscaled, scale),
        ValueRef::Str(text) => parse_decimal(text)?,
        _ => return Err(format!("{} does not fit it", value.kind_name())),
    };
    let shift = i32::from(scale) - i32::from(from);
    let factor = 10_i128.checked_pow(shift.unsigned_abs()).ok_or("out of range")?;
    if shift >= 0 {
        unscaled.checked_mul(factor).ok_or_else(|| "out of range".to_owned())
    } else if unscaled % factor == 0 {
        Ok(unscaled / factor)
    } else {
        Err(format!("{} has more digits after the point", value))
    }
}

fn parse_decimal(text: &str) -> Result<(i128, i8), String> {
    let error = || format!("`{text}` cannot be read as one");
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(error());
    }
    let unscaled = format!("{whole}{fraction}").parse().map_err(|_| error())?;
    Ok((unscaled, i8::try_from(fraction.len()).map_err(|_| error())?))
}

fn put_int<T: ArrowPrimitiveType>(out: &mut KeyBytes, value: i128) -> Result<(), String>
where
    T::Native: Fixed + TryFrom<i128>,
{
    T::Native::try_from(value).map_err(|_| format!("{value} is out of its range"))?.put(out);
    Ok(())
}

fn put_bytes(out: &mut KeyBytes, mut bytes: &[u8]) {
    while let Some(zero) = bytes.iter().position(|&byte| byte == 0) {
        out.extend_from_slice(&bytes[..=zero]);
        out.push(0xFF);
        bytes = &bytes[zero + 1..];
    }
    out.extend_from_slice(bytes);
    out.extend_from_slice(&[0, 0]);
}

/// A number of fixed width that knows its order-preserving bytes.
trait Fixed: Copy {
    fn put(self, out: &mut KeyBytes);
}

macro_rules! fixed_unsigned {
    ($($type:ty),+) => {
        $(
            impl Fixed for $type {
                #[inline]
                #[expect(clippy::big_endian_bytes, reason = "the encoding compares byte by byte")]
                fn put(self, out: &mut KeyBytes) {
                    out.extend_from_slice(&self.to_be_bytes());
                }
            }
        )+
    };
}

macro_rules! fixed_signed {
    ($($type:ty => $unsigned:ty),+) => {
        $(
            impl Fixed for $type {
                #[inline]
                fn put(self, out: &mut KeyBytes) {
                    (self.cast_unsigned() ^ (1 << (<$unsigned>::BITS - 1))).put(out);
                }
            }
        )+
    };
}

macro_rules! fixed_float {
    ($($type:ty),+) => {
        $(
            impl Fixed for $type {
                #[inline]
                fn put(self, out: &mut KeyBytes) {
                    let bits = self.to_bits();
                    let sign = 1 << (size_of::<$type>() * 8 - 1);
                    (if bits & sign == 0 { bits | sign } else { !bits }).put(out);
                }
            }
        )+
    };
}

fixed_unsigned!(u8, u16, u32, u64, u128);
fixed_signed!(i8 => u8, i16 => u16, i32 => u32, i64 => u64, i128 => u128);
fixed_float!(f32, f64);

/// Appends one part: the value of `array`, which is not null, at `row`.
///
/// # Errors
/// [`ErrorCode::UnsupportedType`] if the array's type cannot be part of a key.
pub(crate) fn encode_cell(out: &mut KeyBytes, array: &dyn Array, row: usize) -> Result<()> {
    use DataType as T;
    macro_rules! fixed {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row).put(out)
        };
    }
    match array.data_type() {
        T::Boolean => out.push(array.as_boolean().value(row).into()),
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
        T::Utf8 => put_bytes(out, array.as_string::<i32>().value(row).as_bytes()),
        T::LargeUtf8 => put_bytes(out, array.as_string::<i64>().value(row).as_bytes()),
        T::Utf8View => put_bytes(out, array.as_string_view().value(row).as_bytes()),
        T::Binary => put_bytes(out, array.as_binary::<i32>().value(row)),
        T::LargeBinary => put_bytes(out, array.as_binary::<i64>().value(row)),
        T::BinaryView => put_bytes(out, array.as_binary_view().value(row)),
        T::FixedSizeBinary(_) => out.extend_from_slice(array.as_fixed_size_binary().value(row)),
        other => {
            return Err(Error::new(ErrorCode::UnsupportedType, format!("{other} cannot be part of a key")));
        }
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BinaryArray, BooleanArray, Decimal128Array, FixedSizeBinaryArray, Float32Array,
        Float64Array, Int8Array, Int64Array, StringArray, StringViewArray, TimestampMicrosecondArray,
        UInt32Array, UInt64Array, make_comparator,
    };
    use arrow::compute::SortOptions;
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::types::cell::value_at;

    pub(crate) fn samples() -> Vec<ArrayRef> {
        let texts =
            ["", "\0", "\0\0", "\0a", "a", "a\0", "a\0b", "ab", "b", "\u{ff}", "\u{10ffff}", "zz\0\u{1}"];
        let bytes: Vec<&[u8]> = vec![b"", b"\0", b"\0\xff", b"\0\0", b"\xff", b"\xff\xff", b"a\0", b"a\x01"];
        vec![
            Arc::new(BooleanArray::from(vec![false, true])),
            Arc::new(Int8Array::from(vec![i8::MIN, -1, 0, 1, i8::MAX])),
            Arc::new(Int64Array::from(vec![i64::MIN, -256, -1, 0, 1, 255, 256, i64::MAX])),
            Arc::new(UInt32Array::from(vec![0, 1, 255, 256, u32::MAX])),
            Arc::new(UInt64Array::from(vec![0, 1, u64::MAX])),
            Arc::new(Float32Array::from(vec![
                f32::NEG_INFINITY,
                -1.5,
                -0.0,
                0.0,
                1.5,
                f32::INFINITY,
                f32::NAN,
            ])),
            Arc::new(Float64Array::from(vec![
                -f64::NAN,
                f64::MIN,
                -0.0,
                0.0,
                f64::MIN_POSITIVE,
                f64::MAX,
                f64::NAN,
            ])),
            Arc::new(TimestampMicrosecondArray::from(vec![i64::MIN, -1, 0, 1_357_034_400_000_000])),
            Arc::new(Decimal128Array::from(vec![-10_i128.pow(37), -1, 0, 1, 10_i128.pow(37)])),
            Arc::new(StringArray::from(texts.to_vec())),
            Arc::new(StringViewArray::from(texts.to_vec())),
            Arc::new(BinaryArray::from(bytes)),
            Arc::new(
                FixedSizeBinaryArray::try_from_iter([[0_u8, 0], [0, 255], [255, 0]].into_iter()).unwrap(),
            ),
        ]
    }

    fn encoded(array: &ArrayRef, row: usize) -> KeyBytes {
        let mut bytes = KeyBytes::new();
        encode_cell(&mut bytes, array.as_ref(), row).unwrap();
        bytes
    }

    #[test]
    fn bytes_compare_as_arrow_compares_values() {
        for array in samples() {
            assert!(is_key_type(array.data_type()));
            let compare = make_comparator(&array, &array, SortOptions::default()).unwrap();
            for (a, b) in (0..array.len()).flat_map(|a| (0..array.len()).map(move |b| (a, b))) {
                let bytes = encoded(&array, a).cmp(&encoded(&array, b));
                assert_eq!(bytes, compare(a, b), "{} rows {a} and {b}", array.data_type());
            }
        }
    }

    #[test]
    fn a_composite_key_compares_part_by_part() {
        let arrays = samples();
        for (first, second) in arrays.iter().flat_map(|a| arrays.iter().map(move |b| (a, b))) {
            let key = |a: usize, b: usize| {
                let mut bytes = encoded(first, a);
                bytes.extend_from_slice(&encoded(second, b));
                bytes
            };
            let compare_first = make_comparator(first, first, SortOptions::default()).unwrap();
            let compare_second = make_comparator(second, second, SortOptions::default()).unwrap();
            let pairs: Vec<(usize, usize)> =
                (0..first.len()).flat_map(|a| (0..second.len()).map(move |b| (a, b))).collect();
            for (&(a, b), &(c, d)) in pairs.iter().flat_map(|one| pairs.iter().map(move |other| (one, other)))
            {
                let expected = compare_first(a, c).then(compare_second(b, d));
                assert_eq!(
                    key(a, b).cmp(&key(c, d)),
                    expected,
                    "{} and {}, rows {a}, {b} and {c}, {d}",
                    first.data_type(),
                    second.data_type()
                );
            }
        }
    }

    #[test]
    fn a_value_encodes_as_the_cell_that_holds_it() {
        for array in samples() {
            let field = Field::new("key", array.data_type().clone(), false);
            let schema = Arc::new(Schema::new(vec![field]));
            for row in 0..array.len() {
                let value = value_at(array.as_ref(), row).unwrap();
                let key = encode_key(&schema, &[0], &value).unwrap();
                assert_eq!(key, encoded(&array, row), "{} {value}", array.data_type());
            }
        }
    }

    /// These bytes are on disk: a change of any of them is a new format version.
    #[test]
    fn bytes_never_change() {
        let schema = Arc::new(Schema::new(vec![
            Field::new("a", DataType::Int32, false),
            Field::new("b", DataType::Utf8, false),
            Field::new("c", DataType::Float64, false),
        ]));
        let key = encode_key(&schema, &[0, 1, 2], &(-2, "a\0b", 1.5)).unwrap();
        let expected = b"\x7f\xff\xff\xfea\0\xffb\0\0\xbf\xf8\0\0\0\0\0\0";
        assert_eq!(key.as_slice(), expected);
        assert_eq!(hash(expected), 11_233_103_465_186_192_648);
    }
}
