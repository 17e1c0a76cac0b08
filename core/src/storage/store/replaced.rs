//! Finds the rows that new segments replace.

use std::collections::HashMap;
use std::sync::Arc;

use super::Store;
use super::change::{Ready, Rows};
use super::fold::Unmoved;
use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::live::TailIndex;
use crate::storage::load::NewSegments;
use crate::storage::segment::SegmentHandle;
use crate::storage::table::deleted::{DeletedRecord, DeletedRows};
use crate::storage::table::{TableState, Under};
use crate::storage::tail::KeyColumn;
use crate::types::error::Result;

/// Keys of new segments that are looked up together, and their bytes.
const KEYS_AT_A_TIME: usize = 1024;
const KEYS_LEN_AT_A_TIME: usize = 4 << 20;

/// A commit's lists of deleted rows of segments take at most this many bytes of its record. Beyond that, the segments
/// with the longest lists are written anew without these rows. Small in tests, so that small commits do it.
const DELETED_LEN_MAX: usize = if cfg!(test) { 1 << 10 } else { RECORD_BODY_MAX / 2 };

/// What was found under the keys of new segments.
pub(super) struct Replaced {
    /// The table that was searched. Held, so that every change of the table makes another one.
    table: Arc<TableState>,
    pub(super) deleted: HashMap<u64, DeletedRows>,
    pub(super) in_tail: Vec<(Arc<TailIndex>, u32)>,
    /// Segments whose lists of deleted rows were too long, so that their other rows were written anew.
    pub(super) rewritten: Option<Rewritten>,
}

/// Segments that a commit replaces by others, without the rows that it deletes.
pub(super) struct Rewritten {
    pub(super) segments: Vec<u64>,
    pub(super) into: NewSegments,
    /// How many rows are left out.
    pub(super) deleted: u64,
}

impl Replaced {
    /// Looks all keys up in `table`. `under` finds what stands under some of them.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(super) fn find(
        table: &Arc<TableState>,
        new: &NewSegments,
        under: impl Fn(&KeyColumn) -> Result<Vec<Under>>,
    ) -> Result<Self> {
        let mut found =
            Self { table: table.clone(), deleted: HashMap::new(), in_tail: Vec::new(), rewritten: None };
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

    /// Whether a search of this table would still find the same.
    pub(super) fn is_of(&self, table: &Arc<TableState>) -> bool {
        Arc::ptr_eq(&self.table, table)
    }
}

impl Store {
    /// Looks up, by table, what many rows replace. Others can commit meanwhile: it may take seconds, and read from the
    /// disk. For a table with more than one change in the commit, this is looked up when the commit is planned.
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
                let mut replaced = Replaced::find(table, new, |keys| table.under(keys, sequence))?;
                self.rewrite_replaced(&mut replaced, DELETED_LEN_MAX / ready.len(), sequence)?;
                found.insert(shape.id, replaced);
            }
        }
        Ok(found)
    }

    /// Writes segments anew until the lists of deleted rows have no more than `most` bytes. The caller makes sure that
    /// nobody else moves or changes rows of the table.
    fn rewrite_replaced(&self, replaced: &mut Replaced, most: usize, sequence: u64) -> Result<()> {
        let len = |(segment, rows): (&u64, &DeletedRows)| {
            let record = DeletedRecord::new(*segment, rows);
            (record.rows.len() + record.bits.len(), *segment)
        };
        let mut lens: Vec<(usize, u64)> = replaced.deleted.iter().map(len).collect();
        let mut all: usize = lens.iter().map(|(len, _)| len).sum();
        if all <= most {
            return Ok(());
        }
        lens.sort_unstable();
        let mut segments = Vec::new();
        while all > most
            && let Some((len, segment)) = lens.pop()
        {
            all -= len;
            segments.extend(replaced.table.segments.iter().find(|held| held.id() == segment).cloned());
        }
        let mut without = (*replaced.table).clone();
        let mut deleted = 0;
        for segment in &segments {
            let rows = replaced.deleted.remove(&segment.id()).unwrap_or_default();
            deleted += rows.count();
            let all = Arc::make_mut(&mut without.deleted).entry(segment.id()).or_default();
            let all = Arc::make_mut(all);
            for row in rows.rows() {
                all.insert(row);
            }
        }
        let into = self
            .write_anew(&Arc::new(without), &segments, false, sequence)
            .map_err(|Unmoved { error, .. }| error)?;
        let segments = segments.iter().map(|segment| segment.id()).collect();
        replaced.rewritten = Some(Rewritten { segments, into, deleted });
        Ok(())
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
