//! Where the files of a cache lie and how they are reached.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::storage::mapped::maps::Maps;
use crate::storage::vfs::machine::{Clock, OsMachine, Randomness};
use crate::storage::vfs::{OsVfs, Vfs};
use crate::types::error::{Error, Result};

/// Where segments lie and how they are read.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The cache directory.
    pub(crate) dir: PathBuf,
    /// Access to it.
    pub(crate) vfs: Arc<dyn Vfs>,
    /// Segments that are mapped now.
    pub(crate) maps: Arc<Maps>,
    /// Gives the times that are written.
    pub(crate) clock: Arc<dyn Clock>,
    /// Gives the numbers that tell owners apart.
    pub(crate) randomness: Arc<dyn Randomness>,
}

impl Files {
    /// A cache directory in the operating system's file system.
    pub(crate) fn below(dir: &Path) -> Result<Self> {
        let dir = std::path::absolute(dir).map_err(|error| Error::io("find", dir, error))?;
        Ok(Self::new(dir, Arc::new(OsVfs)))
    }

    /// A cache directory that is accessed through `vfs`; the path must be absolute.
    pub(crate) fn new(dir: PathBuf, vfs: Arc<dyn Vfs>) -> Self {
        Self { dir, vfs, maps: Arc::default(), clock: Arc::new(OsMachine), randomness: Arc::new(OsMachine) }
    }

    /// The same directory with another clock and other random numbers.
    #[cfg(test)]
    pub(crate) fn with_machine<M: Clock + Randomness + 'static>(self, machine: M) -> Self {
        let machine = Arc::new(machine);
        Self { clock: machine.clone(), randomness: machine, ..self }
    }

    /// Device and inode of the page that readers follow: processes that find the same pair see the same directory,
    /// whatever path they use. `None` if the page is not there.
    pub(crate) fn identity(&self) -> Option<(u64, u64)> {
        let metadata = self.head_path().metadata().ok()?;
        Some((metadata.dev(), metadata.ino()))
    }

    /// Folder of a table.
    pub(crate) fn table_dir(&self, table: u64) -> PathBuf {
        self.dir.join("tables").join(table.to_string())
    }

    /// Path of a segment.
    pub(crate) fn segment_path(&self, table: u64, segment: u64) -> PathBuf {
        self.table_dir(table).join(format!("{segment}.arrow"))
    }

    /// Folder of the log.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Page that readers in other processes follow.
    pub(crate) fn head_path(&self) -> PathBuf {
        self.live_dir().join("head")
    }

    /// Folder of the files that are rebuilt at every open.
    pub(crate) fn live_dir(&self) -> PathBuf {
        self.dir.join("live")
    }

    /// The file of a tail's index, named by the owner, the table, the commit that began the tail, and the capacity.
    pub(crate) fn tail_path(&self, owner: u64, table: u64, since: u64, capacity: usize) -> PathBuf {
        self.live_dir().join(format!("{owner}-{table}-{since}-{capacity}"))
    }

    /// Folder of files that are worth nothing after a crash.
    pub(crate) fn tmp_dir(&self) -> PathBuf {
        self.dir.join("tmp")
    }
}
