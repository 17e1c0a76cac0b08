//! The leaf of physical plans that reads rows by their keys.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, OnceLock};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
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
use crate::storage::key::KeyBytes;
use crate::storage::{TableState, batch_len};

/// Rows are copied into one batch until it has this many bytes. A column of texts counts its bytes in 31 bits.
pub(super) const BATCH_BYTES_MAX: usize = 64 << 20;

/// Reads rows by their keys through the key index.
#[derive(Debug)]
pub(super) struct PointExec {
    table: Arc<TableState>,
    sequence: u64,
    projection: Vec<usize>,
    keys: Vec<KeyBytes>,
    /// What shows that no row is missing of a table that holds only some.
    certified: Option<Arc<str>>,
    /// See [`ExecutionState::pin`](super::provider::ExecutionState::pin).
    _pin: Option<Arc<dyn Any + Send + Sync>>,
    /// The rows, looked up once. Each is a batch of its own, in mapped memory where possible.
    found: OnceLock<Vec<RecordBatch>>,
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
        let metrics = ExecutionPlanMetricsSet::new();
        let (certified, _pin, found) = (None, None, OnceLock::new());
        Ok(Self { table, sequence, projection, keys, certified, _pin, found, properties, metrics })
    }

    /// The same lookup, with what is known of missing rows.
    pub(super) fn certified(self, certified: Option<Arc<str>>) -> Self {
        Self { certified, ..self }
    }

    /// The same lookup, which keeps something as long as it is there.
    pub(super) fn holding(self, pin: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { _pin: pin, ..self }
    }

    /// Whether there is a row with each key.
    pub(super) fn finds_all(&self) -> Result<bool> {
        Ok(self.rows()?.len() == self.keys.len())
    }

    /// Number of the table.
    pub(super) fn table(&self) -> u64 {
        self.table.shape.id
    }

    /// The keys that it looks up, each once and in their order.
    pub(super) fn keys(&self) -> &[KeyBytes] {
        &self.keys
    }

    /// Bytes of the longest row; 0, without a lookup, if all rows certainly fit into one batch.
    pub(super) fn longest_row(&self, bytes_max: usize) -> Result<usize> {
        if self.keys.len() == 1 || self.table.bytes() <= bytes_max as u64 {
            return Ok(0);
        }
        Ok(self.rows()?.iter().map(batch_len).max().unwrap_or(0))
    }

    fn rows(&self) -> Result<&[RecordBatch]> {
        if let Some(rows) = self.found.get() {
            return Ok(rows);
        }
        let schema = self.schema();
        let mut rows = Vec::with_capacity(self.keys.len());
        for key in &self.keys {
            let Some(found) = self.table.find(key, self.sequence).map_err(external)? else { continue };
            rows.push(found.read(&self.projection, &schema).map_err(external)?);
        }
        Ok(self.found.get_or_init(|| rows))
    }
}

/// Rows, each a batch of its own, in as few batches as their bytes allow.
pub(super) fn joined(schema: &SchemaRef, rows: &[RecordBatch]) -> Result<Vec<RecordBatch>> {
    if let [] | [_] = rows {
        return Ok(rows.to_vec());
    }
    let (mut batches, mut start, mut bytes) = (Vec::new(), 0, 0);
    for (number, row) in rows.iter().enumerate() {
        let len = batch_len(row);
        if number > start && bytes + len > BATCH_BYTES_MAX {
            batches.push(concat_batches(schema, &rows[start..number])?);
            (start, bytes) = (number, 0);
        }
        bytes += len;
    }
    batches.push(concat_batches(schema, &rows[start..])?);
    Ok(batches)
}

impl DisplayAs for PointExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PillionLookup: table={}, tier=local, keys={}", self.table.shape.name, self.keys.len())?;
        match &self.certified {
            Some(certified) => write!(f, ", coverage=[{certified}]"),
            None => Ok(()),
        }
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
        // A key may be absent, so this is an upper bound. Few rows keep DataFusion from spreading them over threads.
        let rows = Precision::Inexact(self.keys.len());
        Ok(Arc::new(Statistics::new_unknown(&self.schema()).with_num_rows(rows)))
    }

    fn execute(&self, partition: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = joined(&self.schema(), self.rows()?)?;
        let rows = batches.iter().map(RecordBatch::num_rows).sum();
        MetricBuilder::new(&self.metrics).output_rows(partition).add(rows);
        let batches = stream::iter(batches.into_iter().map(Ok));
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
