//! Rows that an operator keeps and does not count.

use std::fmt;
use std::sync::Arc;

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::MemoryConsumer;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::execution_plan::{ChildrenPropertiesMode, ReplaceChildrenOptions};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::windows::WindowAggExec;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::StreamExt;

use super::error::external;
use crate::types::error::{Error, ErrorCode};

/// How many times a window takes the memory of its rows: as they come, as one batch, and for its own columns.
const COPIES: usize = 3;

/// Bytes that the window adds to each row.
const ROW_LEN: usize = 16;

/// Puts a counter below every window that reads all its rows before it returns the first.
#[derive(Debug)]
pub(super) struct BufferedRows;

impl PhysicalOptimizerRule for BufferedRows {
    fn optimize(&self, plan: Arc<dyn ExecutionPlan>, _: &ConfigOptions) -> Result<Arc<dyn ExecutionPlan>> {
        let counted =
            plan.transform_up(|node| {
                if !node.is::<WindowAggExec>() {
                    return Ok(Transformed::no(node));
                }
                let inputs = node
                    .children()
                    .into_iter()
                    .map(|input| Arc::new(CountedExec { input: input.clone() }) as Arc<dyn ExecutionPlan>);
                let inputs = inputs.collect();
                Ok(Transformed::yes(node.replace_children(
                    inputs,
                    ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute),
                )?))
            })?;
        Ok(counted.data)
    }

    fn name(&self) -> &'static str {
        "pillion_buffered_rows"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Passes the rows of its input on, and counts all of them until it is dropped.
#[derive(Debug)]
struct CountedExec {
    input: Arc<dyn ExecutionPlan>,
}

impl DisplayAs for CountedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PillionCounted")
    }
}

impl ExecutionPlan for CountedExec {
    fn name(&self) -> &'static str {
        "PillionCounted"
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
        let input = children.pop();
        let input = input.ok_or_else(|| DataFusionError::Internal("no input to count".to_owned()))?;
        Ok(Arc::new(Self { input }))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("window").register(&context.runtime_env().memory_pool);
        let counted = self.input.execute(partition, context)?.map(move |batch| {
            let batch = batch?;
            let bytes = batch.get_array_memory_size() + batch.num_rows() * ROW_LEN;
            let bytes = bytes.saturating_mul(COPIES);
            memory.try_grow(bytes).map_err(|_| too_many(memory.size()))?;
            Ok(batch)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), counted)))
    }
}

fn too_many(bytes: usize) -> DataFusionError {
    let message = format!(
        "a window needs all its rows in memory, and {bytes} bytes are all that `query_memory` has left for them; \
         give it an ORDER BY with a frame that ends at the current row, or fewer rows"
    );
    external(Error::new(ErrorCode::MemoryLimit, message))
}
