//! The tables that were opened before: a version that is known is not read from the log again.

use std::collections::HashMap;

use delta_kernel::SnapshotRef;
use parking_lot::Mutex;

/// Tables that are remembered.
const TABLES_MAX: usize = 64;

/// A table, by its folder, and the version that was asked for if that is not the latest one.
pub(crate) type Wanted = (String, Option<u64>);

/// The last version of each table that was opened.
#[derive(Default)]
pub(crate) struct Known {
    tables: Mutex<HashMap<Wanted, KnownTable>>,
}

/// A version of a table, by its mark.
#[derive(Clone)]
pub(crate) struct KnownTable {
    pub(crate) mark: Vec<u8>,
    pub(crate) snapshot: SnapshotRef,
}

impl Known {
    pub(crate) fn get(&self, wanted: &Wanted) -> Option<KnownTable> {
        self.tables.lock().get(wanted).cloned()
    }

    pub(crate) fn keep(&self, wanted: Wanted, table: KnownTable) {
        let mut tables = self.tables.lock();
        if tables.len() >= TABLES_MAX && !tables.contains_key(&wanted) {
            tables.clear();
        }
        tables.insert(wanted, table);
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.tables.lock().keys()).finish()
    }
}
