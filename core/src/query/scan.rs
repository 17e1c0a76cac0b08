//! The leaf of physical plans that reads batches of segments.

use std::any::Any;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{ColumnStatistics, ScalarValue, Statistics};
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, Partitioning, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};

use super::error::external;
use super::narrowing::Narrowing;
use super::paced::paced;
use super::sorted::is_ordered;
use crate::storage::{ORDER, Part, TableState};
use crate::types::version::Version;

/// Rows of a part of a table, including deleted ones.
#[derive(Clone, Debug)]
pub(super) struct PartRef {
    pub(super) part: Part,
    pub(super) rows: Range<usize>,
}

/// Reads parts of a table; where no rows are deleted, without copying.
#[derive(Debug)]
pub(super) struct ScanExec {
    version: Version,
    table: Arc<TableState>,
    projection: Vec<usize>,
    partitions: Vec<Vec<PartRef>>,
    total_batches: usize,
    tells_bounds: bool,
    /// What shows that no row is missing of a table that holds only some.
    certified: Option<Arc<str>>,
    /// See [`ExecutionState::pin`](super::provider::ExecutionState::pin).
    pin: Option<Arc<dyn Any + Send + Sync>>,
    /// What is found out about the wanted rows while the query runs.
    narrowing: Narrowing,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl ScanExec {
    pub(super) fn new(
        version: Version,
        table: Arc<TableState>,
        projection: Vec<usize>,
        batches: Vec<PartRef>,
        total_batches: usize,
        target_partitions: usize,
    ) -> Result<Self> {
        let schema = project(&table.shape.schema, &projection)?;
        let partitions = distribute(batches, target_partitions);
        let mut equivalence = EquivalenceProperties::new(schema);
        if is_one_run(&table) {
            let order = table.shape.sort_by.iter().map_while(|column| {
                let position = projection.iter().position(|projected| projected == column)?;
                let field = table.shape.schema.field(*column);
                // Rows with the two zeros are sorted by bits, so among rows that SQL takes for equal the next column
                // has no order.
                is_ordered(field.data_type())
                    .then(|| PhysicalSortExpr::new(Arc::new(Column::new(field.name(), position)), ORDER))
            });
            let order: Vec<_> = order.collect();
            if !order.is_empty() {
                equivalence.add_ordering(order);
            }
        }
        let properties = properties(equivalence, partitions.len());
        let metrics = ExecutionPlanMetricsSet::new();
        let tells_bounds = true;
        let (certified, pin, narrowing) = (None, None, Narrowing::default());
        Ok(Self {
            version,
            table,
            projection,
            partitions,
            total_batches,
            tells_bounds,
            certified,
            pin,
            narrowing,
            properties,
            metrics,
        })
    }

    /// The same scan, but it reports only its number of rows to the planner, and nothing about its columns.
    pub(super) fn without_bounds(self) -> Self {
        Self { tells_bounds: false, ..self }
    }

    /// The same scan, with what is known of missing rows.
    pub(super) fn certified(self, certified: Option<Arc<str>>) -> Self {
        Self { certified, ..self }
    }

    /// The same scan, which keeps something as long as it is there.
    pub(super) fn holding(self, pin: Option<Arc<dyn Any + Send + Sync>>) -> Self {
        Self { pin, ..self }
    }

    /// The same scan, narrowed otherwise.
    pub(super) fn narrowed(&self, narrowing: Narrowing) -> Self {
        Self {
            version: self.version,
            table: self.table.clone(),
            projection: self.projection.clone(),
            partitions: self.partitions.clone(),
            certified: self.certified.clone(),
            pin: self.pin.clone(),
            narrowing,
            properties: self.properties.clone(),
            metrics: ExecutionPlanMetricsSet::new(),
            ..*self
        }
    }

    /// The table that it reads.
    pub(super) fn table(&self) -> &Arc<TableState> {
        &self.table
    }

    /// The commit up to which it sees changes.
    pub(super) fn sequence(&self) -> u64 {
        self.version.sequence
    }

    /// The columns of the table that it reads.
    pub(super) fn projection(&self) -> &[usize] {
        &self.projection
    }

    /// Rows that it reads at most, deleted ones included.
    pub(super) fn rows(&self) -> usize {
        self.batches(None).map(|batch| batch.rows.len()).sum()
    }

    fn batches(&self, partition: Option<usize>) -> impl Iterator<Item = &PartRef> {
        let wanted = self
            .partitions
            .iter()
            .enumerate()
            .filter(move |(number, _)| partition.is_none_or(|p| p == *number));
        wanted.flat_map(|(_, batches)| batches)
    }
}

impl DisplayAs for ScanExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let read: usize = self.partitions.iter().map(Vec::len).sum();
        let rows = self.rows();
        write!(
            f,
            "PillionScan: table={}, tier=local, version={}, batches={read} of {}, rows={rows}, partitions={}",
            self.table.shape.name,
            self.version,
            self.total_batches,
            self.partitions.len()
        )?;
        write!(f, "{}", self.narrowing)?;
        match &self.certified {
            Some(certified) => write!(f, ", coverage=[{certified}]"),
            None => Ok(()),
        }
    }
}

impl ExecutionPlan for ScanExec {
    fn name(&self) -> &'static str {
        "PillionScan"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    /// A join computes its condition only for scans that show it here.
    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.narrowing.apply(visit)
    }

    /// Without the condition of an earlier execution.
    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(Arc::new(self.narrowed(Narrowing::default())))
    }

    fn metrics(&self) -> Option<MetricsSet> {
        Some(self.metrics.clone_inner())
    }

    fn with_new_children(self: Arc<Self>, _: Vec<Arc<dyn ExecutionPlan>>) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let batches = self.partitions.get(partition).cloned().unwrap_or_default();
        let schema = self.schema();
        let batch_rows = context.session_config().batch_size();
        let (projection, output) = (self.projection.clone(), schema.clone());
        let output_rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let (table, sequence) = (self.table.clone(), self.version.sequence);
        let mut zones = self.narrowing.zones(&self.schema(), &self.metrics, partition);
        let mut narrowed = self.narrowing.rows(&self.metrics, partition);
        // What is left out is a step too, so that others have their turn between steps.
        let pieces = batches.into_iter().flat_map(move |part| {
            let may_hold = zones.may_hold(&part.part);
            let read = || table.pieces(&part.part, Some(part.rows.clone()), sequence, &projection, &schema);
            let left_out = (!may_hold).then_some(None);
            may_hold.then(read).into_iter().flatten().map(Some).chain(left_out)
        });
        let slices = pieces.flat_map(move |piece| match piece {
            Some(Ok(batch)) => slices(&batch, batch_rows).into_iter().map(|slice| Some(Ok(slice))).collect(),
            Some(Err(error)) => vec![Some(Err(external(error)))],
            None => vec![None],
        });
        let steps = slices.map(move |slice| match slice {
            Some(Ok(slice)) => narrowed.of(slice).map(Ok),
            other => other,
        });
        let steps = steps.inspect(move |slice| slice.iter().for_each(|slice| count(&output_rows, slice)));
        Ok(Box::pin(RecordBatchStreamAdapter::new(output, paced(steps))))
    }

    /// What cannot be read is reported as unknown, and is not an error: only the rows themselves must be readable.
    fn statistics_from_inputs(
        &self,
        _: &[Arc<Statistics>],
        args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let known = self.count(args.partition());
        let known = known.unwrap_or_else(|_| Statistics::new_unknown(&self.schema()));
        Ok(Arc::new(if self.narrowing.is_empty() { known } else { known.to_inexact() }))
    }
}

impl ScanExec {
    fn count(&self, partition: Option<usize>) -> Result<Statistics> {
        let mut rows = 0;
        let unknown = || Bounds { unknown: !self.tells_bounds, ..Bounds::default() };
        let mut columns: Vec<Bounds> = self.projection.iter().map(|_| unknown()).collect();
        for part in self.batches(partition) {
            let Part::Segment { segment, batch } = &part.part else {
                let live = self.table.part_live_rows(&part.part, self.version.sequence).map_err(external)?;
                rows += live;
                columns.iter_mut().for_each(|bounds| bounds.unknown = true);
                continue;
            };
            let open = segment.open().map_err(external)?;
            let batch_rows = open.batch_rows(*batch);
            let live = self.table.live_rows(segment, *batch, self.version.sequence).map_err(external)?;
            let is_whole = part.rows.len() == batch_rows && live.is_none();
            match &live {
                None => rows += part.rows.len(),
                Some(live) => rows += live.slice(part.rows.start, part.rows.len()).count_set_bits(),
            }
            if !self.tells_bounds {
                continue;
            }
            let zones = open.zones().map_err(external)?;
            for (bounds, &column) in columns.iter_mut().zip(&self.projection) {
                let zones = &zones.columns[column];
                let nulls = zones.nulls.value(*batch);
                bounds.nulls += usize::try_from(nulls).unwrap_or(usize::MAX);
                bounds.inexact |= !is_whole;
                let min = ScalarValue::try_from_array(&zones.min, *batch)?;
                let max = ScalarValue::try_from_array(&zones.max, *batch)?;
                bounds.extend(min, max, nulls == batch_rows as u64);
            }
        }
        Ok(Statistics {
            num_rows: Precision::Exact(rows),
            total_byte_size: Precision::Absent,
            column_statistics: columns.into_iter().map(Bounds::finish).collect(),
        })
    }
}

/// Bounds of a column over several batches.
#[derive(Default)]
struct Bounds {
    nulls: usize,
    min: Option<ScalarValue>,
    max: Option<ScalarValue>,
    unknown: bool,
    /// Whether the bounds may cover more rows than are read.
    inexact: bool,
}

impl Bounds {
    fn extend(&mut self, min: ScalarValue, max: ScalarValue, all_null: bool) {
        if all_null {
            return;
        }
        // Bounds and SQL disagree on which zero, or which NaN, is the smallest or largest.
        self.inexact |= [&min, &max].into_iter().any(is_unsure);
        if min.is_null() || max.is_null() {
            self.unknown = true;
            return;
        }
        if self.min.as_ref().is_none_or(|held| min < *held) {
            self.min = Some(min);
        }
        if self.max.as_ref().is_none_or(|held| max > *held) {
            self.max = Some(max);
        }
    }

    fn finish(self) -> ColumnStatistics {
        let bound = |bound: Option<ScalarValue>| match bound {
            Some(bound) if !self.unknown => Precision::Exact(bound),
            _ => Precision::Absent,
        };
        let statistics = ColumnStatistics::new_unknown()
            .with_null_count(if self.unknown { Precision::Absent } else { Precision::Exact(self.nulls) })
            .with_min_value(bound(self.min))
            .with_max_value(bound(self.max));
        if self.inexact { statistics.to_inexact() } else { statistics }
    }
}

fn is_unsure(bound: &ScalarValue) -> bool {
    match bound {
        ScalarValue::Float16(Some(value)) => value.is_nan() || f32::from(*value) == 0.0,
        ScalarValue::Float32(Some(value)) => value.is_nan() || *value == 0.0,
        ScalarValue::Float64(Some(value)) => value.is_nan() || *value == 0.0,
        // Bounds order one month above forty days.
        bound => matches!(bound.data_type(), DataType::Interval(_)),
    }
}

pub(super) fn properties(equivalence: EquivalenceProperties, partitions: usize) -> Arc<PlanProperties> {
    let partitioning = Partitioning::UnknownPartitioning(partitions);
    Arc::new(PlanProperties::new(equivalence, partitioning, EmissionType::Incremental, Boundedness::Bounded))
}

pub(super) fn project(schema: &SchemaRef, projection: &[usize]) -> Result<SchemaRef> {
    Ok(Arc::new(schema.project(projection)?))
}

/// Whether reading the segments in their order gives the table's sort order.
fn is_one_run(table: &TableState) -> bool {
    if !table.tails.is_empty() {
        return false;
    }
    let mut runs = table.segments.iter().map(|segment| segment.record().run);
    let first = runs.next();
    runs.all(|run| Some(run) == first)
}

/// Splits batches into contiguous shares of about equal numbers of rows, so that each share keeps the order; at least
/// one.
fn distribute(batches: Vec<PartRef>, partitions: usize) -> Vec<Vec<PartRef>> {
    let rows: usize = batches.iter().map(|batch| batch.rows.len()).sum();
    let share = rows.div_ceil(partitions.max(1)).max(1);
    let mut shares: Vec<Vec<PartRef>> = vec![Vec::new()];
    let mut filled = 0;
    for batch in batches {
        if filled >= share && shares.len() < partitions {
            shares.push(Vec::new());
            filled = 0;
        }
        filled += batch.rows.len();
        if let Some(last) = shares.last_mut() {
            last.push(batch);
        }
    }
    shares
}

fn count(rows: &Count, batch: &Result<RecordBatch>) {
    if let Ok(batch) = batch {
        rows.add(batch.num_rows());
    }
}

/// Slices of a batch that are small enough for the processor's cache; nothing is copied.
pub(super) fn slices(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows.max(1));
    starts.map(|start| batch.slice(start, rows.min(batch.num_rows() - start))).collect()
}
