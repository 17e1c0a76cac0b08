//! Parquet files.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::{OpenInput, files};
use crate::api::error::{Error, ErrorCode, Result};

/// Rows of a batch read from a file.
const BATCH_ROWS: usize = 16 << 10;

pub(super) fn open(pattern: &str) -> Result<OpenInput> {
    files::concat(files::list(pattern)?, open_file)
}

fn open_file(path: &Path) -> Result<OpenInput> {
    let file = File::open(path).map_err(|error| {
        Error::new(ErrorCode::SourceNotFound, format!("cannot open `{}`: {error}", path.display()))
            .with_source(error)
    })?;
    let reader = contained(path, || {
        ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()
    })?;
    let schema = arrow::array::RecordBatchReader::schema(&reader);
    let batches = Batches { path: path.to_owned(), reader: Some(reader) };
    Ok(OpenInput { schema, batches: Box::new(batches) })
}

struct Batches {
    path: std::path::PathBuf,
    reader: Option<ParquetRecordBatchReader>,
}

impl Iterator for Batches {
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

/// Damaged files make the decoder fail, or panic; either is an error of the file.
fn contained<T>(path: &Path, read: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    let not_parquet = "is damaged or not a Parquet file";
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(result) => result.map_err(|error| files::invalid(path, not_parquet, error)),
        Err(_) => Err(files::invalid(path, not_parquet, "the decoder panicked")),
    }
}
