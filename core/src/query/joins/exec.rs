//! A join that looks rows up if the other side turns out to be small.

use std::fmt;
use std::sync::{Arc, OnceLock};

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::joins::HashJoinExec;
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::{ChildStats, StatisticsArgs};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::future::{BoxFuture, Shared, WeakShared};
use futures::{FutureExt, TryStreamExt, stream};
use parking_lot::Mutex;

use super::collect::Collected;
use super::looked_up::LookedUpExec;
use super::shape::{KeyLookup, join_in, with_inputs};
use crate::query::below::{scan_below, with_leaf};

/// The plan that is executed, once the other side was read.
type Decided = Result<Arc<dyn ExecutionPlan>, Arc<DataFusionError>>;
type Deciding = BoxFuture<'static, Decided>;

/// Executes a join of DataFusion, with the rows that were looked up in the place of a scan if they are few.
#[derive(Debug)]
pub(super) struct IndexJoinExec {
    /// The join as DataFusion planned it.
    join: Arc<dyn ExecutionPlan>,
    lookup: Arc<KeyLookup>,
    /// For plans.
    shown: String,
    /// Held by the streams that wait for it, so that nothing is read once all of them are gone.
    deciding: Mutex<Option<WeakShared<Deciding>>>,
    decided: Arc<OnceLock<Decided>>,
    metrics: ExecutionPlanMetricsSet,
}

impl IndexJoinExec {
    /// The same join, if it may look rows up.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let join = plan.downcast_ref::<HashJoinExec>()?;
        let lookup = KeyLookup::of(join)?;
        let shape = &scan_below(join.right())?.table().shape;
        let key: Vec<&str> =
            shape.primary_key.iter().map(|&column| shape.schema.field(column).name().as_str()).collect();
        let shown = format!(
            "table={}, tier=local, key=[{}], rows_max={}",
            shape.name,
            key.join(", "),
            lookup.rows_max
        );
        Some(Self::new(plan.clone(), Arc::new(lookup), shown))
    }

    fn new(join: Arc<dyn ExecutionPlan>, lookup: Arc<KeyLookup>, shown: String) -> Self {
        let (deciding, decided, metrics) = Default::default();
        Self { join, lookup, shown, deciding, decided, metrics }
    }

    /// The decision, which is made once for all partitions.
    fn decide(&self, context: &Arc<TaskContext>) -> Shared<Deciding> {
        let mut deciding = self.deciding.lock();
        if let Some(decided) = self.decided.get() {
            return futures::future::ready(decided.clone()).boxed().shared();
        }
        if let Some(deciding) = deciding.as_ref().and_then(WeakShared::upgrade) {
            return deciding;
        }
        let counter = |name| MetricBuilder::new(&self.metrics).global_counter(name);
        let counts = Counts { keys: counter("keys"), found: counter("found"), scans: counter("scans") };
        let (join, lookup, context) = (self.join.clone(), self.lookup.clone(), context.clone());
        let decided = self.decided.clone();
        let begun = async move {
            let plan = decide(&join, &lookup, &context, counts).await.map_err(Arc::new);
            decided.get_or_init(|| plan).clone()
        };
        let begun = begun.boxed().shared();
        *deciding = begun.downgrade();
        begun
    }
}

/// What a decision led to.
struct Counts {
    keys: Count,
    found: Count,
    /// Joins whose other side was too large.
    scans: Count,
}

/// Reads the other side of a join, and says how the join goes on.
async fn decide(
    plan: &Arc<dyn ExecutionPlan>,
    lookup: &KeyLookup,
    context: &Arc<TaskContext>,
    counts: Counts,
) -> Result<Arc<dyn ExecutionPlan>> {
    let Some((join, scan)) = join_in(plan).and_then(|join| Some((join, scan_below(join.right())?))) else {
        return Ok(plan.clone());
    };
    let (left, right) = (join.left(), join.right());
    let collected = Collected::read(left, lookup.rows_max, context).await?;
    let keys = if collected.is_whole() { collected.keys(lookup)? } else { None };
    let right = match keys {
        Some(keys) => {
            counts.keys.add(keys.len());
            let rows: Arc<dyn ExecutionPlan> = Arc::new(LookedUpExec::new(scan, &keys, counts.found).await?);
            with_leaf(right, &rows)?
        }
        None => {
            counts.scans.add(1);
            right.clone()
        }
    };
    with_inputs(plan, &collected.into_plan(left), &right)
}

impl DisplayAs for IndexJoinExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PillionIndexJoin: {}", self.shown)
    }
}

impl ExecutionPlan for IndexJoinExec {
    fn name(&self) -> &'static str {
        "PillionIndexJoin"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.join.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.join]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let join =
            children.pop().ok_or_else(|| DataFusionError::Internal("no join to execute".to_owned()))?;
        Ok(Arc::new(Self::new(join, self.lookup.clone(), self.shown.clone())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let of_join = inputs.first().cloned();
        Ok(of_join.unwrap_or_else(|| Arc::new(Statistics::new_unknown(&self.schema()))))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let decided = self.decide(&context);
        let rows = async move {
            let plan = decided.await.map_err(DataFusionError::Shared)?;
            plan.execute(partition, context)
        };
        let rows = stream::once(rows).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), rows)))
    }
}
