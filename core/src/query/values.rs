//! Our values as DataFusion's.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::datatypes::{DECIMAL128_MAX_SCALE, DataType, TimeUnit};
use datafusion::common::ScalarValue;

use crate::storage::key::rescale;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;

/// The scalar of a parameter, with the type that the plan expects if it expects one.
///
/// # Errors
/// [`ErrorCode::InvalidParameter`].
pub(super) fn parameter(number: usize, value: &Value, expected: Option<&DataType>) -> Result<ScalarValue> {
    let value = &*within_scale(number, value)?;
    let scalar = scalar(value);
    let Some(expected) = expected else { return Ok(scalar) };
    if &scalar.data_type() == expected {
        return Ok(scalar);
    }
    // A moment stays the same in whatever time zone the column shows it.
    if let (Value::Timestamp { value, unit }, DataType::Timestamp(wanted, zone)) = (value, expected)
        && let Ok(value) = rescale(*value, *unit, *wanted)
    {
        return Ok(timestamp(value, *wanted, zone.clone()));
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

/// The same decimal with a scale that Arrow can have; other values unchanged.
///
/// # Errors
/// [`ErrorCode::InvalidParameter`] if the decimal has too many digits for that.
fn within_scale(number: usize, value: &Value) -> Result<Cow<'_, Value>> {
    let &Value::Decimal { unscaled, scale } = value else { return Ok(Cow::Borrowed(value)) };
    let most = DECIMAL128_MAX_SCALE;
    let nearest = scale.clamp(-most, most);
    if nearest == scale {
        return Ok(Cow::Borrowed(value));
    }
    let factor = 10_i128.checked_pow(u32::from(nearest.abs_diff(scale)));
    let moved = match factor {
        _ if unscaled == 0 => Some(0),
        Some(factor) if nearest > scale => unscaled.checked_mul(factor),
        Some(factor) if unscaled % factor == 0 => Some(unscaled / factor),
        _ => None,
    };
    let moved = moved.ok_or_else(|| {
        let message =
            format!("parameter ${number}: the decimal {value} has more digits than a query can compute with");
        Error::new(ErrorCode::InvalidParameter, message)
    })?;
    Ok(Cow::Owned(Value::Decimal { unscaled: moved, scale: nearest }))
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
        Value::Timestamp { value, unit } => timestamp(*value, *unit, None),
    }
}

fn timestamp(value: i64, unit: TimeUnit, zone: Option<Arc<str>>) -> ScalarValue {
    match unit {
        TimeUnit::Second => ScalarValue::TimestampSecond(Some(value), zone),
        TimeUnit::Millisecond => ScalarValue::TimestampMillisecond(Some(value), zone),
        TimeUnit::Microsecond => ScalarValue::TimestampMicrosecond(Some(value), zone),
        TimeUnit::Nanosecond => ScalarValue::TimestampNanosecond(Some(value), zone),
    }
}
