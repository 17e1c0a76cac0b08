//! Our values as DataFusion's.

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::ScalarValue;

use crate::api::error::{Error, ErrorCode, Result};
use crate::api::value::Value;

/// The scalar of a parameter; of the type that the plan expects, where it expects one.
///
/// # Errors
/// [`ErrorCode::InvalidParameter`].
pub(super) fn parameter(number: usize, value: &Value, expected: Option<&DataType>) -> Result<ScalarValue> {
    let scalar = scalar(value);
    let Some(expected) = expected else { return Ok(scalar) };
    if &scalar.data_type() == expected {
        return Ok(scalar);
    }
    let wrong = || {
        Error::new(
            ErrorCode::InvalidParameter,
            format!("parameter ${number} should be {expected}, and {value} is not one"),
        )
    };
    let cast = scalar.cast_to(expected).map_err(|error| wrong().with_source(error))?;
    // Text is parsed; a number must keep its value, so that 1.5 does not find 1.
    let is_exact = matches!(value, Value::Str(_) | Value::Null)
        || cast.cast_to(&scalar.data_type()).is_ok_and(|back| back == scalar);
    if is_exact { Ok(cast) } else { Err(wrong()) }
}

fn scalar(value: &Value) -> ScalarValue {
    match value {
        Value::Null => ScalarValue::Null,
        Value::Bool(v) => ScalarValue::from(*v),
        Value::Int(v) => ScalarValue::from(*v),
        Value::UInt(v) => ScalarValue::from(*v),
        Value::Float(v) => ScalarValue::from(*v),
        Value::Decimal { unscaled, scale } => {
            ScalarValue::Decimal128(Some(*unscaled), arrow::datatypes::DECIMAL128_MAX_PRECISION, *scale)
        }
        Value::Str(v) => ScalarValue::from(v.as_str()),
        Value::Bytes(v) => ScalarValue::Binary(Some(v.clone())),
        Value::Date(days) => ScalarValue::Date32(Some(*days)),
        Value::Time(nanoseconds) => ScalarValue::Time64Nanosecond(Some(*nanoseconds)),
        Value::Timestamp { value, unit } => match unit {
            TimeUnit::Second => ScalarValue::TimestampSecond(Some(*value), None),
            TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(*value), None),
            TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(*value), None),
            TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(*value), None),
        },
    }
}
