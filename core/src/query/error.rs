//! DataFusion's errors as ours.

use std::sync::Arc;

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::types::error::{Error, ErrorCode};

/// An error of planning.
pub(super) fn planning(error: DataFusionError) -> Error {
    convert(error, ErrorCode::InvalidSql)
}

/// An error of a running query.
pub(super) fn running(error: DataFusionError) -> Error {
    convert(error, ErrorCode::Execution)
}

/// Wraps an error of ours, to pass it through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `fallback` is the code for DataFusion's own errors of planning or execution.
fn convert(error: DataFusionError, fallback: ErrorCode) -> Error {
    use DataFusionError as D;
    match error {
        D::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => Error::new(fallback, inner.to_string()),
        },
        D::Shared(inner) => match Arc::try_unwrap(inner) {
            Ok(inner) => convert(inner, fallback),
            Err(inner) => convert_shared(&inner, fallback),
        },
        D::Context(_, inner) | D::Diagnostic(_, inner) => convert(*inner, fallback),
        D::Collection(mut all) if !all.is_empty() => convert(all.swap_remove(0), fallback),
        D::ArrowError(inner, _) => match *inner {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => convert(*inner, fallback),
                Err(inner) => Error::new(fallback, inner.to_string()),
            },
            inner => Error::new(fallback, inner.to_string()),
        },
        D::SQL(inner, _) => Error::new(fallback, inner.to_string()),
        error => Error::new(code_of(&error, fallback), error.strip_backtrace()),
    }
}

/// Converts an error that several parts of a plan share.
fn convert_shared(error: &DataFusionError, fallback: ErrorCode) -> Error {
    match error.find_root() {
        DataFusionError::External(inner) => match inner.downcast_ref::<Error>() {
            Some(ours) => Error::new(ours.code(), ours.message()),
            None => Error::new(fallback, inner.to_string()),
        },
        root => Error::new(code_of(root, fallback), root.strip_backtrace()),
    }
}

fn code_of(error: &DataFusionError, fallback: ErrorCode) -> ErrorCode {
    use DataFusionError as D;
    match error {
        D::SchemaError(schema, _) => match schema.as_ref() {
            SchemaError::FieldNotFound { .. } => ErrorCode::ColumnNotFound,
            _ => fallback,
        },
        D::NotImplemented(_) => ErrorCode::Unsupported,
        D::ResourcesExhausted(_) => ErrorCode::MemoryLimit,
        D::Internal(_) | D::ExecutionJoin(_) => ErrorCode::Internal,
        D::IoError(inner) if inner.kind() == std::io::ErrorKind::StorageFull => ErrorCode::DiskFull,
        D::IoError(_) => ErrorCode::Io,
        _ => fallback,
    }
}
