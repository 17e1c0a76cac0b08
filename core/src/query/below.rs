//! The scan below nodes that pass its rows on, and which of its columns theirs are, by position.

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use super::scan::ScanExec;

/// The scan of a side that has nothing but conditions and columns of it.
pub(super) fn scan_below(plan: &Arc<dyn ExecutionPlan>) -> Option<&ScanExec> {
    match plan.downcast_ref::<ScanExec>() {
        Some(scan) => Some(scan),
        None => scan_below(passed(plan)?),
    }
}

/// The input of a node that passes rows on, or leaves some out, each by itself.
fn passed(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    let is_known = plan.is::<FilterExec>()
        || plan.is::<ProjectionExec>()
        || plan.is::<RepartitionExec>()
        || plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>();
    // A limit takes the rows that come first, and other rows would come first.
    (is_known && plan.fetch().is_none()).then(|| only_child(plan)).flatten()
}

pub(super) fn only_child(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        [child] => Some(child),
        _ => None,
    }
}

/// The column of the scan that a column of its side is.
pub(super) fn column_below(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<usize> {
    if plan.is::<ScanExec>() {
        return Some(column);
    }
    let below = if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        match filter.projection() {
            Some(projection) => *projection.get(column)?,
            None => column,
        }
    } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        projection.expr().get(column)?.expr.downcast_ref::<Column>()?.index()
    } else {
        column
    };
    column_below(passed(plan)?, below)
}

/// A side with another node in the place of its scan.
pub(super) fn with_leaf(
    plan: &Arc<dyn ExecutionPlan>,
    leaf: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    match only_child(plan) {
        Some(child) => replace_children_if_necessary(plan.clone(), vec![with_leaf(child, leaf)?]),
        None => Ok(leaf.clone()),
    }
}
