//! Errors of the cache as Python exceptions.

use std::error::Error as _;

use pillion::{Error, ErrorCode};
use pillion_rows::kind_name;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

/// The function of `pillion._errors` that makes an exception.
static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An error of the cache as the exception of its code.
#[expect(clippy::needless_pass_by_value, reason = "it is handed to `map_err`")]
pub(crate) fn raise(error: Error) -> PyErr {
    Python::attach(|py| exception(py, &error).unwrap_or_else(|failed| failed))
}

/// The error of a request that this crate refuses itself.
pub(crate) fn refuse(code: ErrorCode, message: impl Into<String>) -> PyErr {
    raise(Error::new(code, message))
}

fn exception(py: Python<'_>, error: &Error) -> PyResult<PyErr> {
    let make =
        MAKE.get_or_try_init(py, || Ok::<_, PyErr>(py.import("pillion._errors")?.getattr("make")?.unbind()))?;
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let (code, name) = (error.code().number(), format!("{:?}", error.code()));
    let made = make.call1(py, (code, name, kind_name(error.kind()), error.message(), causes))?;
    Ok(PyErr::from_value(made.into_bound(py)))
}

/// Every code with its number, name and kind: for the exceptions in Python and their tests.
pub(crate) fn all_codes() -> Vec<(u16, String, &'static str)> {
    ErrorCode::ALL.iter().map(|code| (code.number(), format!("{code:?}"), kind_name(code.kind()))).collect()
}
