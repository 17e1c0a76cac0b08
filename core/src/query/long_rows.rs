//! Keeps filters above lookups from making batches that no column of texts can hold.
//!
//! A filter of DataFusion collects the rows that pass into batches of a fixed number of rows, however long these are,
//! and fails if a column of such a batch has more than 2 GiB.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::FilterExec;

use super::lookup::PointExec;

/// Most bytes of a batch of a filter.
const BYTES_MAX: usize = 1 << 30;

/// Makes the batches of a filter as small as its longest row demands.
#[derive(Debug)]
pub(super) struct LongRows {
    bytes_max: usize,
}

impl LongRows {
    pub(super) fn new() -> Self {
        Self { bytes_max: BYTES_MAX }
    }
}

impl PhysicalOptimizerRule for LongRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
            let Some(longest) = longest_row(filter.input(), self.bytes_max)? else {
                return Ok(Transformed::no(plan));
            };
            let rows = (self.bytes_max / longest.max(1)).max(1);
            if rows >= filter.batch_size() {
                return Ok(Transformed::no(plan));
            }
            Ok(Transformed::yes(Arc::new(filter.with_batch_size(rows)?)))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "long_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Bytes of the longest row, if all rows of a plan come from one lookup.
fn longest_row(plan: &Arc<dyn ExecutionPlan>, bytes_max: usize) -> Result<Option<usize>> {
    if let Some(lookup) = plan.downcast_ref::<PointExec>() {
        return lookup.longest_row(bytes_max).map(Some);
    }
    match plan.children().as_slice() {
        [input] => longest_row(input, bytes_max),
        _ => Ok(None),
    }
}
