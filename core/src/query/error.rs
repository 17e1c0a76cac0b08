//! DataFusion's errors as ours.

use datafusion::common::SchemaError;
use datafusion::error::DataFusionError;

use crate::api::error::{Error, ErrorCode};

/// An error of planning.
pub(super) fn planning(error: DataFusionError) -> Error {
    convert(error, ErrorCode::InvalidSql)
}

/// An error of a running query.
pub(super) fn running(error: DataFusionError) -> Error {
    convert(error, ErrorCode::Execution)
}

/// An error of ours on its way through DataFusion.
pub(super) fn external(error: Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}

/// `fallback` stands for what DataFusion calls an error of planning or of execution.
fn convert(error: DataFusionError, fallback: ErrorCode) -> Error {
    use DataFusionError as D;
    match error {
        D::External(inner) => match inner.downcast::<Error>() {
            Ok(ours) => *ours,
            Err(inner) => Error::new(fallback, inner.to_string()).with_source(inner),
        },
        D::Context(_, inner) | D::Diagnostic(_, inner) => convert(*inner, fallback),
        D::Collection(mut all) if !all.is_empty() => convert(all.swap_remove(0), fallback),
        D::ArrowError(inner, _) => match *inner {
            arrow::error::ArrowError::ExternalError(inner) => match inner.downcast::<DataFusionError>() {
                Ok(inner) => convert(*inner, fallback),
                Err(inner) => Error::new(fallback, inner.to_string()).with_source(inner),
            },
            inner => Error::new(fallback, inner.to_string()).with_source(inner),
        },
        error => {
            let code = match &error {
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
            };
            Error::new(code, error.strip_backtrace()).with_source(error)
        }
    }
}
