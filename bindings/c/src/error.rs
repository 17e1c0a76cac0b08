//! Errors for C.
#![expect(unsafe_code, reason = "functions of C")]

use std::ffi::{CStr, CString, c_char};

use pillion::{Error, ErrorCode, ErrorKind};
use pillion_rows::words;

use crate::border::{handle, take_back};

/// What a caller can do about an error.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PillionAction {
    /// Nothing was changed, and the same call can succeed later.
    Retry = 0,
    /// The request itself is wrong: change it.
    Request = 1,
    /// The source or the rows that were handed over are missing, down or damaged.
    Source = 2,
    /// The call may or may not have taken effect: read before you repeat it.
    OutcomeUnknown = 3,
    /// The handle can no longer do that: open the cache again.
    Reopen = 4,
    /// Damage or a defect: keep the directory, and report it.
    Report = 5,
}

/// An error that a call returned. Free it with `pillion_error_free`.
pub struct PillionError {
    code: ErrorCode,
    message: CString,
    name: CString,
}

impl PillionError {
    pub(crate) fn new(error: &Error) -> Self {
        let name = format!("{:?}", error.code());
        // Neither has a zero.
        let text = |text: String| CString::new(text).unwrap_or_default();
        Self { code: error.code(), message: text(words(error)), name: text(name) }
    }
}

/// The number of an error, which never changes; 0 for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_error_code(error: *const PillionError) -> u16 {
    // SAFETY: the caller's promise.
    unsafe { handle(error, "error") }.map_or(0, |error| error.code.number())
}

/// The name of an error's code, such as `TableNotFound`. It belongs to the error. Empty for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_error_name(error: *const PillionError) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { handle(error, "error") }.map_or_else(|_| nothing(), |error| error.name.as_ptr())
}

/// What went wrong and what to do about it, in words. It belongs to the error. Empty for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_error_message(error: *const PillionError) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { handle(error, "error") }.map_or_else(|_| nothing(), |error| error.message.as_ptr())
}

/// What to do about an error; `PILLION_ACTION_REPORT` for null.
///
/// # Safety
/// `error` is null or an error that was not freed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_error_action(error: *const PillionError) -> PillionAction {
    // SAFETY: the caller's promise.
    let error = unsafe { handle(error, "error") };
    match error.map(|error| error.code.kind()) {
        Ok(ErrorKind::Retry) => PillionAction::Retry,
        Ok(ErrorKind::Request) => PillionAction::Request,
        Ok(ErrorKind::Source) => PillionAction::Source,
        Ok(ErrorKind::OutcomeUnknown) => PillionAction::OutcomeUnknown,
        Ok(ErrorKind::Reopen) => PillionAction::Reopen,
        _ => PillionAction::Report,
    }
}

/// Frees an error. Null is allowed.
///
/// # Safety
/// `error` is null or an error that was not freed, and is not used afterwards.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pillion_error_free(error: *mut PillionError) {
    // SAFETY: the caller's promise.
    unsafe { take_back(error) };
}

fn nothing() -> *const c_char {
    const NOTHING: &CStr = c"";
    NOTHING.as_ptr()
}
