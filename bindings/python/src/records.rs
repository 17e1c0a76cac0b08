//! Lists of dicts as batches.

use std::sync::Arc;

use arrow::array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal128Type, DurationMicrosecondType,
    DurationMillisecondType, DurationNanosecondType, DurationSecondType, Float64Type, Int8Type, Int16Type,
    Int32Type, Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType,
    Time64NanosecondType, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::array::{
    ArrayRef, AsArray, BinaryBuilder, BooleanArray, FixedSizeBinaryBuilder, Float64Array, LargeListArray,
    ListArray, NullArray, PrimitiveArray, RecordBatch, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DECIMAL128_MAX_PRECISION, DataType, Field, FieldRef, Schema, SchemaRef, TimeUnit};
use pillion::{ErrorCode, Value, nearest};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyDate, PyDateTime, PyDelta, PyDict, PyFloat, PyInt, PyList, PyMapping, PyString, PyTuple,
};

use crate::errors::refuse;
use crate::values::{is_aware, is_missing, microseconds, nanoseconds_of, value};

type Objects<'py> = Vec<Option<Bound<'py, PyAny>>>;

/// A batch of mappings, with the columns of a table or, without one, with columns that hold what the mappings have.
///
/// # Errors
/// [`ErrorCode::SchemaMismatch`] for values that a column does not hold, with row and column;
/// [`ErrorCode::ColumnNotFound`] for keys that are no columns.
pub(crate) fn batch(rows: &[Bound<'_, PyAny>], table: Option<&SchemaRef>) -> PyResult<RecordBatch> {
    let schema = match table {
        Some(schema) => {
            check_names(rows, schema)?;
            schema.clone()
        }
        None => inferred(rows)?,
    };
    let mut columns = Vec::with_capacity(schema.fields().len());
    for field in schema.fields() {
        let objects = objects(rows, field.name())?;
        if !field.is_nullable()
            && let Some(row) = objects.iter().position(Option::is_none)
        {
            let message = format!("row {row} has no `{}`, which cannot be null", field.name());
            return Err(refuse(ErrorCode::SchemaMismatch, message));
        }
        columns.push(array(field, &objects)?);
    }
    RecordBatch::try_new(schema, columns).map_err(|error| {
        refuse(ErrorCode::SchemaMismatch, format!("the rows do not fit their columns: {error}"))
    })
}

fn mapping<'a, 'py>(number: usize, row: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyMapping>> {
    row.cast::<PyMapping>().map_err(|_| {
        let name = row.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
        let message =
            format!("row {number} is a {name}; rows are dicts, or give something that exports Arrow");
        refuse(ErrorCode::InvalidArgument, message)
    })
}

fn check_names(rows: &[Bound<'_, PyAny>], schema: &Schema) -> PyResult<()> {
    for (number, row) in rows.iter().enumerate() {
        for name in mapping(number, row)?.keys()?.iter() {
            let name: String = name.extract().map_err(|_| not_a_name(number))?;
            if schema.field_with_name(&name).is_err() {
                let known = schema.fields().iter().map(|field| field.name().as_str());
                let hint = nearest(&name, known)
                    .map_or_else(String::new, |name| format!("; did you mean `{name}`?"));
                let message = format!("row {number}: there is no column `{name}`{hint}");
                return Err(refuse(ErrorCode::ColumnNotFound, message));
            }
        }
    }
    Ok(())
}

fn not_a_name(number: usize) -> PyErr {
    refuse(
        ErrorCode::InvalidArgument,
        format!("row {number} has a key that is not a text; columns have names"),
    )
}

/// An object, unless it stands for null.
fn present(object: Option<Bound<'_, PyAny>>) -> PyResult<Option<Bound<'_, PyAny>>> {
    match object {
        Some(object) if !is_missing(&object)? => Ok(Some(object)),
        _ => Ok(None),
    }
}

/// The values of a column; those that are missing, `None` or `pandas.NaT` are null.
fn objects<'py>(rows: &[Bound<'py, PyAny>], name: &str) -> PyResult<Objects<'py>> {
    rows.iter()
        .map(|row| {
            let found = match row.cast::<PyDict>() {
                Ok(dict) => dict.get_item(name)?,
                Err(_) if row.contains(name)? => Some(row.get_item(name)?),
                Err(_) => None,
            };
            present(found)
        })
        .collect()
}

/// The columns of mappings, in the order in which they first occur.
fn inferred(rows: &[Bound<'_, PyAny>]) -> PyResult<SchemaRef> {
    let mut names: Vec<String> = Vec::new();
    for (number, row) in rows.iter().enumerate() {
        for name in mapping(number, row)?.keys()?.iter() {
            let name: String = name.extract().map_err(|_| not_a_name(number))?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    if names.is_empty() {
        let message =
            "there are no rows, so no columns; give a table of Arrow without rows for an empty table";
        return Err(refuse(ErrorCode::InvalidArgument, message));
    }
    let fields = names.into_iter().map(|name| {
        let objects = objects(rows, &name)?;
        let of = type_of(&name, &objects)?;
        Ok(Field::new(name, of, true))
    });
    Ok(Schema::new(fields.collect::<PyResult<Vec<_>>>()?).into())
}

/// The type that holds all values of a column.
fn type_of(name: &str, objects: &Objects<'_>) -> PyResult<DataType> {
    let mut found: Option<DataType> = None;
    for (row, object) in objects.iter().enumerate() {
        let Some(object) = object else { continue };
        let of = type_of_value(object).map_err(|error| in_cell(object.py(), row, name, error))?;
        found = Some(match (found, of) {
            (None, of) => of,
            (Some(found), of) if found == of => of,
            (Some(DataType::Int64), DataType::UInt64) | (Some(DataType::UInt64), DataType::Int64) => {
                DataType::UInt64
            }
            (Some(DataType::Int64), DataType::Float64) | (Some(DataType::Float64), DataType::Int64) => {
                DataType::Float64
            }
            (Some(DataType::Decimal128(_, one)), DataType::Decimal128(_, other)) => {
                DataType::Decimal128(38, one.max(other))
            }
            (Some(found), of) => {
                let message = format!("column `{name}` has values of {found}, and in row {row} of {of}");
                return Err(refuse(ErrorCode::SchemaMismatch, message));
            }
        });
    }
    Ok(found.unwrap_or(DataType::Null))
}

fn type_of_value(object: &Bound<'_, PyAny>) -> PyResult<DataType> {
    if object.is_instance_of::<PyDelta>() {
        return Ok(DataType::Duration(TimeUnit::Microsecond));
    }
    if object.is_instance_of::<PyDateTime>() {
        let zone = is_aware(object)?.then(|| "UTC".into());
        return Ok(DataType::Timestamp(TimeUnit::Microsecond, zone));
    }
    if object.is_instance_of::<PyList>() || object.is_instance_of::<PyDict>() {
        let message = "lists and dicts are not taken where the table does not exist yet; give Arrow";
        return Err(refuse(ErrorCode::UnsupportedType, message));
    }
    Ok(match value(object, ErrorCode::SchemaMismatch)? {
        Value::Bool(_) => DataType::Boolean,
        Value::Int(_) => DataType::Int64,
        Value::UInt(_) => DataType::UInt64,
        Value::Float(_) => DataType::Float64,
        Value::Decimal { scale, .. } => DataType::Decimal128(38, scale),
        Value::Str(_) => DataType::Utf8,
        Value::Bytes(_) => DataType::Binary,
        Value::Date(_) => DataType::Date32,
        Value::Time(_) => DataType::Time64(TimeUnit::Microsecond),
        _ => return Err(refuse(ErrorCode::UnsupportedType, "the value has no type of a column")),
    })
}

fn in_cell(py: Python<'_>, row: usize, column: &str, error: PyErr) -> PyErr {
    let Ok(message) = error.value(py).getattr("message").and_then(|message| message.extract::<String>())
    else {
        return error;
    };
    refuse(ErrorCode::SchemaMismatch, format!("row {row}, column `{column}`: {message}"))
}

/// The error of an object that its column does not hold.
fn unfit(object: &Bound<'_, PyAny>, of: &DataType) -> PyErr {
    let name = object.get_type().name().map_or_else(|_| "?".to_owned(), |name| name.to_string());
    let shown = object.repr().map_or_else(|_| name.clone(), |text| text.to_string());
    let shown: String = shown.chars().take(60).collect();
    refuse(ErrorCode::SchemaMismatch, format!("{shown} ({name}) is not a value of {of}"))
}

/// An array of a column's type.
fn array(field: &FieldRef, objects: &Objects<'_>) -> PyResult<ArrayRef> {
    use DataType as T;
    let of = field.data_type();
    Ok(match of {
        T::Null => {
            let nulls: Vec<Option<()>> = converted(field, objects, |object| Err(unfit(object, of)))?;
            Arc::new(NullArray::new(nulls.len()))
        }
        T::Boolean => Arc::new(BooleanArray::from(converted(field, objects, |object| {
            object.cast::<PyBool>().map(|flag| flag.is_true()).map_err(|_| unfit(object, of))
        })?)),
        T::Int8 => integers::<Int8Type>(field, objects)?,
        T::Int16 => integers::<Int16Type>(field, objects)?,
        T::Int32 => integers::<Int32Type>(field, objects)?,
        T::Int64 => integers::<Int64Type>(field, objects)?,
        T::UInt8 => integers::<UInt8Type>(field, objects)?,
        T::UInt16 => integers::<UInt16Type>(field, objects)?,
        T::UInt32 => integers::<UInt32Type>(field, objects)?,
        T::UInt64 => integers::<UInt64Type>(field, objects)?,
        T::Float64 => Arc::new(Float64Array::from(floats(field, objects)?)),
        T::Float32 | T::Float16 => narrow_floats(field, floats(field, objects)?)?,
        T::Utf8 | T::LargeUtf8 | T::Utf8View => {
            let texts = converted(field, objects, |object| {
                let text = object.cast::<PyString>().map_err(|_| unfit(object, of))?;
                Ok(text.to_str()?.to_owned())
            })?;
            cast(&(Arc::new(StringArray::from(texts)) as ArrayRef), field)?
        }
        T::Binary | T::LargeBinary | T::BinaryView => {
            let mut builder = BinaryBuilder::new();
            bytes(field, objects)?.into_iter().for_each(|bytes| builder.append_option(bytes));
            cast(&(Arc::new(builder.finish()) as ArrayRef), field)?
        }
        T::FixedSizeBinary(len) => {
            let mut builder = FixedSizeBinaryBuilder::new(*len);
            for (row, bytes) in bytes(field, objects)?.into_iter().enumerate() {
                match bytes {
                    None => builder.append_null(),
                    Some(bytes) => builder.append_value(&bytes).map_err(|_| {
                        let (name, found) = (field.name(), bytes.len());
                        let message = format!("row {row}, column `{name}`: {found} bytes are not {len}");
                        refuse(ErrorCode::SchemaMismatch, message)
                    })?,
                }
            }
            Arc::new(builder.finish())
        }
        T::Date32 => {
            numbers::<Date32Type>(field, objects, |object| match value(object, ErrorCode::SchemaMismatch)? {
                Value::Date(days) => Ok(days.into()),
                _ => Err(unfit(object, of)),
            })?
        }
        T::Date64 => numbers::<Date64Type>(field, objects, |object| match object.cast::<PyDateTime>() {
            Ok(moment) if !is_aware(object)? => {
                exactly(object, of, microseconds(moment, ErrorCode::SchemaMismatch)?.into(), 1000)
            }
            Ok(_) => Err(unfit(object, of)),
            Err(_) => {
                let day = object.cast::<PyDate>().map_err(|_| unfit(object, of))?;
                Ok(i128::from(crate::values::days(day)?) * 86_400_000)
            }
        })?,
        T::Time32(TimeUnit::Second) => {
            numbers::<Time32SecondType>(field, objects, |object| time(object, of, 1_000_000_000))?
        }
        T::Time32(_) => {
            numbers::<Time32MillisecondType>(field, objects, |object| time(object, of, 1_000_000))?
        }
        T::Time64(TimeUnit::Microsecond) => {
            numbers::<Time64MicrosecondType>(field, objects, |object| time(object, of, 1000))?
        }
        T::Time64(_) => numbers::<Time64NanosecondType>(field, objects, |object| time(object, of, 1))?,
        T::Timestamp(unit, zone) => {
            let read = |object: &Bound<'_, PyAny>| moment(object, of, *unit, zone.is_some());
            let array = match unit {
                TimeUnit::Second => numbers::<TimestampSecondType>(field, objects, read)?,
                TimeUnit::Millisecond => numbers::<TimestampMillisecondType>(field, objects, read)?,
                TimeUnit::Microsecond => numbers::<TimestampMicrosecondType>(field, objects, read)?,
                TimeUnit::Nanosecond => numbers::<TimestampNanosecondType>(field, objects, read)?,
            };
            // Only the name of the zone is added: the numbers are moments in UTC.
            relabelled(&array, of)?
        }
        T::Duration(unit) => {
            let read = |object: &Bound<'_, PyAny>| {
                let delta = object.cast::<PyDelta>().map_err(|_| unfit(object, of))?;
                exactly(object, of, nanoseconds_of(delta)?, nanoseconds_in(*unit))
            };
            match unit {
                TimeUnit::Second => numbers::<DurationSecondType>(field, objects, read)?,
                TimeUnit::Millisecond => numbers::<DurationMillisecondType>(field, objects, read)?,
                TimeUnit::Microsecond => numbers::<DurationMicrosecondType>(field, objects, read)?,
                TimeUnit::Nanosecond => numbers::<DurationNanosecondType>(field, objects, read)?,
            }
        }
        T::Decimal32(precision, scale)
        | T::Decimal64(precision, scale)
        | T::Decimal128(precision, scale)
        | T::Decimal256(precision, scale) => {
            let wide = converted(field, objects, |object| decimal(object, of, *precision, *scale))?;
            let wide = PrimitiveArray::<Decimal128Type>::from_iter(wide)
                .with_precision_and_scale(DECIMAL128_MAX_PRECISION, *scale)
                .map_err(|error| refuse(ErrorCode::SchemaMismatch, error.to_string()))?;
            cast(&(Arc::new(wide) as ArrayRef), field)?
        }
        T::List(item) => {
            let (offsets, nulls, items) = nested(field, objects)?;
            Arc::new(ListArray::new(
                item.clone(),
                OffsetBuffer::from_lengths(offsets),
                array(item, &items)?,
                nulls,
            ))
        }
        T::LargeList(item) => {
            let (offsets, nulls, items) = nested(field, objects)?;
            Arc::new(LargeListArray::new(
                item.clone(),
                OffsetBuffer::from_lengths(offsets),
                array(item, &items)?,
                nulls,
            ))
        }
        T::Struct(fields) => {
            let nulls = NullBuffer::from_iter(objects.iter().map(Option::is_some));
            let columns = fields.iter().map(|inner| {
                let inner_objects = objects.iter().map(|object| match object {
                    None => Ok(None),
                    Some(object) => {
                        let dict = object.cast::<PyDict>().map_err(|_| unfit(object, of))?;
                        present(dict.get_item(inner.name())?)
                    }
                });
                array(inner, &inner_objects.collect::<PyResult<_>>()?)
            });
            let columns = columns.collect::<PyResult<_>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, Some(nulls)).map_err(|error| {
                refuse(ErrorCode::SchemaMismatch, format!("column `{}`: {error}", field.name()))
            })?)
        }
        other => {
            let message =
                format!("column `{}` of type {other} is not taken from dicts; give Arrow", field.name());
            return Err(refuse(ErrorCode::UnsupportedType, message));
        }
    })
}

/// Each value converted; an error names row and column.
fn converted<'py, N>(
    field: &FieldRef,
    objects: &Objects<'py>,
    convert: impl Fn(&Bound<'py, PyAny>) -> PyResult<N>,
) -> PyResult<Vec<Option<N>>> {
    let convert = |(row, object): (usize, &Option<Bound<'py, PyAny>>)| {
        let Some(object) = object else { return Ok(None) };
        convert(object).map(Some).map_err(|error| in_cell(object.py(), row, field.name(), error))
    };
    objects.iter().enumerate().map(convert).collect()
}

/// Whole numbers of a type whose native numbers hold them.
fn numbers<'py, P>(
    field: &FieldRef,
    objects: &Objects<'py>,
    convert: impl Fn(&Bound<'py, PyAny>) -> PyResult<i128>,
) -> PyResult<ArrayRef>
where
    P: ArrowPrimitiveType<Native: TryFrom<i128>>,
{
    let of = field.data_type();
    let values = converted(field, objects, |object| {
        P::Native::try_from(convert(object)?).map_err(|_| {
            let shown = object.repr().map_or_else(|_| "the value".to_owned(), |text| text.to_string());
            refuse(ErrorCode::SchemaMismatch, format!("{shown} is outside the range of {of}"))
        })
    })?;
    Ok(Arc::new(PrimitiveArray::<P>::from_iter(values)))
}

fn integers<P>(field: &FieldRef, objects: &Objects<'_>) -> PyResult<ArrayRef>
where
    P: ArrowPrimitiveType<Native: TryFrom<i128>>,
{
    let of = field.data_type();
    numbers::<P>(field, objects, |object| match value(object, ErrorCode::SchemaMismatch)? {
        Value::Int(number) => Ok(number.into()),
        Value::UInt(number) => Ok(number.into()),
        _ => Err(unfit(object, of)),
    })
}

/// Floats, and integers that a float holds exactly.
fn floats(field: &FieldRef, objects: &Objects<'_>) -> PyResult<Vec<Option<f64>>> {
    const EXACT: i64 = 1 << 53;
    let of = field.data_type();
    converted(field, objects, |object| {
        if let Ok(number) = object.cast::<PyFloat>() {
            return Ok(number.value());
        }
        match value(object, ErrorCode::SchemaMismatch)? {
            Value::Float(number) => Ok(number),
            #[expect(clippy::cast_precision_loss, reason = "a float holds these integers exactly")]
            Value::Int(number) if (-EXACT..=EXACT).contains(&number) => Ok(number as f64),
            _ => Err(unfit(object, of)),
        }
    })
}

/// Floats of fewer bits; never rounded.
fn narrow_floats(field: &FieldRef, given: Vec<Option<f64>>) -> PyResult<ArrayRef> {
    let wide: ArrayRef = Arc::new(Float64Array::from(given));
    let narrow = cast(&wide, field)?;
    let again = cast(&narrow, &Arc::new(Field::new(field.name(), DataType::Float64, true)))?;
    let pairs = wide.as_primitive::<Float64Type>().iter().zip(again.as_primitive::<Float64Type>());
    for (row, pair) in pairs.enumerate() {
        // A NaN is the same as another.
        if let (Some(given), Some(kept)) = pair
            && !given.is_nan()
            && given.to_bits() != kept.to_bits()
        {
            let (name, of) = (field.name(), field.data_type());
            let message =
                format!("row {row}, column `{name}`: {given:?} is between two values of {of}; round it");
            return Err(refuse(ErrorCode::SchemaMismatch, message));
        }
    }
    Ok(narrow)
}

fn bytes(field: &FieldRef, objects: &Objects<'_>) -> PyResult<Vec<Option<Vec<u8>>>> {
    converted(field, objects, |object| match value(object, ErrorCode::SchemaMismatch)? {
        Value::Bytes(bytes) => Ok(bytes),
        _ => Err(unfit(object, field.data_type())),
    })
}

fn time(object: &Bound<'_, PyAny>, of: &DataType, per_unit: i128) -> PyResult<i128> {
    match value(object, ErrorCode::SchemaMismatch)? {
        Value::Time(nanoseconds) => exactly(object, of, nanoseconds.into(), per_unit),
        _ => Err(unfit(object, of)),
    }
}

fn moment(object: &Bound<'_, PyAny>, of: &DataType, unit: TimeUnit, is_zoned: bool) -> PyResult<i128> {
    let Value::Timestamp { value, unit: found } = value(object, ErrorCode::SchemaMismatch)? else {
        return Err(unfit(object, of));
    };
    if is_aware(object)? != is_zoned {
        let message = if is_zoned {
            "the column has moments; give a datetime with a time zone, such as timezone.utc"
        } else {
            "the column has times without a zone; give a datetime without tzinfo"
        };
        return Err(refuse(ErrorCode::SchemaMismatch, message));
    }
    exactly(object, of, i128::from(value) * nanoseconds_in(found), nanoseconds_in(unit))
}

fn nanoseconds_in(unit: TimeUnit) -> i128 {
    match unit {
        TimeUnit::Second => 1_000_000_000,
        TimeUnit::Millisecond => 1_000_000,
        TimeUnit::Microsecond => 1000,
        TimeUnit::Nanosecond => 1,
    }
}

/// A number in the unit of a column; never rounded.
fn exactly(object: &Bound<'_, PyAny>, of: &DataType, value: i128, per_unit: i128) -> PyResult<i128> {
    if value % per_unit != 0 {
        let shown = object.repr().map_or_else(|_| "the value".to_owned(), |text| text.to_string());
        let message = format!("{shown} is between two values of {of}; round it");
        return Err(refuse(ErrorCode::SchemaMismatch, message));
    }
    Ok(value / per_unit)
}

fn decimal(object: &Bound<'_, PyAny>, of: &DataType, precision: u8, scale: i8) -> PyResult<i128> {
    let rescaled = rescaled(object, of, scale)?;
    // Zeros behind the point are digits too. More than 38 are not taken, also where a column has them.
    let most = precision.min(DECIMAL128_MAX_PRECISION);
    if rescaled.unsigned_abs() >= 10_u128.pow(most.into()) {
        let message = format!("as {of} the decimal has more than {most} digits");
        return Err(refuse(ErrorCode::SchemaMismatch, message));
    }
    Ok(rescaled)
}

/// A decimal's digits with so many of them behind the point.
fn rescaled(object: &Bound<'_, PyAny>, of: &DataType, scale: i8) -> PyResult<i128> {
    let (unscaled, found) = match value(object, ErrorCode::SchemaMismatch)? {
        Value::Decimal { unscaled, scale } => (unscaled, scale),
        Value::Int(number) if object.is_instance_of::<PyInt>() => (number.into(), 0),
        Value::UInt(number) => (number.into(), 0),
        _ => return Err(unfit(object, of)),
    };
    let shift = u32::from((i16::from(scale) - i16::from(found)).unsigned_abs());
    let power = 10_i128.checked_pow(shift).ok_or_else(|| unfit(object, of))?;
    if scale >= found {
        return unscaled.checked_mul(power).ok_or_else(|| unfit(object, of));
    }
    exactly(object, of, unscaled, power)
}

/// Lists as lengths, nulls and all their items.
fn nested<'py>(
    field: &FieldRef,
    objects: &Objects<'py>,
) -> PyResult<(Vec<usize>, Option<NullBuffer>, Objects<'py>)> {
    let (mut lens, mut items) = (Vec::with_capacity(objects.len()), Vec::new());
    for (row, object) in objects.iter().enumerate() {
        let Some(object) = object else {
            lens.push(0);
            continue;
        };
        if !object.is_instance_of::<PyList>() && !object.is_instance_of::<PyTuple>() {
            return Err(in_cell(object.py(), row, field.name(), unfit(object, field.data_type())));
        }
        let before = items.len();
        for item in object.try_iter()? {
            items.push(present(Some(item?))?);
        }
        lens.push(items.len() - before);
    }
    Ok((lens, Some(NullBuffer::from_iter(objects.iter().map(Option::is_some))), items))
}

fn cast(array: &ArrayRef, field: &FieldRef) -> PyResult<ArrayRef> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    cast_with_options(array, field.data_type(), &options)
        .map_err(|error| refuse(ErrorCode::SchemaMismatch, format!("column `{}`: {error}", field.name())))
}

fn relabelled(array: &ArrayRef, of: &DataType) -> PyResult<ArrayRef> {
    let data = arrow::array::Array::to_data(array).into_builder().data_type(of.clone()).build();
    data.map(arrow::array::make_array).map_err(|error| refuse(ErrorCode::SchemaMismatch, error.to_string()))
}
