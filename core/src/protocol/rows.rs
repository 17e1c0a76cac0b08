//! Rows and columns as bytes: Arrow IPC streams.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::StreamWriter;

use crate::api::error::{Error, ErrorCode, Result};
use crate::storage::compact_views;

/// Stands before the length of every message.
const CONTINUATION: i32 = -1;

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
    contained(|| {
        check_lengths(bytes)?;
        Ok(StreamReader::try_new(Cursor::new(bytes), None)?.schema())
    })
}

/// The one batch of a stream; no rows for a stream without batches.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for bytes that are no stream of one batch.
pub(crate) fn decode_batch(bytes: &[u8]) -> Result<RecordBatch> {
    contained(|| {
        check_lengths(bytes)?;
        let mut reader = StreamReader::try_new(Cursor::new(bytes), None)?;
        let batch = reader.next().unwrap_or_else(|| Ok(RecordBatch::new_empty(reader.schema())))?;
        match reader.next() {
            None => Ok(batch),
            Some(_) => Err(ArrowError::IpcError("a second batch".to_owned())),
        }
    })
}

/// Whether the messages of a stream are as long as they say. Arrow takes memory for a message by its word, and memory
/// that is not there ends the process.
fn check_lengths(mut rest: &[u8]) -> Result<(), ArrowError> {
    let wrong = || ArrowError::IpcError("a message is longer than its stream".to_owned());
    let word = |rest: &mut &[u8]| {
        let (word, after) = rest.split_first_chunk()?;
        *rest = after;
        Some(i32::from_le_bytes(*word))
    };
    loop {
        let len = match word(&mut rest) {
            Some(CONTINUATION) => word(&mut rest),
            other => other,
        };
        let len = match len {
            None | Some(0) => return Ok(()),
            Some(len) => usize::try_from(len).map_err(|_| wrong())?,
        };
        let (head, after) = rest.split_at_checked(len).ok_or_else(wrong)?;
        let message = root_as_message(head).map_err(|error| ArrowError::IpcError(error.to_string()))?;
        let body = usize::try_from(message.bodyLength()).ok();
        rest = body.and_then(|body| after.get(body..)).ok_or_else(wrong)?;
    }
}

/// Arrow panics on some malformed streams, and the other end of a socket may send any bytes.
fn contained<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    let wrong = || Error::new(ErrorCode::InvalidArgument, "the bytes are no Arrow IPC stream");
    catch_unwind(AssertUnwindSafe(decode)).map_err(|_| wrong())?.map_err(|error| wrong().with_source(error))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    #[test]
    fn lengths_of_what_is_not_there_are_errors() {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..9));
        let texts: ArrayRef =
            Arc::new(StringArray::from_iter_values(["a", "b", "c", "d", "e", "f", "g", "h", "i"]));
        let batch = RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap();
        let bytes = encode_batch(&batch).unwrap();
        assert_eq!(decode_batch(&bytes).unwrap(), batch);
        assert_eq!(decode_schema(&bytes).unwrap(), batch.schema());
        for position in (0..bytes.len() - 8).step_by(4) {
            for word in [u64::MAX, 1 << 62, 1 << 45, 1 << 31, 0x7FFF_FFFF_FFFF_FFFF, 0x7FFF_FFF0] {
                let mut changed = bytes.clone();
                changed[position..position + 8].copy_from_slice(&word.to_le_bytes());
                // An error or other rows; never memory that is not there.
                drop((decode_batch(&changed), decode_schema(&changed)));
            }
        }
        for len in 0..bytes.len() {
            drop((decode_batch(&bytes[..len]), decode_schema(&bytes[..len])));
        }
    }
}
