//! Arrow IPC files and streams.

use std::fs::File;
use std::io::{BufReader, Read, Seek};
use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::error::ArrowError;
use arrow::ipc::reader::{FileReader, StreamReader};

use super::file;
use super::reading::{FileBatches, FileColumns};
use crate::types::error::Result;

/// What a file starts with; a stream does not.
const FILE_MAGIC: &[u8; 6] = b"ARROW1";
const NOT_ARROW: &str = "is damaged or not an Arrow IPC file";

/// The columns of a file.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn columns(path: &Path) -> Result<FileColumns> {
    let file = file::open_for_reading(path)?;
    let reader = file::contained(path, NOT_ARROW, || open_reader(file))?;
    Ok(FileColumns::Declared(reader.schema(), None))
}

/// Opens a file.
///
/// # Errors
/// [`SourceNotFound`](crate::ErrorCode::SourceNotFound), [`SourceInvalid`](crate::ErrorCode::SourceInvalid).
pub(super) fn open(path: &Path) -> Result<FileBatches> {
    let file = file::open_for_reading(path)?;
    let reader = file::contained(path, NOT_ARROW, || open_reader(file))?;
    Ok(Box::new(ArrowBatches { path: path.to_owned(), reader: Some(reader) }))
}

fn open_reader(file: File) -> Result<Box<dyn RecordBatchReader + Send>, ArrowError> {
    let mut file = BufReader::new(file);
    let mut start = [0; FILE_MAGIC.len()];
    let is_file = file.read_exact(&mut start).is_ok() && &start == FILE_MAGIC;
    file.rewind()?;
    Ok(if is_file {
        Box::new(FileReader::try_new(file, None)?)
    } else {
        Box::new(StreamReader::try_new(file, None)?)
    })
}

struct ArrowBatches {
    path: PathBuf,
    reader: Option<Box<dyn RecordBatchReader + Send>>,
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
