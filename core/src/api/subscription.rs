//! Changes of a table as they are committed.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::table::Table;
use crate::answer::batches::Batches;
use crate::types::error::Result;
use crate::types::version::Version;

/// The longest pause between two looks for a new commit: what it adds to the age of a change at most.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The first pause; each later one is twice as long until there is a commit.
const PAUSE_MIN: Duration = Duration::from_micros(100);

/// Changes of a table as they are committed. Made by [`Table::subscribe`].
///
/// What is told and what is not says [`Table::changes`]: rows of tables without a primary key become too old in silence.
///
/// Nothing is held in the cache or the sidecar between two calls: a subscription that is forgotten costs nothing, and one
/// that sleeps too long is told with [`HistoryGone`](crate::ErrorCode::HistoryGone).
#[derive(Debug)]
pub struct Subscription {
    table: Table,
    /// Everything up to here was handed out.
    version: Version,
    /// Changes that are being handed out.
    current: Option<Batches>,
}

impl Subscription {
    pub(crate) fn new(table: Table, since: Version) -> Self {
        Self { table, version: since, current: None }
    }

    /// The version up to which all changes were handed out: where to go on after a restart.
    pub fn version(&self) -> Version {
        self.version
    }

    /// The next changes, waited for at most this long; `None` if none were committed. Their columns are those of
    /// [`Table::changes`].
    ///
    /// # Errors
    /// As [`Table::changes`]. The next call asks again for what follows [`version`](Self::version), so after an error
    /// changes of commits that were handed out in part come again as a whole.
    pub fn next(&mut self, patience: Duration) -> Result<Option<RecordBatch>> {
        let mut pauses = Pauses::new(patience);
        loop {
            if let Some(changes) = self.look()? {
                return Ok(Some(changes));
            }
            let Some(pause) = pauses.next() else { return Ok(None) };
            std::thread::sleep(pause);
        }
    }

    /// The next changes, if some were committed. Does not wait for any.
    ///
    /// # Errors
    /// As [`next`](Self::next).
    pub(crate) fn look(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(changes) = self.next_of_current()? {
            return Ok(Some(changes));
        }
        if self.table.version()? == self.version {
            return Ok(None);
        }
        self.current = Some(self.table.changes(self.version)?);
        self.next_of_current()
    }

    /// What is left of the changes that are being handed out.
    fn next_of_current(&mut self) -> Result<Option<RecordBatch>> {
        while let Some(batches) = &mut self.current {
            match batches.next() {
                Some(Ok(batch)) if batch.num_rows() == 0 => {}
                Some(Ok(batch)) => return Ok(Some(batch)),
                Some(Err(error)) => {
                    self.current = None;
                    return Err(error);
                }
                None => {
                    self.version = batches.version();
                    self.current = None;
                }
            }
        }
        Ok(None)
    }
}

/// The pauses between looks for changes, until it has been waited long enough.
#[derive(Debug)]
pub(crate) struct Pauses {
    /// Never, if that is too far away to be told.
    deadline: Option<Instant>,
    pause: Duration,
}

impl Pauses {
    /// Pauses of so much time together.
    pub(crate) fn new(patience: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(patience), pause: PAUSE_MIN }
    }
}

impl Iterator for Pauses {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        let left =
            self.deadline.map_or(PAUSE_MAX, |deadline| deadline.saturating_duration_since(Instant::now()));
        let pause = self.pause.min(left);
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        (!pause.is_zero()).then_some(pause)
    }
}
