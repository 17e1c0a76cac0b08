//! The right to bind a path: a lock on a file beside it.

use std::ffi::OsString;
use std::fs::{File, Metadata, OpenOptions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Only processes that may replace the socket need its lock.
const LOCK_MODE: u32 = 0o600;

/// Which file a path names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

/// The right to bind a path; it ends with the process that holds it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

impl Lock {
    /// Takes the right, if nobody has it.
    pub(crate) fn take(socket: &Path) -> Result<Self, TryLockError> {
        let mut path = OsString::from(socket);
        path.push(".lock");
        let path = PathBuf::from(path);
        loop {
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(LOCK_MODE)
                .custom_flags(libc::O_NOFOLLOW)
                .open(&path)
                .map_err(TryLockError::Error)?;
            file.try_lock()?;
            // The last holder may have removed the file meanwhile; then this is the lock of a path that is gone.
            let opened = FileId::of(&file.metadata().map_err(TryLockError::Error)?);
            if path.symlink_metadata().is_ok_and(|found| FileId::of(&found) == opened) {
                return Ok(Self { path, file });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is still locked: whoever opened this file before finds that it is gone and makes another.
        drop(std::fs::remove_file(&self.path));
        // Closing alone would not do: for a moment, a child between fork and exec has the same open file.
        drop(self.file.unlock());
    }
}
