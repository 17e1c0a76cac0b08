//! Bytes of a log file's header and of one record.

use crate::storage::format::{
    FORMAT_VERSION, LOG_HEADER_LEN, LOG_MAGIC, RECORD_ALIGNMENT, RECORD_BODY_MAX, RECORD_HEADER_LEN,
    RECORD_MAGIC, align_up, checksum, u32_at, u64_at,
};
use crate::storage::planted::{self, Bug};
use crate::types::version::Version;

/// Header of a log file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileHeader {
    /// Number of the file, as in its name.
    pub(crate) number: u64,
    /// Sequence of the last commit before the file.
    pub(crate) base_sequence: u64,
}

/// Why bytes are not the header of a log file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileHeaderError {
    /// Written by a newer version of Pillion.
    Newer(u32),
    /// Not a complete header: the file was being created when its owner died, or it is damaged.
    Damaged,
}

impl FileHeader {
    /// magic 8 · format version 4 · zero 4 · number 8 · base sequence 8 · zero 24 · checksum 8
    pub(crate) fn encode(self) -> [u8; LOG_HEADER_LEN] {
        let mut bytes = [0; LOG_HEADER_LEN];
        bytes[..8].copy_from_slice(&LOG_MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.base_sequence.to_le_bytes());
        let sum = checksum(&bytes[..56]);
        bytes[56..].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, FileHeaderError> {
        let header = bytes.get(..LOG_HEADER_LEN).ok_or(FileHeaderError::Damaged)?;
        if header[..8] != LOG_MAGIC {
            return Err(FileHeaderError::Damaged);
        }
        let version = u32_at(header, 8).ok_or(FileHeaderError::Damaged)?;
        if version > FORMAT_VERSION {
            return Err(FileHeaderError::Newer(version));
        }
        let fields = (u64_at(header, 16), u64_at(header, 24), u64_at(header, 56));
        match fields {
            (Some(number), Some(base_sequence), Some(sum)) if sum == checksum(&header[..56]) => {
                Ok(Self { number, base_sequence })
            }
            _ => Err(FileHeaderError::Damaged),
        }
    }
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum RecordKind {
    /// An owner opened the cache; commits follow.
    Opened = 1,
    /// A commit; the body is its edits.
    Commit = 2,
    /// The owner closed the cache: everything before is durable and no number was lost.
    Closed = 3,
}

/// A record.
#[derive(Clone, Debug)]
pub(crate) struct Record<'a> {
    /// What it says.
    pub(crate) kind: RecordKind,
    /// The version that it makes.
    pub(crate) version: Version,
    /// Its edits.
    pub(crate) edits: &'a [u8],
    /// The rows that they name.
    pub(crate) data: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record without a body.
    pub(crate) fn bare(kind: RecordKind, version: Version) -> Self {
        Self { kind, version, edits: &[], data: &[] }
    }

    /// Where the data starts, from the start of the record.
    pub(crate) fn data_offset(&self) -> usize {
        RECORD_HEADER_LEN + align_up(self.edits.len(), RECORD_ALIGNMENT)
    }

    /// Bytes of the body: the edits, zeros up to a multiple of the alignment, and the data.
    pub(crate) fn body_len(&self) -> usize {
        match self.data.len() {
            0 => self.edits.len(),
            len => self.data_offset() - RECORD_HEADER_LEN + len,
        }
    }

    /// Bytes of the record in the file, padded.
    pub(crate) fn encoded_len(&self) -> usize {
        align_up(RECORD_HEADER_LEN + self.body_len(), RECORD_ALIGNMENT)
    }

    /// magic 4 · kind 4 · incarnation 8 · sequence 8 · body length 8 · body checksum 8 · length of the edits 8 · zero 8 ·
    /// checksum of the header 8 · body, padded with zeros
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; self.encoded_len()];
        bytes[RECORD_HEADER_LEN..][..self.edits.len()].copy_from_slice(self.edits);
        if !self.data.is_empty() {
            bytes[self.data_offset()..][..self.data.len()].copy_from_slice(self.data);
        }
        let body_sum = checksum(&bytes[RECORD_HEADER_LEN..][..self.body_len()]);
        bytes[..4].copy_from_slice(&RECORD_MAGIC);
        bytes[4..8].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes[8..16].copy_from_slice(&self.version.incarnation.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.version.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&(self.body_len() as u64).to_le_bytes());
        bytes[32..40].copy_from_slice(&body_sum.to_le_bytes());
        bytes[40..48].copy_from_slice(&(self.edits.len() as u64).to_le_bytes());
        let sum = checksum(&bytes[..56]);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The version of the record at the start of `bytes` and its padded length, read from its header alone.
    pub(crate) fn peek(bytes: &[u8]) -> Option<(Version, usize)> {
        let header = Self::header(bytes)?;
        let version = Version { incarnation: u64_at(header, 8)?, sequence: u64_at(header, 16)? };
        let body_len = usize::try_from(u64_at(header, 24)?).ok().filter(|len| *len <= RECORD_BODY_MAX)?;
        Some((version, align_up(RECORD_HEADER_LEN + body_len, RECORD_ALIGNMENT)))
    }

    /// The header at the start of `bytes`, if it is whole.
    fn header(bytes: &[u8]) -> Option<&[u8]> {
        let header = bytes.get(..RECORD_HEADER_LEN)?;
        (header[..4] == RECORD_MAGIC && u64_at(header, 56)? == checksum(&header[..56])).then_some(header)
    }

    /// The record at the start of `bytes`, if it is whole.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let header = Self::header(bytes)?;
        let record = Self::published(bytes)?;
        let body_len = usize::try_from(u64_at(header, 24)?).ok()?;
        let body = &bytes[RECORD_HEADER_LEN..][..body_len];
        let is_whole = u64_at(header, 32)? == checksum(body) || planted::has(Bug::BodyChecksums);
        is_whole.then_some(record)
    }

    /// The record at the start of `bytes`, if its header is whole. For a record that its owner has published: the
    /// checksum of the body is not verified, so that the rows are not read.
    pub(crate) fn published(bytes: &'a [u8]) -> Option<Self> {
        let header = Self::header(bytes)?;
        let kind = match u32_at(header, 4)? {
            1 => RecordKind::Opened,
            2 => RecordKind::Commit,
            3 => RecordKind::Closed,
            _ => return None,
        };
        let version = Version { incarnation: u64_at(header, 8)?, sequence: u64_at(header, 16)? };
        let body_len = usize::try_from(u64_at(header, 24)?).ok().filter(|len| *len <= RECORD_BODY_MAX)?;
        let body = bytes.get(RECORD_HEADER_LEN..RECORD_HEADER_LEN + body_len)?;
        let edits = body.get(..usize::try_from(u64_at(header, 40)?).ok()?)?;
        let data = body.get(align_up(edits.len(), RECORD_ALIGNMENT)..).unwrap_or_default();
        Some(Self { kind, version, edits, data })
    }
}
