//! Panics of a query stay its own.

use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;

/// Runs a part of a query. A panic in it becomes the error of this query and harms nothing else.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T> {
    panics::catch(|| Ok(work()), panicked)
}

pub(super) fn panicked() -> Error {
    Error::new(ErrorCode::Internal, "the query panicked; other queries are not affected")
}
