//! The owner of a directory: commits, checkpoints, removal of what nobody needs.

mod committer;
mod merge;
mod opening;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use parking_lot::Mutex;

use self::committer::Committer;
use self::merge::{runs_to_merge, segment_batches};
use self::opening::{
    begin_log, random_incarnation, refuse_foreign_directory, remove_orphans, take_lock, whole_manifests,
};
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::version::Version;
use crate::storage::edit::{CatalogRecord, Edit};
use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::live::HeadWriter;
use crate::storage::load::{Load, NewSegments};
use crate::storage::log::{Record, RecordKind};
use crate::storage::manifest::{self, Manifest};
use crate::storage::recovery::{self, Recovered};
use crate::storage::state::{Files, SegmentHandle, State, TableShape, TableState};

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
            if let Some(parent) = dir.parent() {
                vfs.sync_dir(parent).map_err(|error| Error::io("sync", parent, error))?;
            }
            let version = Version { incarnation: random_incarnation()?, sequence: 0 };
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
        let Recovered { mut state, tail, last_log, damage } = recovery::recover(&files, None)?;
        let unclean = !is_new && tail.is_none_or(|tail| !tail.closed);
        let log = begin_log(&files, &mut state, tail, last_log, unclean)?;
        let mut committer = Committer::new(lock, log, whole_manifests(&files)?, unclean);
        // Before anything is removed: what the last owner did not sync can still be lost, and then what it dropped is
        // needed again. Syncing its log now would prove nothing if a sync of it failed.
        if unclean {
            committer.checkpoint(&files, &state)?;
        }
        let superseded = remove_orphans(&files, &state, committer.manifests())?;
        committer.retire(&superseded, state.version.sequence);
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

    /// Its files.
    #[cfg(feature = "sidecar")]
    pub(crate) fn files(&self) -> &Files {
        &self.files
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
        let loaded =
            self.load(&empty, None).run(batches).and_then(|new| self.commit_table(&shape, new, as_of));
        if loaded.is_err() {
            // Fails if files stayed, whose commit may be in the log.
            drop(self.files.vfs.remove_dir(&self.files.table_dir(table)));
        }
        loaded
    }

    fn commit_table(&self, shape: &TableShape, new: NewSegments, as_of: SystemTime) -> Result<Arc<State>> {
        let mut committer = self.committer.lock();
        if self.state().names.contains_key(&shape.name) {
            return Err(Error::new(
                ErrorCode::TableExists,
                format!("there is a table `{}` already", shape.name),
            ));
        }
        let mut edits = vec![Edit::DefineTable(shape.to_record()?)];
        edits.extend(content_edits(shape.id, &new, as_of));
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
        let merged_rows = old.iter().map(|segment| segment.record().rows).sum();
        let new = Load { merged_rows, ..self.load(&current, Some(&kept)) }.run(&mut rows)?;
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

    /// Makes every commit durable. Blocks on the disk.
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
        Ok(())
    }

    /// Whether this is a child of the process that opened the cache, which must leave everything to its parent.
    pub(crate) fn is_forked(&self) -> bool {
        self.committer.lock().is_forked()
    }

    /// Tells readers in other processes that the owner lives, writes a manifest if it is time for one and removes files
    /// that nobody needs. To be called every second.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn upkeep(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        committer.check()?;
        self.head.beat(SystemTime::now());
        committer.checkpoint_if_due(&self.files, &self.state.load());
        Ok(())
    }

    /// Writes a manifest whether it is time for one or not.
    #[cfg(test)]
    pub(crate) fn checkpoint_now(&self) -> Result<()> {
        let mut committer = self.committer.lock();
        committer.check()?;
        committer.checkpoint(&self.files, &self.state.load())?;
        committer.remove_retired(&self.files);
        Ok(())
    }

    /// Tells a writer early that it cannot write.
    ///
    /// # Errors
    /// [`ErrorCode::ReadOnly`], [`ErrorCode::Closed`], [`ErrorCode::Poisoned`].
    pub(crate) fn refuse_unless_writable(&self) -> Result<()> {
        self.committer.lock().check()
    }

    /// Makes everything durable and marks the directory as closed; later writes are refused. With `map_segments` the
    /// handles that stay can read on whatever a later owner does.
    ///
    /// # Errors
    /// [`ErrorCode::Poisoned`], [`ErrorCode::Io`].
    pub(crate) fn close(&self, map_segments: bool) -> Result<()> {
        let mut committer = self.committer.lock();
        if committer.lock.is_none() {
            return Ok(());
        }
        committer.check()?;
        let state = self.state.load_full();
        if committer.uncheckpointed {
            committer.try_checkpoint(&self.files, &state);
            committer.check()?;
        }
        if map_segments {
            committer.map_readable_segments(&state);
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

    fn load_lock(&self, table: u64) -> Arc<Mutex<()>> {
        self.loading.lock().entry(table).or_default().clone()
    }

    fn table(&self, id: u64) -> Result<Arc<TableState>> {
        self.state.load().tables.get(&id).cloned().ok_or_else(dropped)
    }

    fn load<'a>(&'a self, table: &'a TableState, existing: Option<&'a TableState>) -> Load<'a> {
        let next_segment = &self.next_segment;
        Load {
            merged_rows: 0,
            files: &self.files,
            shape: &table.shape,
            next_segment,
            memory: self.load_memory,
            existing,
        }
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

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
