//! The threads that an embedded cache owns: one makes commits durable and says that the owner lives, one moves rows out
//! of the log.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex};

use crate::api::error::{Error, ErrorCode, Result};
use crate::api::options::Durability;
use crate::storage::Store;

/// How often a thread looks for work that has no clock of its own.
const INTERVAL: Duration = Duration::from_secs(1);
/// How often to look for rows that are too old.
const EXPIRY_INTERVAL: Duration = Duration::from_secs(10);
/// Where moving rows failed, as it does on a full disk, it is tried again after this.
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
    /// Waits for some time; returns whether the threads should end.
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
    pub(crate) fn start(store: &Arc<Store>, durability: Durability) -> Result<Self> {
        let mut background = Self { store: store.clone(), stop: Arc::default(), threads: Vec::new() };
        let sync_interval = match durability {
            Durability::Interval(interval) => Some(interval),
            Durability::Always | Durability::Never => None,
        };
        background.spawn("pillion-upkeep", move |store, stop| upkeep(store, stop, sync_interval))?;
        background.spawn("pillion-move", move_rows)?;
        Ok(background)
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce(&Store, &Stop) + Send + 'static) -> Result<()> {
        let (store, stop) = (self.store.clone(), self.stop.clone());
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&store, &stop));
        let failed = |error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error);
        self.threads.push(thread.map_err(failed)?);
        Ok(())
    }
}

/// Ends when the store is closed or poisoned, which it logged; the next writer is told.
fn upkeep(store: &Store, stop: &Stop, sync_interval: Option<Duration>) {
    let mut synced_at = Instant::now();
    let left = |synced_at: Instant| {
        sync_interval.map_or(INTERVAL, |interval| interval.saturating_sub(synced_at.elapsed())).min(INTERVAL)
    };
    while !stop.wait(left(synced_at)) {
        let mut result = store.upkeep();
        if let Some(interval) = sync_interval
            && synced_at.elapsed() >= interval
        {
            result = result.and_then(|()| store.sync());
            synced_at = Instant::now();
        }
        if result.is_err() {
            return;
        }
    }
}

/// Whether nothing will be written any more.
fn is_over(error: &Error) -> bool {
    [ErrorCode::Closed, ErrorCode::Poisoned].contains(&error.code())
}

fn move_rows(store: &Store, stop: &Stop) {
    let mut expired_at: Option<Instant> = None;
    loop {
        let is_due = store.wait_until_due(INTERVAL);
        if *stop.stopped.lock() {
            return;
        }
        if expired_at.is_none_or(|at| at.elapsed() >= EXPIRY_INTERVAL) {
            if let Err(error) = store.expire(SystemTime::now(), &|| *stop.stopped.lock()) {
                if is_over(&error) {
                    return;
                }
                tracing::warn!(%error, "rows that are too old stay; removing them will be tried again");
            }
            expired_at = Some(Instant::now());
        }
        if is_due && let Err(error) = store.fold() {
            if is_over(&error) {
                return;
            }
            tracing::warn!(%error, "rows stay in the log; moving them will be tried again");
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
            if thread.join().is_err() {
                tracing::error!("a background thread of the cache panicked");
            }
        }
    }
}
