//! The last rule for physical plans: all that is mended operator by operator, in one walk of the plan.
//!
//! Each rule costs a walk, and another one for the look at what it made, which short queries notice.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::{long_rows, zeros};

/// The last rule, alone.
pub(super) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 1] {
    [Arc::new(LastRule)]
}

/// Runs after all of DataFusion's rules.
#[derive(Debug)]
struct LastRule;

impl PhysicalOptimizerRule for LastRule {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            // They concern different operators.
            let changed = match zeros::in_one_order(&plan)? {
                None => long_rows::in_small_batches(&plan)?,
                changed => changed,
            };
            Ok(changed.map_or_else(|| Transformed::no(plan), Transformed::yes))
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "pillion_last"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
