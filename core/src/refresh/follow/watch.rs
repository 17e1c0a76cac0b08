//! What an audit sees of the stream: the held rows at an exact position, and which keys change meanwhile.
//!
//! The source names the position of its own state only after it has made it, and by then the follower may be beyond. So the follower notes the
//! held state behind every transaction while an audit waits to learn its position.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::shared::stopping;
use crate::source::Source;
use crate::storage::{KeyColumn, State};
use crate::types::error::{Error, ErrorCode, Result};

/// The most states that are noted; older ones are let go.
const NOTED_MAX: usize = 4096;
/// How often whoever waits looks around.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// Between the follower of a source and whoever audits one of its tables.
#[derive(Debug, Default)]
pub(super) struct Watches {
    watched: Mutex<Watched>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    /// Everything up to here is applied; `None` while nothing is followed.
    reached: Option<Vec<u8>>,
    /// Changes came of a transaction that is not committed here.
    is_open: bool,
    is_stopping: bool,
    watch: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    table: String,
    /// Positions in ascending order, each with the state behind it. `None` once the wanted one is known.
    noted: Option<VecDeque<(Vec<u8>, Arc<State>)>>,
    touched: Touched,
    /// Why the rows of the table are not those any more that were watched.
    broken: Option<String>,
}

/// The keys of rows that came since a watch began.
#[derive(Debug, Default)]
pub(super) struct Touched {
    keys: HashSet<Box<[u8]>>,
    /// All rows were removed at once.
    all: bool,
}

impl Touched {
    pub(super) fn has(&self, key: &[u8]) -> bool {
        self.all || self.keys.contains(key)
    }
}

impl Watches {
    /// The follower begins behind a position, or has ended.
    pub(super) fn streams(&self, position: Option<&[u8]>) {
        let mut watched = self.watched.lock();
        watched.reached = position.map(<[u8]>::to_vec);
        // What came of a transaction without its end comes again.
        watched.is_open = false;
        self.changed.notify_all();
    }

    /// Nobody waits any longer.
    pub(super) fn stop(&self) {
        self.watched.lock().is_stopping = true;
        self.changed.notify_all();
    }

    /// Changes of a transaction come. Called before what is held is read for them.
    pub(super) fn opened(&self) {
        self.watched.lock().is_open = true;
    }

    /// Whether changes of a table are of interest.
    pub(super) fn wants(&self, table: &str) -> bool {
        self.watched.lock().watch.as_ref().is_some_and(|watch| watch.table == table)
    }

    /// Rows of a table came; `None`: all are gone. Called before what is held is read for them.
    pub(super) fn touched(&self, table: &str, keys: Option<&KeyColumn>) {
        let mut watched = self.watched.lock();
        let Some(watch) = watched.watch.as_mut().filter(|watch| watch.table == table) else { return };
        match keys {
            Some(keys) => watch.touched.keys.extend(keys.iter().map(|(key, _)| key.into())),
            None => watch.touched.all = true,
        }
    }

    /// A transaction is committed here, and everything up to a position is applied. `state`: what is held now.
    pub(super) fn committed(&self, position: &[u8], state: impl FnOnce() -> Arc<State>) {
        let mut watched = self.watched.lock();
        watched.is_open = false;
        watched.reached = Some(position.to_vec());
        if let Some(noted) = watched.watch.as_mut().and_then(|watch| watch.noted.as_mut()) {
            if noted.len() >= NOTED_MAX {
                noted.pop_front();
            }
            noted.push_back((position.to_vec(), state()));
        }
        self.changed.notify_all();
    }

    /// There was nothing up to a position.
    pub(super) fn idle(&self, position: &[u8]) {
        let mut watched = self.watched.lock();
        if watched.reached.is_some() {
            watched.reached = Some(position.to_vec());
            self.changed.notify_all();
        }
    }

    /// The rows of a table, or of all, are not in step any more, or are about to be others.
    pub(super) fn breaks(&self, table: Option<&str>, why: &str) {
        let mut watched = self.watched.lock();
        let is_it = |watch: &&mut Watch| table.is_none_or(|table| watch.table == table);
        if let Some(watch) = watched.watch.as_mut().filter(is_it) {
            watch.broken = Some(why.to_owned());
            self.changed.notify_all();
        }
    }

    /// Watches a table from the next moment on at which no transaction is open. One audit of a source watches at a time.
    ///
    /// # Errors
    /// [`ErrorCode::SourceUnavailable`] if the source is not followed until the deadline, and [`ErrorCode::Closed`].
    pub(super) fn begin(
        &self,
        table: &str,
        state: impl FnOnce() -> Arc<State>,
        deadline: Instant,
    ) -> Result<Watching<'_>> {
        let mut watched = self.watched.lock();
        loop {
            watched.refuse_if_stopping()?;
            if let Some(reached) = watched.reached.clone()
                && !watched.is_open
                && watched.watch.is_none()
            {
                watched.watch = Some(Watch {
                    table: table.to_owned(),
                    noted: Some(VecDeque::from([(reached, state())])),
                    touched: Touched::default(),
                    broken: None,
                });
                return Ok(Watching(self));
            }
            if deadline <= Instant::now() {
                let message = match (&watched.reached, watched.is_open) {
                    (None, _) => {
                        format!("table `{table}` does not follow its source now, so nothing can be compared")
                    }
                    (_, true) => format!(
                        "a transaction of the source of `{table}` takes too long for a comparison: try it later"
                    ),
                    (_, false) => {
                        format!("another table of the source of `{table}` is compared: try it later")
                    }
                };
                return Err(Error::new(ErrorCode::SourceUnavailable, message));
            }
            self.wait(&mut watched)?;
        }
    }

    fn wait(&self, watched: &mut MutexGuard<'_, Watched>) -> Result<()> {
        if crate::answer::batches::Canceller::is_current_cancelled() {
            return Err(Error::new(ErrorCode::Cancelled, "nobody waits for the comparison any more"));
        }
        self.changed.wait_for(watched, LOOK_PAUSE);
        Ok(())
    }
}

impl Watched {
    fn refuse_if_stopping(&self) -> Result<()> {
        if self.is_stopping { Err(stopping()) } else { Ok(()) }
    }
}

/// A table that is watched until this is dropped.
#[derive(Debug)]
pub(super) struct Watching<'a>(&'a Watches);

impl Watching<'_> {
    /// What was held behind the last transaction up to a position. Waits until that is applied. `None` if the follower was too far beyond it.
    ///
    /// # Errors
    /// [`ErrorCode::Cancelled`] if the rows are not in step any more, [`ErrorCode::Timeout`].
    pub(super) fn at(
        &self,
        position: &[u8],
        source: &dyn Source,
        deadline: Instant,
    ) -> Result<Option<Arc<State>>> {
        let mut watched = self.0.watched.lock();
        loop {
            watched.refuse_if_stopping()?;
            let reached = watched.reached.clone();
            let watch = watched.watch.as_mut().ok_or_else(|| Error::internal("a watch ended early"))?;
            watch.refuse_if_broken()?;
            if let Some(reached) = reached
                && source.behind(&reached, position)? == 0
            {
                let noted = watch.noted.take().unwrap_or_default();
                for (before, state) in noted.into_iter().rev() {
                    if source.behind(position, &before)? == 0 {
                        return Ok(Some(state));
                    }
                }
                return Ok(None);
            }
            if deadline <= Instant::now() {
                let message = format!(
                    "table `{}` has not come up to the position of the comparison in time",
                    watch.table
                );
                return Err(Error::new(ErrorCode::Timeout, message));
            }
            self.0.wait(&mut watched)?;
        }
    }

    /// Does something while no change of the table is applied, with the keys that came since the watch began.
    ///
    /// # Errors
    /// As [`at`](Self::at), and those of `work`.
    pub(super) fn meanwhile<T>(&self, work: impl FnOnce(&Touched) -> Result<T>) -> Result<T> {
        let mut watched = self.0.watched.lock();
        watched.refuse_if_stopping()?;
        let watch = watched.watch.as_mut().ok_or_else(|| Error::internal("a watch ended early"))?;
        watch.refuse_if_broken()?;
        work(&watch.touched)
    }
}

impl Watch {
    fn refuse_if_broken(&self) -> Result<()> {
        match &self.broken {
            None => Ok(()),
            Some(why) => {
                let message = format!("table `{}` cannot be compared to the end: {why}", self.table);
                Err(Error::new(ErrorCode::Cancelled, message))
            }
        }
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watched.lock().watch = None;
        self.0.changed.notify_all();
    }
}
