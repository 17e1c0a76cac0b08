//! Parquet files: only the columns that are wanted, row group by row group.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use bytes::Bytes;
use parking_lot::Mutex;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{ChunkReader, Length};
use pillion::Result;
use pillion::files::{FileBatches, FileColumns};

use super::{BATCH_BYTES, BATCH_ROWS};
use crate::file::{Refused, SourceFile};

const NOT_PARQUET: &str = "is damaged or not a Parquet file";
/// Bytes at the end of a file that are read at once: most footers are shorter.
const TAIL: u64 = 64 << 10;
/// Row groups are read as a whole up to so many bytes.
const GROUP_MAX: u64 = 32 << 20;
/// Bytes of larger row groups that are read at a time, for all columns together.
const WINDOWS: u64 = 32 << 20;
const WINDOW_MIN: u64 = 256 << 10;
/// Stretches with no more than this between them are read in one request.
const GAP: u64 = 256 << 10;

pub(super) fn look(file: &SourceFile) -> Result<FileColumns> {
    let metadata = footer(file)?;
    let rows = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
    Ok(FileColumns::Declared(metadata.schema().clone(), rows))
}

pub(super) fn open(file: &SourceFile, wanted: &Schema) -> Result<FileBatches> {
    let metadata = footer(file)?;
    let fields = metadata.schema().fields().iter().enumerate();
    let roots = fields.filter(|(_, field)| wanted.column_with_name(field.name()).is_some());
    let mask = ProjectionMask::roots(metadata.parquet_schema(), roots.map(|(index, _)| index));
    let groups = 0..metadata.metadata().num_row_groups();
    Ok(Box::new(ParquetBatches { file: file.clone(), metadata, mask, groups, reader: None }))
}

fn footer(file: &SourceFile) -> Result<ArrowReaderMetadata> {
    file.decode(NOT_PARQUET, || {
        let len = file.bytes();
        let tail = len.saturating_sub(TAIL)..len;
        let chunks = Chunks { file: file.clone(), spans: vec![tail], window: TAIL, held: Arc::default() };
        ArrowReaderMetadata::load(&chunks, ArrowReaderOptions::new())
    })
}

struct ParquetBatches {
    file: SourceFile,
    metadata: ArrowReaderMetadata,
    mask: ProjectionMask,
    /// Row groups that are still to be read.
    groups: Range<usize>,
    reader: Option<ParquetRecordBatchReader>,
}

impl ParquetBatches {
    fn read(&mut self) -> std::result::Result<Option<RecordBatch>, Refused> {
        loop {
            if let Some(batch) = self.reader.as_mut().and_then(Iterator::next) {
                return Ok(Some(batch?));
            }
            let Some(group) = self.groups.next() else { return Ok(None) };
            // The bytes of the last group go before those of the next one come.
            self.reader = None;
            self.reader = Some(self.open_group(group)?);
        }
    }

    /// A reader of its own for each group, so that no column is read beyond the group's end.
    fn open_group(&self, group: usize) -> std::result::Result<ParquetRecordBatchReader, Refused> {
        let metadata = self.metadata.metadata().row_group(group);
        let leaves = (0..metadata.num_columns()).filter(|leaf| self.mask.leaf_included(*leaf));
        let leaves: Vec<usize> = leaves.collect();
        let spans = leaves.iter().map(|leaf| metadata.column(*leaf).byte_range());
        let chunks = Chunks::of(&self.file, spans.map(|(start, len)| start..start + len).collect())?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(chunks, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(vec![group])
            .with_batch_size(rows_of_batch(metadata, &leaves))
            .build()?;
        Ok(reader)
    }
}

impl Iterator for ParquetBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let file = self.file.clone();
        let batch = file.decode(NOT_PARQUET, || self.read());
        if batch.is_err() {
            (self.groups, self.reader) = (0..0, None);
        }
        batch.transpose()
    }
}

/// How many rows make a batch, from the size of what the file holds: a few if they are large.
fn rows_of_batch(group: &RowGroupMetaData, leaves: &[usize]) -> usize {
    let size = |leaf: &usize| {
        let column = group.column(*leaf);
        // A text that occurs often is in the file once.
        column.uncompressed_size().max(column.unencoded_byte_array_data_bytes().unwrap_or(0)).max(0)
    };
    let bytes: u64 = leaves.iter().map(|leaf| size(leaf).unsigned_abs()).sum();
    let rows = group.num_rows().unsigned_abs().max(1);
    let bytes_of_row = usize::try_from(bytes / rows).unwrap_or(usize::MAX).max(1);
    (BATCH_BYTES / bytes_of_row).clamp(1, BATCH_ROWS)
}

/// Stretches of a file, of which some bytes are in memory.
#[derive(Clone)]
struct Chunks {
    file: SourceFile,
    /// Where columns are, ascending.
    spans: Vec<Range<u64>>,
    /// Bytes that are read at a time.
    window: u64,
    /// For each stretch, the bytes in memory.
    held: Arc<Mutex<Vec<Held>>>,
}

/// Where some bytes of a file begin, and they; `None` if none are held.
type Held = Option<(u64, Bytes)>;

impl Chunks {
    /// Reads all stretches if they are small.
    fn of(file: &SourceFile, mut spans: Vec<Range<u64>>) -> io::Result<Self> {
        spans.sort_by_key(|span| span.start);
        let all: u64 = spans.iter().map(|span| span.end - span.start).sum();
        let window = (WINDOWS / spans.len().max(1) as u64).max(WINDOW_MIN);
        let mut held = vec![None; spans.len()];
        if all <= GROUP_MAX {
            let requests = joined(&spans);
            let answers = file.read_all(requests.clone())?;
            for (span, held) in spans.iter().zip(&mut held) {
                let request =
                    requests.partition_point(|request| request.start <= span.start).saturating_sub(1);
                if let (Some(request), Some(bytes)) = (requests.get(request), answers.get(request)) {
                    *held = part(request.start, bytes, span).map(|bytes| (span.start, bytes));
                }
            }
        }
        Ok(Self { file: file.clone(), spans, window, held: Arc::new(Mutex::new(held)) })
    }

    fn get(&self, range: Range<u64>) -> io::Result<Bytes> {
        let number = self.spans.partition_point(|span| span.start <= range.start).saturating_sub(1);
        let span = self.spans.get(number).filter(|span| span.contains(&range.start) && range.end <= span.end);
        // The footer says where columns are. What is elsewhere is not kept.
        let Some(span) = span else { return self.file.read(range) };
        let mut held = self.held.lock();
        held.resize(self.spans.len(), None);
        let slot = &mut held[number];
        if let Some((start, bytes)) = slot
            && let Some(found) = part(*start, bytes, &range)
        {
            return Ok(found);
        }
        let window = range.start..range.end.max(range.start + self.window).min(span.end);
        let bytes = self.file.read(window)?;
        let found = part(range.start, &bytes, &range).ok_or(io::ErrorKind::UnexpectedEof)?;
        *slot = Some((range.start, bytes));
        Ok(found)
    }
}

/// The part of bytes that is a range of the file; `start` is where the bytes begin.
fn part(start: u64, bytes: &Bytes, range: &Range<u64>) -> Option<Bytes> {
    let from = usize::try_from(range.start.checked_sub(start)?).ok()?;
    let to = usize::try_from(range.end.checked_sub(start)?).ok()?;
    (from <= to && to <= bytes.len()).then(|| bytes.slice(from..to))
}

/// The same stretches, those that are near each other as one.
fn joined(spans: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut joined: Vec<Range<u64>> = Vec::new();
    for span in spans {
        match joined.last_mut() {
            Some(last) if span.start <= last.end.saturating_add(GAP) => last.end = last.end.max(span.end),
            _ => joined.push(span.clone()),
        }
    }
    joined
}

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.file.bytes()
    }
}

impl ChunkReader for Chunks {
    type T = ChunkRead;

    fn get_read(&self, start: u64) -> std::result::Result<ChunkRead, ParquetError> {
        Ok(ChunkRead { chunks: self.clone(), position: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> std::result::Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.file.bytes());
        let end =
            end.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are beyond the end")))?;
        Ok(self.get(start..end)?)
    }
}

/// Reads on from a position, a few bytes at a time: it reads the headers of pages.
struct ChunkRead {
    chunks: Chunks,
    position: u64,
}

impl Read for ChunkRead {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.position.saturating_add(buffer.len() as u64);
        let within = self.chunks.spans.iter().find(|span| span.contains(&self.position));
        let end = end.min(within.map_or_else(|| self.chunks.file.bytes(), |span| span.end));
        if self.position >= end {
            return Ok(0);
        }
        let bytes = self.chunks.get(self.position..end)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position = end;
        Ok(bytes.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretches_near_each_other_are_one_request() {
        let far = GAP + 21;
        let spans = [0..10, 10..20, far..far + 5, 10 * GAP..10 * GAP + 1];
        assert_eq!(joined(&spans), [0..20, far..far + 5, 10 * GAP..10 * GAP + 1]);
        assert_eq!(joined(&[5..6, 4 + GAP..5 + GAP]).as_slice(), std::slice::from_ref(&(5..5 + GAP)));
        assert!(joined(&[]).is_empty());
    }
}
