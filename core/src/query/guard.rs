//! DataFusion's rules with a look at each step: whether planning may go on, and how large the plan has become.

use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimizer::ApplyOrder;
use datafusion::optimizer::{AnalyzerRule, OptimizerConfig, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizerContext;
use datafusion::physical_plan::ExecutionPlan;

use super::account::BufferedRows;
use super::size::Size;
use super::watch;

/// A session whose rules are guarded, and whose plans count the rows that windows keep.
pub(super) fn guarded(session: SessionState) -> SessionState {
    let analyzer = session.analyzer().rules.iter().map(|rule| Arc::new(Guard(rule.clone())) as _).collect();
    let mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>> = Vec::new();
    for rule in session.optimizers() {
        rules.push(Arc::new(Guard(rule.clone())));
        rules.push(Arc::new(WholeSize));
    }
    let mut physical: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> = Vec::new();
    for rule in session.physical_optimizers() {
        physical.push(Arc::new(Guard(rule.clone())));
    }
    physical.push(Arc::new(BufferedRows));
    SessionStateBuilder::new_from_existing(session)
        .with_analyzer_rules(analyzer)
        .with_optimizer_rules(rules)
        .with_physical_optimizer_rules(physical)
        .build()
}

/// A rule that does not begin when planning may not go on.
#[derive(Debug)]
struct Guard<R: ?Sized>(Arc<R>);

impl AnalyzerRule for Guard<dyn AnalyzerRule + Send + Sync> {
    fn analyze(&self, plan: LogicalPlan, config: &ConfigOptions) -> Result<LogicalPlan> {
        watch::check()?;
        let plan = self.0.analyze(plan, config)?;
        Size::default().add_whole(&plan)?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        self.0.name()
    }
}

impl OptimizerRule for Guard<dyn OptimizerRule + Send + Sync> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        self.0.apply_order()
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        config: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        watch::check()?;
        // If a rule moves something down, it finds that again in the next node.
        Size::default().add_node(&plan)?;
        self.0.rewrite(plan, config)
    }
}

/// Refuses a plan that has become too large.
#[derive(Debug)]
struct WholeSize;

impl OptimizerRule for WholeSize {
    fn name(&self) -> &'static str {
        "pillion_size"
    }

    fn rewrite(
        &self,
        plan: LogicalPlan,
        _: &dyn OptimizerConfig,
    ) -> Result<Transformed<LogicalPlan>, DataFusionError> {
        watch::check()?;
        Size::default().add_whole(&plan)?;
        Ok(Transformed::no(plan))
    }
}

impl PhysicalOptimizerRule for Guard<dyn PhysicalOptimizerRule + Send + Sync> {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        watch::check()?;
        self.0.optimize(plan, config)
    }

    fn optimize_with_context(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &dyn PhysicalOptimizerContext,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        watch::check()?;
        let plan = self.0.optimize_with_context(plan, context)?;
        let mut size = Size::default();
        plan.apply(|node| {
            let mut operators = 1;
            node.apply_expressions(&mut |expr| {
                expr.apply(|_| {
                    operators += 1;
                    Ok(TreeNodeRecursion::Continue)
                })
            })?;
            size.add(operators)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(plan)
    }

    fn name(&self) -> &str {
        self.0.name()
    }

    fn schema_check(&self) -> bool {
        self.0.schema_check()
    }
}
