//! Writes a segment file batch by batch.

use std::io::{self, Write};
use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::IpcSchemaEncoder;
use arrow::ipc::writer::{
    DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions, write_message,
};
use arrow::ipc::{self, Block, MetadataVersion};
use flatbuffers::FlatBufferBuilder;

use super::directory::{BatchPositions, Directory, Section};
use super::key_index;
use super::zones::ZoneMaps;
use crate::storage::batch::compact_views;
use crate::storage::catalog::edit::SegmentRecord;
use crate::storage::format::{PAGE_LEN, SEGMENT_ALIGNMENT, align_up, checksum};
use crate::storage::key::bounds;
use crate::storage::key::{self, KeyBytes};
use crate::storage::vfs::{Vfs, VfsFile};
use crate::types::error::{Error, Result};

const ARROW_MAGIC: &[u8] = b"ARROW1";
/// Continuation marker and a length of zero.
const END_OF_STREAM: [u8; 8] = [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0];
/// Bytes are written to the file in portions of this length, each at a multiple of it. File systems with large folios
/// (ext4 and XFS of recent kernels) then cache and map the file in pages of 2 MiB, so random lookups need far fewer
/// address translations.
const WRITE_LEN: usize = 2 << 20;

/// A segment file being written. Nothing refers to it before the record that [`finish`](Self::finish) returns is
/// committed.
pub(crate) struct SegmentWriter {
    path: PathBuf,
    schema: SchemaRef,
    key: Vec<usize>,
    sink: PageSink,
    options: IpcWriteOptions,
    context: IpcWriteContext,
    dictionaries: DictionaryTracker,
    blocks: Vec<Block>,
    batches: Vec<BatchPositions>,
    zones: ZoneMaps,
    hashes: Vec<u64>,
    min_key: KeyBytes,
    max_key: KeyBytes,
    longest_key: usize,
    rows: u64,
}

impl SegmentWriter {
    /// Creates the file and writes its schema.
    pub(crate) fn create(vfs: &dyn Vfs, path: PathBuf, schema: SchemaRef, key: Vec<usize>) -> Result<Self> {
        let file = vfs.create(&path).map_err(|error| Error::io("create", &path, error))?;
        let options = IpcWriteOptions::try_new(SEGMENT_ALIGNMENT, false, MetadataVersion::V5)
            .map_err(|error| Error::internal("Arrow IPC options").with_source(error))?;
        let mut writer = Self {
            zones: ZoneMaps::empty(&schema),
            path,
            schema,
            key,
            sink: PageSink::new(file),
            options,
            context: IpcWriteContext::default(),
            dictionaries: DictionaryTracker::new(true),
            blocks: Vec::new(),
            batches: Vec::new(),
            hashes: Vec::new(),
            min_key: KeyBytes::new(),
            max_key: KeyBytes::new(),
            longest_key: 0,
            rows: 0,
        };
        writer.write(|writer| {
            writer.sink.write_all(ARROW_MAGIC)?;
            writer.sink.align()?;
            let schema = IpcDataGenerator::default().schema_to_bytes_with_dictionary_tracker(
                &writer.schema,
                &mut writer.dictionaries,
                &writer.options,
            );
            write_message(&mut writer.sink, schema, &writer.options).map_err(io::Error::other)?;
            Ok(())
        })?;
        Ok(writer)
    }

    /// Rows written.
    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the longest encoded key.
    pub(crate) fn longest_key(&self) -> usize {
        self.longest_key
    }

    /// Bytes written.
    pub(crate) fn len(&self) -> u64 {
        self.sink.position()
    }

    /// Writes a batch of the segment's schema, which has at least one row.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io). The writer cannot be used afterwards.
    pub(crate) fn write_batch(&mut self, batch: &RecordBatch) -> Result<()> {
        let batch = compact_views(batch)?;
        self.hash_keys(&batch)?;
        let arrow = |error| Error::internal("cannot encode a batch").with_source(error);
        self.zones.push(&batch).map_err(arrow)?;
        let (_, encoded) = IpcDataGenerator::default()
            .encode(&batch, &mut self.dictionaries, &self.options, &mut self.context)
            .map_err(arrow)?;
        let start = self.sink.position();
        let mut positions = positions(&encoded.ipc_message)?;
        let mut lengths = (0, 0);
        self.write(|writer| {
            lengths = write_message(&mut writer.sink, encoded, &writer.options).map_err(into_io)?;
            Ok(())
        })?;
        let (meta_len, body_len) = lengths;
        for buffer in &mut positions.buffers {
            buffer.offset += start + meta_len as u64;
        }
        let meta_len_field = i32::try_from(meta_len).map_err(|_| Error::internal("a message is too long"))?;
        self.blocks.push(Block::new(start.cast_signed(), meta_len_field, (body_len as u64).cast_signed()));
        self.batches.push(positions);
        self.rows += batch.num_rows() as u64;
        Ok(())
    }

    /// Makes the portions written so far durable, so that less is left to [`finish`](Self::finish).
    ///
    /// # Errors
    /// [`Io`](crate::ErrorCode::Io). The writer cannot be used afterwards.
    pub(crate) fn sync(&mut self) -> Result<()> {
        self.write(|writer| writer.sink.file.sync())
    }

    /// Writes the sections and the footer and makes the file durable; the caller makes its directory entry durable.
    /// Returns the record for the catalog and the hash of every row's key.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`Io`](crate::ErrorCode::Io).
    pub(crate) fn finish(mut self, id: u64, run: u64) -> Result<(SegmentRecord, Vec<u64>)> {
        let index = if self.key.is_empty() {
            None
        } else {
            let bytes = key_index::build(&self.hashes);
            Some(self.section(&bytes)?)
        };
        let zones = self.zones.encode().map_err(|error| Error::internal("zone maps").with_source(error))?;
        let zones = self.section(&zones)?;
        self.write(|writer| writer.sink.align())?;
        let checksums: Vec<u8> = self.sink.checksums().into_iter().flat_map(u64::to_le_bytes).collect();
        let checksums_checksum = checksum(&checksums);
        let checksums = self.section(&checksums)?;
        let batches = std::mem::take(&mut self.batches);
        let directory = Directory { rows: self.rows, batches, index, zones, checksums, checksums_checksum };
        let directory = rmp_serde::to_vec_named(&directory)
            .map_err(|error| Error::internal("cannot encode a directory").with_source(error))?;
        let place = self.section(&directory)?;
        let footer = self.footer();
        self.write(|writer| {
            writer.sink.align()?;
            writer.sink.write_all(&END_OF_STREAM)?;
            writer.sink.write_all(&footer)?;
            let footer_len = i32::try_from(footer.len()).map_err(io::Error::other)?;
            writer.sink.write_all(&footer_len.to_le_bytes())?;
            writer.sink.write_all(ARROW_MAGIC)?;
            writer.sink.finish()
        })?;
        let record = SegmentRecord {
            damage: None,
            id,
            run,
            rows: self.rows,
            len: self.sink.position(),
            directory_offset: place.offset,
            directory_len: place.len,
            directory_checksum: checksum(&directory),
            min_key: bounds::lower(&self.min_key),
            max_key: bounds::upper(&self.max_key),
        };
        Ok((record, self.hashes))
    }

    fn hash_keys(&mut self, batch: &RecordBatch) -> Result<()> {
        if self.key.is_empty() {
            return Ok(());
        }
        let mut bytes = KeyBytes::new();
        for row in 0..batch.num_rows() {
            bytes.clear();
            for &column in &self.key {
                key::encode_cell(&mut bytes, batch.column(column).as_ref(), row)?;
            }
            if self.hashes.is_empty() || bytes < self.min_key {
                self.min_key.clone_from(&bytes);
            }
            if self.hashes.is_empty() || bytes > self.max_key {
                self.max_key.clone_from(&bytes);
            }
            self.longest_key = self.longest_key.max(bytes.len());
            self.hashes.push(key::hash(&bytes));
        }
        Ok(())
    }

    fn section(&mut self, bytes: &[u8]) -> Result<Section> {
        self.write(|writer| writer.sink.align())?;
        let offset = self.sink.position();
        self.write(|writer| writer.sink.write_all(bytes))?;
        Ok(Section { offset, len: bytes.len() as u64 })
    }

    fn footer(&mut self) -> Vec<u8> {
        self.dictionaries.clear();
        let mut builder = FlatBufferBuilder::new();
        let dictionaries = builder.create_vector::<Block>(&[]);
        let batches = builder.create_vector(&self.blocks);
        let schema = IpcSchemaEncoder::new()
            .with_dictionary_tracker(&mut self.dictionaries)
            .schema_to_fb_offset(&mut builder, &self.schema);
        let mut footer = ipc::FooterBuilder::new(&mut builder);
        footer.add_version(MetadataVersion::V5);
        footer.add_schema(schema);
        footer.add_dictionaries(dictionaries);
        footer.add_recordBatches(batches);
        let root = footer.finish();
        builder.finish(root, None);
        builder.finished_data().to_vec()
    }

    fn write(&mut self, write: impl FnOnce(&mut Self) -> io::Result<()>) -> Result<()> {
        write(self).map_err(|error| Error::io("write", &self.path, error))
    }
}

/// The I/O error inside an Arrow error, so that a full disk is still recognised.
fn into_io(error: arrow::error::ArrowError) -> io::Error {
    match error {
        arrow::error::ArrowError::IoError(_, error) => error,
        other => io::Error::other(other),
    }
}

/// Positions of the buffers of an encoded batch, relative to its body. Arrow has just encoded the message in this
/// process.
pub(crate) fn positions(message: &[u8]) -> Result<BatchPositions> {
    let wrong = || Error::internal("Arrow encoded a batch that it cannot read");
    let message = ipc::root_as_message(message).map_err(|error| wrong().with_source(error))?;
    let batch = message.header_as_record_batch().ok_or_else(wrong)?;
    let unsigned = |number: i64| u64::try_from(number).map_err(|_| wrong());
    let nodes = batch.nodes().into_iter().flatten();
    let buffers = batch.buffers().into_iter().flatten();
    let variadic = batch.variadicBufferCounts().into_iter().flatten();
    Ok(BatchPositions {
        rows: unsigned(batch.length())?,
        nodes: nodes
            .map(|node| Ok((unsigned(node.length())?, unsigned(node.null_count())?)))
            .collect::<Result<_>>()?,
        buffers: buffers
            .map(|buffer| Ok(Section { offset: unsigned(buffer.offset())?, len: unsigned(buffer.length())? }))
            .collect::<Result<_>>()?,
        variadic: variadic.map(|count| u32::try_from(count).map_err(|_| wrong())).collect::<Result<_>>()?,
    })
}

/// Writes to a file in large portions and computes the checksum of every page on the way.
struct PageSink {
    file: Box<dyn VfsFile>,
    /// Bytes not written yet; it starts at a multiple of [`WRITE_LEN`] in the file.
    pending: Vec<u8>,
    flushed: u64,
    checksums: Vec<u64>,
}

impl PageSink {
    fn new(file: Box<dyn VfsFile>) -> Self {
        Self { file, pending: Vec::with_capacity(WRITE_LEN), flushed: 0, checksums: Vec::new() }
    }

    fn position(&self) -> u64 {
        self.flushed + self.pending.len() as u64
    }

    fn align(&mut self) -> io::Result<()> {
        let misaligned = self.pending.len() % SEGMENT_ALIGNMENT;
        let padding = align_up(misaligned, SEGMENT_ALIGNMENT) - misaligned;
        self.write_all(&[0; SEGMENT_ALIGNMENT][..padding])
    }

    /// Checksums of all pages up to here, the last of which may be short.
    fn checksums(&self) -> Vec<u64> {
        let mut checksums = self.checksums.clone();
        checksums.extend(self.pending.chunks(PAGE_LEN).map(checksum));
        checksums
    }

    fn flush_portion(&mut self) -> io::Result<()> {
        self.checksums.extend(self.pending.chunks_exact(PAGE_LEN).map(checksum));
        self.file.write_all_at(&self.pending, self.flushed)?;
        self.flushed += WRITE_LEN as u64;
        self.pending.clear();
        Ok(())
    }

    fn finish(&mut self) -> io::Result<()> {
        self.file.write_all_at(&self.pending, self.flushed)?;
        self.flushed += self.pending.len() as u64;
        self.pending.clear();
        self.file.sync()
    }
}

impl Write for PageSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // No more than fills a portion: the caller, `write_all`, calls again with the rest.
        let taken = bytes.len().min(WRITE_LEN - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() == WRITE_LEN {
            self.flush_portion()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
