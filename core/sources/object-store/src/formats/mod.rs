//! Formats of files: what each says of its columns, and its rows.

mod arrow_ipc;
mod chunks;
pub(crate) mod parquet;

use arrow::datatypes::Schema;
use pillion::files::{FileBatches, FileColumns, FileReading};
use pillion::{Error, ErrorCode, FileFormat, FileOptions, Result};

use crate::blocks::Blocks;
use crate::file::{Refused, SourceFile};

/// Rows of a batch.
pub(crate) const BATCH_ROWS: usize = 8 << 10;
/// Bytes of a batch, where rows are large.
pub(crate) const BATCH_BYTES: usize = 4 << 20;

const NOT_TEXTS: &str = "cannot be read";

/// Finds out the columns of a file. Reads the rows of files whose format has no types, unless the definition gives all.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`], and those of reading the file.
pub(crate) fn look(reading: &FileReading, file: &SourceFile, options: &FileOptions) -> Result<FileColumns> {
    let columns = match reading.format() {
        FileFormat::Parquet => parquet::look(file)?,
        FileFormat::Arrow => arrow_ipc::look(file)?,
        // A file without a byte has no rows, and so no columns of its own.
        _ if reading.is_texts() && file.bytes() == 0 => FileColumns::Texts(Vec::new()),
        _ if reading.is_texts() => file.decode(NOT_TEXTS, || {
            reading.look_at_texts(&file.name(), Blocks::new(file.clone()), options, &|_| false)
        })?,
        other => return Err(unread(other)),
    };
    columns.check(&file.name())
}

/// Opens a file. Its batches have the columns of `wanted` in any order; files of texts make values of their types, and
/// other files have the types that they declare.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`], and those of reading the file.
pub(crate) fn open(reading: &FileReading, file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
    match reading.format() {
        FileFormat::Parquet => parquet::open(file, wanted),
        FileFormat::Arrow => arrow_ipc::open(file, wanted),
        _ if reading.is_texts() && file.bytes() == 0 => Ok(Box::new(std::iter::empty())),
        _ if reading.is_texts() => {
            let file = file.clone();
            let mut batches = file
                .decode(NOT_TEXTS, || reading.open_texts(&file.name(), Blocks::new(file.clone()), wanted))?;
            let next = move || {
                file.decode(NOT_TEXTS, || batches.next().transpose().map_err(Refused::As)).transpose()
            };
            Ok(Box::new(std::iter::from_fn(next).fuse()))
        }
        other => Err(unread(other)),
    }
}

fn unread(format: FileFormat) -> Error {
    Error::new(ErrorCode::Unsupported, format!("files of the format {format:?} are not read from a source"))
}
