//! Reads Arrow IPC files and streams message by message, and reserves no memory that a wrong length asks for.

use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::buffer::MutableBuffer;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::reader::{FileDecoder, read_footer_length};
use arrow::ipc::{Block, MessageHeader, MetadataVersion, root_as_footer, root_as_message};

/// What a file starts and ends with; a stream does not.
const FILE_MAGIC: &[u8; 6] = b"ARROW1";
/// The length of the footer and the magic behind it.
const FILE_END: u64 = 10;
/// Stands before the length of a message, but for streams of before 2019.
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Rows that are handed out at once: what is decoded of a batch is decoded in pieces.
const PIECE_ROWS: usize = 1 << 16;
/// A column of nulls has no byte, so nothing else shows that its length is wrong.
const ROWS_OF_NOTHING_MAX: u64 = 1 << 30;

type Result<T, E = ArrowError> = std::result::Result<T, E>;

/// Batches of an Arrow IPC file or stream, for sources whose relations are files. Buffers may be compressed, if this build has the
/// feature `arrow-compression`.
///
/// The decoder of Arrow reserves as many bytes as a file says that a message or a compressed buffer has, and a process that
/// cannot get so many aborts. Here a message must fit into the file, and what it is decompressed to into memory. The decoder may still
/// panic on other damage.
#[derive(Debug)]
pub struct ArrowReader<R> {
    reader: R,
    len: u64,
    schema: SchemaRef,
    decoder: FileDecoder,
    messages: Messages,
    /// What is left of the last batch.
    rest: Option<RecordBatch>,
}

/// Where the next message is.
#[derive(Debug)]
enum Messages {
    /// The end of a file lists its batches.
    Listed(std::vec::IntoIter<Block>),
    /// They stand behind each other, from here on.
    InARow(u64),
}

impl<R: Read + Seek> ArrowReader<R> {
    /// Finds out the columns of a file or stream of `len` bytes. Batches have those of `wanted`, or all.
    ///
    /// # Errors
    /// Those of the reader, and of bytes that are neither.
    pub fn open(mut reader: R, len: u64, wanted: Option<&Schema>) -> Result<Self> {
        let mut start = [0; FILE_MAGIC.len()];
        reader.rewind()?;
        let is_file = len >= start.len() as u64 && {
            reader.read_exact(&mut start)?;
            &start == FILE_MAGIC
        };
        if is_file { Self::open_file(reader, len, wanted) } else { Self::open_stream(reader, len, wanted) }
    }

    fn open_file(mut reader: R, len: u64, wanted: Option<&Schema>) -> Result<Self> {
        let before_end = len.checked_sub(FILE_END).ok_or_else(cut_short)?;
        let end = read(&mut reader, before_end, FILE_END)?;
        let footer_len = read_footer_length(end.as_slice().try_into().map_err(|_| cut_short())?)? as u64;
        let footer_start = before_end.checked_sub(footer_len).ok_or_else(cut_short)?;
        let footer = read(&mut reader, footer_start, footer_len)?;
        let footer = root_as_footer(&footer).map_err(|error| wrong(&format!("its footer: {error}")))?;
        let schema = footer.schema().ok_or_else(|| wrong("its footer has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(wrong("its numbers are in the byte order of another machine"));
        }
        let schema = Arc::new(fb_to_schema(schema));
        let batches = footer.recordBatches().ok_or_else(|| wrong("its footer lists no batches"))?;
        let decoder = decoder(&schema, footer.version(), wanted);
        let messages = Messages::Listed(batches.iter().copied().collect::<Vec<_>>().into_iter());
        let mut this = Self { reader, len, schema, decoder, messages, rest: None };
        for block in footer.dictionaries().into_iter().flatten() {
            let message = this.read_block(block)?;
            this.decoder.read_dictionary(block, &message.into())?;
        }
        Ok(this)
    }

    fn open_stream(reader: R, len: u64, wanted: Option<&Schema>) -> Result<Self> {
        let nothing = Arc::new(Schema::empty());
        // The first version stands for any.
        let nobody = decoder(&nothing, MetadataVersion::V1, None);
        let mut this =
            Self { reader, len, schema: nothing, decoder: nobody, messages: Messages::InARow(0), rest: None };
        let (start, message) = this.next_message()?.ok_or_else(|| wrong("it is empty"))?;
        let metadata = metadata(&start, &message)?;
        let schema = root_as_message(metadata).map_err(|error| wrong(&error.to_string()))?;
        let schema = schema.header_as_schema().ok_or_else(|| wrong("its first message has no schema"))?;
        if !schema.endianness().equals_to_target_endianness() {
            return Err(wrong("its numbers are in the byte order of another machine"));
        }
        this.schema = Arc::new(fb_to_schema(schema));
        this.decoder = decoder(&this.schema, MetadataVersion::V1, wanted);
        Ok(this)
    }

    /// All columns of the file.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        while let Some((block, message)) = self.next_message()? {
            let header = root_as_message(metadata(&block, &message)?);
            let header = header.map_err(|error| wrong(&error.to_string()))?.header_type();
            let message = message.into();
            if header == MessageHeader::DictionaryBatch {
                self.decoder.read_dictionary(&block, &message)?;
            } else if let Some(batch) = self.decoder.read_record_batch(&block, &message)? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    fn next_message(&mut self) -> Result<Option<(Block, MutableBuffer)>> {
        match &mut self.messages {
            Messages::Listed(blocks) => match blocks.next() {
                Some(block) => Ok(Some((block, self.read_block(&block)?))),
                None => Ok(None),
            },
            Messages::InARow(position) => {
                let position = *position;
                let next = self.read_at(position)?;
                if let Some((_, message)) = &next {
                    self.messages = Messages::InARow(position + message.len() as u64);
                }
                Ok(next)
            }
        }
    }

    /// A message that the footer names.
    fn read_block(&mut self, block: &Block) -> Result<MutableBuffer> {
        let number = |number: i64| u64::try_from(number).map_err(|_| wrong("a negative length"));
        let (start, body) = (number(block.offset())?, number(block.bodyLength())?);
        let metadata_len = number(block.metaDataLength().into())?;
        let len = metadata_len.checked_add(body).filter(|_| metadata_len > 8).ok_or_else(beyond)?;
        if start.checked_add(len).is_none_or(|end| end > self.len) {
            return Err(beyond());
        }
        let message = read(&mut self.reader, start, len)?;
        check_arrow_message(
            metadata(block, &message)?,
            message.get(index(metadata_len)?..).ok_or_else(beyond)?,
        )?;
        Ok(message)
    }

    /// The message at a place of a stream; `None` at its end.
    fn read_at(&mut self, start: u64) -> Result<Option<(Block, MutableBuffer)>> {
        let rest = self.len.saturating_sub(start);
        if rest == 0 {
            return Ok(None);
        }
        let mut prefix = 4;
        let mut len = self.number_at(start, rest)?;
        if len == CONTINUATION {
            prefix = 8;
            len = self.number_at(start + 4, rest.saturating_sub(4))?;
        }
        let len = i32::from_le_bytes(len);
        if len == 0 {
            return Ok(None);
        }
        let metadata_len = prefix + u64::try_from(len).map_err(|_| wrong("a message of negative length"))?;
        if metadata_len > rest {
            return Err(cut_short());
        }
        let mut message = read(&mut self.reader, start, metadata_len)?;
        let header = message.get(index(prefix)?..).ok_or_else(beyond)?;
        let header = root_as_message(header).map_err(|error| wrong(&error.to_string()))?;
        let body_len = header.bodyLength();
        let body = u64::try_from(body_len).map_err(|_| wrong("a message of negative length"))?;
        if body > rest - metadata_len {
            return Err(cut_short());
        }
        let all = index(metadata_len + body)?;
        fits(all)?;
        message.resize(all, 0);
        let (head, body) = message.as_slice_mut().split_at_mut(index(metadata_len)?);
        self.reader.seek(SeekFrom::Start(start + metadata_len))?;
        self.reader.read_exact(body)?;
        check_arrow_message(head.get(index(prefix)?..).ok_or_else(beyond)?, body)?;
        let metadata_len = i32::try_from(metadata_len).map_err(|_| wrong("a message is too long"))?;
        Ok(Some((Block::new(start.cast_signed(), metadata_len, body_len), message)))
    }

    fn number_at(&mut self, start: u64, rest: u64) -> Result<[u8; 4]> {
        if rest < 4 {
            return Err(cut_short());
        }
        let mut bytes = [0; 4];
        self.reader.seek(SeekFrom::Start(start))?;
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

impl<R: Read + Seek> Iterator for ArrowReader<R> {
    type Item = Result<RecordBatch>;

    /// Rows of a batch of the file, at most 65,536 of them. Nothing comes after an error.
    fn next(&mut self) -> Option<Self::Item> {
        let batch = match self.rest.take() {
            Some(rest) => Ok(Some(rest)),
            None => self.next_batch(),
        };
        match batch {
            Ok(Some(batch)) => {
                let first = batch.num_rows().min(PIECE_ROWS);
                let rest = batch.num_rows() - first;
                self.rest = (rest > 0).then(|| batch.slice(first, rest));
                Some(Ok(batch.slice(0, first)))
            }
            end => {
                self.messages = Messages::Listed(Vec::new().into_iter());
                end.transpose()
            }
        }
    }
}

fn decoder(schema: &SchemaRef, version: MetadataVersion, wanted: Option<&Schema>) -> FileDecoder {
    let decoder = FileDecoder::new(schema.clone(), version);
    let Some(wanted) = wanted else { return decoder };
    let fields = schema.fields().iter().enumerate();
    let is_wanted = fields.filter(|(_, field)| wanted.column_with_name(field.name()).is_some());
    decoder.with_projection(is_wanted.map(|(index, _)| index).collect())
}

/// What describes a message, behind its length.
fn metadata<'a>(block: &Block, message: &'a [u8]) -> Result<&'a [u8]> {
    let prefix = if message.starts_with(&CONTINUATION) { 8 } else { 4 };
    let end = usize::try_from(block.metaDataLength()).map_err(|_| beyond())?;
    message.get(prefix..end).ok_or_else(beyond)
}

/// Checks what a message of Arrow IPC says of its buffers, before a decoder reserves memory for them: they are within the message,
/// and what they are decompressed to fits in memory.
///
/// # Errors
/// What is wrong.
pub fn check_arrow_message(metadata: &[u8], body: &[u8]) -> Result<()> {
    let message = root_as_message(metadata).map_err(|error| wrong(&error.to_string()))?;
    let batch = message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data());
    let Some(batch) = batch.or_else(|| message.header_as_record_batch()) else { return Ok(()) };
    let mut bytes = body.len();
    for buffer in batch.buffers().into_iter().flatten() {
        let (start, len) = (usize::try_from(buffer.offset()), usize::try_from(buffer.length()));
        let (Ok(start), Ok(len)) = (start, len) else { return Err(beyond()) };
        let end = start.checked_add(len).ok_or_else(beyond)?;
        let held = body.get(start..end).ok_or_else(beyond)?;
        if batch.compression().is_some()
            && let Some(plain) = held.first_chunk().map(|len| i64::from_le_bytes(*len))
        {
            bytes = bytes.saturating_add(usize::try_from(plain).unwrap_or(0));
        }
    }
    if batch.compression().is_some() {
        fits(bytes)?;
    }
    let rows_max = (bytes as u64).saturating_mul(8).max(ROWS_OF_NOTHING_MAX);
    let mut lens = batch.nodes().into_iter().flatten().map(|node| node.length());
    if lens.any(|len| u64::try_from(len).is_ok_and(|len| len > rows_max)) {
        return Err(wrong("a batch says that it has more rows than its bytes can hold"));
    }
    if u64::try_from(batch.length()).is_ok_and(|len| len > rows_max) {
        return Err(wrong("a batch says that it has more rows than its bytes can hold"));
    }
    Ok(())
}

/// Reads bytes that are within the file.
fn read(reader: &mut (impl Read + Seek), start: u64, len: u64) -> Result<MutableBuffer> {
    let len = index(len)?;
    fits(len)?;
    let mut bytes = MutableBuffer::from_len_zeroed(len);
    reader.seek(SeekFrom::Start(start))?;
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Fails if the system does not give so many bytes; whoever asks without this ends the process.
fn fits(bytes: usize) -> Result<()> {
    Vec::<u8>::new()
        .try_reserve_exact(bytes)
        .map_err(|_| wrong(&format!("a batch of {bytes} bytes does not fit in memory")))
}

fn index(number: u64) -> Result<usize> {
    usize::try_from(number).map_err(|_| beyond())
}

fn wrong(what: &str) -> ArrowError {
    ArrowError::IpcError(what.to_owned())
}

fn cut_short() -> ArrowError {
    wrong("it is cut short")
}

fn beyond() -> ArrowError {
    wrong("a message is longer than the file")
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, NullArray, StringArray};
    use arrow::datatypes::Int8Type;
    use arrow::ipc::CompressionType;
    use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

    use super::*;
    use crate::types::panics;

    /// Whether this build can decompress, and so compress too.
    const HAS_CODECS: bool = cfg!(any(feature = "sql", feature = "arrow-compression"));

    fn batch(rows: i64) -> RecordBatch {
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|n| n.to_string())));
        let words = (0..rows).map(|n| if n % 2 == 0 { "even" } else { "odd" });
        let words: ArrayRef = Arc::new(words.collect::<DictionaryArray<Int8Type>>());
        RecordBatch::try_from_iter([("n", numbers), ("t", texts), ("w", words)]).unwrap()
    }

    fn options(codec: Option<CompressionType>) -> IpcWriteOptions {
        IpcWriteOptions::default().try_with_compression(codec).unwrap()
    }

    fn file(batches: &[RecordBatch], codec: Option<CompressionType>) -> Vec<u8> {
        let schema = batches[0].schema();
        let mut writer = FileWriter::try_new_with_options(Vec::new(), &schema, options(codec)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    fn stream(batches: &[RecordBatch], codec: Option<CompressionType>) -> Vec<u8> {
        let schema = batches[0].schema();
        let mut writer = StreamWriter::try_new_with_options(Vec::new(), &schema, options(codec)).unwrap();
        batches.iter().for_each(|batch| writer.write(batch).unwrap());
        writer.into_inner().unwrap()
    }

    fn read_all(bytes: &[u8], wanted: Option<&Schema>) -> Result<Vec<RecordBatch>> {
        let read = || ArrowReader::open(Cursor::new(bytes), bytes.len() as u64, wanted)?.collect();
        panics::catch(read, || wrong("the decoder panicked"))
    }

    fn codecs() -> Vec<Option<CompressionType>> {
        let codecs = [None, Some(CompressionType::LZ4_FRAME), Some(CompressionType::ZSTD)];
        codecs.into_iter().take(if HAS_CODECS { 3 } else { 1 }).collect()
    }

    #[test]
    fn files_and_streams_of_every_compression_are_read() {
        // One dictionary, because that of a file cannot change.
        let all = batch(151_000);
        let batches = [all.slice(0, 1000), all.slice(0, 0), all.slice(1000, 150_000)];
        for codec in codecs() {
            for bytes in [file(&batches, codec), stream(&batches, codec)] {
                let found = read_all(&bytes, None).unwrap();
                let rows: Vec<usize> = found.iter().map(RecordBatch::num_rows).collect();
                assert_eq!(rows, [1000, 0, PIECE_ROWS, PIECE_ROWS, 150_000 - 2 * PIECE_ROWS], "{codec:?}");
                assert_eq!(found[0], batches[0], "{codec:?}");
                assert_eq!(found[3], batches[2].slice(PIECE_ROWS, PIECE_ROWS), "{codec:?}");
                let wanted = batches[0].schema().project(&[1]).unwrap();
                let found = read_all(&bytes, Some(&wanted)).unwrap();
                assert_eq!(found[0], batches[0].project(&[1]).unwrap(), "{codec:?}");
            }
        }
    }

    /// Whatever byte is wrong, the process goes on; and a part of a file is not taken for the whole.
    #[test]
    fn lengths_are_not_believed() {
        for codec in codecs() {
            for bytes in [file(&[batch(50)], codec), stream(&[batch(50)], codec)] {
                for position in 0..bytes.len() {
                    for byte in [0x7F, 0xFF] {
                        let mut changed = bytes.clone();
                        changed[position] = byte;
                        drop(read_all(&changed, None));
                    }
                }
                // The last eight bytes of a stream only say that it ends.
                for len in 0..bytes.len() - 8 {
                    let found = read_all(&bytes[..len], None).unwrap_or_default();
                    assert!(found.is_empty(), "{len} of {} bytes, {codec:?}", bytes.len());
                }
            }
        }
    }

    #[test]
    fn a_buffer_that_says_it_is_huge_is_refused() {
        for codec in codecs().into_iter().flatten() {
            let text: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(100_000)]));
            let mut bytes = stream(&[RecordBatch::try_from_iter([("t", text)]).unwrap()], Some(codec));
            let len = 100_000_i64.to_le_bytes();
            let at = bytes.windows(len.len()).rposition(|window| window == len).unwrap();
            bytes[at..at + 8].copy_from_slice(&(1_i64 << 46).to_le_bytes());
            let error = read_all(&bytes, None).unwrap_err().to_string();
            assert!(error.contains("does not fit in memory"), "{error}");
        }
    }

    #[test]
    fn more_rows_of_nothing_than_anybody_has_are_refused() {
        let nothing: ArrayRef = Arc::new(NullArray::new(77_777));
        let bytes = stream(&[RecordBatch::try_from_iter([("nothing", nothing)]).unwrap()], None);
        assert_eq!(read_all(&bytes, None).unwrap().len(), 2);
        let mut changed = bytes.clone();
        let rows = 77_777_i64.to_le_bytes();
        for at in 0..bytes.len() - 8 {
            if bytes[at..at + 8] == rows {
                changed[at..at + 8].copy_from_slice(&(1_i64 << 50).to_le_bytes());
            }
        }
        assert_ne!(changed, bytes);
        let error = read_all(&changed, None).unwrap_err().to_string();
        assert!(error.contains("more rows than its bytes"), "{error}");
    }
}
