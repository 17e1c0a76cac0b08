//! Parquet files.

use std::path::Path;

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{OpenInput, file};
use crate::types::error::Result;

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

/// Opens a file.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn open(path: &Path) -> Result<OpenInput> {
    let file = file::open_for_reading(path)?;
    let reader = contained(path, || {
        ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()
    })?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = ParquetBatches { path: path.to_owned(), reader: Some(reader) };
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

struct ParquetBatches {
    path: std::path::PathBuf,
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for ParquetBatches {
    type Item = Result<arrow::array::RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = contained(&self.path, || Ok(reader.next().transpose()?)).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}

fn contained<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    file::contained(path, "is damaged or not a Parquet file", read)
}
