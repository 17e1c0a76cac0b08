//! One file of an input: how it is opened, and what is said of a bad one.

use std::fs::File;
use std::path::Path;

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;

/// Opens a file for reading.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`].
pub(super) fn open_for_reading(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot open `{}`: {error}", path.display()))
            .with_source(error)
    })
}

/// The error of a file that is not what it should be.
pub(super) fn invalid(
    path: &Path,
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let cause = cause.into();
    Error::new(ErrorCode::SourceInvalid, format!("`{}` {what}: {cause}", path.display())).with_source(cause)
}

/// Runs a decoder. A damaged file makes it fail or panic; either is an error of the file.
pub(super) fn contained<T, E: std::error::Error + Send + Sync + 'static>(
    path: &Path,
    what: &str,
    read: impl FnOnce() -> Result<T, E>,
) -> Result<T> {
    panics::catch(
        || read().map_err(|error| invalid(path, what, error)),
        || invalid(path, what, "the decoder panicked"),
    )
}
