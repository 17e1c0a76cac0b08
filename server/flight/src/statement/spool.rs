//! Rows of an upload, on disk until they have come whole.

use std::fs::File;
use std::io::{BufReader, Seek};
use std::path::Path;

use arrow::array::{RecordBatch, RecordBatchReader};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;
use pillion::ErrorCode;
use tonic::{Code, Status};

use crate::status;

/// A file without a name that holds the rows of an upload.
pub(super) struct Spool {
    writer: StreamWriter<File>,
    rows: u64,
}

impl Spool {
    /// Makes the file.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` or `INTERNAL` if that is refused.
    pub(super) fn new(dir: &Path, schema: &Schema) -> Result<Self, Status> {
        let file = tempfile::tempfile_in(dir).map_err(|error| cannot_keep(&error))?;
        Ok(Self { writer: StreamWriter::try_new(file, schema).map_err(unwritten)?, rows: 0 })
    }

    /// Adds rows.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn push(&mut self, batch: &RecordBatch) -> Result<(), Status> {
        self.rows += batch.num_rows() as u64;
        self.writer.write(batch).map_err(unwritten)
    }

    /// All rows, and how many there are.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub(super) fn finish(self) -> Result<(impl RecordBatchReader + Send + 'static, u64), Status> {
        let Self { mut writer, rows } = self;
        writer.finish().map_err(unwritten)?;
        let mut file = writer.into_inner().map_err(unwritten)?;
        file.rewind().map_err(|error| cannot_keep(&error))?;
        Ok((StreamReader::try_new(BufReader::new(file), None).map_err(unwritten)?, rows))
    }
}

fn unwritten(error: ArrowError) -> Status {
    match error {
        ArrowError::IoError(_, error) => cannot_keep(&error),
        error => status::invalid(format!("the rows cannot be kept until they are loaded: {error}")),
    }
}

fn cannot_keep(error: &std::io::Error) -> Status {
    use std::io::ErrorKind as Io;
    let full = matches!(error.kind(), Io::StorageFull | Io::QuotaExceeded | Io::FileTooLarge);
    // Its text may name a folder of the server.
    tracing::error!(%error, "the rows of an upload cannot be kept");
    let why = error.raw_os_error().map_or_else(|| error.kind().into(), std::io::Error::from_raw_os_error);
    let message = format!("the rows cannot be kept until they are loaded: {why}");
    match full {
        true => status::with_code(Code::ResourceExhausted, ErrorCode::DiskFull, &message),
        false => status::with_code(Code::Internal, ErrorCode::Io, &message),
    }
}
