//! CSV files, and rows of texts of any origin.
//!
//! Each field becomes exactly the same value of its column, or the file is refused with the line, the column and the
//! field.

mod columns;
mod format;
mod infer;
mod records;
mod rows;
mod values;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema, SchemaRef};

pub use self::columns::TextColumns;
pub use self::format::CsvFormat;
pub use self::infer::InferredType;
pub use self::records::CsvReader;
pub use self::rows::TextRows;
use super::{OpenInput, file};
use crate::types::error::{Error, ErrorCode, Result};

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;
/// A batch of rows is complete when its texts have so many bytes.
const BATCH_LEN: usize = 16 << 20;

const NOT_CSV: &str = "is not a CSV file with a header line";

/// Opens a file. Without `types`, the types of its columns are inferred from all of it.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceInvalid`]; [`ErrorCode::UnsupportedType`] for `types` that CSV
/// cannot hold.
pub(super) fn open(path: &Path, types: Option<&SchemaRef>) -> Result<OpenInput> {
    let reader = read(path)?;
    let schema = match types {
        Some(types) => in_order_of_header(path, reader.names(), types)?,
        None => infer::infer(path)?,
    };
    let batches = CsvBatches {
        path: path.to_owned(),
        columns: TextColumns::new(schema.clone())?,
        rows: TextRows::default(),
        reader: Some(reader),
    };
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

fn read(path: &Path) -> Result<CsvReader> {
    CsvReader::new(path, file::open_for_reading(path)?, &CsvFormat::new())
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
    columns: TextColumns,
    rows: TextRows,
    /// `None` after the last row or an error.
    reader: Option<CsvReader>,
}

impl CsvBatches {
    fn read(&mut self, reader: &mut CsvReader) -> Result<Option<RecordBatch>> {
        match reader.read(&mut self.rows, BATCH_ROWS, BATCH_LEN)? {
            true => self.columns.convert(&self.path, &self.rows).map(Some),
            false => Ok(None),
        }
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
