//! The owner of a directory: commits, checkpoints, removal of what nobody needs.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use parking_lot::Mutex;

use crate::api::error::{Error, ErrorCode, Result};
use crate::api::version::Version;
use crate::storage::edit::{CatalogRecord, Edit};
use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::live::{Head, HeadWriter};
use crate::storage::load::{Load, NewSegments, remove_scratch};
use crate::storage::log::{self, LogWriter, Record, RecordKind};
use crate::storage::manifest::{self, Manifest};
use crate::storage::recovery::{self, LogTail, Recovered};
use crate::storage::state::{Files, SegmentHandle, State, TableShape, TableState};
use crate::storage::vfs::LockOutcome;

/// A manifest is written when the log since the last one has this many bytes.
const CHECKPOINT_LOG_BYTES: u64 = 4 << 20;
/// ... or when segments of this many bytes wait for one to be removed.
const CHECKPOINT_RETIRED_BYTES: u64 = 64 << 20;
/// Manifests kept; from each of them and the log follows the same state.
const MANIFESTS_KEPT: usize = 2;
/// A table has at most this many runs that may overlap in key; an append beyond merges the newest.
const RUNS_MAX: usize = 8;
/// What may stand in a directory whose first manifest was never finished.
const OWN_NAMES: [&str; 6] = ["LOCK", "log", "tables", "tmp", "live", "manifest.tmp"];

/// When a commit survives a crash of the machine. A crash of the process alone loses nothing in any setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before it is visible.
    Always,
    /// Later, by a call of [`Store::sync`].
    Later,
}

/// A directory that this process owns, and its newest state.
#[derive(Debug)]
pub(crate) struct Store {
    files: Files,
    state: ArcSwap<State>,
    next_table: AtomicU64,
    next_segment: AtomicU64,
    /// One load at a time for each table: its keys are checked against the state that it will extend.
    loading: Mutex<HashMap<u64, Arc<Mutex<()>>>>,
    sync: Sync,
    load_memory: usize,
    committer: Mutex<Committer>,
    head: HeadWriter,
    damage: Option<String>,
}

struct Committer {
    /// Held until the cache is closed; nothing is written without it.
    lock: Option<DirectoryLock>,
    log: LogWriter,
    poison: Option<String>,
    /// Sequences of the manifests kept, newest first.
    manifests: Vec<u64>,
    retired: Vec<Retired>,
    /// Whether the newest manifest lacks commits.
    uncheckpointed: bool,
}

/// Released when dropped, or when the process dies.
type DirectoryLock = Box<dyn Send + std::marker::Sync>;

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("log", &self.log)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

/// A segment that no longer belongs to its table.
struct Retired {
    path: PathBuf,
    bytes: u64,
    /// The commit that dropped it: its file is needed until the older manifest kept includes that commit.
    dropped_at: u64,
    readers: Weak<SegmentHandle>,
}

impl Store {
    /// Takes the lock of `files.dir`, recovers, and makes the cache if there is none.
    ///
    /// # Errors
    /// [`ErrorCode::DirectoryLocked`], [`ErrorCode::NotACache`], [`ErrorCode::NewerFormat`],
    /// [`ErrorCode::UnsupportedFileSystem`], [`ErrorCode::Corrupt`], [`ErrorCode::DiskFull`], [`ErrorCode::Io`].
    pub(crate) fn open(files: Files, sync: Sync, load_memory: usize) -> Result<Self> {
        let (dir, vfs) = (files.dir.as_path(), files.vfs.as_ref());
        vfs.create_dir_all(dir).map_err(|error| Error::io("create", dir, error))?;
        if let Some(name) =
            vfs.unsupported_file_system(dir).map_err(|error| Error::io("inspect", dir, error))?
        {
            return Err(Error::new(
                ErrorCode::UnsupportedFileSystem,
                format!("{} lies on {name}; a cache directory needs a local file system", dir.display()),
            ));
        }
        refuse_foreign_directory(&files)?;
        let lock = take_lock(&files)?;
        let is_new = manifest::list(vfs, dir)?.is_empty();
        if is_new {
            let version = Version { incarnation: random_incarnation()?, sequence: 0 };
            Manifest { version, catalog: CatalogRecord { log: 1, ..CatalogRecord::default() } }
                .write(vfs, dir)?;
        }
        for dir in [files.log_dir(), dir.join("tables"), files.live_dir()] {
            vfs.create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        vfs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        let Recovered { mut state, tail, last_log, damage } = recovery::recover(&files)?;
        let unclean = !is_new && tail.is_none_or(|tail| !tail.closed);
        let log = begin_log(&files, &mut state, tail, last_log, unclean)?;
        let manifests = manifest::list(vfs, dir)?;
        let mut committer = Committer {
            lock: Some(lock),
            log,
            poison: None,
            manifests,
            retired: Vec::new(),
            uncheckpointed: unclean,
        };
        remove_orphans(&files, &state, &committer.manifests)?;
        if unclean {
            committer.checkpoint(&files, &state)?;
        }
        let path = files.head_path();
        let head = vfs.open_head(&path).map_err(|error| Error::io("create", &path, error))?;
        head.beat(SystemTime::now());
        head.publish(committer.head(&state));
        Ok(Self {
            next_table: AtomicU64::new(state.next_table),
            next_segment: AtomicU64::new(state.next_segment),
            state: ArcSwap::from_pointee(state),
            loading: Mutex::default(),
            sync,
            load_memory,
            committer: Mutex::new(committer),
            head,
            damage,
            files,
        })
    }

    /// The newest committed state.
    #[inline]
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.files.dir
    }

    /// What recovery found damaged and left out.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Adds a table with its first rows, in one commit; the number in `shape` is replaced.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`], those of [`Load::run`] and of a commit; there is then no such table.
    pub(crate) fn create_table(
        &self,
        shape: TableShape,
        as_of: SystemTime,
        batches: &mut dyn Iterator<Item = Result<RecordBatch>>,
    ) -> Result<Arc<State>> {
        let table = self.next_table.fetch_add(1, Ordering::Relaxed);
        let shape = Arc::new(TableShape { id: table, ..shape });
        let empty = TableState { shape: shape.clone(), segments: Vec::new(), as_of: None };
        let new = self.load(&empty, None).run(batches)?;
        let mut committer = self.committer.lock();
        if self.state().names.contains_key(&shape.name) {
            return Err(Error::new(
                ErrorCode::TableExists,
                format!("there is a table `{}` already", shape.name),
            ));
        }
        let mut edits = vec![Edit::DefineTable(shape.to_record()?)];
        edits.extend(content_edits(table, &new, as_of));
        self.commit_segments(&mut committer, &edits, new)
    }

    /// Adds rows to a table.
    ///
    /// # Errors
    /// Those of [`Load::run`] and of a commit; the table is as before.
    pub(crate) fn append(
        &self,
        table: u64,
        as_of: SystemTime,
        batches: &mut dyn Iterator<Item = Result<RecordBatch>>,
    ) -> Result<Version> {
        let lock = self.load_lock(table);
        let _loading = lock.lock();
        let current = self.table(table)?;
        let merged = runs_to_merge(&current);
        let mut kept = (*current).clone();
        kept.segments.retain(|segment| !merged.contains(&segment.record().run));
        let old: Vec<_> = current
            .segments
            .iter()
            .filter(|segment| merged.contains(&segment.record().run))
            .cloned()
            .collect();
        let mut rows = old.iter().flat_map(|segment| segment_batches(segment)).chain(batches);
        let new = self.load(&current, Some(&kept)).run(&mut rows)?;
        self.swap_segments(&current, &old, new, as_of)
    }

    /// Puts rows in the place of all rows of a table.
    ///
    /// # Errors
    /// Those of [`Load::run`] and of a commit; the table is as before.
    pub(crate) fn replace(
        &self,
        table: u64,
        as_of: SystemTime,
        batches: &mut dyn Iterator<Item = Result<RecordBatch>>,
    ) -> Result<Version> {
        let lock = self.load_lock(table);
        let _loading = lock.lock();
        let current = self.table(table)?;
        let new = self.load(&current, None).run(batches)?;
        self.swap_segments(&current, &current.segments, new, as_of)
    }

    /// Removes a table.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`], and those of a commit.
    pub(crate) fn drop_table(&self, name: &str) -> Result<Version> {
        let id = self.state().table(name)?.shape.id;
        let lock = self.load_lock(id);
        let _loading = lock.lock();
        let current = self.table(id)?;
        let mut committer = self.committer.lock();
        let state = self.commit(&mut committer, &[Edit::DropTable { table: id }])?;
        committer.retire(&current.segments, state.version.sequence);
        Ok(state.version)
    }

    /// Makes every commit durable and writes a manifest if it is time for one. Blocks on the disk.
    ///
    /// # Errors
    /// [`ErrorCode::Poisoned`] from then on if the disk refused.
    pub(crate) fn sync(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        committer.check()?;
        if committer.log.is_unsynced() {
            let result = committer.log.sync();
            committer.poison_on_error(result)?;
        }
        committer.checkpoint_if_due(&self.files, &self.state.load())
    }

    /// Writes a manifest if it is time for one and removes files that nobody needs.
    ///
    /// # Errors
    /// As [`sync`](Self::sync).
    pub(crate) fn checkpoint_if_due(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        committer.check()?;
        committer.checkpoint_if_due(&self.files, &self.state.load())
    }

    /// Tells a writer early that it cannot write.
    ///
    /// # Errors
    /// [`ErrorCode::ReadOnly`], [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn refuse_unless_writable(&self) -> Result<()> {
        self.committer.lock().check()
    }

    /// Makes everything durable and marks the directory as closed; later writes are refused.
    ///
    /// # Errors
    /// [`ErrorCode::Poisoned`], [`ErrorCode::Io`].
    pub(crate) fn close(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        if committer.lock.is_none() {
            return Ok(());
        }
        committer.check()?;
        let state = self.state.load_full();
        if committer.uncheckpointed {
            committer.checkpoint(&self.files, &state)?;
        }
        committer.remove_retired(&self.files);
        let record = Record { kind: RecordKind::Closed, version: state.version, body: &[] };
        committer.log.reserve(&record)?;
        let result = committer.log.append(&record).and_then(|()| committer.log.sync());
        committer.poison_on_error(result)?;
        let lock = committer.lock.take();
        self.head.publish(committer.head(&state));
        drop(lock);
        Ok(())
    }

    /// Tells readers in other processes that the owner lives.
    pub(crate) fn beat(&self) {
        self.head.beat(SystemTime::now());
    }

    fn load_lock(&self, table: u64) -> Arc<Mutex<()>> {
        self.loading.lock().entry(table).or_default().clone()
    }

    fn table(&self, id: u64) -> Result<Arc<TableState>> {
        self.state.load().tables.get(&id).cloned().ok_or_else(dropped)
    }

    fn load<'a>(&'a self, table: &'a TableState, existing: Option<&'a TableState>) -> Load<'a> {
        let next_segment = &self.next_segment;
        Load { files: &self.files, shape: &table.shape, next_segment, memory: self.load_memory, existing }
    }

    fn swap_segments(
        &self,
        current: &TableState,
        old: &[Arc<SegmentHandle>],
        new: NewSegments,
        as_of: SystemTime,
    ) -> Result<Version> {
        let table = current.shape.id;
        let mut edits = Vec::new();
        if !old.is_empty() {
            edits.push(Edit::DropSegments {
                table,
                segments: old.iter().map(|old| old.record().id).collect(),
            });
        }
        edits.extend(content_edits(table, &new, as_of));
        let mut committer = self.committer.lock();
        let state = self.commit_segments(&mut committer, &edits, new)?;
        committer.retire(old, state.version.sequence);
        Ok(state.version)
    }

    /// Commits edits that name new segments; their files stay if the commit is there, or may be.
    fn commit_segments(
        &self,
        committer: &mut Committer,
        edits: &[Edit],
        new: NewSegments,
    ) -> Result<Arc<State>> {
        let result = self.commit(committer, edits);
        if result.as_ref().err().is_none_or(|error| error.code() == ErrorCode::OutcomeUnknown) {
            new.keep();
        }
        result
    }

    /// The one way to change anything: a record in the log, then the new state for all readers.
    fn commit(&self, committer: &mut Committer, edits: &[Edit]) -> Result<Arc<State>> {
        committer.check()?;
        let mut state = (**self.state.load()).clone();
        state.version.sequence += 1;
        edits.iter().try_for_each(|edit| state.apply(edit, &self.files))?;
        let body = rmp_serde::to_vec_named(edits)
            .map_err(|error| Error::internal("cannot encode a commit").with_source(error))?;
        if body.len() > RECORD_BODY_MAX {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!("the commit's record has {} bytes; the limit is {RECORD_BODY_MAX}", body.len()),
            ));
        }
        let record = Record { kind: RecordKind::Commit, version: state.version, body: &body };
        committer.log.reserve(&record)?;
        let result = committer.log.append(&record).and_then(|()| match self.sync {
            Sync::Always => committer.log.sync(),
            Sync::Later => Ok(()),
        });
        committer.poison_on_error(result).map_err(|error| {
            Error::new(
                ErrorCode::OutcomeUnknown,
                "the disk failed while the commit was written; open the cache again and look whether it is there",
            )
            .with_source(error)
        })?;
        committer.uncheckpointed = true;
        let state = Arc::new(state);
        self.state.store(state.clone());
        self.head.publish(committer.head(&state));
        Ok(state)
    }
}

impl Committer {
    fn head(&self, state: &State) -> Head {
        Head {
            version: state.version,
            began_at: state.began_at,
            log: self.log.number(),
            log_end: self.log.len(),
            closed: self.lock.is_none(),
        }
    }

    fn check(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(Error::new(ErrorCode::Closed, "the cache was closed; open it again"));
        }
        match &self.poison {
            None => Ok(()),
            Some(cause) => Err(Error::new(
                ErrorCode::Poisoned,
                format!("an earlier write failed ({cause}); reads go on, open the cache again to write"),
            )),
        }
    }

    /// After a failed write or sync nobody knows what the file holds: nothing more is written to it.
    fn poison_on_error<T>(&mut self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            tracing::error!(%error, "the log could not be written; the cache takes no more writes");
            self.poison = Some(format!("{error:#}"));
        })
    }

    fn retired_bytes(&self) -> u64 {
        self.retired.iter().map(|retired| retired.bytes).sum()
    }

    fn retire(&mut self, segments: &[Arc<SegmentHandle>], dropped_at: u64) {
        self.retired.extend(segments.iter().map(|segment| Retired {
            path: segment.path(),
            bytes: segment.record().len,
            dropped_at,
            readers: Arc::downgrade(segment),
        }));
    }

    fn checkpoint_if_due(&mut self, files: &Files, state: &State) -> Result<()> {
        if self.log.len() >= CHECKPOINT_LOG_BYTES || self.retired_bytes() >= CHECKPOINT_RETIRED_BYTES {
            self.checkpoint(files, state)?;
        }
        self.remove_retired(files);
        Ok(())
    }

    /// Begins a new log file and writes a manifest that makes the ones before it unnecessary.
    fn checkpoint(&mut self, files: &Files, state: &State) -> Result<()> {
        if self.manifests.first() == Some(&state.version.sequence) {
            self.uncheckpointed = false;
            return Ok(());
        }
        let (vfs, log_dir) = (files.vfs.as_ref(), files.log_dir());
        let synced = self.log.sync();
        self.poison_on_error(synced)?;
        let log = LogWriter::create(vfs, &log_dir, self.log.number() + 1, state.version.sequence)?;
        let number = log.number();
        self.log = log;
        Manifest { version: state.version, catalog: state.to_record(number)? }.write(vfs, &files.dir)?;
        self.uncheckpointed = false;
        self.manifests.insert(0, state.version.sequence);
        for sequence in self.manifests.split_off(self.manifests.len().min(MANIFESTS_KEPT)) {
            remove(files, &manifest::path(&files.dir, sequence));
        }
        if let Some(&oldest) = self.manifests.last() {
            let needed = Manifest::read(vfs, &manifest::path(&files.dir, oldest))?.catalog.log;
            let names = vfs.list(&log_dir).map_err(|error| Error::io("list", &log_dir, error))?;
            for name in
                names.iter().filter(|name| log::file_number(name).is_some_and(|number| number < needed))
            {
                remove(files, &log_dir.join(name));
            }
        }
        Ok(())
    }

    fn remove_retired(&mut self, files: &Files) {
        let oldest =
            if self.manifests.len() < MANIFESTS_KEPT { 0 } else { *self.manifests.last().unwrap_or(&0) };
        self.retired.retain(|retired| {
            let needed = retired.dropped_at > oldest || retired.readers.strong_count() > 0;
            if !needed {
                remove(files, &retired.path);
            }
            needed
        });
    }
}

/// The edits that give a table new rows.
fn content_edits(table: u64, new: &NewSegments, as_of: SystemTime) -> Vec<Edit> {
    let mut edits = Vec::new();
    if new.rows() > 0 {
        edits.push(Edit::AddSegments { table, segments: new.records() });
    }
    edits.push(Edit::SetFreshness { table, as_of: nanoseconds(as_of) });
    edits
}

fn dropped() -> Error {
    Error::new(ErrorCode::TableNotFound, "the table was dropped")
}

fn remove(files: &Files, path: &Path) {
    if let Err(error) = files.vfs.remove(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove a file that is no longer needed");
    }
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

fn random_incarnation() -> Result<u64> {
    getrandom::u64()
        .map_err(|error| Error::new(ErrorCode::Io, format!("no random number to be had: {error}")))
}

/// A directory with other things in it is not ours to fill.
fn refuse_foreign_directory(files: &Files) -> Result<()> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let names = vfs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let is_cache = names.iter().any(|name| name.starts_with("manifest-"));
    match names.iter().find(|name| !OWN_NAMES.contains(&name.as_str()) && *name != "lost+found") {
        Some(stranger) if !is_cache => Err(Error::new(
            ErrorCode::NotACache,
            format!(
                "{} holds no cache but other files (`{stranger}`); name an empty directory",
                dir.display()
            ),
        )),
        _ => Ok(()),
    }
}

fn take_lock(files: &Files) -> Result<DirectoryLock> {
    let path = files.dir.join("LOCK");
    match files.vfs.lock(&path).map_err(|error| Error::io("lock", &path, error))? {
        LockOutcome::Taken(guard) => Ok(guard),
        LockOutcome::Held(owner) => {
            let owner = match owner {
                Some(pid) if pid == std::process::id() => "this process".to_owned(),
                Some(pid) => format!("process {pid}"),
                None => "another process".to_owned(),
            };
            Err(Error::new(
                ErrorCode::DirectoryLocked,
                format!(
                    "{} is owned by {owner}; close that cache, or open the directory read-only",
                    files.dir.display()
                ),
            ))
        }
    }
}

/// Goes on in the last log file if its owner closed it; else begins a new file and a new incarnation, because
/// commits behind the recovered ones may have been seen and lost.
fn begin_log(
    files: &Files,
    state: &mut State,
    tail: Option<LogTail>,
    last_log: u64,
    unclean: bool,
) -> Result<LogWriter> {
    let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
    let mut log = match tail {
        Some(LogTail { number, end, closed: true }) => LogWriter::resume(vfs, &dir, number, end)?,
        _ => {
            let log = LogWriter::create(vfs, &dir, last_log + 1, state.version.sequence)?;
            if unclean {
                state.began_at = state.version.sequence;
                state.version =
                    Version { incarnation: random_incarnation()?, sequence: state.version.sequence + 1 };
            }
            log
        }
    };
    let record = Record { kind: RecordKind::Opened, version: state.version, body: &[] };
    log.reserve(&record)?;
    log.append(&record)?;
    log.sync()?;
    Ok(log)
}

/// Removes what a crash left behind: segments that neither the state nor a kept manifest names, and all
/// temporary files.
fn remove_orphans(files: &Files, state: &State, manifests: &[u64]) -> Result<()> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let mut needed: HashSet<PathBuf> = state.segment_paths().collect();
    for &sequence in manifests {
        // A damaged manifest needs nothing.
        if let Ok(manifest) = Manifest::read(vfs, &manifest::path(dir, sequence)) {
            needed.extend(State::from_record(manifest.version, &manifest.catalog, files)?.segment_paths());
        }
    }
    let list = |dir: &Path| vfs.list(dir).map_err(|error| Error::io("list", dir, error));
    let tables = dir.join("tables");
    for table in list(&tables)? {
        let folder = tables.join(&table);
        let names = list(&folder)?;
        let orphans: Vec<_> =
            names.iter().map(|name| folder.join(name)).filter(|path| !needed.contains(path)).collect();
        orphans.iter().for_each(|path| remove(files, path));
        if orphans.len() == names.len() && vfs.remove_dir(&folder).is_err() {
            tracing::warn!(folder = %folder.display(), "cannot remove the folder of a dropped table");
        }
    }
    for name in list(&files.tmp_dir())? {
        remove_scratch(files, &files.tmp_dir().join(name));
    }
    Ok(())
}

/// Runs that the next append rewrites together with its rows, so that no more than [`RUNS_MAX`] may overlap: the
/// newest, and older ones as long as they are not much larger than what is rewritten anyway.
fn runs_to_merge(table: &TableState) -> HashSet<u64> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for record in table.segments.iter().map(|segment| segment.record()) {
        match runs.last_mut() {
            Some((run, rows)) if *run == record.run => *rows += record.rows,
            _ => runs.push((record.run, record.rows)),
        }
    }
    let mut merged = HashSet::new();
    let mut rows_merged = 0;
    if runs.len() >= RUNS_MAX {
        while let Some(&(run, rows)) = runs.last()
            && (runs.len() >= RUNS_MAX || rows <= 2 * rows_merged)
        {
            merged.insert(run);
            rows_merged += rows;
            runs.pop();
        }
    }
    merged
}

fn segment_batches(segment: &Arc<SegmentHandle>) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_> {
    match segment.open() {
        Ok(open) => {
            let all: Vec<usize> = (0..open.schema().fields().len()).collect();
            Box::new((0..open.batch_count()).map(move |batch| open.read_batch(batch, &all, open.schema())))
        }
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}

#[cfg(test)]
mod tests;
