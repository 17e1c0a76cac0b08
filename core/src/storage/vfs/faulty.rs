//! The operating system's files with a fault at a chosen operation; for tests.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LockOutcome, OsVfs, Vfs, VfsFile};
use crate::storage::live::Words;
use crate::storage::region::Region;

/// Fails the operation of a number, or that and every later one.
#[derive(Clone, Debug)]
pub(crate) struct FaultyVfs {
    plan: Arc<Plan>,
}

#[derive(Debug)]
struct Plan {
    done: AtomicUsize,
    fail_at: usize,
    sticky: bool,
    errno: i32,
}

impl FaultyVfs {
    /// Operation number `fail_at` (from 0) that changes something fails with `errno`; `sticky`: so do all after it.
    pub(crate) fn new(fail_at: usize, sticky: bool, errno: i32) -> Self {
        Self { plan: Arc::new(Plan { done: AtomicUsize::new(0), fail_at, sticky, errno }) }
    }

    /// Whether the fault was reached.
    pub(crate) fn struck(&self) -> bool {
        self.plan.done.load(Ordering::Relaxed) > self.plan.fail_at
    }
}

impl Plan {
    fn step(&self) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        if number == self.fail_at || (self.sticky && number > self.fail_at) {
            return Err(io::Error::from_raw_os_error(self.errno));
        }
        Ok(())
    }
}

impl Vfs for FaultyVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.plan.step()?;
        Ok(Box::new(FaultyFile { file: OsVfs.create(path)?, plan: self.plan.clone() }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.plan.step()?;
        Ok(Box::new(FaultyFile { file: OsVfs.open_write(path)?, plan: self.plan.clone() }))
    }

    fn open_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        self.plan.step()?;
        OsVfs.open_words(path, len)
    }

    fn create_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        self.plan.step()?;
        OsVfs.create_words(path, len)
    }

    fn map_words(&self, path: &Path) -> io::Result<Option<Words>> {
        OsVfs.map_words(path)
    }

    fn map_log(&self, path: &Path) -> io::Result<(Region, usize)> {
        OsVfs.map_log(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        OsVfs.len(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        OsVfs.read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Region> {
        OsVfs.map(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.step()?;
        OsVfs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        // Removal needs no space, and cleaning up after a fault must not hide it.
        OsVfs.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        OsVfs.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        OsVfs.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.plan.step()?;
        OsVfs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plan.step()?;
        OsVfs.sync_dir(dir)
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        OsVfs.lock(path)
    }

    fn unsupported_file_system(&self, dir: &Path) -> io::Result<Option<&'static str>> {
        OsVfs.unsupported_file_system(dir)
    }
}

#[derive(Debug)]
struct FaultyFile {
    file: Box<dyn VfsFile>,
    plan: Arc<Plan>,
}

impl VfsFile for FaultyFile {
    fn write_all_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.plan.step().or_else(|error| {
            // A failed write may have written a part.
            self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            Err(error)
        })?;
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&mut self, len: u64) -> io::Result<()> {
        self.plan.step()?;
        self.file.allocate(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.plan.step()?;
        self.file.sync()
    }
}
