//! Files of another file system, every change of them written down in order.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::disk::Op;
use super::model::Marker;
use super::planted::{Planted, UNFINISHED_MANIFEST};
use crate::storage::live::Words;
use crate::storage::mapped::region::Region;
use crate::storage::vfs::faulty::is_below;
use crate::storage::vfs::{LockOutcome, Vfs, VfsFile};

/// Records everything that is done below a root folder.
#[derive(Clone, Debug)]
pub(super) struct RecordingVfs {
    recording: Arc<Recording>,
}

#[derive(Debug)]
struct Recording {
    root: PathBuf,
    inner: Arc<dyn Vfs>,
    planted: Planted,
    log: Mutex<Log>,
    meanwhile: Mutex<Option<Meanwhile>>,
}

/// What happens before an operation, given the path.
struct Meanwhile {
    /// How many operations come first.
    number: usize,
    action: Box<dyn FnOnce(&Path) + Send>,
}

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Meanwhile({})", self.number)
    }
}

#[derive(Debug, Default)]
struct Log {
    ops: Vec<Op>,
    handles: usize,
    /// Operations before the first that failed.
    before_failure: Option<usize>,
    /// A sync that was asked for, and is recorded after the next rename.
    late: Option<Op>,
}

impl Recording {
    /// Relative to the root; the path of the root itself is empty.
    fn relative(&self, path: &Path) -> PathBuf {
        path.strip_prefix(&self.root).unwrap().to_owned()
    }

    fn push(&self, op: Op) {
        self.log.lock().ops.push(op);
    }

    fn noted<T>(&self, result: io::Result<T>) -> io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
            let mut log = self.log.lock();
            let done = log.ops.len();
            log.before_failure.get_or_insert(done);
        }
        result
    }

    /// Called before a file is made and before a file or folder is synced, while nothing is locked that a commit needs.
    fn others(&self, path: &Path) {
        if !is_below(path, "tables") && !path.ends_with(UNFINISHED_MANIFEST) {
            return;
        }
        let mut meanwhile = self.meanwhile.lock();
        match meanwhile.take() {
            Some(Meanwhile { number: 0, action }) => {
                drop(meanwhile);
                action(path);
            }
            other => *meanwhile = other.map(|waits| Meanwhile { number: waits.number - 1, ..waits }),
        }
    }

    fn handle(&self) -> usize {
        let mut log = self.log.lock();
        log.handles += 1;
        log.handles
    }
}

impl RecordingVfs {
    pub(super) fn new(root: &Path, inner: Arc<dyn Vfs>, planted: Planted) -> Self {
        let (log, meanwhile) = (Mutex::default(), Mutex::default());
        let recording = Recording { root: root.to_owned(), inner, planted, log, meanwhile };
        Self { recording: Arc::new(recording) }
    }

    pub(super) fn mark(&self, marker: Marker) {
        self.recording.push(Op::Mark(marker));
    }

    /// Runs `action` once, after `number` operations that make or sync a file of a table, or a manifest.
    pub(super) fn set_meanwhile(&self, number: usize, action: impl FnOnce(&Path) + Send + 'static) {
        *self.recording.meanwhile.lock() = Some(Meanwhile { number, action: Box::new(action) });
    }

    /// Drops the action, if it has not run.
    pub(super) fn end_meanwhile(&self) {
        *self.recording.meanwhile.lock() = None;
    }

    /// What was done, in order.
    pub(super) fn ops(&self) -> Vec<Op> {
        self.recording.log.lock().ops.clone()
    }

    /// How many operations were done before one failed.
    pub(super) fn before_failure(&self) -> Option<usize> {
        self.recording.log.lock().before_failure
    }

    fn file(&self, path: &Path, file: Box<dyn VfsFile>, handle: usize) -> Box<dyn VfsFile> {
        let planted = self.recording.planted;
        let (is_forgotten, is_late) = (planted.forgets_file(path), planted.delays_file(path));
        let (path, recording) = (path.to_owned(), self.recording.clone());
        Box::new(RecordingFile { file, path, handle, is_forgotten, is_late, recording })
    }

    /// For a file that is written through a map. Call it after the file was made.
    fn live(&self, path: &Path, was_there: bool) {
        if !was_there && path.exists() {
            self.recording.push(Op::Live { path: self.recording.relative(path) });
        }
    }
}

impl Vfs for RecordingVfs {
    fn create(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        self.recording.others(path);
        let file = self.recording.noted(self.recording.inner.create(path))?;
        let handle = self.recording.handle();
        self.recording.push(Op::Create { handle, path: self.recording.relative(path) });
        Ok(self.file(path, file, handle))
    }

    fn open_write(&self, path: &Path) -> io::Result<Box<dyn VfsFile>> {
        let file = self.recording.noted(self.recording.inner.open_write(path))?;
        let handle = self.recording.handle();
        self.recording.push(Op::Open { handle, path: self.recording.relative(path) });
        Ok(self.file(path, file, handle))
    }

    fn open_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        let was_there = path.exists();
        let words = self.recording.noted(self.recording.inner.open_words(path, len));
        self.live(path, was_there);
        words
    }

    fn create_words(&self, path: &Path, len: usize) -> io::Result<Words> {
        let was_there = path.exists();
        let words = self.recording.noted(self.recording.inner.create_words(path, len));
        self.live(path, was_there);
        words
    }

    fn map_words(&self, path: &Path) -> io::Result<Option<Words>> {
        self.recording.inner.map_words(path)
    }

    fn map_log(&self, path: &Path) -> io::Result<(Region, usize)> {
        self.recording.inner.map_log(path)
    }

    fn len(&self, path: &Path) -> io::Result<u64> {
        self.recording.inner.len(path)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.recording.inner.read(path)
    }

    fn map(&self, path: &Path) -> io::Result<Region> {
        self.recording.inner.map(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.recording.noted(self.recording.inner.rename(from, to))?;
        let (from, to) = (self.recording.relative(from), self.recording.relative(to));
        self.recording.push(Op::Rename { from, to });
        let late = self.recording.log.lock().late.take();
        late.into_iter().for_each(|sync| self.recording.push(sync));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.recording.noted(self.recording.inner.remove(path))?;
        self.recording.push(Op::Remove { path: self.recording.relative(path) });
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.recording.noted(self.recording.inner.remove_dir(path))?;
        self.recording.push(Op::RemoveDir { path: self.recording.relative(path) });
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = self.recording.inner.list(dir)?;
        // The order of a real folder differs from run to run. The order of recorded operations must not.
        names.sort_unstable();
        Ok(names)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let root = self.recording.root.as_path();
        let mut made: Vec<_> =
            dir.ancestors().take_while(|dir| *dir != root && !dir.exists()).map(Path::to_owned).collect();
        self.recording.noted(self.recording.inner.create_dir_all(dir))?;
        made.reverse();
        for dir in made {
            self.recording.push(Op::CreateDir { path: self.recording.relative(&dir) });
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.recording.others(dir);
        self.recording.noted(self.recording.inner.sync_dir(dir))?;
        if !self.recording.planted.forgets_folder(dir) {
            self.recording.push(Op::SyncDir { path: self.recording.relative(dir) });
        }
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<LockOutcome> {
        let was_there = path.exists();
        let outcome = self.recording.inner.lock(path);
        // Only the lock itself counts, and it does not survive a crash. The file may hold anything.
        self.live(path, was_there);
        outcome
    }

    fn unsupported_file_system(&self, dir: &Path) -> io::Result<Option<&'static str>> {
        self.recording.inner.unsupported_file_system(dir)
    }
}

#[derive(Debug)]
struct RecordingFile {
    file: Box<dyn VfsFile>,
    path: PathBuf,
    handle: usize,
    is_forgotten: bool,
    is_late: bool,
    recording: Arc<Recording>,
}

impl RecordingFile {
    fn note_failure(&self, result: io::Result<()>) -> io::Result<()> {
        if result.is_err() {
            self.recording.push(Op::Fail { handle: self.handle });
        }
        self.recording.noted(result)
    }
}

impl VfsFile for RecordingFile {
    fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let result = self.file.write_all_at(bytes, offset);
        let offset = usize::try_from(offset).unwrap();
        self.recording.push(Op::Write { handle: self.handle, offset, bytes: bytes.into() });
        self.note_failure(result)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.recording.noted(self.file.allocate(len))?;
        self.recording.push(Op::Allocate { handle: self.handle, len: usize::try_from(len).unwrap() });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.recording.others(&self.path);
        let result = self.file.sync();
        self.note_failure(result)?;
        let sync = Op::Sync { handle: self.handle };
        match (self.is_forgotten, self.is_late) {
            (true, _) => {}
            (false, true) => self.recording.log.lock().late = Some(sync),
            (false, false) => self.recording.push(sync),
        }
        Ok(())
    }
}
