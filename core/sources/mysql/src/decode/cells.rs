//! One column under construction, and how a value that the client read becomes its value.

use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::array::builder::{BinaryBuilder, BooleanBuilder, PrimitiveBuilder, StringBuilder};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type,
};
use mysql_async::Value;

use super::Fault;
use super::decimal::unscaled;
use super::times;

/// A column that grows value by value.
pub(crate) trait Cells: Send {
    fn data_type(&self) -> DataType;
    /// Adds a value that is not null.
    fn append(&mut self, value: &Value) -> Result<(), Fault>;
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
    F: Fn(&Value) -> Result<T::Native, Fault> + Send,
{
    fn data_type(&self) -> DataType {
        self.data_type.clone()
    }

    fn append(&mut self, value: &Value) -> Result<(), Fault> {
        self.builder.append_value((self.read)(value)?);
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
    read: impl Fn(&Value) -> Result<T::Native, Fault> + Send + 'static,
) -> Box<dyn Cells> {
    let builder = PrimitiveBuilder::<T>::new().with_data_type(data_type.clone());
    Box::new(Primitive { data_type, builder, read })
}

fn plain<T: ArrowPrimitiveType>(
    read: impl Fn(&Value) -> Result<T::Native, Fault> + Send + 'static,
) -> Box<dyn Cells> {
    primitive::<T>(T::DATA_TYPE, read)
}

fn other() -> Fault {
    "has a value of another type than was announced".to_owned()
}

fn bytes(value: &Value) -> Result<&[u8], Fault> {
    match value {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(other()),
    }
}

/// Whole numbers.
pub(crate) fn whole<T: ArrowPrimitiveType>() -> Box<dyn Cells>
where
    T::Native: TryFrom<i64> + TryFrom<u64>,
{
    plain::<T>(|value| {
        match *value {
            Value::Int(number) => number.try_into().ok(),
            Value::UInt(number) => number.try_into().ok(),
            _ => return Err(other()),
        }
        .ok_or_else(|| "has a number beyond its type".to_owned())
    })
}

pub(crate) fn float4() -> Box<dyn Cells> {
    plain::<Float32Type>(|value| match *value {
        Value::Float(number) => Ok(number),
        _ => Err(other()),
    })
}

pub(crate) fn float8() -> Box<dyn Cells> {
    plain::<Float64Type>(|value| match *value {
        Value::Double(number) => Ok(number),
        _ => Err(other()),
    })
}

pub(crate) fn decimal128(precision: u8, scale: u8) -> Box<dyn Cells> {
    primitive::<Decimal128Type>(DataType::Decimal128(precision, scale.cast_signed()), move |value| {
        unscaled(bytes(value)?, precision, scale)
    })
}

pub(crate) fn decimal256(precision: u8, scale: u8) -> Box<dyn Cells> {
    primitive::<Decimal256Type>(DataType::Decimal256(precision, scale.cast_signed()), move |value| {
        unscaled(bytes(value)?, precision, scale)
    })
}

pub(crate) fn date() -> Box<dyn Cells> {
    plain::<Date32Type>(times::date)
}

pub(crate) fn time() -> Box<dyn Cells> {
    plain::<Time64MicrosecondType>(times::time)
}

/// Timestamps: readings of a wall clock, or moments in `zone`.
pub(crate) fn timestamp(zone: Option<&str>) -> Box<dyn Cells> {
    let data_type = DataType::Timestamp(TimeUnit::Microsecond, zone.map(Into::into));
    primitive::<TimestampMicrosecondType>(data_type, times::timestamp)
}

/// Up to 64 bits as a number, the last bit as its lowest.
pub(crate) fn bits() -> Box<dyn Cells> {
    plain::<UInt64Type>(number_of_bits)
}

fn number_of_bits(value: &Value) -> Result<u64, Fault> {
    let bytes = bytes(value)?;
    if bytes.len() > size_of::<u64>() {
        return Err("has more than 64 bits".to_owned());
    }
    Ok(bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

#[derive(Default)]
struct Booleans(BooleanBuilder);

/// Single bits.
pub(crate) fn bit() -> Box<dyn Cells> {
    Box::new(Booleans::default())
}

impl Cells for Booleans {
    fn data_type(&self) -> DataType {
        DataType::Boolean
    }

    fn append(&mut self, value: &Value) -> Result<(), Fault> {
        self.0.append_value(number_of_bits(value)? != 0);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

#[derive(Default)]
struct Texts(StringBuilder);

pub(crate) fn text() -> Box<dyn Cells> {
    Box::new(Texts::default())
}

impl Cells for Texts {
    fn data_type(&self) -> DataType {
        DataType::Utf8
    }

    fn append(&mut self, value: &Value) -> Result<(), Fault> {
        let text =
            std::str::from_utf8(bytes(value)?).map_err(|_| "has a text that is not UTF-8".to_owned())?;
        self.0.append_value(text);
        Ok(())
    }

    fn append_null(&mut self) {
        self.0.append_null();
    }

    fn finish(&mut self) -> ArrayRef {
        Arc::new(self.0.finish())
    }
}

#[derive(Default)]
struct Binaries(BinaryBuilder);

pub(crate) fn binary() -> Box<dyn Cells> {
    Box::new(Binaries::default())
}

impl Cells for Binaries {
    fn data_type(&self) -> DataType {
        DataType::Binary
    }

    fn append(&mut self, value: &Value) -> Result<(), Fault> {
        self.0.append_value(bytes(value)?);
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
    use arrow::datatypes::{Int8Type, UInt8Type};

    use super::*;

    fn first(mut cells: Box<dyn Cells>, value: &Value) -> Result<String, Fault> {
        cells.append(value)?;
        let values = cells.finish();
        assert_eq!((values.len(), values.data_type()), (1, &cells.data_type()));
        Ok(arrow::util::display::array_value_to_string(&values, 0).unwrap())
    }

    #[test]
    fn values_are_read() {
        assert_eq!(first(whole::<Int8Type>(), &Value::Int(-128)).unwrap(), "-128");
        assert_eq!(first(whole::<UInt64Type>(), &Value::UInt(u64::MAX)).unwrap(), u64::MAX.to_string());
        assert_eq!(first(bits(), &Value::Bytes(vec![1, 2])).unwrap(), "258");
        assert_eq!(first(bit(), &Value::Bytes(vec![1])).unwrap(), "true");
        assert_eq!(
            first(timestamp(Some("UTC")), &Value::Date(2000, 1, 1, 0, 0, 0, 1)).unwrap(),
            "2000-01-01T00:00:00.000001Z"
        );
    }

    #[test]
    fn values_of_other_types_are_refused() {
        for (cells, value, why) in [
            (whole::<UInt8Type>(), Value::Int(256), "beyond"),
            (whole::<Int8Type>(), Value::Bytes(vec![]), "announced"),
            (float4(), Value::Double(1.0), "announced"),
            (text(), Value::Bytes(vec![0xff]), "UTF-8"),
            (bits(), Value::Bytes(vec![0; 9]), "64 bits"),
            (decimal128(3, 0), Value::Bytes(b"1000".to_vec()), "3 digits"),
        ] {
            let fault = first(cells, &value).unwrap_err();
            assert!(fault.contains(why), "{fault}");
        }
    }
}
