//! Parquet files.

use std::path::Path;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::file;
use super::reading::{FileBatches, FileColumns};
use crate::types::error::Result;

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

/// The columns of a file, from its footer.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn columns(path: &Path) -> Result<FileColumns> {
    let file = file::open_for_reading(path)?;
    let builder = contained(path, || ParquetRecordBatchReaderBuilder::try_new(file))?;
    let rows = u64::try_from(builder.metadata().file_metadata().num_rows()).ok();
    Ok(FileColumns::Declared(builder.schema().clone(), rows))
}

/// Opens a file. Its batches have the columns of `wanted`, in the order of the file.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn open(path: &Path, wanted: &Schema) -> Result<FileBatches> {
    let file = file::open_for_reading(path)?;
    let reader = contained(path, || {
        let builder = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS);
        let fields = builder.schema().fields().iter().enumerate();
        let roots = fields.filter(|(_, field)| wanted.column_with_name(field.name()).is_some());
        let mask = ProjectionMask::roots(builder.parquet_schema(), roots.map(|(index, _)| index));
        builder.with_projection(mask).build()
    })?;
    Ok(Box::new(ParquetBatches { path: path.to_owned(), reader: Some(reader) }))
}

struct ParquetBatches {
    path: std::path::PathBuf,
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch>;

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
