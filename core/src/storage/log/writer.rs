//! Appends records to one log file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::record::{FileHeader, Record};
use crate::storage::format::{LOG_HEADER_LEN, LOG_LEN_MAX, RECORD_BODY_MAX};
use crate::storage::mapped::region::Region;
use crate::storage::vfs::{Vfs, VfsFile};
use crate::types::error::{Error, ErrorCode, Result};

/// Space is reserved in steps of this many bytes; in tests they are small, so that a few commits need several.
const ALLOCATION_STEP: u64 = if cfg!(test) { 4 << 10 } else { 256 << 10 };

/// The open end of the log.
#[derive(Debug)]
pub(crate) struct LogWriter {
    path: PathBuf,
    file: Arc<dyn VfsFile>,
    number: u64,
    end: u64,
    allocated: u64,
    /// The mapped file. Readers of this process read rows from it.
    region: Region,
}

impl LogWriter {
    /// Creates a file with space reserved and nothing in it, so that a full disk is noticed before the file counts
    /// as a part of the log. [`begin`](Self::begin) comes next.
    ///
    /// # Errors
    /// If the file is there all the same, it is empty and does not count.
    pub(crate) fn create(vfs: &dyn Vfs, dir: &Path, number: u64) -> Result<Self> {
        let path = dir.join(super::file_name(number));
        let file = vfs.create(&path).map_err(|error| Error::io("create", &path, error))?;
        let allocated = file.allocate(ALLOCATION_STEP).map_err(|error| Error::io("allocate", &path, error));
        let mapped = allocated
            .and_then(|()| vfs.map_log(&path).map_err(|error| Error::io("map", &path, error)))
            .inspect_err(|_| {
                // The next attempt needs its name.
                if let Err(error) = vfs.remove(&path) {
                    tracing::warn!(%error, path = %path.display(), "cannot remove a log file that was not begun");
                }
            });
        let (end, region) = (LOG_HEADER_LEN as u64, mapped?.0);
        Ok(Self { path, file: file.into(), number, end, allocated: ALLOCATION_STEP, region })
    }

    /// Writes the header and makes the file durable, its directory entry included: the log ends in it from now on.
    ///
    /// # Errors
    /// After any error, even that of a full disk, nothing more may be logged. The file may be there after a crash,
    /// even if it is removed now, and recovery would then not count what was logged to the file before it.
    pub(crate) fn begin(&mut self, vfs: &dyn Vfs, dir: &Path, base_sequence: u64) -> Result<()> {
        let header = FileHeader { number: self.number, base_sequence }.encode();
        let fail = |action: &str, error| Error::io(action, &self.path, error);
        self.file.write_all_at(&header, 0).map_err(|error| fail("write", error))?;
        self.file.sync().map_err(|error| fail("sync", error))?;
        vfs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))
    }

    /// Goes on behind the last record of an existing file.
    pub(crate) fn resume(vfs: &dyn Vfs, dir: &Path, number: u64, end: u64) -> Result<Self> {
        let path = dir.join(super::file_name(number));
        let file = vfs.open_write(&path).map_err(|error| Error::io("open", &path, error))?;
        let region = vfs.map_log(&path).map_err(|error| Error::io("map", &path, error))?.0;
        Ok(Self { path, file: file.into(), number, end, allocated: 0, region })
    }

    /// Number of the file.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// Bytes in use.
    pub(crate) fn len(&self) -> u64 {
        self.end
    }

    /// Bytes that are reserved for the file or in use.
    pub(crate) fn allocated(&self) -> u64 {
        self.allocated.max(self.end)
    }

    /// The mapped file. Records that are appended later are read through it too.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Whether nothing was logged to the file yet.
    pub(crate) fn is_empty(&self) -> bool {
        self.end == LOG_HEADER_LEN as u64
    }

    /// Reserves the space of a record, so that a full disk is noticed before the first byte is written.
    ///
    /// # Errors
    /// [`DiskFull`](crate::ErrorCode::DiskFull), [`InvalidArgument`](crate::ErrorCode::InvalidArgument) for a record that
    /// is too large to be read back. Nothing was written, and the log can still be used.
    pub(crate) fn reserve(&mut self, record: &Record<'_>) -> Result<()> {
        if record.body_len() > RECORD_BODY_MAX {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "the commit's record has {} bytes; the limit is {RECORD_BODY_MAX}: make several commits",
                    record.body_len()
                ),
            ));
        }
        let needed = self.end + record.encoded_len() as u64;
        if needed > LOG_LEN_MAX as u64 {
            return Err(Error::internal("the log file is full and was not followed by another"));
        }
        if needed > self.allocated {
            let target = needed.next_multiple_of(ALLOCATION_STEP);
            self.file.allocate(target).map_err(|error| Error::io("allocate", &self.path, error))?;
            self.allocated = target;
        }
        Ok(())
    }

    /// Appends a record for which space was reserved. Only [`sync`](Self::sync) makes it durable.
    ///
    /// # Errors
    /// After any error the file's content is unknown: the caller must poison itself.
    pub(crate) fn append(&mut self, record: &Record<'_>) -> Result<()> {
        let bytes = record.encode();
        self.file.write_all_at(&bytes, self.end).map_err(|error| Error::io("write", &self.path, error))?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    /// Makes every appended record durable.
    ///
    /// # Errors
    /// After any error the file's content is unknown: the caller must poison itself and never sync again.
    pub(crate) fn sync(&self) -> Result<()> {
        self.file.sync().map_err(|error| Error::io("sync", &self.path, error))
    }

    /// The file, for a caller that syncs it while others append.
    pub(crate) fn file(&self) -> Arc<dyn VfsFile> {
        self.file.clone()
    }

    /// Path of the file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::vfs::faulty::{Fault, FaultyVfs, Reach};

    #[test]
    fn a_file_that_was_not_begun_is_not_in_the_way_of_the_next_attempt() {
        for first in 0.. {
            let dir = tempfile::tempdir().unwrap();
            let (errno, count) = (rustix::io::Errno::NOSPC.raw_os_error(), 1);
            let fault = Fault { errno, first, count, writes_half: false, reach: Reach::Everything };
            let vfs = FaultyVfs::with(fault);
            if LogWriter::create(&vfs, dir.path(), 7).is_ok() {
                assert!(first >= 3, "creating, reserving and mapping can fail");
                break;
            }
            LogWriter::create(&vfs, dir.path(), 7).unwrap();
        }
    }
}
