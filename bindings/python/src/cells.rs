//! Values of columns as Python objects.

use std::collections::HashMap;

use arrow::array::types::{
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{DataType, IntervalUnit, SchemaRef, TimeUnit};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta, Timelike};
use pillion::{ErrorCode, ValueRef, nearest};
use pyo3::prelude::*;
use pyo3::types::{
    PyBytes, PyDate, PyDateTime, PyDelta, PyDict, PyList, PyString, PyTime, PyTuple, PyTzInfo,
};

use crate::errors::{raise, refuse};
use crate::values::decimal_class;

/// The columns of an answer, and what each needs to become Python objects.
pub(crate) struct Columns {
    pub(crate) schema: SchemaRef,
    pub(crate) positions: HashMap<String, usize>,
    pub(crate) names: Vec<Py<PyString>>,
    zones: Vec<Option<Zone>>,
}

/// The time zone of a column. Python makes it when the first value is read.
struct Zone {
    name: String,
    made: pyo3::sync::PyOnceLock<Py<PyAny>>,
}

impl Columns {
    pub(crate) fn new(py: Python<'_>, schema: SchemaRef) -> Self {
        let fields = schema.fields();
        let positions = fields.iter().enumerate().rev();
        let positions = positions.map(|(index, field)| (field.name().clone(), index)).collect();
        let names = fields.iter().map(|field| PyString::intern(py, field.name()).unbind()).collect();
        let zones = fields.iter().map(|field| zone_of(field.data_type())).collect();
        Self { schema, positions, names, zones }
    }

    /// The position of a column.
    ///
    /// # Errors
    /// [`ErrorCode::ColumnNotFound`], naming the nearest column there is.
    pub(crate) fn position(&self, name: &str) -> PyResult<usize> {
        self.positions.get(name).copied().ok_or_else(|| {
            let known = self.schema.fields().iter().map(|field| field.name().as_str());
            let hint =
                nearest(name, known).map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
            refuse(ErrorCode::ColumnNotFound, format!("there is no column `{name}`{hint}"))
        })
    }

    /// Whether the row itself gives values of a column; otherwise they are read from a batch.
    pub(crate) fn is_single(&self, column: usize) -> bool {
        use DataType as T;
        !matches!(self.schema.field(column).data_type(), T::Decimal256(..) | T::Duration(_) | T::Interval(_))
            && !self.schema.field(column).data_type().is_nested()
    }

    /// A value of a column as a Python object.
    pub(crate) fn object<'py>(
        &self,
        py: Python<'py>,
        column: usize,
        value: ValueRef<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let zone = self.zones.get(column).and_then(Option::as_ref);
        of_value(py, value, zone).map_err(|error| self.in_column(py, column, error))
    }

    /// The value of an array of a column at an index, as a Python object.
    pub(crate) fn cell<'py>(
        &self,
        py: Python<'py>,
        column: usize,
        array: &dyn Array,
        index: usize,
    ) -> PyResult<Bound<'py, PyAny>> {
        let zone = self.zones.get(column).and_then(Option::as_ref);
        of_array(py, array, index, zone).map_err(|error| self.in_column(py, column, error))
    }

    fn in_column(&self, py: Python<'_>, column: usize, error: PyErr) -> PyErr {
        let name = self.schema.field(column).name();
        // Only our own errors are about the value.
        match error.value(py).getattr("message").and_then(|message| message.extract::<String>()) {
            Ok(message) => refuse(ErrorCode::TypeMismatch, format!("column `{name}`: {message}")),
            Err(_) => error,
        }
    }
}

fn zone_of(of: &DataType) -> Option<Zone> {
    match of {
        DataType::Timestamp(_, Some(name)) => {
            Some(Zone { name: name.to_string(), made: pyo3::sync::PyOnceLock::new() })
        }
        _ => None,
    }
}

impl Zone {
    fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyAny>> {
        let made = self.made.get_or_try_init(py, || {
            Ok::<_, PyErr>(py.import("pillion._zones")?.getattr("zone")?.call1((&self.name,))?.unbind())
        })?;
        Ok(made.bind(py))
    }
}

fn of_value<'py>(py: Python<'py>, value: ValueRef<'_>, zone: Option<&Zone>) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        ValueRef::Null => py.None().into_bound(py),
        ValueRef::Bool(flag) => flag.into_pyobject(py)?.to_owned().into_any(),
        ValueRef::Int(number) => number.into_pyobject(py)?.into_any(),
        ValueRef::UInt(number) => number.into_pyobject(py)?.into_any(),
        ValueRef::Float(number) => number.into_pyobject(py)?.into_any(),
        ValueRef::Str(text) => PyString::new(py, text).into_any(),
        ValueRef::Bytes(bytes) => PyBytes::new(py, bytes).into_any(),
        ValueRef::Decimal { .. } => decimal_class(py)?.call1((value.to_string(),))?,
        ValueRef::Date(days) => {
            let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days.into()));
            let date = date.filter(|date| is_year(date.year())).ok_or_else(|| out_of_range("date"))?;
            PyDate::new(py, date.year(), small(date.month()), small(date.day()))?.into_any()
        }
        ValueRef::Time(nanoseconds) => time(py, nanoseconds)?,
        ValueRef::Timestamp { value, unit } => timestamp(py, value, unit, zone)?,
        _ => return Err(refuse(ErrorCode::TypeMismatch, "the value has a type that Python does not have")),
    })
}

fn time(py: Python<'_>, nanoseconds: i64) -> PyResult<Bound<'_, PyAny>> {
    let (seconds, rest) = (nanoseconds.div_euclid(1_000_000_000), nanoseconds.rem_euclid(1_000_000_000));
    let seconds = u32::try_from(seconds).ok().filter(|seconds| *seconds < 86_400);
    let seconds = seconds.ok_or_else(|| out_of_range("time"))?;
    let microseconds = whole_microseconds(rest)?;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    Ok(PyTime::new(py, small(hour), small(minute), small(second), microseconds, None)?.into_any())
}

fn timestamp<'py>(
    py: Python<'py>,
    value: i64,
    unit: TimeUnit,
    zone: Option<&Zone>,
) -> PyResult<Bound<'py, PyAny>> {
    let per_second = per_second(unit);
    let nanoseconds = value.rem_euclid(per_second) * (1_000_000_000 / per_second);
    let moment = DateTime::from_timestamp(value.div_euclid(per_second), 0);
    let moment = moment.filter(|moment| is_year(moment.year())).ok_or_else(|| out_of_range("datetime"))?;
    let microseconds = whole_microseconds(nanoseconds)?;
    let utc = zone.map(|_| PyTzInfo::utc(py)).transpose()?;
    let made = PyDateTime::new(
        py,
        moment.year(),
        small(moment.month()),
        small(moment.day()),
        small(moment.hour()),
        small(moment.minute()),
        small(moment.second()),
        microseconds,
        utc.as_deref(),
    )?
    .into_any();
    match zone {
        Some(zone) if zone.name != "UTC" => made.call_method1("astimezone", (zone.get(py)?,)),
        _ => Ok(made),
    }
}

fn per_second(unit: TimeUnit) -> i64 {
    match unit {
        TimeUnit::Second => 1,
        TimeUnit::Millisecond => 1000,
        TimeUnit::Microsecond => 1_000_000,
        TimeUnit::Nanosecond => 1_000_000_000,
    }
}

fn whole_microseconds(nanoseconds: i64) -> PyResult<u32> {
    if nanoseconds % 1000 != 0 {
        let message = "the value has nanoseconds, which Python's times do not have; read it as Arrow";
        return Err(refuse(ErrorCode::TypeMismatch, message));
    }
    Ok(u32::try_from(nanoseconds / 1000)?)
}

fn is_year(year: i32) -> bool {
    (1..=9999).contains(&year)
}

/// Parts of dates and times are below 256.
fn small(part: u32) -> u8 {
    u8::try_from(part).unwrap_or(u8::MAX)
}

fn out_of_range(what: &str) -> PyErr {
    let message = format!("the value is outside the range of Python's {what}; read it as Arrow");
    refuse(ErrorCode::TypeMismatch, message)
}

fn of_array<'py>(
    py: Python<'py>,
    array: &dyn Array,
    index: usize,
    zone: Option<&Zone>,
) -> PyResult<Bound<'py, PyAny>> {
    use DataType as T;
    if array.is_null(index) {
        return Ok(py.None().into_bound(py));
    }
    match array.data_type() {
        T::Decimal256(_, scale) => {
            let value = array.as_primitive::<Decimal256Type>().value(index);
            // Negative exponents are digits behind the point.
            decimal_class(py)?.call1((format!("{value}E{}", -i32::from(*scale)),))
        }
        T::Duration(unit) => duration(py, array, index, *unit),
        T::Interval(unit) => interval(py, array, index, *unit),
        T::List(_) => list(py, &array.as_list::<i32>().value(index)),
        T::LargeList(_) => list(py, &array.as_list::<i64>().value(index)),
        T::FixedSizeList(..) => list(py, &array.as_fixed_size_list().value(index)),
        T::Struct(fields) => {
            let dict = PyDict::new(py);
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                dict.set_item(field.name(), of_nested(py, column, index)?)?;
            }
            Ok(dict.into_any())
        }
        T::Map(..) => {
            let entries = array.as_map().value(index);
            let pairs = (0..entries.len()).map(|row| {
                let part = |column: usize| of_nested(py, entries.column(column), row);
                PyTuple::new(py, [part(0)?, part(1)?])
            });
            Ok(PyList::new(py, pairs.collect::<PyResult<Vec<_>>>()?)?.into_any())
        }
        _ => of_value(py, ValueRef::at(array, index).map_err(raise)?, zone),
    }
}

fn of_nested<'py>(py: Python<'py>, array: &dyn Array, index: usize) -> PyResult<Bound<'py, PyAny>> {
    of_array(py, array, index, zone_of(array.data_type()).as_ref())
}

fn list<'py>(py: Python<'py>, items: &dyn Array) -> PyResult<Bound<'py, PyAny>> {
    let zone = zone_of(items.data_type());
    let items = (0..items.len()).map(|index| of_array(py, items, index, zone.as_ref()));
    Ok(PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?.into_any())
}

fn duration<'py>(
    py: Python<'py>,
    array: &dyn Array,
    index: usize,
    unit: TimeUnit,
) -> PyResult<Bound<'py, PyAny>> {
    let value = match unit {
        TimeUnit::Second => array.as_primitive::<DurationSecondType>().value(index),
        TimeUnit::Millisecond => array.as_primitive::<DurationMillisecondType>().value(index),
        TimeUnit::Microsecond => array.as_primitive::<DurationMicrosecondType>().value(index),
        TimeUnit::Nanosecond => array.as_primitive::<DurationNanosecondType>().value(index),
    };
    let per_second = per_second(unit);
    let seconds = value.div_euclid(per_second);
    let microseconds = whole_microseconds(value.rem_euclid(per_second) * (1_000_000_000 / per_second))?;
    let days = i32::try_from(seconds.div_euclid(86_400)).map_err(|_| out_of_range("timedelta"))?;
    let seconds = i32::try_from(seconds.rem_euclid(86_400))?;
    Ok(PyDelta::new(py, days, seconds, i32::try_from(microseconds)?, true)?.into_any())
}

fn interval<'py>(
    py: Python<'py>,
    array: &dyn Array,
    index: usize,
    unit: IntervalUnit,
) -> PyResult<Bound<'py, PyAny>> {
    let (months, days, nanoseconds) = match unit {
        IntervalUnit::YearMonth => (array.as_primitive::<IntervalYearMonthType>().value(index), 0, 0),
        IntervalUnit::DayTime => {
            let value = array.as_primitive::<IntervalDayTimeType>().value(index);
            (0, value.days, i64::from(value.milliseconds) * 1_000_000)
        }
        IntervalUnit::MonthDayNano => {
            let value = array.as_primitive::<IntervalMonthDayNanoType>().value(index);
            (value.months, value.days, value.nanoseconds)
        }
    };
    py.import("pillion._zones")?.getattr("Interval")?.call1((months, days, nanoseconds))
}
