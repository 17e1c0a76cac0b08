//! The stretches of a Parquet file that columns are in.

use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, Length};

use crate::file::SourceFile;

/// Row groups are read as a whole up to so many bytes.
const GROUP_MAX: u64 = 32 << 20;
/// Bytes of larger row groups that are read at a time, for all columns together.
const WINDOWS: u64 = 32 << 20;
const WINDOW_MIN: u64 = 256 << 10;
/// Stretches with no more than this between them are read in one request.
const GAP: u64 = 256 << 10;

/// Stretches of a file, of which some bytes are in memory.
#[derive(Clone)]
pub(super) struct Chunks {
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
    /// One stretch, which is read when it is asked for.
    pub(super) fn of_one(file: &SourceFile, span: Range<u64>) -> Self {
        let window = span.end - span.start;
        Self { file: file.clone(), spans: vec![span], window, held: Arc::default() }
    }

    /// Reads all stretches if they are small.
    pub(super) fn of(file: &SourceFile, mut spans: Vec<Range<u64>>) -> io::Result<Self> {
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

    fn get_read(&self, start: u64) -> Result<ChunkRead, ParquetError> {
        Ok(ChunkRead { chunks: self.clone(), position: start })
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let end = start.checked_add(length as u64).filter(|end| *end <= self.file.bytes());
        let end =
            end.ok_or_else(|| ParquetError::EOF(format!("{length} bytes at {start} are beyond the end")))?;
        Ok(self.get(start..end)?)
    }
}

/// Reads on from a position, a few bytes at a time: it reads the headers of pages.
pub(super) struct ChunkRead {
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
