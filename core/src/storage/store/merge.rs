//! Keeps the number of runs of a table bounded.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::api::error::Result;
use crate::storage::state::{SegmentHandle, TableState};

/// A table has at most this many runs that may overlap in key; an append beyond merges the newest.
const RUNS_MAX: usize = 8;

/// Runs that the next append rewrites together with its rows, so that no more than [`RUNS_MAX`] may overlap: the
/// newest, and older ones as long as they are not much larger than what is rewritten anyway.
pub(super) fn runs_to_merge(table: &TableState) -> HashSet<u64> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for record in table.segments.iter().map(|segment| segment.record()) {
        match runs.last_mut() {
            Some((run, rows)) if *run == record.run => *rows += record.rows,
            _ => runs.push((record.run, record.rows)),
        }
    }
    let mut merged = HashSet::new();
    let mut rows_merged = 0;
    if runs.len() >= RUNS_MAX {
        while let Some(&(run, rows)) = runs.last()
            && (runs.len() >= RUNS_MAX || rows <= 2 * rows_merged)
        {
            merged.insert(run);
            rows_merged += rows;
            runs.pop();
        }
    }
    merged
}

pub(super) fn segment_batches(
    segment: &Arc<SegmentHandle>,
) -> Box<dyn Iterator<Item = Result<RecordBatch>> + '_> {
    match segment.open() {
        Ok(open) => {
            let all: Vec<usize> = (0..open.schema().fields().len()).collect();
            Box::new((0..open.batch_count()).map(move |batch| open.read_batch(batch, &all, open.schema())))
        }
        Err(error) => Box::new(std::iter::once(Err(error))),
    }
}
