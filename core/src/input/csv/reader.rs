//! CSV files: their columns, and their rows as batches.

use std::collections::HashSet;
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::{BATCH_LEN, BATCH_ROWS, CsvFormat, CsvReader, InferredType, TextColumns, TextRows};
use crate::input::codec::Bytes;
use crate::input::reading::FileBatches;
use crate::types::error::{Error, ErrorCode, Result};

/// The columns of a file, from all of its records unless all types are known.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`].
pub(in crate::input) fn look(
    name: &str,
    bytes: Bytes,
    format: &CsvFormat,
    is_known: &dyn Fn(&str) -> bool,
) -> Result<Vec<(String, InferredType)>> {
    let mut reader = open_reader(name, bytes, format)?;
    let mut types = vec![InferredType::default(); reader.names().len()];
    let mut rows = TextRows::default();
    let is_needed = !reader.names().iter().all(|name| is_known(name));
    while is_needed && reader.read(&mut rows, BATCH_ROWS, BATCH_LEN)? {
        InferredType::look_at(&mut types, reader.names(), name.as_ref(), &rows)?;
    }
    Ok(reader.names().iter().cloned().zip(types).collect())
}

/// Opens a file.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`]; [`ErrorCode::UnsupportedType`] for types that CSV cannot hold.
pub(in crate::input) fn open(
    name: &str,
    bytes: Bytes,
    format: &CsvFormat,
    wanted: &Schema,
) -> Result<FileBatches> {
    let reader = open_reader(name, bytes, format)?;
    let field = |name: &String| reader.names().iter().position(|found| found == name);
    let fields: Option<Vec<usize>> = wanted.fields().iter().map(|wanted| field(wanted.name())).collect();
    let Some(fields) = fields else {
        let message = format!("`{name}` was changed while it was read: it lost a column");
        return Err(Error::new(ErrorCode::SourceInvalid, message));
    };
    let columns = TextColumns::of(wanted.clone().into(), fields)?;
    Ok(Box::new(CsvBatches { path: name.into(), columns, rows: TextRows::default(), reader: Some(reader) }))
}

fn open_reader(name: &str, bytes: Bytes, format: &CsvFormat) -> Result<CsvReader> {
    let reader = CsvReader::new(name, bytes, format)?;
    let mut names = HashSet::new();
    match reader.names().iter().find(|name| !names.insert(name.as_str())) {
        Some(column) => {
            let message =
                format!("`{name}` cannot be read as CSV: its header has the column `{column}` twice");
            Err(Error::new(ErrorCode::SourceInvalid, message))
        }
        None => Ok(reader),
    }
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
