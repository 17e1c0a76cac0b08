//! Rows from anything that exports the Arrow C interfaces by PyCapsules.
#![expect(unsafe_code, reason = "the Arrow C interfaces are pointers")]

use std::ffi::{CStr, c_int};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{Array, RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi, from_ffi_and_data_type};
use arrow::ffi_stream::FFI_ArrowArrayStream;
use pillion::ErrorCode;
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyTuple};

use crate::errors::refuse;

const STREAM: &CStr = c"arrow_array_stream";
const ARRAY: &CStr = c"arrow_array";
const SCHEMA: &CStr = c"arrow_schema";

/// Batches of another library, read one after another. Their memory is that library's, which is told when it is no longer needed.
pub(crate) struct StreamReader {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
    /// Set once nobody wants the rows any more.
    interrupted: Arc<AtomicBool>,
    ended: bool,
}

/// The stream that an object exports with `__arrow_c_stream__`.
///
/// # Errors
/// What the object raises; [`ErrorCode::SourceInvalid`] if it exports something else.
pub(crate) fn import_stream(object: &Bound<'_, PyAny>) -> PyResult<StreamReader> {
    let capsule =
        object.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>().map_err(|_| not_arrow(object))?;
    let pointer = capsule.pointer_checked(Some(STREAM)).map_err(|_| not_arrow(object))?;
    // SAFETY: a capsule of this name holds a valid stream, by the PyCapsule interface; moving it out marks it as released, and the
    // GIL keeps others from doing so at the same time.
    let mut stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.cast().as_ptr()) };
    let (Some(get_schema), Some(_)) = (stream.get_schema, stream.release) else {
        return Err(refuse(ErrorCode::SourceInvalid, "the Arrow stream was read already; export it again"));
    };
    let mut schema = FFI_ArrowSchema::empty();
    // SAFETY: the stream is not released, and `schema` is memory for its answer.
    let code = unsafe { get_schema(&raw mut stream, &raw mut schema) };
    if code != 0 {
        let error = failure(&mut stream, code);
        return Err(refuse(ErrorCode::SourceInvalid, format!("the exporter of the rows failed: {error}")));
    }
    let schema = columns(object, &schema)?;
    Ok(StreamReader { stream, schema, interrupted: Arc::default(), ended: false })
}

/// The batch that an object exports with `__arrow_c_array__`.
///
/// # Errors
/// As [`import_stream`].
pub(crate) fn import_array(object: &Bound<'_, PyAny>) -> PyResult<RecordBatch> {
    let pair =
        object.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>().map_err(|_| not_arrow(object))?;
    let capsule = |index: usize| -> PyResult<Bound<'_, PyCapsule>> {
        pair.get_item(index)?.cast_into::<PyCapsule>().map_err(|_| not_arrow(object))
    };
    let schema = capsule(0)?.pointer_checked(Some(SCHEMA)).map_err(|_| not_arrow(object))?;
    let array = capsule(1)?.pointer_checked(Some(ARRAY)).map_err(|_| not_arrow(object))?;
    // SAFETY: capsules of these names hold valid structures, by the PyCapsule interface; the schema is only borrowed.
    let (array, schema) = unsafe {
        (FFI_ArrowArray::from_raw(array.cast().as_ptr()), schema.cast::<FFI_ArrowSchema>().as_ref())
    };
    if array.release.is_none() {
        return Err(refuse(ErrorCode::SourceInvalid, "the Arrow array was read already; export it again"));
    }
    let columns = columns(object, schema)?;
    let read = guarded(|| {
        // SAFETY: the array is of the schema that came with it.
        let data = unsafe { from_ffi(array, schema) }?;
        data.validate_full()?;
        batch_of(&columns, StructArray::from(data))
    });
    read.map_err(|error| refuse(ErrorCode::SourceInvalid, format!("the Arrow array cannot be read: {error}")))
}

impl StreamReader {
    /// What keeps the reader from reading on.
    pub(crate) fn interrupted(&self) -> Arc<AtomicBool> {
        self.interrupted.clone()
    }

    fn read(&mut self) -> Result<Option<RecordBatch>, ArrowError> {
        if self.interrupted.load(Ordering::Relaxed) {
            return Err(ArrowError::ExternalError("interrupted".into()));
        }
        let Some(get_next) = self.stream.get_next else {
            return Err(ArrowError::CDataInterface("the stream was released".to_owned()));
        };
        let mut array = FFI_ArrowArray::empty();
        // SAFETY: the stream is not released, and `array` is memory for its answer.
        let code = unsafe { get_next(&raw mut self.stream, &raw mut array) };
        if code != 0 {
            return Err(ArrowError::CDataInterface(failure(&mut self.stream, code)));
        }
        if array.is_released() {
            return Ok(None);
        }
        let schema = self.schema.clone();
        guarded(move || {
            let of = DataType::Struct(schema.fields().clone());
            // SAFETY: the arrays of a stream are of its schema, by the C stream interface.
            let data = unsafe { from_ffi_and_data_type(array, of) }?;
            // What others hand over is used without further checks, so a wrong offset or text must be found here.
            data.validate_full()?;
            batch_of(&schema, StructArray::from(data))
        })
        .map(Some)
    }
}

impl Iterator for StreamReader {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

impl RecordBatchReader for StreamReader {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }
}

/// The rows of a structure; its own nulls have no meaning for a table.
fn batch_of(schema: &SchemaRef, rows: StructArray) -> Result<RecordBatch, ArrowError> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
    RecordBatch::try_new_with_options(schema.clone(), rows.into_parts().1, &options)
}

/// Does work in a library that panics where an exporter breaks the rules.
fn guarded<T>(work: impl FnOnce() -> Result<T, ArrowError>) -> Result<T, ArrowError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ArrowError::CDataInterface("an array does not have the form of its schema".to_owned()))
    })
}

fn columns(object: &Bound<'_, PyAny>, schema: &FFI_ArrowSchema) -> PyResult<SchemaRef> {
    Schema::try_from(schema).map(Arc::new).map_err(|error| {
        let name = object.get_type().name().map_or_else(|_| "the object".to_owned(), |name| name.to_string());
        let message =
            format!("{name} does not export rows of named columns; give a table or a DataFrame ({error})");
        refuse(ErrorCode::SourceInvalid, message)
    })
}

/// What a stream says of its last failure.
fn failure(stream: &mut FFI_ArrowArrayStream, code: c_int) -> String {
    let text = stream.get_last_error.and_then(|get_last_error| {
        // SAFETY: the stream is not released; its text is valid until the next call, and is copied before.
        let text = unsafe { get_last_error(&raw mut *stream) };
        // SAFETY: as above; the pointer is either null or a C string.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    });
    text.unwrap_or_else(|| format!("the exporter gave the number {code} and no words"))
}

fn not_arrow(object: &Bound<'_, PyAny>) -> PyErr {
    let name = object.get_type().name().map_or_else(|_| "the object".to_owned(), |name| name.to_string());
    refuse(
        ErrorCode::SourceInvalid,
        format!("{name} does not export what the Arrow PyCapsule interface asks for"),
    )
}
