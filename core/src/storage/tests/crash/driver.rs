//! Does to a cache what a workload says, and keeps the model beside it.
//!
//! [`Driver::commit`] is the one way to change anything: a new kind of write is one more method in `writes.rs`, like
//! [`append`](Driver::append).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::commit::{Commit, Meanwhile};
use super::contents;
use super::model::{Content, History, Marker};
use super::recorder::RecordingVfs;
use crate::storage::vfs::Vfs;
use crate::storage::{Files, Store, Sync};
use crate::types::error::Error;
use crate::types::version::Version;

/// Why a run ended.
#[derive(Debug)]
pub(super) enum Stop {
    /// The cache refused or failed, as it may where faults are injected.
    Failed(Error),
    /// The cache is wrong.
    Wrong(String),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// How a step of a workload ended.
pub(super) type Step<T = ()> = Result<T, Stop>;

pub(super) struct Driver {
    dir: PathBuf,
    vfs: Arc<dyn Vfs>,
    recorder: Option<RecordingVfs>,
    sync: Sync,
    store: Option<Arc<Store>>,
    history: History,
    /// Gives every commit another time and every row another key, so that no two commits leave the same content.
    pub(super) counter: u64,
    /// Whether commits are left to the next move, and the commit that was.
    leaves_commits: bool,
    left: Option<Commit>,
    /// Whether reads still work after a write failed.
    pub(super) reads_work: bool,
}

/// The cache below a root.
pub(super) fn cache_dir(root: &Path) -> PathBuf {
    root.join("cache")
}

impl Driver {
    /// Works below `root` on a cache with this history, which is not open yet.
    pub(super) fn new(
        root: &Path,
        vfs: Arc<dyn Vfs>,
        recorder: Option<RecordingVfs>,
        sync: Sync,
        history: History,
    ) -> Self {
        let counter = history.used();
        let dir = cache_dir(root);
        Self {
            dir,
            vfs,
            recorder,
            sync,
            store: None,
            history,
            counter,
            leaves_commits: false,
            left: None,
            reads_work: true,
        }
    }

    pub(super) fn history(&self) -> &History {
        &self.history
    }

    pub(super) fn sync_setting(&self) -> Sync {
        self.sync
    }

    pub(super) fn is_open(&self) -> bool {
        self.store.is_some()
    }

    pub(super) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn mark(&mut self, marker: Marker) {
        self.history.apply(&marker);
        if let Some(recorder) = &self.recorder {
            recorder.mark(marker);
        }
    }

    /// Opens the cache and compares everything in it with the model.
    pub(super) fn open(&mut self) -> Step {
        let store = Store::open(Files::new(self.dir.clone(), self.vfs.clone()), self.sync, 1 << 20, 0)?;
        let content = contents::read(&store.state()).map_err(Stop::Wrong)?;
        let number = self.history.recovered(&content, &store.state()).map_err(Stop::Wrong)?;
        self.store = Some(Arc::new(store));
        self.mark(Marker::Recovered(number));
        Ok(())
    }

    /// The process dies: what it wrote is there, synced or not.
    pub(super) fn kill(&mut self) {
        self.store = None;
    }

    pub(super) fn close(&mut self) -> Step {
        let result = self.store().close(false);
        if result.is_ok() {
            self.mark(Marker::Durable);
        }
        self.store = None;
        Ok(result?)
    }

    pub(super) fn sync(&mut self) -> Step {
        self.store().sync()?;
        self.mark(Marker::Durable);
        Ok(())
    }

    pub(super) fn checkpoint(&mut self) -> Step {
        self.store().fold()?;
        self.mark(Marker::Durable);
        Ok(())
    }

    /// As [`checkpoint`](Self::checkpoint), with a commit at the same time.
    pub(super) fn checkpoint_while(&mut self, number: usize, ask: impl FnOnce(&mut Self) -> Step) -> Step {
        self.moves(number, true, ask, Store::fold)
    }

    /// Writes segments with many deleted rows anew, with a commit at the same time.
    pub(super) fn merge_while(
        &mut self,
        name: &str,
        number: usize,
        ask: impl FnOnce(&mut Self) -> Step,
    ) -> Step {
        let table = self.store().state().table(name)?.shape.id;
        self.moves(number, false, ask, |store| store.merge_table(table, 0))
    }

    pub(super) fn has_table(&self, name: &str) -> bool {
        self.history.newest().tables.contains_key(name)
    }

    /// Writes to the cache and makes the same change in the model, or leaves both to the next [move](Self::moves).
    pub(super) fn commit(
        &mut self,
        change: impl FnOnce(&mut Content),
        write: impl FnOnce(&Store) -> Result<Version, Error> + Send + 'static,
    ) -> Step {
        let before = self.history.newest().clone();
        let mut content = (*before).clone();
        change(&mut content);
        let (after, write) = (Arc::new(content), Box::new(write));
        let commit = Commit { before, after, write, sync: self.sync, reads_work: self.reads_work };
        if self.leaves_commits {
            self.left = Some(commit);
            return Ok(());
        }
        self.make(commit)
    }

    fn make(&mut self, commit: Commit) -> Step {
        let store = self.store.clone().unwrap();
        commit.make(&store, |marker| self.mark(marker))
    }

    /// Moves rows. Makes the commit that `ask` asks for before operation `number` of the move, or after a shorter move.
    fn moves(
        &mut self,
        number: usize,
        is_fold: bool,
        ask: impl FnOnce(&mut Self) -> Step,
        moves: impl FnOnce(&Store) -> Result<(), Error>,
    ) -> Step {
        self.leaves_commits = true;
        let asked = ask(self);
        self.leaves_commits = false;
        asked?;
        let commit = self.left.take().unwrap();
        let store = self.store.clone().unwrap();
        let Some(recorder) = self.recorder.clone() else {
            moves(&store)?;
            return self.make(commit);
        };
        let meanwhile = Meanwhile::new(commit, number, is_fold, &store, &recorder);
        let moved = moves(&store);
        let (made, left) = meanwhile.end(&recorder);
        let mut is_synced = true;
        if let Some(made) = made {
            made.markers.iter().for_each(|marker| self.history.apply(marker));
            made.step?;
            is_synced = made.is_among_rows;
        }
        moved?;
        if is_fold && is_synced {
            self.mark(Marker::Durable);
        }
        left.map_or(Ok(()), |commit| self.make(commit))
    }
}
