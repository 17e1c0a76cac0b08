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

/// A cache that is closed leaves up to so many rows and deletions in the log: the next owner has read them in no time.
const LOGGED_ROWS_MAX: usize = 1 << 14;

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
    /// A forked child shares files and lock with its parent and must not use them.
    process: u32,
    files: Files,
    state: ArcSwap<State>,
    next_table: AtomicU64,
    next_segment: AtomicU64,
    /// One commit at a time for each table: its keys are checked against the state that it will extend.
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
    /// Held by who moves rows that are there already: one at a time.
    maintenance: Mutex<()>,
    /// How fast; who waits for a move hurries it.
    pace: Pace,
    /// Whether rows should be moved soon, and who waits to be told.
    due: (Mutex<bool>, Condvar),
    head: HeadWriter,
    damage: Option<String>,
}

impl Store {
    /// Takes the lock of `files.dir`, recovers, and makes the cache if there is none. `history`: bytes of the log, and of
    /// segments that it names, that are kept beyond what recovery needs.
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
            // An owner may have died before the name of its first manifest was durable. Folders without a manifest would
            // be those of a stranger.
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
        // What the last owner did not sync can still be lost, and with it every commit that follows. So it is written
        // anew before there is any: syncing its log would prove nothing if a sync of it failed before.
        let Some(error) = store.fold_tables()? else { return Ok(store) };
        tracing::error!(%error, "rows stay in the log, which is written anew");
        let (needed, last) = {
            let committer = store.committer.lock();
            (committer.first_needed_log(), committer.log.number())
        };
        drop(store);
        renew_logs(&files, needed, last)?;
        // From the files that are durable now, and not from mappings of others.
        Self::recover(files, lock, is_new, sync, load_memory, history).map(|(store, _)| store)
    }

    /// The owner of a directory whose lock was taken, with what its files hold; whether the owner before did not close it.
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

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.files.dir
    }

    /// Its files.
    pub(crate) fn files(&self) -> &Files {
        &self.files
    }

    /// Lets the files take so many bytes.
    pub(crate) fn limit_disk(&self, bytes: u64) {
        self.disk_limit.store(bytes, Ordering::Relaxed);
    }

    /// Lets moves of rows that nobody waits for write so many bytes a second.
    pub(crate) fn limit_moves(&self, bytes_a_second: u64) {
        self.pace.limit(bytes_a_second);
    }

    /// Moves of rows are held by nothing until what is returned is dropped, because somebody waits for them.
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

    /// A child of the owner must not wait for locks that nobody will give up.
    fn refuse_if_forked(&self) -> Result<()> {
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

    /// Tells readers in other processes that the owner lives, writes a manifest if it is time for one and removes files
    /// that nobody needs. To be called every second.
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

    /// Tells a writer early that it cannot write.
    ///
    /// # Errors
    /// [`ErrorCode::ReadOnly`], [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn refuse_unless_writable(&self) -> Result<()> {
        self.writing().map(drop)
    }

    /// The directory, if there can be writes: no other owner has it before what is returned is dropped, also if the cache
    /// is closed. What writes files that it may have to remove again holds it.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    fn hold(&self) -> Result<Option<DirectoryLock>> {
        Ok(self.writing()?.lock.clone())
    }

    /// The writing end, if there can be writes.
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

    /// A thread ended that writing depends on: nothing is written any more, as after a failed write. Waits for no commit.
    pub(crate) fn thread_ended(&self, thread: &str) {
        tracing::error!(thread, "a thread of the cache panicked; the cache takes no more writes");
        self.poison.get_or_init(|| format!("its thread {thread} panicked, which is a defect"));
        // Writers that wait for rows to be moved find the reason.
        self.wake();
    }

    /// Makes everything durable and marks the directory as closed; later writes are refused, and those under way when their
    /// rows end: the directory is free for another owner then. With `map_segments` the handles that stay can read on
    /// whatever a later owner does.
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
        // Whoever moves rows is done before another process may own the directory.
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
        // First, so that of what the next owner finds nothing but this record can be in doubt.
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
