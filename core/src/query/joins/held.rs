//! The smaller side of a join, as far as it was read.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryReservation;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

/// A partition: the batches that were read, and where the others come from.
#[derive(Default)]
pub(super) struct HeldPartition {
    /// Each with the bytes that are reserved for it.
    pub(super) batches: Vec<(RecordBatch, usize)>,
    pub(super) rest: Option<SendableRecordBatchStream>,
}

/// Hands on the batches that were read, and then the others. Whoever takes a batch holds its memory from then on.
pub(super) struct HeldExec {
    /// Those of what was read.
    properties: Arc<PlanProperties>,
    /// `None` once it was handed on.
    partitions: Mutex<Vec<Option<HeldPartition>>>,
    /// Of the batches that were not handed on, and of what was made of them.
    memory: Arc<MemoryReservation>,
}

impl HeldExec {
    pub(super) fn new(
        properties: &Arc<PlanProperties>,
        partitions: Vec<HeldPartition>,
        memory: MemoryReservation,
    ) -> Self {
        let partitions = Mutex::new(partitions.into_iter().map(Some).collect());
        Self { properties: properties.clone(), partitions, memory: Arc::new(memory) }
    }

    /// A partition, once.
    fn take(&self, partition: usize) -> Option<HeldPartition> {
        self.partitions.lock().get_mut(partition)?.take()
    }
}

impl fmt::Debug for HeldExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeldExec")
    }
}

impl DisplayAs for HeldExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PillionHeld")
    }
}

impl ExecutionPlan for HeldExec {
    fn name(&self) -> &'static str {
        "PillionHeld"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let Some(HeldPartition { batches, rest }) = self.take(partition) else {
            let message =
                "a plan with PillionIndexJoin was executed twice: plan the statement again".to_owned();
            return Err(DataFusionError::Execution(message));
        };
        let memory = self.memory.clone();
        let read = stream::iter(batches).map(move |(batch, len)| {
            memory.shrink(len);
            Ok(batch)
        });
        let rest = rest.map_or_else(|| stream::empty().boxed(), StreamExt::boxed);
        let all = RecordBatchStreamAdapter::new(self.schema(), read.chain(rest));
        Ok(make_cooperative(Box::pin(all)))
    }
}
