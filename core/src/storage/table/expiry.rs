//! Which rows are older than their table keeps them.

use std::time::{Duration, SystemTime};

use arrow::array::types::Int64Type;
use arrow::array::{Array, AsArray, BooleanArray, Int64Array};
use arrow::compute::kernels::cmp::lt;
use arrow::compute::{cast, prep_null_mask_filter};
use arrow::datatypes::{DataType, TimeUnit};

use crate::types::error::{Error, Result};

/// Whether values of a type can say how old a row is.
pub(crate) fn is_time(data_type: &DataType) -> bool {
    nanoseconds(data_type).is_some()
}

/// Nanoseconds of one step of a type's values, which count from 1970-01-01 UTC.
fn nanoseconds(data_type: &DataType) -> Option<i128> {
    match data_type {
        DataType::Timestamp(TimeUnit::Second, _) => Some(1_000_000_000),
        DataType::Timestamp(TimeUnit::Millisecond, _) | DataType::Date64 => Some(1_000_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => Some(1_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => Some(1),
        DataType::Date32 => Some(86_400_000_000_000),
        _ => None,
    }
}

/// The smallest value of a column of this type that is not too old; `None` if its values are not times.
pub(crate) fn oldest(data_type: &DataType, now: SystemTime, age: Duration) -> Option<i64> {
    let step = nanoseconds(data_type)?;
    let now = match now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => i128::try_from(since.as_nanos()).ok()?,
        Err(before) => -i128::try_from(before.duration().as_nanos()).ok()?,
    };
    let oldest = now - i128::try_from(age.as_nanos()).ok()?;
    // Rounded up: a step that began before the limit is too old.
    let steps = oldest.div_euclid(step) + i128::from(oldest.rem_euclid(step) > 0);
    Some(i64::try_from(steps).unwrap_or(i64::MIN))
}

/// Which times lie before `oldest`; a null does not.
///
/// # Errors
/// [`Internal`](crate::ErrorCode::Internal) for a column of other values.
pub(crate) fn is_older(times: &dyn Array, oldest: i64) -> Result<BooleanArray> {
    let failed = |error| Error::internal("cannot compare times").with_source(error);
    let values = cast(times, &DataType::Int64).map_err(failed)?;
    let older = lt(&values, &Int64Array::new_scalar(oldest)).map_err(failed)?;
    Ok(if older.null_count() > 0 { prep_null_mask_filter(&older) } else { older })
}

/// The smallest of the times that do not lie before `oldest`; `None` if there is none.
///
/// # Errors
/// [`Internal`](crate::ErrorCode::Internal) for a column of other values.
pub(crate) fn oldest_of(times: &dyn Array, oldest: i64) -> Result<Option<i64>> {
    let failed = |error| Error::internal("cannot compare times").with_source(error);
    let values = cast(times, &DataType::Int64).map_err(failed)?;
    let values = values.as_primitive::<Int64Type>();
    Ok(values.iter().flatten().filter(|&time| time >= oldest).min())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_too_old_when_its_time_lies_before_the_age() {
        let at = |nanoseconds| SystemTime::UNIX_EPOCH + Duration::from_nanos(nanoseconds);
        let second = DataType::Timestamp(TimeUnit::Second, None);
        let day = Duration::from_secs(86_400);
        // 10.000000001 s - 3 s: what happened at 7 s is too old, at 8 s it is not.
        assert_eq!(oldest(&second, at(10_000_000_001), Duration::from_secs(3)), Some(8));
        assert_eq!(oldest(&second, at(10_000_000_000), Duration::from_secs(3)), Some(7));
        assert_eq!(oldest(&DataType::Date32, at(0), day), Some(-1));
        assert_eq!(oldest(&DataType::Date32, at(1), day), Some(0));
        assert_eq!(oldest(&second, at(0), Duration::MAX), Some(i64::MIN));
        assert_eq!(oldest(&DataType::Int64, at(0), day), None);
        let times = arrow::array::TimestampSecondArray::from(vec![Some(7), None, Some(8), Some(-9)]);
        assert_eq!(oldest_of(&times, 8).unwrap(), Some(8));
        assert_eq!(oldest_of(&times, 9).unwrap(), None);
        let older: Vec<bool> = is_older(&times, 8).unwrap().values().iter().collect();
        assert_eq!(older, [true, false, false, true]);
    }
}
