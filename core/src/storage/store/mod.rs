//! The owner of a directory: commits, checkpoints, removal of what nobody needs.

mod change;
mod committer;
mod expire;
mod fold;
mod merge;
mod opening;
pub(crate) mod pace;
mod plan;
mod replaced;
mod show;
mod table_locks;
mod write;
mod writing;

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::{Condvar, Mutex};

pub(crate) use self::change::Change;
use self::committer::{Committer, Kept};
#[cfg(test)]
pub(crate) use self::opening::logged_segments;
use self::opening::{
    DirectoryLock, begin_log, random_incarnation, refuse_foreign_directory, remove_orphans,
    remove_other_indexes, renew_logs, take_lock, whole_manifests,
};
use self::table_locks::TableLocks;
use self::writing::Writing;
use crate::storage::catalog::edit::CatalogRecord;
use crate::storage::catalog::files::Files;
use crate::storage::catalog::manifest::{self, Manifest};
use crate::storage::catalog::recovery::{self, Recovered};
use crate::storage::catalog::state::State;
use crate::storage::live::{HEAD_WORDS, HeadWriter, Indexes};
use crate::storage::load::{Duplicates, Load};
use crate::storage::log::{Record, RecordKind};
use crate::storage::store::pace::{Hurry, Pace};
use crate::storage::table::{TableShape, TableState};
use crate::storage::vfs::boot;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

/// Closing a cache leaves fewer rows and deletions than this in the log, which the next owner reads in no time.
const LOGGED_ROWS_MAX: usize = 1 << 14;

/// From when on a commit survives a crash of the machine. A crash of the process alone loses nothing with any setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Before readers see it.
    Always,
    /// Later, by a call of [`Store::sync`].
    Later,
}

/// A directory that this process owns, and its newest state.
#[derive(Debug)]
pub(crate) struct Store {
    /// The process that opened the store. A forked child shares its files and lock and must not use them.
    process: u32,
    files: Files,
    state: ArcSwap<State>,
    next_table: AtomicU64,
    next_segment: AtomicU64,
    /// Allow one commit at a time per table, because its keys are checked against the state that it will extend.
    loading: TableLocks,
    sync: Sync,
    /// Held during a sync of the log. Taken before `committer`, which is free meanwhile, so commits go on.
    syncing: Mutex<()>,
    /// Whether readers of this process have to be told that commits which they saw are gone.
    went_back: AtomicBool,
    /// Per batch that was searched for old rows, by segment and number: the oldest time among its remaining rows.
    oldest_times: Mutex<HashMap<(u64, usize), i64>>,
    load_memory: usize,
    disk_limit: AtomicU64,
    committer: Mutex<Committer>,
    /// What went wrong with the disk.
    poison: Arc<OnceLock<String>>,
    /// Held while existing rows are moved: one thread at a time moves them.
    maintenance: Mutex<()>,
    /// How fast rows are moved. Whoever waits for a move hurries it.
    pace: Pace,
    /// Whether rows should be moved soon, and where the thread that moves them waits.
    due: (Mutex<bool>, Condvar),
    head: HeadWriter,
    damage: Option<String>,
}

impl Store {
    /// Takes the lock of `files.dir`, makes the cache if there is none, and recovers. Keeps up to `history` bytes of
    /// the log, and of segments that the log names, beyond what recovery needs.
    ///
    /// # Errors
    /// [`ErrorCode::DirectoryLocked`], [`ErrorCode::NotACache`], [`ErrorCode::NewerFormat`],
    /// [`ErrorCode::UnsupportedFileSystem`], [`ErrorCode::Corrupt`], [`ErrorCode::DiskFull`], [`ErrorCode::Io`].
    pub(crate) fn open(files: Files, sync: Sync, load_memory: usize, history: u64) -> Result<Self> {
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
            if let Some(parent) = dir.parent() {
                vfs.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))?;
            }
            let version = Version { incarnation: random_incarnation(&files)?, sequence: 0 };
            let incarnations = vec![(version.incarnation, version.sequence)];
            let catalog = CatalogRecord { log: 1, incarnations, ..CatalogRecord::default() };
            Manifest { version, catalog }.write(vfs, dir)?;
        } else {
            // An owner may have died before the name of its first manifest was durable. If a crash then left folders
            // without a manifest, the directory would look like a stranger's.
            vfs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        }
        for dir in [files.log_dir(), dir.join("tables"), files.live_dir()] {
            vfs.create_dir_all(&dir).map_err(|error| Error::io("create", &dir, error))?;
        }
        vfs.sync_dir(dir).map_err(|error| Error::io("sync", dir, error))?;
        let (store, unclean) =
            Self::recover(files.clone(), lock.clone(), is_new, sync, load_memory, history)?;
        if !unclean {
            return Ok(store);
        }
        // What the last owner did not sync can still be lost, and with it every later commit. So it is written anew
        // before there is a later commit. Syncing the old log would prove nothing if an earlier sync of it failed.
        let Some(error) = store.fold_tables()? else { return Ok(store) };
        tracing::error!(%error, "rows stay in the log, which is written anew");
        let (needed, last) = {
            let committer = store.committer.lock();
            (committer.first_needed_log(), committer.log.number())
        };
        drop(store);
        renew_logs(&files, needed, last)?;
        // Recovers from the files that are durable now, not from the mappings that the first store had.
        Self::recover(files, lock, is_new, sync, load_memory, history).map(|(store, _)| store)
    }

    /// Makes the owner of a directory whose lock was taken, from what its files hold. Also returns whether the previous
    /// owner did not close it.
    fn recover(
        files: Files,
        lock: DirectoryLock,
        is_new: bool,
        sync: Sync,
        load_memory: usize,
        history: u64,
    ) -> Result<(Self, bool)> {
        let vfs = files.vfs.as_ref();
        let path = files.head_path();
        let words = vfs.open_words(&path, HEAD_WORDS).map_err(|error| Error::io("create", &path, error))?;
        let head = HeadWriter::new(words, boot());
        let indexes = Indexes::Owned(head.owner());
        let Recovered { mut state, tail, last_log, damage } = recovery::recover(&files, || None, indexes)?;
        let unclean = !is_new && tail.as_ref().is_none_or(|tail| !tail.closed);
        let log = begin_log(&files, &mut state, tail.as_ref(), last_log, unclean)?;
        let manifests = whole_manifests(&files)?;
        let superseded = remove_orphans(&files, &mut state, &manifests)?;
        let state = Arc::new(state);
        let mut committer = Committer::new(
            lock,
            log,
            state.clone(),
            manifests.iter().map(Kept::of).collect(),
            unclean,
            head.owner(),
            history,
        );
        committer.retire_files(&files, superseded, state.version.sequence);
        committer.measure_logs(&files)?;
        let current = |table: &Arc<TableState>| {
            let tails = table.tails.iter().filter(|tail| tail.tail.log == committer.log.number());
            tails.map(|tail| tail.rows).sum::<usize>()
        };
        committer.rows = state.tables.values().map(current).sum();
        head.beat(files.clock.now());
        head.publish(committer.head());
        remove_other_indexes(&files, head.owner(), &state)?;
        let store = Self {
            process: std::process::id(),
            next_table: AtomicU64::new(state.next_table),
            next_segment: AtomicU64::new(state.next_segment),
            state: ArcSwap::new(state),
            loading: TableLocks::default(),
            sync,
            syncing: Mutex::default(),
            went_back: AtomicBool::new(false),
            oldest_times: Mutex::default(),
            load_memory,
            disk_limit: AtomicU64::new(u64::MAX),
            poison: committer.poison(),
            committer: Mutex::new(committer),
            maintenance: Mutex::default(),
            pace: Pace::new(),
            due: (Mutex::new(false), Condvar::new()),
            head,
            damage,
            files,
        };
        Ok((store, unclean))
    }

    /// The newest committed state.
    #[inline]
    pub(crate) fn state(&self) -> arc_swap::Guard<Arc<State>> {
        self.state.load()
    }

    /// The cache directory.
    pub(crate) fn dir(&self) -> &Path {
        &self.files.dir
    }

    /// Its files.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Lets the files take at most `bytes`.
    pub(crate) fn limit_disk(&self, bytes: u64) {
        self.disk_limit.store(bytes, Ordering::Relaxed);
    }

    /// Limits how many bytes a second are written by moves of rows that nobody waits for.
    pub(crate) fn limit_moves(&self, bytes_a_second: u64) {
        self.pace.limit(bytes_a_second);
    }

    /// Lifts the limit on moves of rows, because somebody waits for them, until the returned guard is dropped.
    pub(crate) fn hurry(&self) -> Hurry<'_> {
        self.pace.hurry()
    }

    /// What recovery found damaged and left out.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.damage.as_deref()
    }

    /// Whether this is a child of the process that opened the cache, which must leave everything to its parent.
    pub(crate) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// Refuses in a forked child of the owner, which must not wait for locks that nobody there will release.
    pub(crate) fn refuse_if_forked(&self) -> Result<()> {
        if !self.is_forked() {
            return Ok(());
        }
        let message = "a cache cannot be written after fork; open it again in the child, or before forking";
        Err(Error::new(ErrorCode::Closed, message))
    }

    /// The newest state that was logged, whether readers see it or not.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    fn newest_logged(&self) -> Result<Arc<State>> {
        Ok(self.writing()?.newest().clone())
    }

    /// Shows readers in other processes that the owner lives, removes files that nobody needs, and wakes the thread
    /// that moves rows if that is due. To be called every second.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn upkeep(&self) -> Result<()> {
        let mut committer = self.writing()?;
        self.head.beat(self.files.clock.now());
        committer.remove_retired(&self.files);
        if self.is_due(&committer) {
            self.wake();
        }
        Ok(())
    }

    /// Fails early if nothing can be written.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn refuse_unless_writable(&self) -> Result<()> {
        self.writing().map(drop)
    }

    /// Holds the directory, if writes are possible: until the returned lock is dropped, no other owner gets it, even
    /// if the cache is closed. Whoever writes files that it may have to remove again must hold it.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    fn hold(&self) -> Result<Option<DirectoryLock>> {
        Ok(self.writing()?.lock.clone())
    }

    /// The committer, if writes are possible.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    fn writing(&self) -> Result<Writing<'_>> {
        self.refuse_if_forked()?;
        let committer = self.hold_committer();
        committer.check()?;
        Ok(committer)
    }

    /// Why nothing is written any more: what went wrong with the disk, or which thread ended. Waits for no commit.
    pub(crate) fn poison(&self) -> Option<String> {
        self.poison.get().cloned()
    }

    /// Ends writing, as a failed write does, because a thread that writing depends on has ended. Waits for no commit.
    pub(crate) fn thread_ended(&self, thread: &str) {
        tracing::error!(thread, "a thread of the cache panicked; the cache takes no more writes");
        self.poison.get_or_init(|| format!("its thread {thread} panicked, which is a defect"));
        // The thread that moves rows finds the reason and ends.
        self.wake();
    }

    /// Makes everything durable and marks the directory as closed. Later writes are refused, and those under way are
    /// once their rows have been read. The directory is free for another owner when the last of them has ended. With
    /// `map_segments`, remaining handles can read on, whatever a later owner does.
    ///
    /// # Errors
    /// [`ErrorCode::Poisoned`], [`ErrorCode::Io`].
    pub(crate) fn close(&self, map_segments: bool) -> Result<()> {
        self.refuse_if_forked()?;
        let is_worth_it = {
            let committer = self.hold_committer();
            if committer.lock.is_none() {
                return Ok(());
            }
            if map_segments && self.poison.get().is_some() {
                committer.map_readable_segments();
            }
            committer.check()?;
            let has_tails = self.state.load().tables.values().any(|table| !table.tails.is_empty());
            committer.uncheckpointed && (!has_tails || committer.rows >= LOGGED_ROWS_MAX)
        };
        let _hurry = self.hurry();
        // Without a checkpoint nothing is lost: the next owner reads the log.
        if is_worth_it && let Err(error) = self.fold() {
            tracing::warn!(%error, "no checkpoint could be written when the cache was closed");
        }
        // Waits for whoever moves rows: no other process may own the directory before that ends.
        let _still = self.maintenance.lock();
        let syncing = self.syncing.lock();
        let mut committer = self.hold_committer();
        if committer.lock.is_none() {
            return Ok(());
        }
        committer.check()?;
        if map_segments {
            committer.map_readable_segments();
        }
        committer.remove_retired(&self.files);
        // Synced first, so that of all that the next owner finds only the closing record can be in doubt.
        self.sync_locked(&syncing, &mut committer)?;
        let record = Record::bare(RecordKind::Closed, committer.newest().version);
        committer.log.reserve(&record)?;
        let result = committer.log.append(&record).and_then(|()| committer.log.sync());
        committer.poison_on_error(result)?;
        let lock = committer.lock.take();
        self.head.publish(committer.head());
        drop(lock);
        Ok(())
    }

    fn table(&self, id: u64) -> Result<Arc<TableState>> {
        self.state.load().tables.get(&id).cloned().ok_or_else(dropped)
    }

    fn load<'a>(&'a self, shape: &'a Arc<TableShape>, duplicates: Duplicates) -> Load<'a> {
        let (files, next_segment, memory) = (&self.files, &self.next_segment, self.load_memory);
        Load { files, shape, next_segment, memory, duplicates, pace: None }
    }

    fn indexes(&self) -> Indexes {
        Indexes::Owned(self.head.owner())
    }
}

fn dropped() -> Error {
    Error::new(ErrorCode::TableNotFound, "the table was dropped")
}

#[cfg(test)]
mod tests;
