//! CSV files with a header line.
//!
//! Each field becomes exactly the same value of its column, or the file is refused with the line, the column and the
//! field.

mod columns;
mod infer;
mod records;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use self::columns::Converter;
use self::records::{RecordReader, Records};
use super::{OpenInput, file};
use crate::types::error::{Error, ErrorCode, Result};

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

const NOT_CSV: &str = "is not a CSV file with a header line";

/// Opens a file. Without `types`, the types of its columns are inferred from all of it.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`]; [`ErrorCode::UnsupportedType`] for `types` that CSV
/// cannot hold.
pub(super) fn open(path: &Path, types: Option<&SchemaRef>) -> Result<OpenInput> {
    let mut reader = RecordReader::open(path)?;
    let header = reader.header()?;
    let schema = match types {
        Some(types) => in_order_of_header(path, &header, types)?,
        None => infer::infer(path)?,
    };
    let converters = schema.fields().iter().cloned().map(Converter::new).collect::<Result<_>>()?;
    let batches = CsvBatches {
        path: path.to_owned(),
        schema: schema.clone(),
        records: Records::new(header.len()),
        reader: Some(reader),
        converters,
    };
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

/// The fields of `schema` as the header of the file lists them.
fn in_order_of_header(path: &Path, header: &[String], schema: &SchemaRef) -> Result<SchemaRef> {
    let field =
        |name: &String| schema.column_with_name(name).map(|(index, _)| schema.fields()[index].clone());
    match header.iter().map(field).collect::<Option<Vec<FieldRef>>>() {
        Some(fields) if fields.len() == schema.fields().len() => Ok(Arc::new(Schema::new(fields))),
        _ => {
            let wanted: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
            let message = format!("({}) and not ({})", header.join(", "), wanted.join(", "));
            Err(file::invalid(path, "has other columns than its table", message))
        }
    }
}

/// The error of something that is wrong in a line of a file.
fn at_line(path: &Path, line: u64, what: &str) -> Error {
    Error::new(ErrorCode::SourceInvalid, format!("`{}`, line {line}: {what}", path.display()))
}

/// The rows of a file.
struct CsvBatches {
    path: PathBuf,
    schema: SchemaRef,
    /// `None` after the last row or an error.
    reader: Option<RecordReader>,
    records: Records,
    converters: Vec<Converter>,
}

impl CsvBatches {
    fn read(&mut self, reader: &mut RecordReader) -> Result<Option<RecordBatch>> {
        if !reader.read(&mut self.records, BATCH_ROWS)? {
            return Ok(None);
        }
        let names: Vec<&str> = self.schema.fields().iter().map(|field| field.name().as_str()).collect();
        let texts = self.records.texts(&self.path, &names)?;
        let columns = self.converters.iter().enumerate();
        let columns = columns.map(|(index, converter)| converter.convert(&self.path, texts.column(index)));
        let batch = RecordBatch::try_new(self.schema.clone(), columns.collect::<Result<_>>()?);
        batch.map(Some).map_err(|error| Error::internal("rows of CSV have other columns").with_source(error))
    }
}

impl Iterator for CsvBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut reader = self.reader.take()?;
        let batch = self.read(&mut reader).transpose()?;
        if batch.is_ok() {
            self.reader = Some(reader);
        }
        Some(batch)
    }
}
