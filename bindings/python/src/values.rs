//! Python objects as keys and as parameters of queries.

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, TimeUnit};
use chrono::{NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, Timelike};
use pillion::{ErrorCode, TableInfo, Value};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDate, PyDateAccess, PyDateTime, PyDelta, PyDeltaAccess, PyFloat, PyInt,
    PyList, PyString, PyTime, PyTimeAccess, PyTuple, PyTzInfoAccess,
};

use crate::errors::refuse;

static DECIMAL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Digits of a decimal that an `i128` holds whatever they are.
const DIGITS_MAX: usize = 38;

/// The class `decimal.Decimal`.
pub(crate) fn decimal_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let class =
        DECIMAL.get_or_try_init(py, || Ok::<_, PyErr>(py.import("decimal")?.getattr("Decimal")?.unbind()))?;
    Ok(class.bind(py))
}

/// The columns of a primary key, as far as keys depend on them.
pub(crate) struct KeyColumns(Vec<KeyColumn>);

struct KeyColumn {
    name: String,
    /// Whether its timestamps are moments; `None` for columns of other types.
    zoned: Option<bool>,
}

impl KeyColumns {
    pub(crate) fn of(info: &TableInfo) -> Self {
        let column = |name: &String| {
            let of = info.schema.field_with_name(name).map(|field| field.data_type());
            let zoned = match of {
                Ok(DataType::Timestamp(_, zone)) => Some(zone.is_some()),
                _ => None,
            };
            KeyColumn { name: name.clone(), zoned }
        };
        Self(info.rules.primary_key.iter().map(column).collect())
    }

    /// The names of the columns.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|column| column.name.as_str())
    }

    /// A key: a value, or a tuple or list of one value for each column.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] for objects that are not values, and for times with a zone where the column has none, or the
    /// other way round.
    pub(crate) fn key(&self, object: &Bound<'_, PyAny>) -> PyResult<Vec<Value>> {
        if let Ok(parts) = object.cast::<PyTuple>() {
            return parts.iter().enumerate().map(|(index, part)| self.part(index, &part)).collect();
        }
        if let Ok(parts) = object.cast::<PyList>() {
            return parts.iter().enumerate().map(|(index, part)| self.part(index, &part)).collect();
        }
        Ok(vec![self.part(0, object)?])
    }

    /// The columns of a batch that have the parts of keys.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidKey`] for a column that is missing, and as [`key`](Self::key) for times.
    pub(crate) fn arrays<'a>(&self, batch: &'a RecordBatch) -> PyResult<Vec<&'a ArrayRef>> {
        let array = |column: &KeyColumn| {
            let name = &column.name;
            let array = batch.column_by_name(name).ok_or_else(|| {
                let message = format!("the keys have no column `{name}`, which is part of the key");
                refuse(ErrorCode::InvalidKey, message)
            })?;
            if let DataType::Timestamp(_, zone) = array.data_type() {
                column.check_zone(zone.is_some())?;
            }
            Ok(array)
        };
        self.0.iter().map(array).collect()
    }

    fn part(&self, index: usize, object: &Bound<'_, PyAny>) -> PyResult<Value> {
        let value = value(object, ErrorCode::InvalidKey)?;
        if let (Value::Timestamp { .. }, Some(column)) = (&value, self.0.get(index)) {
            column.check_zone(is_aware(object)?)?;
        }
        Ok(value)
    }
}

impl KeyColumn {
    /// # Errors
    /// [`ErrorCode::InvalidKey`] for times with a zone where the column has none, or the other way round.
    fn check_zone(&self, is_aware: bool) -> PyResult<()> {
        let name = &self.name;
        let message = match self.zoned {
            Some(true) if !is_aware => {
                format!("`{name}` has moments; give a datetime with a time zone, such as timezone.utc")
            }
            Some(false) | None if is_aware => {
                format!("`{name}` has times without a zone; give a datetime without tzinfo")
            }
            _ => return Ok(()),
        };
        Err(refuse(ErrorCode::InvalidKey, message))
    }
}

/// The parameters of a query: a sequence of values.
///
/// # Errors
/// [`ErrorCode::InvalidParameter`].
pub(crate) fn parameters(object: Option<&Bound<'_, PyAny>>) -> PyResult<Vec<Value>> {
    let Some(object) = object else { return Ok(Vec::new()) };
    if object.is_instance_of::<PyString>() || object.is_instance_of::<PyBytes>() {
        let message = "parameters are a sequence of values; write (value,) for a single one";
        return Err(refuse(ErrorCode::InvalidParameter, message));
    }
    let items = object.try_iter().map_err(|_| {
        refuse(
            ErrorCode::InvalidParameter,
            "parameters are a sequence of values; write (value,) for a single one",
        )
    })?;
    items.map(|item| value(&item?, ErrorCode::InvalidParameter)).collect()
}

/// A value; `code` is that of the error if it is none.
///
/// # Errors
/// For objects of other types, and for numbers and times that no column holds.
pub(crate) fn value(object: &Bound<'_, PyAny>, code: ErrorCode) -> PyResult<Value> {
    if is_missing(object)? {
        return Ok(Value::Null);
    }
    if let Ok(text) = object.cast::<PyString>() {
        return Ok(Value::Str(text.to_str()?.to_owned()));
    }
    if let Ok(flag) = object.cast::<PyBool>() {
        return Ok(Value::Bool(flag.is_true()));
    }
    if object.is_instance_of::<PyInt>() {
        return integer(object, code);
    }
    if let Ok(number) = object.cast::<PyFloat>() {
        return Ok(Value::Float(number.value()));
    }
    if let Ok(bytes) = object.cast::<PyBytes>() {
        return Ok(Value::Bytes(bytes.as_bytes().to_vec()));
    }
    if let Ok(bytes) = object.cast::<PyByteArray>() {
        return Ok(Value::Bytes(bytes.to_vec()));
    }
    if let Ok(moment) = object.cast::<PyDateTime>() {
        return timestamp(moment, code);
    }
    if let Ok(day) = object.cast::<PyDate>() {
        return Ok(Value::Date(days(day)?));
    }
    if let Ok(time) = object.cast::<PyTime>() {
        return Ok(Value::Time(nanoseconds_of_day(time, code)?));
    }
    if object.is_instance(decimal_class(object.py())?)? {
        let (unscaled, scale) = decimal(object, code)?;
        return Ok(Value::Decimal { unscaled, scale });
    }
    scalar_of_another_library(object, code)
}

/// Numbers of NumPy and the like: those that say which integer they are, and those that give a Python object.
fn scalar_of_another_library(object: &Bound<'_, PyAny>, code: ErrorCode) -> PyResult<Value> {
    let name = object.get_type().name()?.to_string();
    // Without this, NumPy gives nanoseconds as a plain integer.
    if name == "datetime64" || name == "timedelta64" {
        let message = format!("numpy.{name} is not taken; give value.astype('datetime64[us]').item()");
        return Err(refuse(code, message));
    }
    if object.hasattr("__index__")? {
        return integer(&object.call_method0("__index__")?, code);
    }
    let is_of_numpy = object.get_type().module().is_ok_and(|module| module == "numpy");
    if is_of_numpy && object.hasattr("item")? {
        let item = object.call_method0("item")?;
        if !item.get_type().is(object.get_type()) {
            return value(&item, code);
        }
    }
    let message = format!(
        "{name} is not a value; give None, bool, int, float, Decimal, str, bytes, date, time or datetime"
    );
    Err(refuse(code, message))
}

/// Whether an object is `None`, or a datetime that is no moment, as `pandas.NaT` is.
pub(crate) fn is_missing(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    if object.is_none() {
        return Ok(true);
    }
    // Such a one is not equal to itself, as a NaN. Its parts would be read as those of the year 1.
    let is_other = object.is_instance_of::<PyDateTime>() && !object.is_exact_instance_of::<PyDateTime>();
    Ok(is_other && object.ne(object)?)
}

fn integer(object: &Bound<'_, PyAny>, code: ErrorCode) -> PyResult<Value> {
    if let Ok(number) = object.extract::<i64>() {
        return Ok(Value::Int(number));
    }
    object.extract::<u64>().map(Value::UInt).map_err(|_| {
        refuse(code, "the integer has more than 64 bits, so no column holds it; give a Decimal or a text")
    })
}

/// A decimal's digits as one integer, and how many stand after the point.
///
/// # Errors
/// If it is not finite, or has more than 38 digits.
pub(crate) fn decimal(object: &Bound<'_, PyAny>, code: ErrorCode) -> PyResult<(i128, i8)> {
    let too_long = || refuse(code, format!("a decimal has at most {DIGITS_MAX} digits"));
    let parts = object.call_method0("as_tuple")?;
    let Ok(exponent) = parts.getattr("exponent")?.extract::<i64>() else {
        return Err(refuse(code, "NaN and Infinity are not decimals; give None or a float"));
    };
    let digits: Vec<u8> = parts.getattr("digits")?.extract()?;
    if digits.len() > DIGITS_MAX {
        return Err(too_long());
    }
    let mut unscaled = digits.iter().fold(0_i128, |sum, digit| sum * 10 + i128::from(*digit));
    if parts.getattr("sign")?.extract::<u8>()? == 1 {
        unscaled = -unscaled;
    }
    if exponent > 0 {
        let power = u32::try_from(exponent).ok().and_then(|exponent| 10_i128.checked_pow(exponent));
        let unscaled = power.and_then(|power| unscaled.checked_mul(power)).ok_or_else(too_long)?;
        return Ok((unscaled, 0));
    }
    let scale = i8::try_from(-exponent).map_err(|_| too_long())?;
    Ok((unscaled, scale))
}

/// Days since 1970-01-01.
///
/// # Errors
/// None for dates that Python has.
pub(crate) fn days(day: &Bound<'_, PyDate>) -> PyResult<i32> {
    let date = civil(day.get_year(), day.get_month(), day.get_day())?;
    Ok(i32::try_from((date - NaiveDate::default()).num_days())?)
}

/// Nanoseconds since midnight.
///
/// # Errors
/// For times with a zone, which no column has.
pub(crate) fn nanoseconds_of_day(time: &Bound<'_, PyTime>, code: ErrorCode) -> PyResult<i64> {
    if time.get_tzinfo().is_some() {
        return Err(refuse(code, "columns of times have no time zone; give a time without tzinfo"));
    }
    let seconds =
        i64::from(time.get_hour()) * 3600 + i64::from(time.get_minute()) * 60 + i64::from(time.get_second());
    Ok((seconds * 1_000_000 + i64::from(time.get_microsecond())) * 1000)
}

/// Nanoseconds of a `timedelta`.
///
/// # Errors
/// If a subclass has nanoseconds that are no integer.
pub(crate) fn nanoseconds_of(delta: &Bound<'_, PyDelta>) -> PyResult<i128> {
    let seconds = i128::from(delta.get_days()) * 86_400 + i128::from(delta.get_seconds());
    // A pandas.Timedelta is a timedelta whose nanoseconds Python does not know.
    let below =
        if delta.is_exact_instance_of::<PyDelta>() { None } else { delta.getattr_opt("nanoseconds")? };
    let below = below.map_or(Ok(0), |nanoseconds| nanoseconds.extract::<i64>())?;
    Ok((seconds * 1_000_000 + i128::from(delta.get_microseconds())) * 1000 + i128::from(below))
}

/// Whether a datetime says which moment it is.
pub(crate) fn is_aware(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    match object.cast::<PyDateTime>() {
        Ok(moment) if moment.get_tzinfo().is_some() => Ok(!object.call_method0("utcoffset")?.is_none()),
        _ => Ok(false),
    }
}

fn timestamp(moment: &Bound<'_, PyDateTime>, code: ErrorCode) -> PyResult<Value> {
    // A pandas.Timestamp is a datetime whose nanoseconds Python does not know.
    if let Ok(nanoseconds) = moment.getattr("nanosecond")
        && nanoseconds.extract::<i64>().unwrap_or_default() != 0
    {
        let value = moment.getattr("value")?.extract::<i64>()?;
        return Ok(Value::Timestamp { value, unit: TimeUnit::Nanosecond });
    }
    Ok(Value::Timestamp { value: microseconds(moment, code)?, unit: TimeUnit::Microsecond })
}

/// Microseconds since 1970-01-01, in UTC if the datetime has a zone.
///
/// # Errors
/// If its zone does not know its offset.
pub(crate) fn microseconds(moment: &Bound<'_, PyDateTime>, code: ErrorCode) -> PyResult<i64> {
    let date = civil(moment.get_year(), moment.get_month(), moment.get_day())?;
    let time = NaiveTime::from_hms_micro_opt(
        moment.get_hour().into(),
        moment.get_minute().into(),
        moment.get_second().into(),
        moment.get_microsecond(),
    );
    let time = time.ok_or_else(|| refuse(code, "the datetime has no time of day"))?;
    let mut local = NaiveDateTime::new(date, time);
    if moment.get_tzinfo().is_some() {
        let offset = moment.call_method0("utcoffset")?;
        if let Ok(offset) = offset.cast::<PyDelta>() {
            local -= TimeDelta::nanoseconds(i64::try_from(nanoseconds_of(offset)?)?);
        }
    }
    debug_assert_eq!(local.nanosecond() % 1000, 0, "Python has microseconds");
    Ok(local.and_utc().timestamp_micros())
}

fn civil(year: i32, month: u8, day: u8) -> PyResult<NaiveDate> {
    NaiveDate::from_ymd_opt(year, month.into(), day.into())
        .ok_or_else(|| refuse(ErrorCode::InvalidArgument, "there is no such day"))
}
