//! Does to a cache what a workload says, and keeps the model beside it.
//!
//! [`Driver::commit`] is the one way to change anything: a new kind of write is one more method like
//! [`append`](Driver::append).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::contents;
use super::model::{Content, History, Marker, TableContent};
use super::random::Random;
use super::recorder::RecordingVfs;
use crate::api::error::{Error, ErrorCode};
use crate::api::version::Version;
use crate::storage::vfs::Vfs;
use crate::storage::{Files, Store, Sync};

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
    store: Option<Store>,
    history: History,
    /// Gives every commit another time and every row another key, so that no two leave the same behind.
    counter: u64,
    /// Whether readers find everything also after a write failed.
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
        Self { dir, vfs, recorder, sync, store: None, history, counter, reads_work: true }
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
        let store = Store::open(Files::new(self.dir.clone(), self.vfs.clone()), self.sync, 1 << 20)?;
        let content = contents::read(&store.state()).map_err(Stop::Wrong)?;
        let number = self.history.recovered(&content, &store.state()).map_err(Stop::Wrong)?;
        self.store = Some(store);
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
        self.store().checkpoint_now()?;
        self.mark(Marker::Durable);
        Ok(())
    }

    pub(super) fn has_table(&self, name: &str) -> bool {
        self.history.newest().contains_key(name)
    }

    pub(super) fn create(&mut self, name: &str, rows: usize) -> Step {
        let (as_of, rows) = (self.next(), self.rows(rows));
        let content = TableContent { as_of, rows };
        let written = content.rows.clone();
        self.commit(
            |tables| drop(tables.insert(name.to_owned(), content)),
            |store| {
                let mut batches = contents::batches(&written);
                Ok(store.create_table(contents::shape(name), time(as_of), &mut batches)?.version)
            },
        )
    }

    pub(super) fn append(&mut self, name: &str, rows: usize) -> Step {
        let (as_of, rows) = (self.next(), self.rows(rows));
        let written = rows.clone();
        self.commit(
            |tables| {
                let table = tables.get_mut(name).unwrap();
                table.as_of = as_of;
                table.rows.extend(rows);
            },
            |store| {
                let table = store.state().table(name)?.shape.id;
                store.append(table, time(as_of), &mut contents::batches(&written))
            },
        )
    }

    pub(super) fn replace(&mut self, name: &str, rows: usize) -> Step {
        let (as_of, rows) = (self.next(), self.rows(rows));
        let written = rows.clone();
        self.commit(
            |tables| *tables.get_mut(name).unwrap() = TableContent { as_of, rows },
            |store| {
                let table = store.state().table(name)?.shape.id;
                store.replace(table, time(as_of), &mut contents::batches(&written))
            },
        )
    }

    pub(super) fn drop_table(&mut self, name: &str) -> Step {
        self.commit(|tables| drop(tables.remove(name)), |store| store.drop_table(name))
    }

    /// Writes to the cache and makes the same change in the model.
    pub(super) fn commit(
        &mut self,
        change: impl FnOnce(&mut Content),
        write: impl FnOnce(&Store) -> Result<Version, Error>,
    ) -> Step {
        let before = self.history.newest().clone();
        let mut content = (*before).clone();
        change(&mut content);
        let content = Arc::new(content);
        self.mark(Marker::Begun(content.clone()));
        let result = write(self.store());
        let visible = match &result {
            Ok(version) => {
                self.mark(Marker::Acknowledged(*version));
                if self.sync == Sync::Always {
                    self.mark(Marker::Durable);
                }
                content
            }
            Err(error) => {
                if error.code() != ErrorCode::OutcomeUnknown {
                    self.mark(Marker::Refused);
                }
                before
            }
        };
        if self.reads_work && contents::read(&self.store().state()).map_err(Stop::Wrong)? != *visible {
            return Err(Stop::Wrong(format!("readers do not see the last commit after {result:?}")));
        }
        result?;
        Ok(())
    }

    fn next(&mut self) -> u64 {
        self.counter += 1;
        self.counter
    }

    fn rows(&mut self, rows: usize) -> BTreeMap<i64, String> {
        let random = &mut Random::new(&[self.counter]);
        let keys: Vec<u64> = (0..rows).map(|_| self.next()).collect();
        keys.into_iter().map(|key| (key.cast_signed(), "x".repeat(random.below(60)))).collect()
    }
}

fn time(as_of: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(as_of)
}
