//! CSV files with a header line.

use std::path::Path;
use std::sync::Arc;

use arrow::csv::ReaderBuilder;
use arrow::csv::reader::Format;
use arrow::datatypes::{Schema, SchemaRef};

use super::{OpenInput, files};
use crate::api::error::Result;

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

/// Opens a file; without `types` they are inferred from all of it.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn open(path: &Path, types: Option<&SchemaRef>) -> Result<OpenInput> {
    match types {
        Some(schema) => open_file(path, schema),
        None => open_file(path, &infer(path)?),
    }
}

const NOT_CSV: &str = "is not a CSV file with a header line";

fn infer(path: &Path) -> Result<SchemaRef> {
    let (schema, _) = Format::default()
        .with_header(true)
        .infer_schema(files::open_for_reading(path)?, None)
        .map_err(|error| files::invalid(path, NOT_CSV, error))?;
    if schema.fields().is_empty() {
        return Err(files::invalid(path, NOT_CSV, "it is empty"));
    }
    Ok(Arc::new(schema))
}

fn open_file(path: &Path, schema: &SchemaRef) -> Result<OpenInput> {
    let schema = in_order_of_header(path, schema)?;
    let reader = ReaderBuilder::new(schema.clone())
        .with_header(true)
        .with_batch_size(BATCH_ROWS)
        .build(files::open_for_reading(path)?)
        .map_err(|error| files::invalid(path, NOT_CSV, error))?;
    let path = path.to_owned();
    let batches = reader.map(move |batch| {
        batch.map_err(|error| {
            files::invalid(&path, "does not fit its columns (name a schema for them)", error)
        })
    });
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

/// The fields of `schema` as the header of the file lists them.
fn in_order_of_header(path: &Path, schema: &SchemaRef) -> Result<SchemaRef> {
    let (header, _) = Format::default()
        .with_header(true)
        .infer_schema(files::open_for_reading(path)?, Some(0))
        .map_err(|error| files::invalid(path, NOT_CSV, error))?;
    let names = |schema: &Schema| -> Vec<String> {
        schema.fields().iter().map(|field| field.name().clone()).collect()
    };
    let found = header.fields().iter().map(|field| schema.field_with_name(field.name()).cloned());
    match found.collect::<Result<Vec<_>, _>>() {
        Ok(fields) if fields.len() == schema.fields().len() => Ok(Arc::new(Schema::new(fields))),
        _ => {
            let (has, wanted) = (names(&header).join(", "), names(schema).join(", "));
            Err(files::invalid(
                path,
                "has other columns than its table",
                format!("({has}) and not ({wanted})"),
            ))
        }
    }
}
