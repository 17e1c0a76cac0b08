//! Whatever a Python program gives as rows.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::datatypes::SchemaRef;
use pillion::{ErrorCode, FileOptions, Input};
use pillion_rows::{Fitted, fitted};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::arrow_in::{import_array, import_stream};
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
