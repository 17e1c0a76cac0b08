//! Arrow IPC files and streams on disk.

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;

use super::arrow_reader::ArrowReader;
use super::file;
use super::reading::{FileBatches, FileColumns};
use crate::types::error::Result;

const NOT_ARROW: &str = "is damaged or not an Arrow IPC file";

type Reader = ArrowReader<BufReader<File>>;

/// The columns of a file.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn columns(path: &Path) -> Result<FileColumns> {
    Ok(FileColumns::Declared(open_reader(path, None)?.schema().clone(), None))
}

/// Opens a file. Its batches have the columns of `wanted`.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn open(path: &Path, wanted: &Schema) -> Result<FileBatches> {
    let reader = open_reader(path, Some(wanted))?;
    Ok(Box::new(ArrowBatches { path: path.to_owned(), reader: Some(reader) }))
}

fn open_reader(path: &Path, wanted: Option<&Schema>) -> Result<Reader> {
    let file = file::open_for_reading(path)?;
    file::contained(path, NOT_ARROW, || {
        let len = file.metadata()?.len();
        ArrowReader::open(BufReader::new(file), len, wanted)
    })
}

struct ArrowBatches {
    path: PathBuf,
    reader: Option<Reader>,
}

impl Iterator for ArrowBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let reader = self.reader.as_mut()?;
        let next = file::contained(&self.path, NOT_ARROW, || reader.next().transpose()).transpose();
        if !matches!(next, Some(Ok(_))) {
            self.reader = None;
        }
        next
    }
}
