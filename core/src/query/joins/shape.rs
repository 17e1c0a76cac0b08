//! Recognises joins that may look rows up, and replaces their inputs.

use std::sync::Arc;

use datafusion::common::{JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::{HashJoinExec, PartitionMode};

use crate::query::below::{column_below, only_child, scan_below};
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
        Some(child) => replace_children_if_necessary(plan.clone(), vec![with_inputs(child, left, right)?]),
        None => Ok(plan.clone()),
    }
}
