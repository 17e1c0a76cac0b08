//! Hands the conditions that joins and sorts find out while they run to the scans below them.
//!
//! DataFusion would hand them down itself, but they may arrive where they do not hold: it finds columns again by their names, of which
//! a join may have two; it passes filters and joins that return only their first rows; and what an aggregation without groups
//! hands down leaves out rows that another of its functions needs. So a scan takes nothing that it is offered. This rule runs after
//! DataFusion's rules. It follows each column by its position, through nodes that pass every row on by itself, and to a scan.

use std::sync::Arc;

use datafusion::common::NullEquality;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{Column, DynamicFilterPhysicalExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::sorts::sort::SortExec;

use super::below::{column_below, scan_below, with_leaf};
use super::narrowing::{Narrowing, is_taken_type};
use super::scan::ScanExec;

/// The rule, alone.
pub(super) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 1] {
    [Arc::new(NarrowScans)]
}

#[derive(Debug)]
struct NarrowScans;

impl PhysicalOptimizerRule for NarrowScans {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        // Most plans of short queries have neither, and are not rebuilt.
        if !has_source(&plan, config) {
            return Ok(plan);
        }
        plan.transform_up(|plan| {
            let narrowed = narrowed(&plan, config)?;
            Ok(narrowed.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "pillion_narrow"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn has_source(plan: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> bool {
    narrowed_input(plan, config).is_some()
        || plan.children().into_iter().any(|child| has_source(child, config))
}

/// The input in which a node wants no rows but those that satisfy its condition.
fn narrowed_input<'a>(
    plan: &'a Arc<dyn ExecutionPlan>,
    config: &ConfigOptions,
) -> Option<&'a Arc<dyn ExecutionPlan>> {
    if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
        // DataFusion gives a join a condition only if the join returns nothing for rows on the right that match nothing.
        let is_plain = !join.null_aware && join.null_equality() == NullEquality::NullEqualsNothing;
        return is_plain.then(|| join.right());
    }
    let sort = plan.downcast_ref::<SortExec>()?;
    (sort.fetch().is_some() && config.optimizer.enable_topk_dynamic_filter_pushdown).then(|| sort.input())
}

/// The node with its condition at the scan of its input; `None` if the scan cannot take it.
fn narrowed(plan: &Arc<dyn ExecutionPlan>, config: &ConfigOptions) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(input) = narrowed_input(plan, config) else { return Ok(None) };
    let (Some(scan), Some(filter)) = (scan_below(input), plan.dynamic_expressions_produced().pop()) else {
        return Ok(None);
    };
    let Some(columns) = columns(&filter, input, scan) else { return Ok(None) };
    let filter = filter.with_new_children(columns)?;
    let leaf: Arc<dyn ExecutionPlan> = Arc::new(scan.narrowed(Narrowing::by(filter)));
    let input = with_leaf(input, &leaf)?;
    // Both keep their condition.
    match plan.downcast_ref::<HashJoinExec>() {
        Some(join) => join.builder().with_new_children(vec![join.left().clone(), input])?.build_exec(),
        None => replace_children_if_necessary(plan.clone(), vec![input]),
    }
    .map(Some)
}

/// The columns of a scan for those of a condition; `None` if one of them is something else than a column of the scan.
fn columns(
    filter: &Arc<dyn PhysicalExpr>,
    input: &Arc<dyn ExecutionPlan>,
    scan: &ScanExec,
) -> Option<Vec<Arc<dyn PhysicalExpr>>> {
    let schema = scan.schema();
    let column = |child: &Arc<dyn PhysicalExpr>| -> Option<Arc<dyn PhysicalExpr>> {
        let position = column_below(input, child.downcast_ref::<Column>()?.index())?;
        let field = schema.fields().get(position)?;
        is_taken_type(field.data_type()).then(|| Arc::new(Column::new(field.name(), position)) as _)
    };
    filter.downcast_ref::<DynamicFilterPhysicalExpr>()?;
    filter.children().into_iter().map(column).collect()
}
