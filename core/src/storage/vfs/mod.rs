//! Everything that storage does to files, behind one small trait.
//!
//! Tests replace it: to fill the disk at a chosen write, to fail a chosen sync, to build crash images.

#[cfg(test)]
pub(crate) mod faulty;
pub(crate) mod machine;
mod os;

use std::fmt;
use std::io;
use std::path::Path;

pub(crate) use os::{OsVfs, boot};

use crate::storage::live::Words;
use crate::storage::mapped::region::Region;

/// The files below a cache directory.
///
/// Paths are absolute. Commits name files by their final paths only. Nothing is ever truncated, and only a copy of a
/// file that a commit has named is ever renamed onto it.
pub(crate) trait Vfs: fmt::Debug + Send + Sync {
    /// Creates a file that must not exist yet, for writing.
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Opens an existing file to write on behind its last byte.
    fn open_write(&self, path: &Path) -> io::Result<Box<dyn VfsFile>>;

    /// Opens or creates a file of at least `len` words for writing, with its space reserved. Existing words stay.
    fn open_words(&self, path: &Path, len: usize) -> io::Result<Words>;

    /// Creates a file of `len` zero words for writing, with its space reserved. Replaces any file of that name.
    fn create_words(&self, path: &Path, len: usize) -> io::Result<Words>;

    /// Opens a file of words for reading; `None` if it does not exist or is empty.
    fn map_words(&self, path: &Path) -> io::Result<Option<Words>>;

    /// Maps a log file at the largest length that it may ever reach, and returns its length now.
    fn map_log(&self, path: &Path) -> io::Result<(Region, usize)>;

    /// Bytes of a file.
    fn len(&self, path: &Path) -> io::Result<u64>;

    /// The whole content of a small file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Maps a file read-only as it is now and closes its descriptor. No page is read.
    fn map(&self, path: &Path) -> io::Result<Region>;

    /// Gives a file its final name; atomic, not durable before [`sync_dir`](Self::sync_dir).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Unlinks a file; mappings of it stay valid.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Names in a directory, unordered; empty if there is no such directory.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Creates a directory and its parents.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Takes the lock file for as long as the returned guard lives, or reports who holds it.
    fn lock(&self, path: &Path) -> io::Result<LockOutcome>;

    /// Name of the file system of `dir` if a cache directory must not lie on it.
    fn unsupported_file_system(&self, dir: &Path) -> io::Result<Option<&'static str>>;
}

/// A file open for writing. Dropping it closes it and makes nothing durable.
pub(crate) trait VfsFile: fmt::Debug + Send + Sync {
    /// Writes all bytes at `offset`.
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Reserves space up to `len` bytes; new bytes read as zero.
    fn allocate(&self, len: u64) -> io::Result<()>;

    /// Makes content and length durable, as they are at the call.
    fn sync(&self) -> io::Result<()>;
}

/// What came of taking the lock.
pub(crate) enum LockOutcome {
    /// Taken; released when the guard is dropped.
    Taken(Box<dyn Send + Sync>),
    /// Held by someone else, whose process id the file may name.
    Held(Option<u32>),
}
