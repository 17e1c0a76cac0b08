//! The leaf of physical plans that reads rows by their keys.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream;

use super::error::external;
use super::scan::{project, properties};
use crate::storage::TableState;
use crate::storage::key::KeyBytes;

/// Reads rows by their keys through the key index.
#[derive(Debug)]
pub(super) struct PointExec {
    table: Arc<TableState>,
    sequence: u64,
    projection: Vec<usize>,
    keys: Vec<KeyBytes>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl PointExec {
    pub(super) fn new(
        table: Arc<TableState>,
        sequence: u64,
        projection: Vec<usize>,
        keys: Vec<KeyBytes>,
    ) -> Result<Self> {
        let schema = project(&table.shape.schema, &projection)?;
        let properties = properties(EquivalenceProperties::new(schema), 1);
        Ok(Self { table, sequence, projection, keys, properties, metrics: ExecutionPlanMetricsSet::new() })
    }

    fn read(&self) -> Result<RecordBatch> {
        let schema = self.schema();
        let mut rows = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let Some(found) = self.table.find(key, self.sequence).map_err(external)? else { continue };
            rows.push(found.read(&self.projection, &schema).map_err(external)?);
        }
        match rows.as_slice() {
            [] => Ok(RecordBatch::new_empty(schema)),
            [row] => Ok(row.clone()),
            rows => Ok(concat_batches(&schema, rows)?),
        }
    }
}

impl DisplayAs for PointExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PillionLookup: table={}, tier=local, keys={}", self.table.shape.name, self.keys.len())
    }
}

impl ExecutionPlan for PointExec {
    fn name(&self) -> &'static str {
        "PillionLookup"
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

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn statistics_from_inputs(&self, _: &[Arc<Statistics>], _: &StatisticsArgs) -> Result<Arc<Statistics>> {
        // A key may be absent. That there are few rows keeps DataFusion from spreading them over threads.
        let rows = Precision::Inexact(self.keys.len());
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batch = self.read()?;
        MetricBuilder::new(&self.metrics).output_rows(partition).add(batch.num_rows());
        let batches = (batch.num_rows() > 0).then_some(Ok(batch));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), stream::iter(batches))))
    }
}
