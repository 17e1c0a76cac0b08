//! The locks of tables: whoever changes a table holds its lock.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::storage::catalog::state::State;

/// One lock for each table that was written to, as long as the table exists.
#[derive(Debug, Default)]
pub(super) struct TableLocks {
    locks: Mutex<HashMap<u64, Arc<Mutex<()>>>>,
}

impl TableLocks {
    /// The lock of a table. Ask only for those of existing tables, and [forget](Self::forget_gone) the lock if it
    /// turns out that the table is gone.
    pub(super) fn of(&self, table: u64) -> Arc<Mutex<()>> {
        self.locks.lock().entry(table).or_default().clone()
    }

    /// Forgets the locks of those of `tables` that the newest logged state does not have. Their numbers are never
    /// given to other tables.
    pub(super) fn forget_gone(&self, tables: impl IntoIterator<Item = u64>, newest: &State) {
        let mut locks = self.locks.lock();
        tables.into_iter().filter(|table| !newest.tables.contains_key(table)).for_each(|table| {
            locks.remove(&table);
        });
    }

    /// Number of locks that are kept.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.locks.lock().len()
    }
}
