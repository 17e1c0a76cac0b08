//! The position from which rows are wanted, as the server understands it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Date32Array, Date64Array, PrimitiveArray};
use arrow::datatypes::{
    ArrowTimestampType, DataType, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType,
};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use pillion::{Error, ErrorCode, Result, Value};

const DAY_MILLISECONDS: i64 = 86_400_000;

/// A value that a column must have at least.
pub(crate) struct Position {
    /// In SQL that every dialect which knows it reads alike.
    pub(crate) literal: String,
    /// As the value of a parameter, for what dialects write in different ways; one row.
    pub(crate) parameter: Option<ArrayRef>,
}

impl Position {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] if the column has no such positions: its values have an order that servers do not share, or
    /// the value is of another kind.
    pub(crate) fn of(column: &str, of: &DataType, value: &Value) -> Result<Self> {
        Self::find(of, value).ok_or_else(|| {
            let message = format!(
                "column `{column}` of type {of} has no position `{value}`: positions are numbers, dates and timestamps"
            );
            Error::new(ErrorCode::InvalidArgument, message)
        })
    }

    fn find(of: &DataType, value: &Value) -> Option<Self> {
        use DataType as T;
        let number = |literal: String| Some(Self { literal, parameter: None });
        match (of, value) {
            (of, Value::Int(value)) if is_number(of) => number(value.to_string()),
            (of, Value::UInt(value)) if is_number(of) => number(value.to_string()),
            (
                T::Decimal32(..) | T::Decimal64(..) | T::Decimal128(..) | T::Decimal256(..),
                Value::Decimal { .. },
            ) => number(value.to_string()),
            // Written so that reading it gives the same bits.
            (T::Float32 | T::Float64, Value::Float(value)) if value.is_finite() => {
                number(format!("{value:e}"))
            }
            (T::Date32, Value::Date(days)) => {
                let parameter: ArrayRef = Arc::new(Date32Array::from(vec![*days]));
                Some(Self { literal: format!("DATE '{}'", day(&parameter)?), parameter: Some(parameter) })
            }
            (T::Date64, Value::Date(days)) => {
                let parameter: ArrayRef =
                    Arc::new(Date64Array::from(vec![i64::from(*days).checked_mul(DAY_MILLISECONDS)?]));
                let days: ArrayRef = Arc::new(Date32Array::from(vec![*days]));
                Some(Self { literal: format!("DATE '{}'", day(&days)?), parameter: Some(parameter) })
            }
            (T::Date64, Value::Timestamp { value, unit }) => {
                let moment = in_unit(*value, *unit, TimeUnit::Millisecond)?;
                let days: ArrayRef = Arc::new(Date32Array::from(vec![
                    i32::try_from(moment.div_euclid(DAY_MILLISECONDS)).ok()?,
                ]));
                let parameter: ArrayRef = Arc::new(Date64Array::from(vec![moment]));
                Some(Self { literal: format!("DATE '{}'", day(&days)?), parameter: Some(parameter) })
            }
            (T::Timestamp(unit, zone), Value::Timestamp { value, unit: of_value }) => {
                let moment = in_unit(*value, *of_value, *unit)?;
                let (parameter, text) = match unit {
                    TimeUnit::Second => timestamp::<TimestampSecondType>(moment, zone, "")?,
                    TimeUnit::Millisecond => timestamp::<TimestampMillisecondType>(moment, zone, "%.3f")?,
                    TimeUnit::Microsecond => timestamp::<TimestampMicrosecondType>(moment, zone, "%.6f")?,
                    TimeUnit::Nanosecond => timestamp::<TimestampNanosecondType>(moment, zone, "%.9f")?,
                };
                let literal = match zone {
                    None => format!("TIMESTAMP '{text}'"),
                    // Not `TIMESTAMP '…+00:00'`, which some dialects read as a local time.
                    Some(_) => format!("CAST('{text}+00:00' AS TIMESTAMP WITH TIME ZONE)"),
                };
                Some(Self { literal, parameter: Some(parameter) })
            }
            _ => None,
        }
    }
}

fn is_number(of: &DataType) -> bool {
    of.is_numeric()
}

/// The first moment in a unit that is not before a time.
fn in_unit(value: i64, from: TimeUnit, to: TimeUnit) -> Option<i64> {
    let a_second = |unit| match unit {
        TimeUnit::Second => 1_i128,
        TimeUnit::Millisecond => 1_000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    };
    let scaled = i128::from(value) * a_second(to);
    let whole = scaled.div_euclid(a_second(from));
    i64::try_from(whole + i128::from(scaled.rem_euclid(a_second(from)) != 0)).ok()
}

/// A timestamp as a parameter, and as text in UTC; `None` for years that have not four digits.
fn timestamp<T: ArrowTimestampType>(
    moment: i64,
    zone: &Option<Arc<str>>,
    fraction: &str,
) -> Option<(ArrayRef, String)> {
    let array = PrimitiveArray::<T>::from_value(moment, 1);
    let format = format!("%Y-%m-%d %H:%M:%S{fraction}");
    let text = text(&array, &FormatOptions::new().with_timestamp_format(Some(&format)))?;
    Some((Arc::new(array.with_timezone_opt(zone.clone())), text))
}

fn day(days: &ArrayRef) -> Option<String> {
    text(days, &FormatOptions::new().with_date_format(Some("%Y-%m-%d")))
}

/// The only value of an array; `None` for years that have not four digits, which dialects write in different ways.
fn text(array: &dyn Array, options: &FormatOptions<'_>) -> Option<String> {
    let text = ArrayFormatter::try_new(array, options).ok()?.value(0).try_to_string().ok()?;
    let year = text.split('-').next().unwrap_or_default();
    (year.len() == 4 && year.bytes().all(|digit| digit.is_ascii_digit()) && year != "0000").then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(of: &DataType, value: impl Into<Value>) -> String {
        Position::of("c", of, &value.into()).unwrap().literal
    }

    #[test]
    fn positions_are_literals_of_the_type() {
        let moment = |value, unit| Value::Timestamp { value, unit };
        assert_eq!(literal(&DataType::Int32, -5_i64), "-5");
        assert_eq!(literal(&DataType::Decimal128(10, 2), 7_u64), "7");
        assert_eq!(literal(&DataType::Float64, 1.5), "1.5e0");
        assert_eq!(literal(&DataType::Date32, Value::Date(11_016)), "DATE '2000-02-29'");
        assert_eq!(literal(&DataType::Date64, Value::Date(-1)), "DATE '1969-12-31'");
        let seconds = DataType::Timestamp(TimeUnit::Second, None);
        assert_eq!(literal(&seconds, moment(-1, TimeUnit::Nanosecond)), "TIMESTAMP '1970-01-01 00:00:00'");
        let nanoseconds = DataType::Timestamp(TimeUnit::Nanosecond, None);
        assert_eq!(
            literal(&nanoseconds, moment(1_700_000_000_123, TimeUnit::Millisecond)),
            "TIMESTAMP '2023-11-14 22:13:20.123000000'"
        );
        let zoned = DataType::Timestamp(TimeUnit::Microsecond, Some("Asia/Tokyo".into()));
        assert_eq!(
            literal(&zoned, moment(1_700_000_000, TimeUnit::Second)),
            "CAST('2023-11-14 22:13:20.000000+00:00' AS TIMESTAMP WITH TIME ZONE)"
        );
        let parameter =
            Position::of("c", &zoned, &moment(7, TimeUnit::Microsecond)).unwrap().parameter.unwrap();
        assert_eq!(parameter.data_type(), &zoned);
    }

    #[test]
    fn what_servers_order_in_different_ways_has_no_position() {
        let far = Value::Timestamp { value: i64::MAX, unit: TimeUnit::Second };
        for (of, value) in [
            (DataType::Utf8, Value::from("x")),
            (DataType::Int32, Value::from("x")),
            (DataType::Int32, Value::Null),
            (DataType::Float64, Value::from(f64::NAN)),
            (DataType::Date32, Value::Date(i32::MAX)),
            (DataType::Timestamp(TimeUnit::Nanosecond, None), far),
        ] {
            let error = Position::of("c", &of, &value).err().unwrap();
            assert_eq!(error.code(), ErrorCode::InvalidArgument, "{of} {value}");
        }
    }
}
