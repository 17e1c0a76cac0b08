//! Panics of a query stay its own.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::types::error::{Error, ErrorCode, Result};

/// Runs a part of a query. A panic in it becomes the error of this query and harms nothing else.
pub(super) fn contain<T>(work: impl FnOnce() -> T) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| panicked())
}

pub(super) fn panicked() -> Error {
    Error::new(ErrorCode::Internal, "the query panicked; other queries are not affected")
}
