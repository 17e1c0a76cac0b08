//! Keeps orders right where DataFusion inverts an expression that has no inverse.
//!
//! DataFusion 55 asks interval arithmetic which values a column has where a condition holds. For `i / 2 = 3` it computes
//! `i = 6`, and for `CAST(f AS INT) = 3` it computes `f = 3.0`. It then takes the column for a constant and leaves it out of
//! the order, although 7 and 3.5 pass the condition too. `docs/design/0011-conditions-are-not-inverted.md` has the details;
//! a test reports when DataFusion is right by itself.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, FieldRef, Schema};
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{BinaryExpr, CastExpr, NegativeExpr};
use datafusion::physical_expr::utils::collect_columns;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::filter::{FilterExec, FilterExecBuilder};

/// DataFusion's rules of physical plans, and ours.
pub(super) fn physical_rules() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    with_rule(PhysicalOptimizer::new().rules)
}

/// Rules of physical plans, after [`NoInverses`]: the others believe what a filter says of its columns.
pub(super) fn with_rule(
    mut rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    rules.insert(0, Arc::new(NoInverses));
    rules
}

/// Hides casts and arithmetic in the conditions of filters from interval arithmetic.
#[derive(Debug)]
struct NoInverses;

impl PhysicalOptimizerRule for NoInverses {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let Some(filter) = plan.downcast_ref::<FilterExec>() else { return Ok(Transformed::no(plan)) };
            let condition = filter.predicate().clone().transform_down(hidden)?;
            if !condition.transformed {
                return Ok(Transformed::no(plan));
            }
            let filter = FilterExecBuilder::from(filter).with_predicate(condition.data).build()?;
            Ok(Transformed::yes(Arc::new(filter)))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "no_inverses"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn hidden(expr: Arc<dyn PhysicalExpr>) -> Result<Transformed<Arc<dyn PhysicalExpr>>> {
    let is_plain = match expr.downcast_ref::<BinaryExpr>() {
        Some(binary) => !binary.op().is_numerical_operators(),
        None => !expr.is::<CastExpr>() && !expr.is::<NegativeExpr>(),
    };
    if is_plain || collect_columns(&expr).is_empty() {
        return Ok(Transformed::no(expr));
    }
    Ok(Transformed::new(Arc::new(Hidden { arg: expr }), true, TreeNodeRecursion::Jump))
}

/// Its argument, about whose inverse nothing is known.
#[derive(Debug, Eq)]
struct Hidden {
    arg: Arc<dyn PhysicalExpr>,
}

// By hand, as the derived ones do not compile for `Arc<dyn …>`.
impl PartialEq for Hidden {
    fn eq(&self, other: &Self) -> bool {
        self.arg.eq(&other.arg)
    }
}

impl Hash for Hidden {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.arg.hash(state);
    }
}

impl fmt::Display for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arg.fmt(f)
    }
}

impl PhysicalExpr for Hidden {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        self.arg.data_type(schema)
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.arg.nullable(schema)
    }

    fn return_field(&self, schema: &Schema) -> Result<FieldRef> {
        self.arg.return_field(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.arg.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.arg]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let arg = children.pop().ok_or_else(|| DataFusionError::Internal("no argument".to_owned()))?;
        Ok(Arc::new(Self { arg }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.arg.fmt_sql(f)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::datatypes::Float64Type;
    use datafusion::prelude::SessionContext;

    /// Fails when DataFusion has learnt which expressions have no inverse: this file can go then.
    #[test]
    fn datafusion_alone_still_leaves_columns_out_of_the_order() {
        for condition in ["arrow_cast(f, 'Boolean')", "CAST(f AS INT) = 3", "CAST(f AS BIGINT) / 2 = 1"] {
            let text =
                format!("SELECT f FROM (VALUES (3.5), (3.0), (3.25)) t(f) WHERE {condition} ORDER BY f");
            let batches =
                pollster::block_on(async { SessionContext::new().sql(&text).await?.collect().await })
                    .unwrap();
            let found: Vec<f64> = batches
                .iter()
                .flat_map(|batch| batch.column(0).as_primitive::<Float64Type>().values().to_vec())
                .collect();
            assert!(!found.is_sorted(), "{condition}: {found:?}");
        }
    }
}
