//! Reads a log file record by record.
#![expect(unsafe_code, reason = "a log is mapped beyond its end")]

use std::path::{Path, PathBuf};

use super::record::{FileHeader, FileHeaderError, Record};
use crate::storage::format::{LOG_HEADER_LEN, RECORD_ALIGNMENT};
use crate::storage::mapped::region::Region;
use crate::storage::vfs::Vfs;
use crate::types::error::{Error, ErrorCode, Result};

/// A mapped log file.
#[derive(Debug)]
pub(crate) struct LogFile {
    path: PathBuf,
    region: Region,
    /// Bytes of the file when it was opened; more are mapped.
    len: usize,
    header: FileHeader,
}

impl LogFile {
    /// Sequence of the last commit before a file, read from its header alone; `None` if that says nothing.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub(crate) fn base_sequence_of(vfs: &dyn Vfs, path: &Path) -> Result<Option<u64>> {
        let (region, len) = vfs.map_log(path).map_err(|error| Error::io("map", path, error))?;
        region.populate(0, len.min(LOG_HEADER_LEN)).map_err(|error| Error::io("read", path, error))?;
        // SAFETY: the file had `len` bytes when it was mapped; logs only grow, and what is in them is not written again.
        let header = FileHeader::decode(unsafe { region.first(len) });
        Ok(header.ok().map(|header| header.base_sequence))
    }

    /// Maps a file and reads it as a whole. `None` if its header is not whole and nothing follows it: its owner died
    /// while creating it.
    ///
    /// # Errors
    /// [`ErrorCode::NewerFormat`]; [`ErrorCode::Corrupt`] if commits follow a damaged header; [`ErrorCode::Io`].
    pub(crate) fn read(vfs: &dyn Vfs, path: &Path) -> Result<Option<Self>> {
        let (region, len) = vfs.map_log(path).map_err(|error| Error::io("map", path, error))?;
        region.populate(0, len).map_err(|error| Error::io("read", path, error))?;
        Self::parse(path, &region, len)
    }

    /// Takes a mapped file whose first `len` bytes are its content.
    ///
    /// # Errors
    /// [`ErrorCode::NewerFormat`].
    pub(crate) fn parse(path: &Path, region: &Region, len: usize) -> Result<Option<Self>> {
        let file = |header| Self { path: path.to_owned(), region: region.clone(), len, header };
        // SAFETY: the file had `len` bytes when it was mapped, or its owner published that length; logs only grow.
        match FileHeader::decode(unsafe { region.first(len) }) {
            Ok(header) => Ok(Some(file(header))),
            Err(FileHeaderError::Damaged) => {
                let header = FileHeader { number: 0, base_sequence: 0 };
                match file(header).records_behind(LOG_HEADER_LEN) {
                    0 => Ok(None),
                    records => Err(Error::corrupt(
                        path,
                        0,
                        format_args!("the header before {records} records is damaged"),
                    )),
                }
            }
            Err(FileHeaderError::Newer(version)) => Err(newer_format(path, version)),
        }
    }

    /// The mapped bytes, which grow with the file.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    fn bytes(&self) -> &[u8] {
        // SAFETY: the file had `len` bytes when it was mapped, or its owner published that length; logs only grow.
        unsafe { self.region.first(self.len) }
    }

    /// Number of the file.
    pub(crate) fn number(&self) -> u64 {
        self.header.number
    }

    /// Sequence of the last commit before the file.
    pub(crate) fn base_sequence(&self) -> u64 {
        self.header.base_sequence
    }

    /// Its path.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The record at `offset` and the offset behind it; `None` at the end or at damage.
    pub(crate) fn record_at(&self, offset: usize) -> Option<(Record<'_>, usize)> {
        let record = Record::decode(self.bytes().get(offset..)?)?;
        let end = offset + record.encoded_len();
        Some((record, end))
    }

    /// Offset behind the records up to a sequence. Reads only their headers.
    pub(crate) fn behind(&self, sequence: u64) -> usize {
        let mut offset = self.start();
        while let Some((version, len)) = self.bytes().get(offset..).and_then(Record::peek)
            && version.sequence <= sequence
        {
            offset += len;
        }
        offset
    }

    /// Offset of the first record.
    pub(crate) fn start(&self) -> usize {
        LOG_HEADER_LEN
    }

    /// Whether the file has only zeros from `offset` on, as it has behind a last record that was written whole.
    pub(crate) fn is_blank_from(&self, offset: usize) -> bool {
        self.bytes().get(offset..).is_none_or(|rest| rest.iter().all(|&byte| byte == 0))
    }

    /// How many whole records follow the damage at `offset`. They can no longer be trusted.
    pub(crate) fn records_behind(&self, mut offset: usize) -> usize {
        let mut records = 0;
        while offset < self.len {
            offset = match self.record_at(offset) {
                Some((_, end)) => {
                    records += 1;
                    end
                }
                None => offset + RECORD_ALIGNMENT,
            };
        }
        records
    }
}

/// The error for a file of a newer format.
pub(crate) fn newer_format(path: &Path, version: u32) -> Error {
    Error::new(
        ErrorCode::NewerFormat,
        format!(
            "{} has format version {version}; this Pillion reads up to {}: upgrade Pillion, or open another directory",
            path.display(),
            crate::storage::format::FORMAT_VERSION
        ),
    )
}
