//! Joins of few rows with a large table on its primary key: the rows of the table are looked up, not scanned.
//!
//! How many rows the smaller side has is known only when it was read, so the join decides then. It reads that side up to a bound.
//! Within the bound it looks up the keys, and joins what it found; beyond it goes on as DataFusion planned it, with the rows
//! that it holds already. A wrong estimate so costs the time for which these rows wait, and their memory until the join takes them.
//! Either way the join itself is DataFusion's: only its inputs are replaced. So duplicates, nulls, further conditions and kinds of
//! joins are what they were. The looked-up rows are all rows of the table that match a row of the other side, and a join that returns
//! no rows of the table without a match needs no others.

mod collect;
mod exec;
mod held;
mod looked_up;
mod shape;

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use self::exec::IndexJoinExec;

/// The rule for such joins, which runs after DataFusion's.
pub(super) fn rules() -> [Arc<dyn PhysicalOptimizerRule + Send + Sync>; 1] {
    [Arc::new(IndexJoins)]
}

/// Puts a node above each join that may look rows up.
#[derive(Debug)]
struct IndexJoins;

impl PhysicalOptimizerRule for IndexJoins {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        // Most plans of short queries have no join, and are not rebuilt.
        if !shape::has_hash_join(&plan) {
            return Ok(plan);
        }
        plan.transform_up(|plan| {
            Ok(match IndexJoinExec::of(&plan) {
                Some(join) => Transformed::yes(Arc::new(join) as _),
                None => Transformed::no(plan),
            })
        })
        .data()
    }

    fn name(&self) -> &'static str {
        "pillion_joins"
    }

    fn schema_check(&self) -> bool {
        true
    }
}
