//! Recognises joins that may look rows up, and replaces their inputs.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::filter::FilterExec;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;

use crate::query::scan::ScanExec;
use crate::query::sorted::is_ordered;

/// A lookup costs as much as reading about this many rows of a scan.
const ROWS_PER_LOOKUP: usize = 64;
/// Most rows of the smaller side, which are held in memory.
const ROWS_MAX: usize = 100_000;

/// What of a join is looked up.
#[derive(Debug)]
pub(super) struct KeyLookup {
    /// For each column of the primary key, in its order: the value of a row of the other side.
    pub(super) values: Vec<Arc<dyn PhysicalExpr>>,
    /// Rows of the other side up to which their keys are looked up.
    pub(super) rows_max: usize,
}

impl KeyLookup {
    /// What a join can look up on its right side, if it can.
    pub(super) fn of(join: &HashJoinExec) -> Option<Self> {
        // Other kinds return rows of the table that match nothing.
        let needs_matches_only = matches!(
            join.join_type(),
            JoinType::Inner
                | JoinType::Left
                | JoinType::LeftSemi
                | JoinType::LeftAnti
                | JoinType::LeftMark
                | JoinType::RightSemi
        );
        if !needs_matches_only
            // It asks whether the other side has any row at all.
            || join.null_aware
            || join.null_equality() != NullEquality::NullEqualsNothing
            || *join.partition_mode() == PartitionMode::Auto
        {
            return None;
        }
        let scan = scan_below(join.right())?;
        let rows_max = (scan.rows() / ROWS_PER_LOOKUP).min(ROWS_MAX);
        let shape = &scan.table().shape;
        if rows_max == 0 || shape.primary_key.is_empty() {
            return None;
        }
        let left_schema = join.left().schema();
        let value_of = |key: &usize| {
            let data_type = shape.schema.field(*key).data_type();
            // SQL decides when two floats are equal, whereas keys are compared by their bits.
            let (value, _) = join.on().iter().find(|(value, column)| {
                let column = column.downcast_ref::<Column>();
                let column = column.and_then(|column| column_below(join.right(), column.index()));
                column.and_then(|column| scan.projection().get(column)) == Some(key)
                    && value.data_type(&left_schema).is_ok_and(|found| &found == data_type)
            })?;
            is_ordered(data_type).then(|| value.clone())
        };
        let values = shape.primary_key.iter().map(value_of).collect::<Option<_>>()?;
        Some(Self { values, rows_max })
    }
}

/// Whether a plan has joins of the kind that may look rows up.
pub(super) fn has_hash_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<HashJoinExec>() || plan.children().into_iter().any(has_hash_join)
}

/// The join that is at the top of `plan`, or below nodes that pass its rows on.
pub(super) fn join_in(plan: &Arc<dyn ExecutionPlan>) -> Option<&HashJoinExec> {
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => Some(join),
        None => join_in(only_child(plan)?),
    }
}

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
        || plan.is::<CooperativeExec>();
    // A limit takes the rows that come first, and other rows would come first.
    (is_known && plan.fetch().is_none()).then(|| only_child(plan)).flatten()
}

fn only_child(plan: &Arc<dyn ExecutionPlan>) -> Option<&Arc<dyn ExecutionPlan>> {
    match plan.children().as_slice() {
        [child] => Some(child),
        _ => None,
    }
}

/// The column of the scan that a column of its side is.
fn column_below(plan: &Arc<dyn ExecutionPlan>, column: usize) -> Option<usize> {
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
        Some(child) => with_children(plan, vec![with_leaf(child, leaf)?]),
        None => Ok(leaf.clone()),
    }
}

/// A plan with other inputs of the [join](join_in) in it.
pub(super) fn with_inputs(
    plan: &Arc<dyn ExecutionPlan>,
    left: &Arc<dyn ExecutionPlan>,
    right: &Arc<dyn ExecutionPlan>,
) -> Result<Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // A builder keeps the metrics, so that those of the plan are those of what ran.
        return join.builder().with_new_children(vec![left.clone(), right.clone()])?.build_exec();
    }
    match only_child(plan) {
        Some(child) => with_children(plan, vec![with_inputs(child, left, right)?]),
        None => Ok(plan.clone()),
    }
}

fn with_children(
    plan: &Arc<dyn ExecutionPlan>,
    children: Vec<Arc<dyn ExecutionPlan>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
    plan.clone().replace_children(children, options)
}
