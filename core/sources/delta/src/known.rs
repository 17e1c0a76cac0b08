//! The tables that were opened before: a version that is known is not read from the log again.

use std::collections::HashMap;

use delta_kernel::SnapshotRef;
use parking_lot::Mutex;

use crate::head::Head;

/// Tables that are remembered.
const TABLES_MAX: usize = 64;

/// A table, by its folder, and the version that was asked for if that is not the latest one.
pub(crate) type Wanted = (String, Option<u64>);

/// The last version of each table that was asked for.
#[derive(Default)]
pub(crate) struct Known {
    tables: Mutex<HashMap<Wanted, KnownTable>>,
}

/// A version of a table.
struct KnownTable {
    head: Head,
    /// `None` until somebody opens it.
    snapshot: Option<SnapshotRef>,
}

impl Known {
    /// The last version that was seen.
    pub(crate) fn version(&self, wanted: &Wanted) -> Option<u64> {
        self.tables.lock().get(wanted).map(|known| known.head.version)
    }

    /// The table as it was opened, if that was in this version.
    pub(crate) fn snapshot(&self, wanted: &Wanted, head: &Head) -> Option<SnapshotRef> {
        let tables = self.tables.lock();
        tables.get(wanted).filter(|known| known.head == *head)?.snapshot.clone()
    }

    /// Remembers a version that was seen.
    pub(crate) fn note(&self, wanted: &Wanted, head: &Head) {
        let mut tables = self.tables.lock();
        if tables.get(wanted).is_none_or(|known| known.head != *head) {
            put(&mut tables, wanted, KnownTable { head: head.clone(), snapshot: None });
        }
    }

    /// Remembers a version that was opened.
    pub(crate) fn keep(&self, wanted: &Wanted, head: &Head, snapshot: SnapshotRef) {
        let known = KnownTable { head: head.clone(), snapshot: Some(snapshot) };
        put(&mut self.tables.lock(), wanted, known);
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.tables.lock().keys()).finish()
    }
}

/// Puts a table in the place of any other one if there are too many.
fn put(tables: &mut HashMap<Wanted, KnownTable>, wanted: &Wanted, table: KnownTable) {
    if tables.len() >= TABLES_MAX
        && !tables.contains_key(wanted)
        && let Some(one) = tables.keys().next().cloned()
    {
        tables.remove(&one);
    }
    tables.insert(wanted.clone(), table);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_table_makes_room_for_another() {
        let known = Known::default();
        let wanted: Vec<Wanted> = (0..=TABLES_MAX).map(|number| (number.to_string(), None)).collect();
        let head = |version: u64| Head { version, mark: vec![1] };
        wanted.iter().for_each(|wanted| known.note(wanted, &head(7)));
        let is_known = wanted.iter().filter(|wanted| known.version(wanted) == Some(7)).count();
        assert_eq!(is_known, TABLES_MAX);
        let last = &wanted[TABLES_MAX];
        known.note(last, &head(8));
        assert_eq!(known.version(last), Some(8));
        assert!(known.snapshot(last, &head(8)).is_none(), "nobody opened it");
        assert_eq!(known.version(&("0".to_owned(), Some(1))), None, "another version of it");
    }
}
