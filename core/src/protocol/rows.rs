//! Rows and columns as bytes: Arrow IPC streams.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::api::error::{Error, ErrorCode, Result};
use crate::storage::compact_views;

/// A stream without batches.
pub(crate) fn encode_schema(schema: &Schema) -> Result<Vec<u8>> {
    let encode = || StreamWriter::try_new(Vec::new(), schema)?.into_inner();
    encode().map_err(|error| Error::internal("cannot encode a schema").with_source(error))
}

/// A stream of one batch.
pub(crate) fn encode_batch(batch: &RecordBatch) -> Result<Vec<u8>> {
    let batch = &compact_views(batch)?;
    let encode = || {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema())?;
        writer.write(batch)?;
        writer.into_inner()
    };
    encode().map_err(|error| Error::internal("cannot encode rows").with_source(error))
}

/// The schema of a stream.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for bytes that are no stream.
pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    contained(|| Ok(StreamReader::try_new(Cursor::new(bytes), None)?.schema()))
}

/// The one batch of a stream; no rows for a stream without batches.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for bytes that are no stream of one batch.
pub(crate) fn decode_batch(bytes: &[u8]) -> Result<RecordBatch> {
    contained(|| {
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let batch = reader.next().unwrap_or_else(|| Ok(RecordBatch::new_empty(reader.schema())))?;
        match reader.next() {
            None => Ok(batch),
            Some(_) => Err(ArrowError::IpcError("a second batch".to_owned())),
        }
    })
}

/// Arrow panics on some malformed streams, and the other end of a socket may send any bytes.
fn contained<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    let wrong = || Error::new(ErrorCode::InvalidArgument, "the bytes are no Arrow IPC stream");
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| wrong())?.map_err(|error| wrong().with_source(error))
}
