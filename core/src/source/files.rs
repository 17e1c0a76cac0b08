//! Lists of input files, read one after another.

use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::OpenInput;
use crate::api::error::{Error, ErrorCode, Result};

/// Files that a path or pattern names, by name.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`] if there is none.
pub(super) fn list(pattern: &str) -> Result<Vec<PathBuf>> {
    if !pattern.contains(['*', '?', '[']) || Path::new(pattern).exists() {
        let path = PathBuf::from(pattern);
        return match path.metadata() {
            Ok(_) => Ok(vec![path]),
            Err(error) => {
                Err(Error::new(ErrorCode::SourceNotFound, format!("cannot open `{pattern}`: {error}"))
                    .with_source(error))
            }
        };
    }
    let paths = glob::glob(pattern).map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, format!("`{pattern}` is not a pattern")).with_source(error)
    })?;
    let paths: Vec<PathBuf> = paths.collect::<Result<_, _>>().map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot list `{pattern}`")).with_source(error)
    })?;
    if paths.is_empty() {
        return Err(Error::new(ErrorCode::SourceNotFound, format!("no file matches `{pattern}`")));
    }
    Ok(paths)
}

/// A file that is not what it should be.
pub(super) fn invalid(
    path: &Path,
    what: &str,
    cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> Error {
    let cause = cause.into();
    Error::new(ErrorCode::SourceInvalid, format!("`{}` {what}: {cause}", path.display())).with_source(cause)
}

/// The batches of files that `open` opens one at a time; all must have the columns of the first.
pub(super) fn concat(
    paths: Vec<PathBuf>,
    open: impl Fn(&Path) -> Result<OpenInput> + Send + 'static,
) -> Result<OpenInput> {
    let mut paths = paths.into_iter();
    let Some(first_path) = paths.next() else {
        return Err(Error::internal("no input file"));
    };
    let first = open(&first_path)?;
    let schema = without_metadata(&first.schema);
    let expected = schema.clone();
    let rest = paths.flat_map(move |path| -> Box<dyn Iterator<Item = Result<RecordBatch>> + Send> {
        match open(&path) {
            Ok(input) if same_columns(&without_metadata(&input.schema), &expected) => input.batches,
            Ok(_) => Box::new(std::iter::once(Err(Error::new(
                ErrorCode::SourceInvalid,
                format!("`{}` has other columns than `{}`", path.display(), first_path.display()),
            )))),
            Err(error) => Box::new(std::iter::once(Err(error))),
        }
    });
    Ok(OpenInput { schema, batches: Box::new(first.batches.chain(rest)) })
}

/// Files of one table differ in nullability and order of columns at will; names and types must agree.
fn same_columns(a: &SchemaRef, b: &SchemaRef) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().all(|field| {
            b.field_with_name(field.name()).is_ok_and(|other| other.data_type() == field.data_type())
        })
}

/// Metadata of a file's schema describes that file and its writer, not the table.
fn without_metadata(schema: &SchemaRef) -> SchemaRef {
    Schema::new(schema.fields().clone()).into()
}
