//! Arrow IPC streams, looked at before they are decoded.
//!
//! A decoder makes room for as many bytes as a message says that it has. So what a message says is compared with what came.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use arrow::ipc::root_as_message;
use pillion_door::check_rows;

/// The most bytes of the description of a message.
const METADATA_LEN_MAX: u64 = 16 << 20;
/// What stands before the length of a message.
const CONTINUATION: [u8; 4] = [0xff; 4];
/// What a file of Arrow starts with; a stream does not.
const FILE_MAGIC: &[u8] = b"ARROW1";

/// Checks that no message claims more bytes than the file has, and that the stream ends where the file does.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(file: &mut File) -> Result<(), String> {
    let unread = |error: io::Error| format!("it ends within a message, or cannot be read: {error}");
    let len = file.seek(SeekFrom::End(0)).map_err(unread)?;
    file.rewind().map_err(unread)?;
    let mut reader = BufReader::new(file);
    let mut at = 0_u64;
    let mut start = [0; 4];
    while at < len {
        reader.read_exact(&mut start).map_err(unread)?;
        at += 4;
        if at == 4 && start[..] == FILE_MAGIC[..4] {
            return Err("it is a file of Arrow; send a stream".to_owned());
        }
        if start == CONTINUATION {
            reader.read_exact(&mut start).map_err(unread)?;
            at += 4;
        }
        let metadata_len = u64::from(u32::from_le_bytes(start));
        if metadata_len == 0 {
            return if at == len { Ok(()) } else { Err("bytes follow its end".to_owned()) };
        }
        if metadata_len > METADATA_LEN_MAX || metadata_len > len - at {
            return Err(format!(
                "a message says that it begins with {metadata_len} bytes, which did not come"
            ));
        }
        let mut metadata = Vec::new();
        reader.by_ref().take(metadata_len).read_to_end(&mut metadata).map_err(unread)?;
        at += metadata_len;
        let message = root_as_message(&metadata).map_err(|error| format!("a message is damaged: {error}"))?;
        let body_len = u64::try_from(message.bodyLength()).unwrap_or(u64::MAX);
        if body_len > len - at {
            return Err(format!("a message says that it has {body_len} bytes, which did not come"));
        }
        check_rows(&message, metadata_len + body_len)?;
        at += body_len;
        reader.seek_relative(message.bodyLength()).map_err(unread)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, FixedSizeBinaryArray, Int32Array, Int64Array, NullArray, RecordBatch, RunArray,
    };
    use arrow::ipc::writer::{FileWriter, StreamWriter};

    use super::*;

    fn batch() -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    fn checked(bytes: &[u8]) -> Result<(), String> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        check(&mut file)
    }

    #[test]
    fn streams_are_accepted_and_what_claims_too_much_is_not() {
        let mut writer = StreamWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.write(&batch()).unwrap();
        writer.write(&batch().slice(3, 0)).unwrap();
        let open = writer.get_ref().clone();
        writer.finish().unwrap();
        let whole = writer.into_inner().unwrap();
        checked(&whole).unwrap();
        checked(&open).expect("some writers leave the end mark out");
        checked(&[]).unwrap();
        // Cut anywhere but between two messages, it is refused with the reason.
        let mut cut_between = 0;
        for len in 1..whole.len() {
            match checked(&whole[..len]) {
                Ok(()) => cut_between += 1,
                Err(why) => assert!(
                    why.contains("ends within a message") || why.contains("did not come"),
                    "{len} of {}: {why}",
                    whole.len()
                ),
            }
        }
        // Behind the schema, each of two batches, and within the end mark, of which four bytes are an end as well.
        assert!((3..=4).contains(&cut_between), "{cut_between}");
        // Any length that is changed to a larger one is noticed before room is made for it.
        let mut refused = 0;
        for at in (0..whole.len() - 8).step_by(4) {
            let mut damaged = whole.clone();
            damaged[at..at + 8].copy_from_slice(&(i64::MAX / 2).to_le_bytes());
            refused += usize::from(checked(&damaged).is_err());
        }
        assert!(refused > 3, "{refused}");
        let mut trailing = whole;
        trailing.extend_from_slice(b"more");
        assert!(checked(&trailing).unwrap_err().contains("follow its end"));
        let mut writer = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.finish().unwrap();
        assert!(checked(&writer.into_inner().unwrap()).unwrap_err().contains("send a stream"));
    }

    #[test]
    fn rows_without_bytes_are_refused() {
        let encoded = |batch: &RecordBatch| {
            let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
            writer.write(batch).unwrap();
            writer.finish().unwrap();
            writer.into_inner().unwrap()
        };
        let one = |column: ArrayRef| RecordBatch::try_from_iter_with_nullable([("a", column, true)]).unwrap();
        let nulls = |rows| encoded(&one(Arc::new(NullArray::new(rows))));
        checked(&nulls(100)).unwrap();
        let refused = checked(&nulls(1 << 34)).unwrap_err();
        assert!(refused.contains("says that it has 17179869184 rows"), "{refused}");
        let ends = Int32Array::from(vec![1 << 30]);
        let runs = RunArray::try_new(&ends, &Int64Array::from(vec![7])).unwrap();
        assert!(checked(&encoded(&one(Arc::new(runs)))).unwrap_err().contains("1073741824 rows"));
        let empty =
            FixedSizeBinaryArray::try_new_with_len(0, Vec::<u8>::new().into(), None, 1 << 30).unwrap();
        assert!(checked(&encoded(&one(Arc::new(empty)))).unwrap_err().contains("1073741824 rows"));
        // The same beside a column that has bytes.
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100_000));
        let nothing: ArrayRef = Arc::new(NullArray::new(100_000));
        let both = [("id", ids, false), ("nothing", nothing, true)];
        checked(&encoded(&RecordBatch::try_from_iter_with_nullable(both).unwrap())).unwrap();
    }
}
