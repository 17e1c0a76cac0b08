//! CSV files with a header line.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::SchemaRef;

use super::{OpenInput, files};
use crate::api::error::{Error, ErrorCode, Result};

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

pub(super) fn open(pattern: &str, schema: Option<SchemaRef>) -> Result<OpenInput> {
    let paths = files::list(pattern)?;
    let schema = match (schema, paths.first()) {
        (Some(schema), _) => schema,
        (None, Some(path)) => infer(path)?,
        (None, None) => return Err(Error::internal("no input file")),
    };
    files::concat(paths, move |path| open_file(path, &schema))
}

fn infer(path: &Path) -> Result<SchemaRef> {
    let (schema, _) = Format::default()
        .with_header(true)
        .infer_schema(open_for_reading(path)?, None)
        .map_err(|error| files::invalid(path, "is not a CSV file with a header line", error))?;
    Ok(Arc::new(schema))
}

fn open_file(path: &Path, schema: &SchemaRef) -> Result<OpenInput> {
    let reader = ReaderBuilder::new(schema.clone())
        .with_header(true)
        .with_batch_size(BATCH_ROWS)
        .build(open_for_reading(path)?)
        .map_err(|error| files::invalid(path, "is not a CSV file with a header line", error))?;
    let path = path.to_owned();
    let batches = reader.map(move |batch| {
        batch.map_err(|error| {
            files::invalid(&path, "does not fit its columns (name a schema for them)", error)
        })
    });
    Ok(OpenInput { schema: schema.clone(), batches: Box::new(batches) })
}

fn open_for_reading(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot open `{}`: {error}", path.display()))
            .with_source(error)
    })
}
