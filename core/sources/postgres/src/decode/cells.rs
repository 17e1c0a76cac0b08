//! One column under construction, and how the bytes of a value become its value.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Int16Type, Int32Type, Int64Type, IntervalMonthDayNano, IntervalMonthDayNanoType, Time64MicrosecondType,
    TimestampMicrosecondType, UInt32Type,
};

use super::Fault;
pub(crate) use super::list::List;
use super::numeric::unscaled;

/// Days and microseconds from 1970 to 2000, from where the server counts.
pub(crate) const EPOCH_DAYS: i32 = 10_957;
pub(crate) const EPOCH_MICROSECONDS: i64 = EPOCH_DAYS as i64 * DAY_MICROSECONDS;
const DAY_MICROSECONDS: i64 = 86_400_000_000;
const INFINITE: &str = "holds an infinity, which Arrow has no value for; leave such rows out by a condition, or read the column as text";

/// A column that grows value by value.
pub(crate) trait Cells: Send {
    fn data_type(&self) -> DataType;
    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault>;
    fn append_null(&mut self);
    /// The values so far; it is empty afterwards.
    fn finish(&mut self) -> ArrayRef;
}

struct Primitive<T: ArrowPrimitiveType, F> {
    data_type: DataType,
    builder: PrimitiveBuilder<T>,
    read: F,
}

impl<T, F> Cells for Primitive<T, F>
where
    T: ArrowPrimitiveType,
    F: Fn(&[u8]) -> Result<T::Native, Fault> + Send,
{
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.builder.append_value((self.read)(bytes)?);
        Ok(())
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

fn primitive<T: ArrowPrimitiveType>(
    data_type: DataType,
    read: impl Fn(&[u8]) -> Result<T::Native, Fault> + Send + 'static,
) -> Box<dyn Cells> {
    let builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    Box::new(Primitive { data_type, builder, read })
}

fn plain<T: ArrowPrimitiveType>(
    read: impl Fn(&[u8]) -> Result<T::Native, Fault> + Send + 'static,
) -> Box<dyn Cells> {
    primitive::<T>(T::DATA_TYPE, read)
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], Fault> {
    bytes.try_into().map_err(|_| format!("has a value of {} bytes instead of {N}", bytes.len()))
}

fn int64(bytes: &[u8]) -> Result<i64, Fault> {
    fixed(bytes).map(i64::from_be_bytes)
}

pub(crate) fn int2() -> Box<dyn Cells> {
    plain::<Int16Type>(|bytes| fixed(bytes).map(i16::from_be_bytes))
}

pub(crate) fn int4() -> Box<dyn Cells> {
    plain::<Int32Type>(|bytes| fixed(bytes).map(i32::from_be_bytes))
}

pub(crate) fn int8() -> Box<dyn Cells> {
    plain::<Int64Type>(int64)
}

pub(crate) fn oid() -> Box<dyn Cells> {
    plain::<UInt32Type>(|bytes| fixed(bytes).map(u32::from_be_bytes))
}

pub(crate) fn float4() -> Box<dyn Cells> {
    plain::<Float32Type>(|bytes| fixed(bytes).map(f32::from_be_bytes))
}

pub(crate) fn float8() -> Box<dyn Cells> {
    plain::<Float64Type>(|bytes| fixed(bytes).map(f64::from_be_bytes))
}

pub(crate) fn decimal128(precision: u8, scale: u8) -> Box<dyn Cells> {
    primitive::<Decimal128Type>(DataType::Decimal128(precision, scale.cast_signed()), move |bytes| {
        unscaled(bytes, precision, scale)
    })
}

pub(crate) fn decimal256(precision: u8, scale: u8) -> Box<dyn Cells> {
    primitive::<Decimal256Type>(DataType::Decimal256(precision, scale.cast_signed()), move |bytes| {
        unscaled(bytes, precision, scale)
    })
}

pub(crate) fn date() -> Box<dyn Cells> {
    plain::<Date32Type>(|bytes| match fixed(bytes).map(i32::from_be_bytes)? {
        i32::MIN | i32::MAX => Err(INFINITE.to_owned()),
        days => days.checked_add(EPOCH_DAYS).ok_or_else(|| "has a date that no Date32 can hold".to_owned()),
    })
}

pub(crate) fn time() -> Box<dyn Cells> {
    plain::<Time64MicrosecondType>(|bytes| match int64(bytes)? {
        time @ 0..DAY_MICROSECONDS => Ok(time),
        DAY_MICROSECONDS => {
            Err("holds 24:00:00, which Arrow has no value for; read the column as text".to_owned())
        }
        _ => Err("has a time outside of the day".to_owned()),
    })
}

/// Timestamps: readings of a wall clock, or moments in `zone`.
pub(crate) fn timestamp(zone: Option<&str>) -> Box<dyn Cells> {
    let data_type = DataType::Timestamp(arrow::datatypes::TimeUnit::Microsecond, zone.map(Into::into));
    primitive::<TimestampMicrosecondType>(data_type, |bytes| match int64(bytes)? {
        i64::MIN | i64::MAX => Err(INFINITE.to_owned()),
        value => value
            .checked_add(EPOCH_MICROSECONDS)
            .ok_or_else(|| "has a time after the year 294246, beyond a Timestamp".to_owned()),
    })
}

pub(crate) fn interval() -> Box<dyn Cells> {
    plain::<IntervalMonthDayNanoType>(|bytes| {
        let bytes: [u8; 16] = fixed(bytes)?;
        let [time, rest] = [&bytes[..8], &bytes[8..]];
        let (days, months) = rest.split_at(4);
        let nanoseconds =
            int64(time)?.checked_mul(1000).ok_or("has an interval of more than 292 years in hours")?;
        let number = |bytes| fixed(bytes).map(i32::from_be_bytes);
        Ok(IntervalMonthDayNano::new(number(months)?, number(days)?, nanoseconds))
    })
}

#[derive(Default)]
struct Booleans(BooleanBuilder);

pub(crate) fn boolean() -> Box<dyn Cells> {
    Box::new(Booleans::default())
}

impl Cells for Booleans {
    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let [byte] = fixed(bytes)?;
        self.0.append_value(byte != 0);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

struct Texts<F> {
    builder: StringBuilder,
    add: F,
}

fn texts(add: impl Fn(&mut StringBuilder, &[u8]) -> Result<(), Fault> + Send + 'static) -> Box<dyn Cells> {
    Box::new(Texts { builder: StringBuilder::new(), add })
}

impl<F: Fn(&mut StringBuilder, &[u8]) -> Result<(), Fault> + Send> Cells for Texts<F> {
    fn data_type(&self) -> DataType {
        DataType::Utf8
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        (self.add)(&mut self.builder, bytes)
    }

    fn append_null(&mut self) {
        self.builder.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.builder.finish())
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, Fault> {
    std::str::from_utf8(bytes).map_err(|_| "has a text that is not UTF-8".to_owned())
}

pub(crate) fn text() -> Box<dyn Cells> {
    texts(|builder, bytes| {
        builder.append_value(utf8(bytes)?);
        Ok(())
    })
}

pub(crate) fn jsonb() -> Box<dyn Cells> {
    texts(|builder, bytes| match bytes.split_first() {
        Some((1, json)) => {
            builder.append_value(utf8(json)?);
            Ok(())
        }
        _ => Err("has a jsonb of a version that is not known".to_owned()),
    })
}

pub(crate) fn uuid() -> Box<dyn Cells> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    texts(|builder, bytes| {
        let mut shown = [b'-'; 36];
        let mut places = (0..36).filter(|at| !matches!(at, 8 | 13 | 18 | 23));
        for byte in fixed::<16>(bytes)? {
            for digit in [byte >> 4, byte & 15] {
                if let Some(place) = places.next() {
                    shown[place] = DIGITS[usize::from(digit)];
                }
            }
        }
        builder.append_value(utf8(&shown)?);
        Ok(())
    })
}

#[derive(Default)]
struct Binaries(BinaryBuilder);

pub(crate) fn bytea() -> Box<dyn Cells> {
    Box::new(Binaries::default())
}

impl Cells for Binaries {
    fn data_type(&self) -> DataType {
        DataType::Binary
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.0.append_value(bytes);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn first(mut cells: Box<dyn Cells>, bytes: &[u8]) -> Result<String, Fault> {
        cells.append(bytes)?;
        let values = cells.finish();
        assert_eq!((values.len(), values.data_type()), (1, &cells.data_type()));
        Ok(arrow::util::display::array_value_to_string(&values, 0).unwrap())
    }

    #[test]
    fn values_beyond_arrow_are_refused() {
        let near = (i64::MAX - 1).to_be_bytes();
        for (cells, bytes, why) in [
            (date(), &i32::MAX.to_be_bytes()[..], "infinity"),
            (date(), &(i32::MAX - 1).to_be_bytes(), "Date32"),
            (timestamp(None), &i64::MIN.to_be_bytes(), "infinity"),
            (timestamp(Some("UTC")), &near, "294246"),
            (time(), &DAY_MICROSECONDS.to_be_bytes(), "24:00:00"),
            (time(), &(-1_i64).to_be_bytes(), "outside"),
            (int4(), &[0; 3], "3 bytes instead of 4"),
            (text(), &[0xff], "UTF-8"),
            (jsonb(), b"\x02{}", "version"),
            (interval(), &[near.as_slice(), &[0; 8]].concat(), "292 years"),
        ] {
            let fault = first(cells, bytes).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }

    #[test]
    fn values_are_read() {
        assert_eq!(first(date(), &0_i32.to_be_bytes()).unwrap(), "2000-01-01");
        assert_eq!(first(timestamp(None), &1_i64.to_be_bytes()).unwrap(), "2000-01-01T00:00:00.000001");
        let bytes: Vec<u8> = (0..16).map(|byte| byte * 17).collect();
        assert_eq!(first(uuid(), &bytes).unwrap(), "00112233-4455-6677-8899-aabbccddeeff");
    }
}
