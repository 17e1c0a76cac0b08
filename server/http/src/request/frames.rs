//! Arrow IPC streams, looked at before they are decoded.
//!
//! A decoder makes room for as many bytes as a message says that it has. So what a message says is compared with what came.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};

use arrow::ipc::root_as_message;

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
        at += body_len;
        reader.seek_relative(message.bodyLength()).map_err(unread)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};
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
        for len in 1..whole.len() {
            if let Err(why) = checked(&whole[..len]) {
                assert!(!why.is_empty());
            }
        }
        // Any length that is changed to a larger one is noticed before room is made for it.
        let mut refused = 0;
        for at in (0..whole.len() - 8).step_by(4) {
            let mut damaged = whole.clone();
            damaged[at..at + 8].copy_from_slice(&(i64::MAX / 2).to_le_bytes());
            refused += usize::from(checked(&damaged).is_err());
        }
        assert!(refused > 3, "{refused}");
        let mut trailing = whole.clone();
        trailing.extend_from_slice(b"more");
        assert!(checked(&trailing).unwrap_err().contains("follow its end"));
        let mut writer = FileWriter::try_new(Vec::new(), &batch().schema()).unwrap();
        writer.finish().unwrap();
        assert!(checked(&writer.into_inner().unwrap()).unwrap_err().contains("send a stream"));
    }
}
