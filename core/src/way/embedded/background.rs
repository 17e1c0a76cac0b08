//! The threads that an embedded cache owns: one makes commits durable and says that the owner lives, one moves rows out
//! of the log. If one of them panics, the store takes no more writes and says why.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::storage::Store;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::Durability;
use crate::types::recorder::{Recording, UpkeepWork};

/// How often a thread looks for work that nothing else wakes it for.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often to look for rows that are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);
/// How long to wait before moving rows again, if it failed for all tables, as when the disk is full.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The running threads; dropping it ends them.
#[derive(Debug)]
pub(crate) struct Background {
    store: Arc<Store>,
    stop: Arc<Stop>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Stop {
    stopped: Mutex<bool>,
    condition: Condvar,
}

impl Stop {
    /// Waits at most `patience`; returns whether the threads should end.
    fn wait(&self, patience: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.condition.wait_for(&mut stopped, patience);
        }
        *stopped
    }
}

impl Background {
    /// Starts the threads of a cache.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub(crate) fn start(store: &Arc<Store>, durability: Durability, recording: &Recording) -> Result<Self> {
        let mut background = Self { store: store.clone(), stop: Arc::default(), threads: Vec::new() };
        let sync_interval = match durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Always | Durability::Never => None,
        };
        let told = recording.clone();
        background.spawn("pillion-upkeep", move |store, stop| upkeep(store, stop, sync_interval, &told))?;
        let told = recording.clone();
        background.spawn("pillion-move", move |store, stop| move_rows(store, stop, &told))?;
        Ok(background)
    }

    fn spawn(&mut self, name: &'static str, run: impl FnOnce(&Store, &Stop) + Send + 'static) -> Result<()> {
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            if catch_unwind(AssertUnwindSafe(|| run(&store, &stop))).is_err() {
                store.thread_ended(name);
            }
        });
        let failed = |error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error);
        self.threads.push(thread.map_err(failed)?);
        Ok(())
    }
}

/// Ends when the store is closed or poisoned. The store has logged that, and reports it to the next writer.
fn upkeep(store: &Store, stop: &Stop, sync_interval: Option<Duration>, recording: &Recording) {
    let mut synced_at = Instant::now();
    let left = |synced_at: Instant| {
        sync_interval.map_or(INTERVAL, |interval| interval.saturating_sub(synced_at.elapsed())).min(INTERVAL)
    };
    while !stop.wait(left(synced_at)) {
        let mut result = store.upkeep();
        if let Some(interval) = sync_interval
            && synced_at.elapsed() >= interval
        {
            result = result.and_then(|()| recording.upkeep(UpkeepWork::Sync, || store.sync()));
            synced_at = Instant::now();
        }
        if result.is_err() {
            return;
        }
    }
}

/// Whether the store will never be written again.
fn is_over(error: &Error) -> bool {
    [ErrorCode::Closed, ErrorCode::Poisoned].contains(&error.code())
}

fn move_rows(store: &Store, stop: &Stop, recording: &Recording) {
    let mut expired_at: Option<Instant> = None;
    loop {
        let is_due = store.wait_until_due(INTERVAL);
        if *stop.stopped.lock() {
            return;
        }
        if expired_at.is_none_or(|at| at.elapsed() >= EXPIRY_INTERVAL) {
            let expire = || store.expire(SystemTime::now(), &|| *stop.stopped.lock());
            if let Err(error) = recording.upkeep(UpkeepWork::Expire, expire) {
                if is_over(&error) {
                    return;
                }
                tracing::warn!(%error, "rows that are too old stay; removing them will be tried again");
            }
            expired_at = Some(Instant::now());
        }
        if !is_due {
            continue;
        }
        let (error, is_of_all) = match recording.upkeep(UpkeepWork::Fold, || store.fold_tables()) {
            Ok(None) => continue,
            Ok(Some(error)) => (error, false),
            Err(error) => (error, true),
        };
        if is_over(&error) {
            return;
        }
        tracing::warn!(%error, "rows stay in the log; moving them will be tried again");
        // Another attempt would not mend a single table: the next one is due when the log has grown.
        if is_of_all {
            if stop.wait(RETRY_INTERVAL) {
                return;
            }
            store.wake();
        }
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _hurry = self.store.hurry();
        *self.stop.stopped.lock() = true;
        self.stop.condition.notify_all();
        self.store.wake();
        for thread in self.threads.drain(..) {
            // If the thread panicked, the store knows already.
            drop(thread.join());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use arrow::array::{Int64Array, RecordBatch};
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;
    use crate::storage::{self, Clock, FaultyVfs, Files, OsMachine, Randomness, Sync, TableShape};

    /// A clock that panics when one thread reads it.
    #[derive(Debug)]
    struct Panics(&'static str);

    impl Clock for Panics {
        fn now(&self) -> SystemTime {
            assert_ne!(std::thread::current().name(), Some(self.0), "planted");
            SystemTime::now()
        }
    }

    impl Randomness for Panics {
        fn number(&self) -> io::Result<u64> {
            OsMachine.number()
        }
    }

    fn is_refused_as_poisoned(store: &Store, thread: &str) {
        let poison = store.poison().unwrap();
        assert!(poison.contains(thread) && poison.contains("panicked"), "{poison}");
        let refused = store.write(Vec::new(), SystemTime::now()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::Poisoned);
        assert!(refused.to_string().contains(thread), "{refused}");
    }

    /// Waits for the threads to end by themselves.
    fn join(background: &mut Background, name: &str) {
        let position = background.threads.iter().position(|thread| thread.thread().name() == Some(name));
        drop(background.threads.remove(position.unwrap()).join());
    }

    #[test]
    fn a_panic_of_the_thread_that_syncs_ends_writing() {
        let dir = tempfile::tempdir().unwrap();
        let files = Files::below(dir.path()).unwrap().with_machine(Panics("pillion-upkeep"));
        let store = Arc::new(Store::open(files, Sync::Later, 1 << 20, 0).unwrap());
        let durability = Durability::Interval(Duration::from_millis(1));
        let mut background = Background::start(&store, durability, &Recording::default()).unwrap();
        join(&mut background, "pillion-upkeep");
        is_refused_as_poisoned(&store, "pillion-upkeep");
    }

    #[test]
    fn a_panic_of_the_thread_that_moves_rows_ends_writing() {
        let dir = tempfile::tempdir().unwrap();
        let vfs = FaultyVfs::meanwhile("log", || {
            assert_ne!(std::thread::current().name(), Some("pillion-move"), "planted");
        });
        let files = Files::new(dir.path().to_owned(), Arc::new(vfs));
        let store = Arc::new(Store::open(files, Sync::Later, 1 << 20, 0).unwrap());
        let mut background = Background::start(&store, Durability::Never, &Recording::default()).unwrap();
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let rows = |id| RecordBatch::try_new(schema.clone(), vec![Arc::new(Int64Array::from(vec![id]))]);
        let shape = TableShape::keyed("numbers", schema.clone(), 0);
        store.create_table(shape, SystemTime::now(), &mut std::iter::once(Ok(rows(1).unwrap()))).unwrap();
        let table = store.state().table("numbers").unwrap().shape.id;
        let mut more = std::iter::once(Ok(rows(2).unwrap()));
        let change =
            storage::Change::Rows { table, mode: crate::types::mode::WriteMode::Append, rows: &mut more };
        store.write(vec![change], SystemTime::now()).unwrap();
        store.wake();
        join(&mut background, "pillion-move");
        is_refused_as_poisoned(&store, "pillion-move");
        assert_eq!(store.state().tables[&table].rows, 2, "reads go on");
    }
}
