//! Rows of a table whose keys rows of new segments have, and which these take the place of.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use super::change::{Ready, Rows};
use crate::api::error::Result;
use crate::storage::deleted::DeletedRows;
use crate::storage::live::TailIndex;
use crate::storage::load::NewSegments;
use crate::storage::segment::SegmentHandle;
use crate::storage::table::{TableState, Under};
use crate::storage::tail::KeyColumn;

/// Keys of new segments that are looked up together, and their bytes.
const KEYS_AT_A_TIME: usize = 1024;
const KEYS_LEN_AT_A_TIME: usize = 4 << 20;

/// What was found under the keys of new segments.
pub(super) struct Replaced {
    /// Where it was found. Whoever changes the table makes another one, as long as this one is held.
    table: Arc<TableState>,
    pub(super) deleted: HashMap<u64, DeletedRows>,
    pub(super) in_tail: Vec<(Arc<TailIndex>, u32)>,
}

impl Replaced {
    /// Looks all keys up in `table`; `under` tells what stands under some of them.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(super) fn find(
        table: &Arc<TableState>,
        new: &NewSegments,
        under: impl Fn(&KeyColumn) -> Result<Vec<Under>>,
    ) -> Result<Self> {
        let mut found = Self { table: table.clone(), deleted: HashMap::new(), in_tail: Vec::new() };
        visit_keys(new, |_, _, keys| {
            for under in under(keys)? {
                match under {
                    Under::Nothing => {}
                    Under::Tail(tail, row) => {
                        let index = table.tails[tail].index.clone();
                        found.in_tail.extend(index.map(|index| (index, row)));
                    }
                    Under::Segment(segment, _, row) => {
                        found.deleted.entry(segment).or_default().insert(row);
                    }
                }
            }
            Ok(())
        })?;
        Ok(found)
    }

    /// Whether it still is what is found in a table.
    pub(super) fn is_of(&self, table: &Arc<TableState>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }
}

impl Store {
    /// Looks up what many rows take the place of, by table, while others commit: it may take seconds, and read from the
    /// disk. Rows of tables that are changed more than once in the commit are looked up when it is planned.
    ///
    /// # Errors
    /// As [`Replaced::find`].
    pub(super) fn look_up_replaced(&self, ready: &[Ready]) -> Result<HashMap<u64, Replaced>> {
        let mut found = HashMap::new();
        for change in ready {
            let Ready::Insert { shape, rows: Rows::Segments(new), upsert: true } = change else { continue };
            if ready.iter().filter(|change| change.table() == Some(shape.id)).count() > 1 {
                continue;
            }
            let newest = self.newest_logged()?;
            if let Some(table) = newest.tables.get(&shape.id) {
                let sequence = newest.version.sequence;
                found.insert(shape.id, Replaced::find(table, new, |keys| table.under(keys, sequence))?);
            }
        }
        Ok(found)
    }
}

/// Calls `visit` with all keys of new segments, some at a time: the segment, the number of the first row, and the keys.
pub(super) fn visit_keys(
    new: &NewSegments,
    mut visit: impl FnMut(&SegmentHandle, usize, &KeyColumn) -> Result<()>,
) -> Result<()> {
    for segment in new.segments() {
        let open = segment.open()?;
        let mut first = 0;
        while first < open.rows() {
            let mut keys = KeyColumn::default();
            let most = KEYS_AT_A_TIME.min(open.rows() - first);
            while keys.len() < most && keys.bytes() < KEYS_LEN_AT_A_TIME {
                keys.push(&open.key_at(first + keys.len())?);
            }
            visit(segment, first, &keys)?;
            first += keys.len();
        }
    }
    Ok(())
}
