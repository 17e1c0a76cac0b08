//! One commit: what it writes, and what the cache holds before and after it. It is made at once, or while rows are moved.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use super::contents;
use super::driver::{Step, Stop};
use super::model::{Content, Marker};
use super::recorder::RecordingVfs;
use crate::storage::vfs::faulty::is_below;
use crate::storage::{Store, Sync};
use crate::types::error::{Error, ErrorCode};
use crate::types::version::Version;

/// Writes to a cache.
pub(super) type Write = Box<dyn FnOnce(&Store) -> Result<Version, Error> + Send>;

/// A write to be made, and what the cache holds before and after it.
pub(super) struct Commit {
    pub(super) before: Arc<Content>,
    pub(super) after: Arc<Content>,
    pub(super) write: Write,
    pub(super) sync: Sync,
    /// Whether reads still work after it failed.
    pub(super) reads_work: bool,
}

impl Commit {
    /// Writes, marks the outcome, and compares what readers see with the model.
    pub(super) fn make(self, store: &Store, mut mark: impl FnMut(Marker)) -> Step {
        mark(Marker::Begun(self.after.clone()));
        let result = (self.write)(store);
        let visible = match &result {
            Ok(version) => {
                mark(Marker::Acknowledged(*version));
                if self.sync == Sync::Always {
                    mark(Marker::Durable);
                }
                self.after
            }
            Err(error) => {
                if error.code() != ErrorCode::OutcomeUnknown {
                    mark(Marker::Refused);
                }
                self.before
            }
        };
        if self.reads_work && contents::read(&store.state()).map_err(Stop::Wrong)? != *visible {
            return Err(Stop::Wrong(format!("readers do not see the last commit after {result:?}")));
        }
        result?;
        Ok(())
    }
}

/// A commit that waits for an operation of a move.
pub(super) struct Meanwhile {
    waiting: Arc<Mutex<Option<Commit>>>,
    made: Arc<Mutex<Option<Made>>>,
}

/// A commit that was made.
pub(super) struct Made {
    /// Its markers. The recording has them already.
    pub(super) markers: Vec<Marker>,
    pub(super) step: Step,
    /// Whether rows were still being moved, so that the log is synced once more.
    pub(super) is_among_rows: bool,
}

impl Meanwhile {
    /// Makes `commit` before operation `number`, from 0, among those that a move does without a lock. `is_fold`: the
    /// move has made everything before it durable.
    pub(super) fn new(
        commit: Commit,
        number: usize,
        is_fold: bool,
        store: &Arc<Store>,
        recorder: &RecordingVfs,
    ) -> Self {
        let (waiting, made) = (Arc::new(Mutex::new(Some(commit))), Arc::new(Mutex::new(None)));
        let meanwhile = Self { waiting: waiting.clone(), made: made.clone() };
        let (store, recording) = (store.clone(), recorder.clone());
        recorder.set_meanwhile(number, move |path: &Path| {
            let Some(commit) = waiting.lock().take() else { return };
            let mut markers = Vec::new();
            let mut mark = |marker: Marker| {
                recording.mark(marker.clone());
                markers.push(marker);
            };
            if is_fold {
                mark(Marker::Durable);
            }
            let step = commit.make(&store, mark);
            let is_among_rows = is_below(path, "tables");
            *made.lock() = Some(Made { markers, step, is_among_rows });
        });
        meanwhile
    }

    /// Called when the move has ended. Returns what became of the commit, or the commit if there were fewer operations.
    pub(super) fn end(self, recorder: &RecordingVfs) -> (Option<Made>, Option<Commit>) {
        recorder.end_meanwhile();
        (self.made.lock().take(), self.waiting.lock().take())
    }
}
