//! Rows and columns as bytes: Arrow IPC streams.

use std::io::Cursor;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::root_as_message;
use arrow::ipc::writer::StreamWriter;

use crate::storage::compact_views;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;

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

/// Checks the lengths that a stream claims before anyone reserves memory for them: Arrow reserves what it is told to,
/// and a process that cannot get that much memory aborts.
fn check_lengths(bytes: &[u8]) -> Result<(), ArrowError> {
    let wrong = |what: &str| ArrowError::IpcError(what.to_owned());
    let number = |bytes: &[u8]| bytes.first_chunk().map(|four| i32::from_le_bytes(*four));
    let mut rest = bytes;
    while !rest.is_empty() {
        if number(rest) == Some(-1) {
            rest = &rest[4..];
        }
        let len = number(rest).ok_or_else(|| wrong("a message is cut short"))?;
        rest = &rest[4..];
        if len == 0 {
            return Ok(());
        }
        let len = usize::try_from(len).map_err(|_| wrong("a message of negative length"))?;
        let (metadata, behind) =
            rest.split_at_checked(len).ok_or_else(|| wrong("a message is longer than its bytes"))?;
        let message = root_as_message(metadata).map_err(|error| wrong(&error.to_string()))?;
        let batch = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
        let batch = batch.or_else(|| message.header_as_record_batch());
        if batch.is_some_and(|batch| batch.compression().is_some()) {
            return Err(wrong("its buffers are compressed"));
        }
        let body = usize::try_from(message.bodyLength()).map_err(|_| wrong("a body of negative length"))?;
        rest = behind.get(body..).ok_or_else(|| wrong("a body is longer than its bytes"))?;
    }
    Ok(())
}

/// The schema of a stream.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for bytes that are not a stream.
pub(crate) fn decode_schema(bytes: &[u8]) -> Result<SchemaRef> {
    contained(|| {
        check_lengths(bytes)?;
        Ok(StreamReader::try_new(Cursor::new(bytes), None)?.schema())
    })
}

/// The one batch of a stream; no rows for a stream without batches.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] for bytes that are not a stream of one batch.
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

/// Arrow panics on some malformed streams, and the other end of a socket may send any bytes.
fn contained<T>(decode: impl FnOnce() -> Result<T, ArrowError>) -> Result<T> {
    let wrong = || Error::new(ErrorCode::InvalidArgument, "the bytes are not an Arrow IPC stream");
    panics::catch(|| decode().map_err(|error| wrong().with_source(error)), wrong)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::IpcWriteOptions;

    use super::*;

    fn batch() -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..100).map(|n| n.to_string())));
        RecordBatch::try_from_iter([("n", numbers), ("t", texts)]).unwrap()
    }

    #[test]
    fn rows_and_columns_come_back() {
        let bytes = encode_batch(&batch()).unwrap();
        assert_eq!(decode_batch(&bytes).unwrap(), batch());
        assert_eq!(decode_schema(&encode_schema(&batch().schema()).unwrap()).unwrap(), batch().schema());
    }

    /// A process that asks for a terabyte because a stream claims that much would abort.
    #[test]
    fn lengths_are_not_believed() {
        let bytes = encode_batch(&batch()).unwrap();
        for position in 0..bytes.len() {
            for byte in [0x7F, 0xFF] {
                let mut changed = bytes.clone();
                changed[position] = byte;
                drop(decode_batch(&changed));
                drop(decode_schema(&changed));
            }
        }
        for len in 0..bytes.len() - 8 {
            assert!(decode_batch(&bytes[..len]).is_err() || len > 8, "{len}");
        }
    }

    #[test]
    fn compressed_rows_are_refused() {
        let options =
            IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME)).unwrap();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &batch().schema(), options).unwrap();
        if writer.write(&batch()).is_ok() {
            let bytes = writer.into_inner().unwrap();
            assert_eq!(decode_batch(&bytes).unwrap_err().code(), ErrorCode::InvalidArgument);
        }
    }
}
