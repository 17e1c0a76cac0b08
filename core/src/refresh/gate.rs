//! Keeps refreshes from taking rows for complete that were invalidated meanwhile.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

/// What invalidations and refreshes of a table know of each other; clones are of the same table.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Invalidations so far.
    invalidated: u64,
    /// How many of them the newest load of all rows began after.
    loaded: u64,
}

impl Gate {
    /// Held while rows are invalidated, and while a refresh commits that nothing else is missing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    /// Rows were invalidated.
    pub(super) fn invalidate(&mut self) {
        self.invalidated += 1;
    }

    /// Whether rows are missing that only a load of all rows brings back.
    pub(super) fn has_gaps(&self) -> bool {
        self.invalidated > self.loaded
    }

    /// Invalidations before a load that begins now.
    pub(super) fn before_load(&self) -> u64 {
        self.invalidated
    }

    /// All rows were loaded, by a load that began after so many invalidations.
    pub(super) fn loaded(&mut self, before: u64) {
        self.loaded = self.loaded.max(before);
    }
}
