//! Keeps refreshes from taking rows for complete that were invalidated meanwhile.

use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use crate::types::value::Value;

/// The most keys that are remembered; after more, all rows are fetched.
const KEYS_MAX: usize = 10_000;

/// What invalidations and refreshes of a table know of each other; clones are of the same table.
#[derive(Clone, Debug, Default)]
pub(super) struct Gate {
    counts: Arc<Mutex<Counts>>,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Invalidations so far.
    invalidated: u64,
    /// How many of them the newest load of all rows, or of all that was missing, began after.
    loaded: u64,
    missing: Option<Missing>,
}

/// Rows that are missing, and nothing else is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Missing {
    pub(super) keys: Vec<Vec<Value>>,
    /// The record of the table before they were invalidated.
    pub(super) record: Vec<u8>,
}

impl Gate {
    /// Held while rows are invalidated, and while a refresh commits that nothing else is missing.
    pub(super) fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }
}

impl Counts {
    /// Rows with some keys were invalidated; `record` was that of the table before.
    pub(super) fn invalidate(&mut self, keys: Vec<Vec<Value>>, record: Option<Vec<u8>>) {
        let missing = match (self.has_gaps(), self.missing.take()) {
            (false, _) => record.map(|record| Missing { keys, record }),
            (true, Some(mut missing)) => {
                missing.keys.extend(keys);
                Some(missing)
            }
            (true, None) => None,
        };
        self.missing = missing.filter(|missing| missing.keys.len() <= KEYS_MAX);
        self.invalidated += 1;
    }

    /// Whether rows are missing that only a load brings back.
    pub(super) fn has_gaps(&self) -> bool {
        self.invalidated > self.loaded
    }

    /// The rows that are missing, if they are known.
    pub(super) fn missing(&self) -> Option<&Missing> {
        self.missing.as_ref().filter(|_| self.has_gaps())
    }

    /// Invalidations before a load that begins now.
    pub(super) fn before_load(&self) -> u64 {
        self.invalidated
    }

    /// All rows that were missing were loaded, by a load that began after so many invalidations.
    pub(super) fn loaded(&mut self, before: u64) {
        self.loaded = self.loaded.max(before);
        // If some are missing again, another record than the one before these counts.
        self.missing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: impl IntoIterator<Item = i64>) -> Vec<Vec<Value>> {
        keys.into_iter().map(|key| vec![Value::Int(key)]).collect()
    }

    #[test]
    fn missing_rows_are_known_until_there_are_too_many() {
        let mut counts = Counts::default();
        assert!(counts.missing().is_none());
        counts.invalidate(keys([1]), Some(vec![7]));
        counts.invalidate(keys([2, 3]), None);
        assert_eq!(counts.missing(), Some(&Missing { keys: keys([1, 2, 3]), record: vec![7] }));
        counts.loaded(2);
        assert!(counts.missing().is_none() && !counts.has_gaps());
        counts.invalidate(keys(0..10_000), Some(vec![8]));
        assert!(counts.missing().is_some());
        counts.invalidate(keys([5]), None);
        assert!(counts.missing().is_none() && counts.has_gaps());
        counts.invalidate(keys([6]), Some(vec![9]));
        assert!(counts.missing().is_none(), "others are missing too");
    }

    #[test]
    fn a_table_without_a_record_is_not_whole_but_for_some_rows() {
        let mut counts = Counts::default();
        counts.invalidate(keys([1]), None);
        assert!(counts.missing().is_none() && counts.has_gaps());
        // Rows are invalidated while a load is under way that began before.
        let before = counts.before_load();
        counts.invalidate(keys([2]), None);
        counts.loaded(before);
        assert!(counts.missing().is_none() && counts.has_gaps());
    }
}
