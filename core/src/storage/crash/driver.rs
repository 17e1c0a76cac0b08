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
use crate::storage::{Change, Files, Store, Sync};

/// A commit of more rows than this writes segments.
const LOGGED_ROWS_MAX: usize = 1 << 15;

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
        let store = Store::open(Files::new(self.dir.clone(), self.vfs.clone()), self.sync, 1 << 20, 0)?;
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
        self.store().fold()?;
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
                let rows = &mut contents::batches(&written);
                store.write(vec![Change::Append { table, rows }], time(as_of))
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
                let rows = &mut contents::batches(&written);
                store.write(vec![Change::Replace { table, rows }], time(as_of))
            },
        )
    }

    /// New rows, and others in the place of some that are there; many of them become segments at once.
    pub(super) fn upsert(&mut self, name: &str, rows: usize, many: bool) -> Step {
        let (as_of, rows) = (self.next(), self.changed_rows(name, rows));
        let written = rows.clone();
        self.commit(
            |tables| {
                let table = tables.get_mut(name).unwrap();
                table.as_of = as_of;
                table.rows.extend(rows);
            },
            |store| {
                let table = store.state().table(name)?.shape.id;
                // As often as it takes for them to be too many for the log.
                let times = if many { LOGGED_ROWS_MAX / written.len().max(1) + 1 } else { 1 };
                let mut batches = (0..times).flat_map(|_| contents::batches(&written));
                store.write(vec![Change::Upsert { table, rows: &mut batches }], time(as_of))
            },
        )
    }

    /// Some rows go, and some keys that are not there.
    pub(super) fn delete(&mut self, name: &str, rows: usize) -> Step {
        let as_of = self.next();
        let mut ids: Vec<i64> = self.changed_rows(name, rows).into_keys().collect();
        ids.push(-1);
        self.commit(
            |tables| {
                let table = tables.get_mut(name).unwrap();
                table.as_of = as_of;
                ids.iter().for_each(|id| drop(table.rows.remove(id)));
            },
            |store| {
                let table = store.state().table(name)?.shape.id;
                store.write(
                    vec![Change::Delete { table, keys: contents::keys(&ids), invalidates: false }],
                    time(as_of),
                )
            },
        )
    }

    /// All rows go.
    pub(super) fn truncate(&mut self, name: &str) -> Step {
        let as_of = self.next();
        self.commit(
            |tables| *tables.get_mut(name).unwrap() = TableContent { as_of, ..TableContent::default() },
            |store| {
                let table = store.state().table(name)?.shape.id;
                store.write(vec![Change::Truncate { table }], time(as_of))
            },
        )
    }

    /// One commit: other rows in the place of all of a table, changes of some of them, and changes of another table.
    pub(super) fn replace_with_upserts(&mut self, name: &str, other: &str, rows: usize) -> Step {
        let (as_of, mut new) = (self.next(), self.rows(rows));
        let replaced = new.clone();
        let mut changed = self.rows(2);
        changed.extend(new.keys().next().map(|&id| (id, "changed".to_owned())));
        let gone: Vec<i64> = new.keys().nth(1).copied().into_iter().collect();
        new.extend(changed.clone());
        gone.iter().for_each(|id| drop(new.remove(id)));
        let elsewhere = self.changed_rows(other, rows);
        let written = elsewhere.clone();
        self.commit(
            |tables| {
                *tables.get_mut(name).unwrap() = TableContent { as_of, rows: new };
                let table = tables.get_mut(other).unwrap();
                table.as_of = as_of;
                table.rows.extend(elsewhere);
            },
            |store| {
                let id = |name: &str| store.state().table(name).map(|table| table.shape.id);
                let (table, other) = (id(name)?, id(other)?);
                let (mut replaced, mut changed) = (contents::batches(&replaced), contents::batches(&changed));
                let mut written = contents::batches(&written);
                let changes = vec![
                    Change::Replace { table, rows: &mut replaced },
                    Change::Upsert { table: other, rows: &mut written },
                    Change::Upsert { table, rows: &mut changed },
                    Change::Delete { table, keys: contents::keys(&gone), invalidates: false },
                ];
                store.write(changes, time(as_of))
            },
        )
    }

    pub(super) fn drop_table(&mut self, name: &str) -> Step {
        self.commit(
            |tables| drop(tables.remove(name)),
            |store| {
                let table = store.state().table(name)?.shape.id;
                store.write(vec![Change::Drop { table }], time(0))
            },
        )
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

    /// New rows, and new notes for rows of a table.
    fn changed_rows(&mut self, name: &str, rows: usize) -> BTreeMap<i64, String> {
        let table = self.history.newest().get(name).map(|table| table.rows.clone()).unwrap_or_default();
        let random = &mut Random::new(&[self.counter, 7]);
        let mut changed = self.rows(rows.div_ceil(2));
        let note = self.next();
        for _ in 0..rows / 2 {
            if let Some((&id, _)) = table.iter().nth(random.below(table.len().max(1))) {
                changed.insert(id, format!("changed at {note}"));
            }
        }
        changed
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
