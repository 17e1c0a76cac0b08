//! Changes of a table as they are committed.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::table::Table;
use crate::answer::batches::Batches;
use crate::types::error::Result;
use crate::types::version::Version;

/// The longest pause between two looks for a new commit, and so the longest delay of a change.
const PAUSE_MAX: Duration = Duration::from_millis(50);
/// The first pause; each later one is twice as long until there is a commit.
const PAUSE_MIN: Duration = Duration::from_micros(100);

/// Changes of a table as they are committed. Made by [`Table::subscribe`].
///
/// [`Table::changes`] says what is reported. In tables without a primary key, rows that become too old go unreported.
///
/// Neither the cache nor the sidecar holds anything between two calls. So a forgotten subscription costs nothing, and
/// one that sleeps too long gets [`HistoryGone`](crate::ErrorCode::HistoryGone).
#[derive(Debug)]
pub struct Subscription {
    table: Table,
    /// All changes up to this version were handed out.
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

    /// The next changes; waits for them at most this long, and returns `None` if none were committed. Their columns
    /// are those of [`Table::changes`].
    ///
    /// # Errors
    /// As [`Table::changes`]. The next call asks again for what follows [`version`](Self::version), so after an error
    /// a commit that was handed out in part comes again as a whole.
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

    /// The next changes, if some were committed. Does not wait.
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

    /// The rest of the changes that are being handed out.
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

/// The pauses between looks for changes, until the caller's patience is over.
#[derive(Debug)]
pub(crate) struct Pauses {
    /// `None` if it is too far away for an `Instant`: then it never comes.
    deadline: Option<Instant>,
    pause: Duration,
}

impl Pauses {
    /// Pauses that together last as long as `patience`.
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
