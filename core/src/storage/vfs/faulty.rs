//! The operating system's files with a fault at a chosen operation; for tests.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{LockOutcome, OsVfs, Vfs, VfsFile};
use crate::storage::live::Words;
use crate::storage::mapped::region::Region;

/// Fails the operation with a chosen number, or that one and some of those after it.
#[derive(Clone, Debug)]
pub(crate) struct FaultyVfs {
    plan: Arc<Plan>,
}

/// Which operations fail, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The error that they return.
    pub(crate) errno: i32,
    /// Number of the first that fails, counted from 0 among those in reach.
    pub(crate) first: usize,
    /// How many fail, one after another.
    pub(crate) count: usize,
    /// Whether a failing write writes its first half, as a short write does; otherwise it writes nothing.
    pub(crate) writes_half: bool,
    /// Which operations are counted and can fail.
    pub(crate) reach: Reach,
}

/// No fault.
const NEVER: Fault =
    Fault { errno: 0, first: usize::MAX, count: 0, writes_half: false, reach: Reach::Everything };

/// Operations that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach {
    /// Syncs of files and folders, after which nobody knows what is on disk.
    Syncs,
    /// Operations that need space: all changes except removals.
    Changes,
    /// Operations that touch the disk, except taking the lock.
    Everything,
}

struct Plan {
    done: AtomicUsize,
    fault: Fault,
    meanwhile: Option<Meanwhile>,
    mapping: Option<Meanwhile>,
}

impl std::fmt::Debug for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plan").field("done", &self.done).field("fault", &self.fault).finish_non_exhaustive()
    }
}

/// An action that runs just before an operation, with the path that is listed, created, synced or mapped. If the action
/// fails, so does the operation.
type Meanwhile = Box<dyn Fn(&Path) -> io::Result<()> + Send + Sync>;

impl FaultyVfs {
    /// The change with number `fail_at`, from 0, fails with `errno`. If `sticky`, so do all changes after it.
    pub(crate) fn new(fail_at: usize, sticky: bool, errno: i32) -> Self {
        let count = if sticky { usize::MAX } else { 1 };
        Self::with(Fault { errno, first: fail_at, count, writes_half: true, reach: Reach::Changes })
    }

    /// A file system with this fault.
    pub(crate) fn with(fault: Fault) -> Self {
        Self { plan: Arc::new(Plan { done: AtomicUsize::new(0), fault, meanwhile: None, mapping: None }) }
    }

    /// Nothing fails. `action` runs before a segment is mapped.
    pub(crate) fn before_mapping(action: impl Fn() + Send + Sync + 'static) -> Self {
        Self::before_mapping_or_fail(move |_| {
            action();
            Ok(())
        })
    }

    /// `action` runs before a segment is mapped. If it fails, the segment is not mapped.
    pub(crate) fn before_mapping_or_fail(
        action: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let mapping: Meanwhile = Box::new(action);
        Self {
            plan: Arc::new(Plan {
                done: AtomicUsize::new(0),
                fault: NEVER,
                meanwhile: None,
                mapping: Some(mapping),
            }),
        }
    }

    /// Nothing fails. `action` runs before files below a folder of this name are listed, created or synced.
    pub(crate) fn meanwhile(folder: &'static str, action: impl Fn() + Send + Sync + 'static) -> Self {
        Self::meanwhile_or_fail(move |path| {
            if is_below(path, folder) {
                action();
            }
            Ok(())
        })
    }

    /// `action` runs before a path is listed, created or synced. If it fails, so does the operation.
    pub(crate) fn meanwhile_or_fail(
        action: impl Fn(&Path) -> io::Result<()> + Send + Sync + 'static,
    ) -> Self {
        let meanwhile: Option<Meanwhile> = Some(Box::new(action));
        Self { plan: Arc::new(Plan { done: AtomicUsize::new(0), fault: NEVER, meanwhile, mapping: None }) }
    }

    /// Whether the fault was reached.
    pub(crate) fn struck(&self) -> bool {
        self.plan.done.load(Ordering::Relaxed) > self.plan.fault.first
    }
}

/// Whether a path is a folder of this name or lies below one.
pub(crate) fn is_below(path: &Path, folder: &str) -> bool {
    path.components().any(|part| part.as_os_str() == folder)
}

impl Plan {
    fn step(&self) -> io::Result<()> {
        if self.fault.reach == Reach::Syncs { Ok(()) } else { self.sync() }
    }

    /// Counts a sync, which is within every reach.
    fn sync(&self) -> io::Result<()> {
        let number = self.done.fetch_add(1, Ordering::Relaxed);
        match number.checked_sub(self.fault.first) {
            Some(since) if since < self.fault.count => Err(io::Error::from_raw_os_error(self.fault.errno)),
            _ => Ok(()),
        }
    }

    fn others(&self, path: &Path) -> io::Result<()> {
        self.meanwhile.as_ref().map_or(Ok(()), |action| action(path))
    }

    /// Counts a read or a removal, which a full disk does not hinder.
    fn touch(&self) -> io::Result<()> {
        if self.fault.reach == Reach::Everything { self.sync() } else { Ok(()) }
    }
}

impl Vfs for FaultyVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.plan.others(path)?;
        self.plan.step()?;
        Ok(Box::new(FaultyFile { file: OsVfs.create(path)?, path: path.to_owned(), plan: self.plan.clone() }))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.plan.step()?;
        Ok(Box::new(FaultyFile {
            file: OsVfs.open_write(path)?,
            path: path.to_owned(),
            plan: self.plan.clone(),
        }))
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
        self.plan.touch()?;
        OsVfs.map_words(path)
    }

    fn map_log(&self, path: &Path) -> io::Result<(Region, usize)> {
        self.plan.touch()?;
        OsVfs.map_log(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.plan.touch()?;
        OsVfs.len(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.plan.touch()?;
        OsVfs.read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Region> {
        self.plan.touch()?;
        self.plan.mapping.as_ref().map_or(Ok(()), |action| action(path))?;
        OsVfs.map(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.plan.step()?;
        OsVfs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.plan.touch()?;
        OsVfs.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.plan.touch()?;
        OsVfs.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        self.plan.others(dir)?;
        self.plan.touch()?;
        OsVfs.list(dir)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.plan.step()?;
        OsVfs.create_dir_all(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.plan.sync()?;
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
    path: PathBuf,
    plan: Arc<Plan>,
}

impl VfsFile for FaultyFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.plan.step().or_else(|error| {
            if self.plan.fault.writes_half {
                self.file.write_all_at(&bytes[..bytes.len() / 2], offset)?;
            }
            Err(error)
        })?;
        self.file.write_all_at(bytes, offset)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.plan.step()?;
        self.file.allocate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.plan.others(&self.path)?;
        self.plan.sync()?;
        self.file.sync()
    }
}
