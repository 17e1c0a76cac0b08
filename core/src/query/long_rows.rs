//! Keeps filters above lookups from making batches that no column of texts can hold.
//!
//! A filter of DataFusion collects the rows that pass into batches of a fixed number of rows, however long these are,
//! and fails if a column of such a batch has more than 2 GiB.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use super::lookup::PointExec;

/// Most bytes of a batch of a filter.
const BYTES_MAX: usize = 1 << 30;

/// If `plan` is a filter, the same with batches as small as its longest row demands; `None` if they are.
pub(super) fn in_small_batches(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(None) };
    let Some(longest) = longest_row(filter.input())? else { return Ok(None) };
    let rows = (BYTES_MAX / longest.max(1)).max(1);
    if rows >= filter.batch_size() {
        return Ok(None);
    }
    Ok(Some(Arc::new(filter.with_batch_size(rows)?)))
}

/// Bytes of the longest row, if all rows of a plan come from one lookup.
fn longest_row(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<usize>> {
    if let Some(lookup) = plan.downcast_ref::<PointExec>() {
        return lookup.longest_row(BYTES_MAX).map(Some);
    }
    match plan.children().as_slice() {
        [input] => longest_row(input),
        _ => Ok(None),
    }
}
