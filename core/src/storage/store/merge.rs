//! Which segments are rewritten, so that a lookup and a scan stay cheap.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::storage::segment::SegmentHandle;
use crate::storage::table::TableState;

/// A table has at most this many runs, beside those that are damaged as a whole. The key ranges of all may overlap.
const RUNS_MAX: usize = 8;
/// A segment is written anew if more than one in this many of its rows is deleted.
const DELETED_SHARE: u64 = 2;

/// The segments of a table that should become one run, together with `new_rows` if there are any, so that there is
/// room for `coming` more runs. They are the newest runs while there are too many, then older ones that are not much
/// larger than what is rewritten anyway, and all segments with many deleted rows. Segments that are known to be
/// damaged stay as they are and do not count.
pub(super) fn segments_to_rewrite(
    table: &TableState,
    new_rows: u64,
    coming: usize,
) -> Vec<Arc<SegmentHandle>> {
    let mut deleted: HashMap<u64, u64> =
        table.deleted.iter().map(|(&segment, rows)| (segment, rows.count())).collect();
    for index in table.tails.iter().filter_map(|tail| tail.index.as_ref()) {
        for (segment, _, _) in index.deleted_rows() {
            *deleted.entry(segment).or_default() += 1;
        }
    }
    let deleted_in = |segment: &SegmentHandle| deleted.get(&segment.id()).copied().unwrap_or_default();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for record in whole_segments(table).map(|segment| segment.record()) {
        match runs.iter_mut().find(|(run, _)| *run == record.run) {
            Some((_, rows)) => *rows += record.rows,
            None => runs.push((record.run, record.rows)),
        }
    }
    let mut merged = HashSet::new();
    let mut rewritten = new_rows;
    // What is rewritten becomes a run of its own. The run that it was part of may remain beside it.
    let is_deleted = |segment: &SegmentHandle| DELETED_SHARE * deleted_in(segment) > segment.record().rows;
    let is_any_deleted = whole_segments(table).any(|segment| is_deleted(segment));
    let added = usize::from(new_rows > 0 || is_any_deleted) + coming;
    if runs.len() + added > RUNS_MAX {
        while let Some(&(run, rows)) = runs.last()
            && (runs.len() + 1 + coming > RUNS_MAX || rows <= 2 * rewritten)
        {
            merged.insert(run);
            rewritten += rows;
            runs.pop();
        }
    }
    let is_rewritten =
        |segment: &&Arc<SegmentHandle>| merged.contains(&segment.record().run) || is_deleted(segment);
    whole_segments(table).filter(is_rewritten).cloned().collect()
}

/// Whether one more run would be too many. Damaged segments do not count, as for [`segments_to_rewrite`]: nothing could be
/// merged to make room beside them.
pub(super) fn is_full(table: &TableState) -> bool {
    let runs: HashSet<u64> = whole_segments(table).map(|segment| segment.record().run).collect();
    runs.len() >= RUNS_MAX
}

/// The segments that are not known to be damaged.
fn whole_segments(table: &TableState) -> impl Iterator<Item = &Arc<SegmentHandle>> {
    table.segments.iter().filter(|segment| segment.damage().is_none())
}
