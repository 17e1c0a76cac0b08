//! A file as a stream of bytes in which one can also seek.

use std::io::{self, Read, Seek, SeekFrom};

use bytes::Bytes;

use crate::file::SourceFile;
use crate::runtime::Ahead;

/// Bytes that are read where nothing shows that more will be wanted.
const BLOCK_MIN: u64 = 256 << 10;
/// Bytes that are read at a time of a file that is read from one end to the other.
const BLOCK_MAX: u64 = 4 << 20;
/// By how much a block is larger than the one before it.
const GROWTH: u64 = 4;

/// Reads a file block by block; the next block is on its way while one is used.
pub(crate) struct Blocks {
    file: SourceFile,
    position: u64,
    /// Where the block begins.
    start: u64,
    block: Bytes,
    /// The next block.
    ahead: Option<Ahead<Bytes>>,
    next_len: u64,
}

impl Blocks {
    pub(crate) fn new(file: SourceFile) -> Self {
        Self { file, position: 0, start: 0, block: Bytes::new(), ahead: None, next_len: BLOCK_MIN }
    }

    fn end(&self) -> u64 {
        self.start + self.block.len() as u64
    }

    /// Makes the block one that has the byte at the position.
    fn load(&mut self) -> io::Result<()> {
        let len = self.file.bytes();
        let is_next = self.position == self.end();
        if !is_next {
            self.next_len = BLOCK_MIN;
        }
        // Files that are read from their end have something there that is read backwards.
        let is_near_end = !is_next && self.position > len.saturating_sub(BLOCK_MIN);
        let start = if is_near_end { len.saturating_sub(BLOCK_MIN) } else { self.position };
        let ahead = self.ahead.take().filter(|_| is_next);
        self.block = match ahead {
            Some(ahead) => self.file.finish(ahead)?,
            None => self.file.read(start..len.min(start + self.next_len))?,
        };
        self.start = start;
        self.next_len = (self.next_len * GROWTH).min(BLOCK_MAX);
        let next = self.end()..len.min(self.end() + self.next_len);
        if is_next && !next.is_empty() {
            self.ahead = self.file.read_ahead(next);
        }
        Ok(())
    }
}

impl Read for Blocks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.file.bytes() || buffer.is_empty() {
            return Ok(0);
        }
        if self.position < self.start || self.position >= self.end() {
            self.load()?;
        }
        let offset = usize::try_from(self.position - self.start).map_err(io::Error::other)?;
        let rest = self.block.get(offset..).unwrap_or_default();
        let read = rest.len().min(buffer.len());
        buffer[..read].copy_from_slice(&rest[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Blocks {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.file.bytes().checked_add_signed(by),
        };
        self.position =
            position.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "before the start"))?;
        Ok(self.position)
    }
}
