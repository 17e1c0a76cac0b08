//! Whatever a Python program gives as rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchReader};
use arrow::compute::{CastOptions, can_cast_types, cast_with_options};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use pillion::{ErrorCode, FileOptions, Input};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::arrow_in::{StreamReader, import_array, import_stream};
use crate::errors::{raise, refuse};
use crate::records::batch;

/// Files that rows come from, and how they are read. Made by :func:`pillion.files`.
#[pyclass(frozen, module = "pillion")]
pub(crate) struct Files {
    patterns: Vec<String>,
    options: FileOptions,
}

/// Files and patterns with ``*``, ``?``, ``**`` and ``[…]``, each of the format that its ending names.
///
/// Options are those of files everywhere in Pillion: ``format``, ``delimiter``, ``quote``, ``header``, ``null``, ``types`` and
/// ``hive``, as texts.
///
/// >>> pillion.files("days/*.csv.gz", delimiter=";", null="NA", types="zip=Utf8")
/// files('days/*.csv.gz')
#[pyfunction]
#[pyo3(signature = (*patterns, **options))]
#[expect(clippy::needless_pass_by_value, reason = "arguments from Python are owned")]
pub(crate) fn files(patterns: Vec<PathBuf>, options: Option<&Bound<'_, PyDict>>) -> PyResult<Files> {
    let mut read = FileOptions::new();
    for (name, value) in options.into_iter().flatten() {
        let name: String = name.extract()?;
        let value: String = value.extract().map_err(|_| {
            let message = format!("the option `{name}` is a text, as in {name}='…'");
            refuse(ErrorCode::InvalidArgument, message)
        })?;
        read = read.option(&name, &value).map_err(raise)?;
    }
    let patterns = patterns.iter().map(|path| path_text(path)).collect::<PyResult<_>>()?;
    Ok(Files { patterns, options: read })
}

#[pymethods]
impl Files {
    fn __repr__(&self) -> String {
        let patterns: Vec<String> = self.patterns.iter().map(|pattern| format!("'{pattern}'")).collect();
        format!("files({})", patterns.join(", "))
    }
}

/// Rows, and what stops a reader of them.
pub(crate) struct Rows {
    pub(crate) input: Input,
    /// Whether reading them may wait for something else.
    pub(crate) is_slow: bool,
    interrupted: Arc<AtomicBool>,
}

impl Rows {
    /// Keeps a load from reading on: it fails, and the table is as before.
    pub(crate) fn interrupter(&self) -> impl FnOnce() + use<> {
        let interrupted = self.interrupted.clone();
        move || interrupted.store(true, Ordering::Relaxed)
    }

    fn of(input: Input) -> Self {
        Self { input, is_slow: false, interrupted: Arc::default() }
    }
}

/// What a program gives as rows: what exports Arrow, a dict or an iterable of dicts, or paths of files. `table` has the columns of the
/// table that they are for, if there is one.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for anything else; what the object raises.
pub(crate) fn rows(object: &Bound<'_, PyAny>, table: Option<&SchemaRef>) -> PyResult<Rows> {
    if let Ok(files) = object.cast::<Files>() {
        let files = files.get();
        return Ok(of_files(files.patterns.clone(), files.options.clone()));
    }
    if object.hasattr("__arrow_c_stream__")? {
        let reader = import_stream(object)?;
        let interrupted = reader.interrupted();
        let reader = Fitted::new(reader, table);
        return Ok(Rows { input: Input::reader(reader), is_slow: true, interrupted });
    }
    if object.hasattr("__arrow_c_array__")? {
        let batch = fitted(import_array(object)?, table)
            .map_err(|error| refuse(ErrorCode::SchemaMismatch, error.to_string()))?;
        return Ok(Rows::of(batch.into()));
    }
    if is_path(object)? {
        return Ok(of_files(vec![path_text(&object.extract::<PathBuf>()?)?], FileOptions::new()));
    }
    if object.is_instance_of::<PyDict>() {
        return Ok(Rows::of(batch(std::slice::from_ref(object), table)?.into()));
    }
    let given = object.try_iter().map_err(|_| not_rows(object))?.collect::<PyResult<Vec<_>>>()?;
    let is_list = object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>();
    if is_list
        && !given.is_empty()
        && given.iter().map(is_path).collect::<PyResult<Vec<_>>>()?.contains(&true)
    {
        let paths =
            given.iter().map(|path| path_text(&path.extract::<PathBuf>()?)).collect::<PyResult<_>>()?;
        return Ok(of_files(paths, FileOptions::new()));
    }
    Ok(Rows::of(batch(&given, table)?.into()))
}

fn of_files(patterns: Vec<String>, options: FileOptions) -> Rows {
    Rows { is_slow: true, ..Rows::of(Input::files_with(patterns, options)) }
}

fn is_path(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(object.is_instance_of::<PyString>() || object.hasattr("__fspath__")?)
}

fn path_text(path: &Path) -> PyResult<String> {
    path.to_str().map(str::to_owned).ok_or_else(|| {
        refuse(
            ErrorCode::InvalidArgument,
            format!("{} is not UTF-8, so it cannot be a pattern", path.display()),
        )
    })
}

fn not_rows(object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().name().map_or_else(|_| "the object".to_owned(), |name| name.to_string());
    let message = format!(
        "{name} has no rows; give something that exports Arrow (a DataFrame, a pyarrow.Table), dicts, or paths of files"
    );
    refuse(ErrorCode::InvalidArgument, message)
}

/// Batches whose columns have the types of a table, where these hold the same values.
struct Fitted {
    reader: StreamReader,
    schema: SchemaRef,
    table: Option<SchemaRef>,
}

impl Fitted {
    fn new(reader: StreamReader, table: Option<&SchemaRef>) -> Self {
        let schema = fitted_schema(&reader.schema(), table);
        Self { reader, schema, table: table.cloned() }
    }
}

impl Iterator for Fitted {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.reader.next()?.and_then(|batch| fitted(batch, self.table.as_ref())))
    }
}

impl RecordBatchReader for Fitted {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

fn fitted_schema(schema: &SchemaRef, table: Option<&SchemaRef>) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match target(field, table) {
        Some(of) => Arc::new(field.as_ref().clone().with_data_type(of.clone())),
        None => field.clone(),
    });
    Schema::new_with_metadata(fields.collect::<Vec<_>>(), schema.metadata().clone()).into()
}

/// The type of a table's column that a column is converted to, if it has another one.
fn target<'a>(field: &Field, table: Option<&'a SchemaRef>) -> Option<&'a DataType> {
    let (found, wanted) = (field.data_type(), table?.field_with_name(field.name()).ok()?.data_type());
    (found != wanted && are_alike(found, wanted)).then_some(wanted)
}

/// Whether values of one type can be values of the other.
fn are_alike(found: &DataType, wanted: &DataType) -> bool {
    use DataType as T;
    let text = |of: &T| matches!(of, T::Utf8 | T::LargeUtf8 | T::Utf8View);
    let bytes = |of: &T| matches!(of, T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_));
    match (found, wanted) {
        (T::Null, _) => true,
        (T::Timestamp(_, found), T::Timestamp(_, wanted)) => found.is_some() == wanted.is_some(),
        (T::Time32(_) | T::Time64(_), T::Time32(_) | T::Time64(_)) | (T::Duration(_), T::Duration(_)) => true,
        (found, wanted) if found.is_decimal() && wanted.is_decimal() => true,
        (found, wanted) => {
            (text(found) && text(wanted))
                || (bytes(found) && bytes(wanted))
                || (found.is_integer() && wanted.is_integer())
                || (found.is_floating() && wanted.is_floating())
        }
    }
}

fn fitted(batch: RecordBatch, table: Option<&SchemaRef>) -> Result<RecordBatch, ArrowError> {
    let schema = fitted_schema(batch.schema_ref(), table);
    if schema.fields() == batch.schema_ref().fields() {
        return Ok(batch);
    }
    let columns = schema.fields().iter().zip(batch.columns()).map(|(field, column)| {
        if field.data_type() == column.data_type() {
            return Ok(column.clone());
        }
        converted(column, field.data_type())
            .map_err(|error| ArrowError::InvalidArgumentError(format!("column `{}`: {error}", field.name())))
    });
    RecordBatch::try_new(schema.clone(), columns.collect::<Result<_, _>>()?)
}

/// The same values in another type.
///
/// # Errors
/// If a value is not one of that type: nothing is rounded.
fn converted(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let from = column.data_type();
    if !can_cast_types(from, to) {
        return Err(ArrowError::CastError(format!("{from} cannot become {to}")));
    }
    let made = cast_with_options(column, to, &options)?;
    if *from != DataType::Null && can_cast_types(to, from) {
        let back = cast_with_options(&made, from, &options)?;
        let is_same =
            if from.is_floating() { same_floats(column, &back) } else { back.to_data() == column.to_data() };
        if !is_same {
            let message = format!("a value of {from} is between two of {to}; round it, or cast the column");
            return Err(ArrowError::CastError(message));
        }
    }
    Ok(made)
}

/// Whether floats are the same, for which a NaN is the same as another.
fn same_floats(one: &ArrayRef, other: &ArrayRef) -> bool {
    use arrow::array::AsArray;
    use arrow::array::types::Float64Type;
    let wide = |array: &ArrayRef| arrow::compute::cast(array, &DataType::Float64);
    let (Ok(one), Ok(other)) = (wide(one), wide(other)) else { return false };
    let (one, other) = (one.as_primitive::<Float64Type>(), other.as_primitive::<Float64Type>());
    one.iter().zip(other).all(|(one, other)| match (one, other) {
        (Some(one), Some(other)) => one.to_bits() == other.to_bits() || (one.is_nan() && other.is_nan()),
        (one, other) => one.is_none() && other.is_none(),
    })
}
