//! From which value of a column on rows are wanted.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int8Array, Int16Array, Int32Array, Int64Array,
    RecordBatch, Scalar, StringArray, TimestampMicrosecondArray,
};
use arrow::compute::filter_record_batch;
use arrow::compute::kernels::cmp::gt_eq;
use arrow::datatypes::{DataType, TimeUnit};
use arrow::error::ArrowError;
use delta_kernel::expressions::Scalar as Literal;
use delta_kernel::{Expression, Predicate};
use pillion::{Error, ErrorCode, Result, Value};

/// A column, and the lowest of its values that is wanted.
#[derive(Debug)]
pub(crate) struct Position {
    pub(crate) column: String,
    first: First,
}

#[derive(Debug)]
enum First {
    /// Every value, but no null.
    Everything,
    Nothing,
    /// For comparisons here, and for the kernel to choose files by if it can.
    Value(Scalar<ArrayRef>, Option<Literal>),
}

impl Position {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for a value that is not comparable with those of the column.
    pub(crate) fn new(column: &str, data_type: &DataType, value: &Value) -> Result<Self> {
        let first = first(data_type, value).ok_or_else(|| {
            let message = format!(
                "rows of the column `{column}` of type {data_type} cannot be fetched from {value:?} on"
            );
            Error::new(ErrorCode::InvalidArgument, message)
        })?;
        Ok(Self { column: column.to_owned(), first })
    }

    /// A predicate that is true of each wanted row; files without such rows are not read.
    pub(crate) fn predicate(&self) -> Option<Predicate> {
        let First::Value(_, Some(literal)) = &self.first else { return None };
        Some(Predicate::ge(Expression::column([self.column.clone()]), Expression::literal(literal.clone())))
    }

    /// Whether no row can be wanted.
    pub(crate) fn is_beyond_all(&self) -> bool {
        matches!(self.first, First::Nothing)
    }

    /// The wanted rows of a batch.
    ///
    /// # Errors
    /// If the batch does not have the column.
    pub(crate) fn keep(&self, batch: &RecordBatch) -> std::result::Result<RecordBatch, ArrowError> {
        let values = batch
            .column_by_name(&self.column)
            .ok_or_else(|| ArrowError::SchemaError(format!("the column `{}` did not come", self.column)))?;
        let is_wanted: BooleanArray = match &self.first {
            First::Everything => arrow::compute::is_not_null(values)?,
            First::Nothing => BooleanArray::from(vec![false; batch.num_rows()]),
            First::Value(lowest, _) => gt_eq(values, lowest)?,
        };
        filter_record_batch(batch, &is_wanted)
    }
}

/// A value as the kernel compares it with those of a column; `None` if it cannot.
pub(crate) fn literal(data_type: &DataType, value: &Value) -> Option<Literal> {
    match first(data_type, value)? {
        First::Value(_, literal) => literal,
        First::Everything | First::Nothing => None,
    }
}

fn first(data_type: &DataType, value: &Value) -> Option<First> {
    let exact = |array: ArrayRef, literal: Literal| First::Value(Scalar::new(array), Some(literal));
    // A number above or below all that the column can have.
    macro_rules! integer {
        ($number:ty, $array:ident) => {{
            let number = match value {
                Value::Int(number) => i128::from(*number),
                Value::UInt(number) => i128::from(*number),
                _ => return None,
            };
            match <$number>::try_from(number) {
                Ok(number) => exact(Arc::new($array::from(vec![number])), Literal::from(number)),
                Err(_) if number < 0 => First::Everything,
                Err(_) => First::Nothing,
            }
        }};
    }
    Some(match data_type {
        DataType::Int8 => integer!(i8, Int8Array),
        DataType::Int16 => integer!(i16, Int16Array),
        DataType::Int32 => integer!(i32, Int32Array),
        DataType::Int64 => integer!(i64, Int64Array),
        DataType::Date32 => {
            let Value::Date(days) = value else { return None };
            exact(Arc::new(Date32Array::from(vec![*days])), Literal::Date(*days))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let Value::Timestamp { value, unit } = value else { return None };
            let Ok(lowest) = i64::try_from(microseconds(*value, *unit)) else {
                return Some(if *value < 0 { First::Everything } else { First::Nothing });
            };
            let array = TimestampMicrosecondArray::from(vec![lowest]).with_timezone_opt(zone.clone());
            let literal = match zone {
                Some(_) => Literal::Timestamp(lowest),
                None => Literal::TimestampNtz(lowest),
            };
            exact(Arc::new(array), literal)
        }
        DataType::Utf8 => {
            let Value::Str(text) = value else { return None };
            let text: &str = text;
            exact(Arc::new(StringArray::from(vec![text])), Literal::from(text))
        }
        DataType::Decimal128(precision, scale) => {
            let (unscaled, of) = match value {
                Value::Decimal { unscaled, scale } => (*unscaled, *scale),
                Value::Int(number) => (i128::from(*number), 0),
                _ => return None,
            };
            let Some(lowest) = rescaled(unscaled, of, *scale) else {
                return Some(if unscaled < 0 { First::Everything } else { First::Nothing });
            };
            let array = Decimal128Array::from(vec![lowest]).with_precision_and_scale(*precision, *scale);
            First::Value(Scalar::new(Arc::new(array.ok()?)), None)
        }
        _ => return None,
    })
}

/// The first whole microsecond at a moment or behind it.
fn microseconds(value: i64, unit: TimeUnit) -> i128 {
    let value = i128::from(value);
    match unit {
        TimeUnit::Second => value * 1_000_000,
        TimeUnit::Millisecond => value * 1_000,
        TimeUnit::Microsecond => value,
        TimeUnit::Nanosecond => value.div_euclid(1_000) + i128::from(value.rem_euclid(1_000) != 0),
    }
}

/// The lowest number of a scale that is not below a number; `None` if there is none.
fn rescaled(unscaled: i128, from: i8, to: i8) -> Option<i128> {
    let power = |digits: i16| 10_i128.checked_pow(u32::try_from(digits).ok()?);
    let digits = i16::from(to) - i16::from(from);
    if digits >= 0 {
        return unscaled.checked_mul(power(digits)?);
    }
    let divisor = power(-digits)?;
    Some(unscaled.div_euclid(divisor) + i128::from(unscaled.rem_euclid(divisor) != 0))
}

#[cfg(test)]
mod tests {
    use arrow::array::Array;

    use super::*;

    fn kept(values: ArrayRef, from: &Value) -> Vec<usize> {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
        let data_type = values.data_type().clone();
        let batch = RecordBatch::try_from_iter_with_nullable([("c", values, true), ("row", numbers, false)]);
        let kept = Position::new("c", &data_type, from).unwrap().keep(&batch.unwrap()).unwrap();
        let rows = kept.column(1).as_any().downcast_ref::<Int64Array>().unwrap().clone();
        rows.values().iter().map(|row| usize::try_from(*row).unwrap()).collect()
    }

    #[test]
    fn rows_at_a_position_and_above_are_kept() {
        let integers =
            || Arc::new(Int16Array::from(vec![Some(-5), None, Some(5), Some(i16::MAX)])) as ArrayRef;
        assert_eq!(kept(integers(), &Value::Int(5)), [2, 3]);
        assert_eq!(kept(integers(), &Value::Int(-70_000)), [0, 2, 3], "below all, and no null");
        assert!(kept(integers(), &Value::UInt(u64::MAX)).is_empty());
        let moments = TimestampMicrosecondArray::from(vec![0, 1, 2]).with_timezone("UTC");
        let nanoseconds = Value::Timestamp { value: 1_001, unit: TimeUnit::Nanosecond };
        assert_eq!(kept(Arc::new(moments), &nanoseconds), [2]);
        let decimals = || {
            let decimals = Decimal128Array::from(vec![99, 100, 101]).with_precision_and_scale(5, 2).unwrap();
            Arc::new(decimals) as ArrayRef
        };
        assert_eq!(kept(decimals(), &Value::Decimal { unscaled: 1_001, scale: 3 }), [2]);
        assert_eq!(kept(decimals(), &Value::Decimal { unscaled: 1, scale: 0 }), [1, 2]);
        assert_eq!(kept(decimals(), &Value::Int(-1)), [0, 1, 2]);
        let texts = StringArray::from(vec![Some("a"), None, Some("ä"), Some("b")]);
        assert_eq!(kept(Arc::new(texts), &Value::from("b")), [2, 3]);
    }

    #[test]
    fn values_of_other_kinds_are_refused() {
        for (data_type, value) in [
            (DataType::Int64, Value::from("5")),
            (DataType::Boolean, Value::Bool(true)),
            (DataType::Float64, Value::Float(1.0)),
            (DataType::Date32, Value::Int(5)),
            (DataType::Utf8, Value::Null),
        ] {
            assert_eq!(
                Position::new("c", &data_type, &value).unwrap_err().code(),
                ErrorCode::InvalidArgument
            );
        }
    }
}
