//! Ends joins of queries that nobody waits for any more.
//!
//! DataFusion stops a query where an operator waits. A join whose condition no pair of rows satisfies waits for nothing: it
//! goes through all pairs, and meanwhile takes a thread from other queries.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::joins::utils::JoinFilter;
use datafusion::physical_plan::joins::{
    CrossJoinExec, HashJoinExec, NestedLoopJoinExec, NestedLoopJoinExecBuilder, SortMergeJoinExec,
};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::error::external;
use crate::types::error::{Error, ErrorCode};

/// Whether the answer of a query is still wanted; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop {
    is_set: Arc<AtomicBool>,
}

impl Stop {
    /// From now on the joins of the query fail.
    pub(super) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
    }

    fn check(&self) -> Result<()> {
        if self.is_set.load(Ordering::Acquire) {
            let message = "the answer was cancelled before it was complete";
            return Err(external(Error::new(ErrorCode::Cancelled, message)));
        }
        Ok(())
    }

    /// The plan with joins that look at this between parts of their work, and let other queries work between batches.
    pub(super) fn in_joins(&self, plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
        // Most plans of short queries have none, and are not rebuilt.
        if !has_join(&plan) {
            return Ok(plan);
        }
        plan.transform_up(|plan| {
            if !is_join(&plan) {
                return Ok(Transformed::no(plan));
            }
            let input = self.in_filter(&plan)?.unwrap_or(plan);
            Ok(Transformed::yes(Arc::new(StopExec { input, stop: self.clone() }) as _))
        })
        .data()
    }

    /// The join with a condition that fails once this is set; `None` if it has no such condition.
    fn in_filter(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        if let Some(join) = plan.downcast_ref::<NestedLoopJoinExec>() {
            let Some(filter) = join.filter() else { return Ok(None) };
            let builder =
                NestedLoopJoinExecBuilder::new(join.left().clone(), join.right().clone(), *join.join_type());
            let builder = builder.with_filter(Some(self.watched(filter)));
            let join = builder.with_projection_ref(join.projection().clone()).build()?;
            return Ok(Some(Arc::new(join)));
        }
        if let Some(join) = plan.downcast_ref::<HashJoinExec>() {
            let Some(filter) = join.filter() else { return Ok(None) };
            return join.builder().with_filter(Some(self.watched(filter))).build_exec().map(Some);
        }
        Ok(None)
    }

    fn watched(&self, filter: &JoinFilter) -> JoinFilter {
        let expression = Arc::new(Watched { inner: filter.expression().clone(), stop: self.clone() });
        JoinFilter::new(expression, filter.column_indices().to_vec(), filter.schema().clone())
    }
}

fn has_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    is_join(plan) || plan.children().into_iter().any(has_join)
}

fn is_join(plan: &Arc<dyn ExecutionPlan>) -> bool {
    plan.is::<NestedLoopJoinExec>()
        || plan.is::<CrossJoinExec>()
        || plan.is::<HashJoinExec>()
        || plan.is::<SortMergeJoinExec>()
}

/// An expression that fails once its query is not wanted any more.
#[derive(Debug)]
struct Watched {
    inner: Arc<dyn PhysicalExpr>,
    stop: Stop,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.inner.eq(&other.inner) && Arc::ptr_eq(&self.stop.is_set, &other.stop.is_set)
    }
}

impl Eq for Watched {}

impl Hash for Watched {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.inner.hash(state);
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl PhysicalExpr for Watched {
    fn return_field(&self, input_schema: &Schema) -> Result<FieldRef> {
        self.inner.return_field(input_schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        self.stop.check()?;
        self.inner.evaluate(batch)
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.inner]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let inner = children.pop().unwrap_or_else(|| self.inner.clone());
        Ok(Arc::new(Self { inner, stop: self.stop.clone() }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt_sql(f)
    }
}

/// A join whose answer ends with an error once its query is not wanted any more.
#[derive(Debug)]
struct StopExec {
    input: Arc<dyn ExecutionPlan>,
    stop: Stop,
}

impl DisplayAs for StopExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StopExec")
    }
}

impl ExecutionPlan for StopExec {
    fn name(&self) -> &'static str {
        "StopExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        self.input.properties()
    }

    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
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
        let input = children.pop().unwrap_or_else(|| self.input.clone());
        Ok(Arc::new(Self { input, stop: self.stop.clone() }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (schema, stop) = (self.schema(), self.stop.clone());
        let batches = self.input.execute(partition, context)?;
        let batches = batches.map(move |batch| stop.check().and(batch));
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(schema, batches))))
    }
}

#[cfg(test)]
mod tests {
    use crate::answer::batches::Batches;
    use crate::{Cache, CacheOptions, ErrorCode};

    /// Pairs that no machine goes through while the tests wait: without the check, the runner ends this test.
    const ENDLESS: [&str; 4] = [
        "SELECT count(*) FROM n a, n b, n c, n d WHERE a.v + b.v + c.v + d.v = 5",
        "SELECT count(*) FROM n a, n b, n c, n d",
        "SELECT count(*) FROM n a JOIN n b ON a.v % 2 = b.v % 2 AND a.v + b.v < 0, n c, n d WHERE c.v < a.v",
        "SELECT count(*) FROM n a WHERE NOT EXISTS (SELECT 1 FROM n b, n c, n d WHERE a.v + b.v + c.v + d.v < 0)",
    ];

    fn start(cache: &Cache, text: &str) -> Batches {
        cache.sql(&text.replace("n ", "(SELECT value AS v FROM range(100000)) "), &[]).unwrap()
    }

    #[test]
    fn long_queries_go_on_where_async_code_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        let text =
            "SELECT count(*) FROM range(1000) a JOIN range(1200) b ON a.value + b.value >= 0, range(2)";
        let answer = || cache.sql(text, &[]).unwrap().concat().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(async { answer() }), answer());
    }

    #[test]
    fn joins_end_when_their_answer_is_cancelled_or_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let options = CacheOptions::new().query_threads(1);
        let cache = options.open(dir.path().join("cache")).unwrap();
        for text in ENDLESS {
            let mut answer = start(&cache, text);
            let canceller = answer.canceller();
            let error = std::thread::scope(|scope| {
                let waits = scope.spawn(|| answer.next());
                std::thread::park_timeout(std::time::Duration::from_millis(200));
                canceller.cancel();
                waits.join().unwrap().unwrap().unwrap_err()
            });
            assert_eq!(error.code(), ErrorCode::Cancelled, "{text}");
            // The thread of the cache is free for others, also where nobody waited for the answer.
            drop(answer);
            drop(start(&cache, text));
            let one =
                "SELECT count(*) FROM (SELECT 1 AS a UNION ALL SELECT 2) x JOIN (SELECT 1 AS a) y USING (a)";
            assert_eq!(cache.sql(one, &[]).unwrap().concat().unwrap().num_rows(), 1);
        }
    }
}
