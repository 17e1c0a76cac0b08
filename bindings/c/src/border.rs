//! The border to C: pointers that C hands over, and what it gets back.
#![expect(unsafe_code, reason = "C hands over pointers")]

use std::ffi::{CStr, c_char};

use arrow::ffi::FFI_ArrowSchema;
use arrow::ffi_stream::{ArrowArrayStreamReader, FFI_ArrowArrayStream};
use pillion::{Error, ErrorCode, Result};
use pillion_rows::{Validated, contained};

use crate::error::PillionError;

/// Does what C asks for. An error, and a panic too, is handed over to C, which frees it; null says that all went well.
pub(crate) fn answered(work: impl FnOnce() -> Result<()>) -> *mut PillionError {
    match contained(work) {
        Ok(()) => std::ptr::null_mut(),
        Err(error) => Box::into_raw(Box::new(PillionError::new(&error))),
    }
}

fn null(what: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("{what} is a null pointer"))
}

/// What a handle points to.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for null.
///
/// # Safety
/// The pointer is null, or one that this library gave out for a `T` and that was not freed, and stays so for `'a`.
pub(crate) unsafe fn handle<'a, T>(pointer: *const T, what: &str) -> Result<&'a T> {
    // SAFETY: the caller's promise is the one that a reference needs.
    unsafe { pointer.as_ref() }.ok_or_else(|| null(what))
}

/// A text of C.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for null, and for a text that is not UTF-8.
///
/// # Safety
/// The pointer is null, or to bytes that end at a zero and that nobody changes during `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, what: &str) -> Result<&'a str> {
    if pointer.is_null() {
        return Err(null(what));
    }
    // SAFETY: it is not null, and the rest is the caller's promise.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, format!("{what} is not UTF-8")).with_source(error)
    })
}

/// Values that stand one after another. Null is allowed for none.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for null, and for more values than memory holds.
///
/// # Safety
/// The pointer is null or to `len` valid values that nobody changes during `'a`.
pub(crate) unsafe fn values<'a, T>(pointer: *const T, len: usize, what: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if pointer.is_null() {
        return Err(null(what));
    }
    if !pointer.is_aligned()
        || len.checked_mul(size_of::<T>()).is_none_or(|bytes| bytes > isize::MAX as usize)
    {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("{what} cannot be {len} values in memory"),
        ));
    }
    // SAFETY: it is not null, aligned, and no longer than a slice may be; the rest is the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(pointer, len) })
}

/// Texts that stand one after another.
///
/// # Errors
/// Those of [`values`] and [`text`].
///
/// # Safety
/// The pointer is null or to `len` pointers as [`text`] takes them.
pub(crate) unsafe fn texts<'a>(
    pointer: *const *const c_char,
    len: usize,
    what: &str,
) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise.
    let pointers = unsafe { values(pointer, len, what) }?;
    // SAFETY: the caller's promise, for each of them.
    pointers.iter().map(|pointer| unsafe { text(*pointer, what) }).collect()
}

/// Where C wants a result.
pub(crate) struct Place<T>(*mut T);

impl<T> Place<T> {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`] for null.
    ///
    /// # Safety
    /// The pointer is null, or to memory for a `T` that nobody else uses as long as the place is used. What it has before is not read.
    pub(crate) unsafe fn new(pointer: *mut T, what: &str) -> Result<Self> {
        if pointer.is_null() { Err(null(what)) } else { Ok(Self(pointer)) }
    }

    /// Puts a value there.
    pub(crate) fn put(&self, value: T) {
        // SAFETY: the promise of `new`.
        unsafe { self.0.write(value) };
    }
}

impl<T> Place<*mut T> {
    /// Puts a handle there, which C frees.
    pub(crate) fn give(&self, value: T) {
        self.put(Box::into_raw(Box::new(value)));
    }

    /// Puts null there.
    pub(crate) fn give_none(&self) {
        self.put(std::ptr::null_mut());
    }
}

/// Takes back what [`Place::give`] gave. Null is nothing.
///
/// # Safety
/// The pointer is null, or one that `give` gave for a `T`. It is not used afterwards, and was not taken back before.
pub(crate) unsafe fn take_back<T>(pointer: *mut T) {
    if !pointer.is_null() {
        // SAFETY: the caller's promise: it came from a box.
        let value = unsafe { Box::from_raw(pointer) };
        // A panic of a destructor must not reach C, which could not do anything about it.
        drop(contained(move || {
            drop(value);
            Ok(())
        }));
    }
}

/// Rows that C hands over: the stream is moved, and what is left is marked as released, as the interface says.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for null and for a stream that was released; [`ErrorCode::SourceInvalid`] if it does not say its
/// columns.
///
/// # Safety
/// The pointer is null, or to a valid stream that nobody else uses.
pub(crate) unsafe fn stream(pointer: *mut FFI_ArrowArrayStream) -> Result<Validated<ArrowArrayStreamReader>> {
    if pointer.is_null() {
        return Err(null("the stream of rows"));
    }
    // SAFETY: it is not null, and the rest is the caller's promise.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer) };
    if stream.release.is_none() {
        return Err(Error::new(ErrorCode::InvalidArgument, "the stream of rows was released before"));
    }
    let reader = ArrowArrayStreamReader::try_new(stream).map_err(|error| {
        Error::new(ErrorCode::SourceInvalid, "the stream of rows does not say its columns").with_source(error)
    })?;
    Ok(Validated::new(reader))
}

/// Columns for C.
///
/// # Errors
/// [`ErrorCode::UnsupportedType`] for types that the C interface does not have.
pub(crate) fn schema(schema: &arrow::datatypes::Schema) -> Result<FFI_ArrowSchema> {
    FFI_ArrowSchema::try_from(schema).map_err(|error| {
        Error::new(ErrorCode::UnsupportedType, "the columns cannot be handed over").with_source(error)
    })
}
