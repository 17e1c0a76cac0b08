//! The rows of a table with some keys, in the place of a scan of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coop::make_cooperative;
use datafusion::physical_plan::metrics::Count;
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::stream;

use crate::query::error::external;
use crate::query::lookup::joined;
use crate::query::scan::ScanExec;
use crate::storage::key::{self, KeyBytes};
use crate::storage::{Found, PREFETCHED_KEYS, Prefetch, TableState};

/// Keys that are looked up before other work gets its turn.
const KEYS_AT_ONCE: usize = 1024;

/// Looks rows up. It has the partitions, the columns and the order of the scan whose place it takes.
#[derive(Debug)]
pub(super) struct LookedUpExec {
    table: Arc<TableState>,
    sequence: u64,
    projection: Vec<usize>,
    properties: Arc<PlanProperties>,
    /// By partition.
    wanted: Vec<Wanted>,
    found: Count,
}

/// Rows of one partition.
#[derive(Clone, Debug)]
enum Wanted {
    Keys(Arc<[KeyBytes]>),
    /// The segments of rows, by their places in the table, and their numbers in these.
    Places(Arc<[(usize, u32)]>),
}

impl LookedUpExec {
    /// The rows with `keys`, each of which is given once. `found` counts them.
    pub(super) fn new(scan: &ScanExec, keys: &[KeyBytes], found: Count) -> Result<Self> {
        let (table, sequence) = (scan.table().clone(), scan.sequence());
        let partitions = scan.properties().output_partitioning().partition_count().max(1);
        let wanted = if scan.properties().output_ordering().is_some() {
            // A scan has an order only if all rows are in segments that follow each other in it.
            let places = places(&table, sequence, keys)?;
            let mut wanted = vec![Wanted::Places(places.into())];
            wanted.resize_with(partitions, || Wanted::Places(Arc::default()));
            wanted
        } else {
            let share = keys.len().div_ceil(partitions).max(1);
            let mut shares: Vec<_> = keys.chunks(share).map(|keys| Wanted::Keys(keys.into())).collect();
            shares.resize_with(partitions, || Wanted::Keys(Arc::default()));
            shares
        };
        let (projection, properties) = (scan.projection().to_vec(), scan.properties().clone());
        Ok(Self { table, sequence, projection, properties, wanted, found })
    }

    /// The rows of the keys at some places, beginning at `start`.
    fn rows(&self, keys: &[KeyBytes]) -> Result<Vec<RecordBatch>> {
        let schema = self.schema();
        let mut rows = Vec::with_capacity(keys.len());
        for keys in keys.chunks(PREFETCHED_KEYS) {
            let hashed: Vec<_> = keys.iter().map(|key| (key, key::hash(key))).collect();
            self.table.prefetch(&hashed, Prefetch::Values);
            for (key, hash) in hashed {
                let found = self.table.find_hashed(key, hash, self.sequence).map_err(external)?;
                let Some(found) = found else { continue };
                rows.push(found.read(&self.projection, &schema).map_err(external)?);
            }
        }
        Ok(rows)
    }

    fn rows_at(&self, places: &[(usize, u32)]) -> Result<Vec<RecordBatch>> {
        let schema = self.schema();
        let read = |&(segment, row): &(usize, u32)| {
            let segment = &self.table.segments[segment];
            Found::Segment(segment, row).read(&self.projection, &schema).map_err(external)
        };
        places.iter().map(read).collect()
    }

    /// The rows of a partition from `start`, a few at a time, and where the next ones begin.
    fn next(&self, partition: usize, start: usize) -> Result<Option<(Vec<RecordBatch>, usize)>> {
        let end = start + KEYS_AT_ONCE;
        let rows = match self.wanted.get(partition) {
            Some(Wanted::Keys(keys)) if start < keys.len() => self.rows(&keys[start..end.min(keys.len())])?,
            Some(Wanted::Places(places)) if start < places.len() => {
                self.rows_at(&places[start..end.min(places.len())])?
            }
            _ => return Ok(None),
        };
        self.found.add(rows.len());
        Ok(Some((joined(&self.schema(), &rows)?, end)))
    }
}

/// Where the rows with some keys are, in the order of the table.
fn places(table: &TableState, sequence: u64, keys: &[KeyBytes]) -> Result<Vec<(usize, u32)>> {
    let numbers: HashMap<u64, usize> =
        table.segments.iter().enumerate().map(|(number, segment)| (segment.id(), number)).collect();
    let mut places = Vec::with_capacity(keys.len());
    for keys in keys.chunks(PREFETCHED_KEYS) {
        let hashed: Vec<_> = keys.iter().map(|key| (key, key::hash(key))).collect();
        table.prefetch(&hashed, Prefetch::Keys);
        for (key, hash) in hashed {
            if let Some(Found::Segment(segment, row)) =
                table.find_hashed(key, hash, sequence).map_err(external)?
                && let Some(number) = numbers.get(&segment.id())
            {
                places.push((*number, row));
            }
        }
    }
    places.sort_unstable();
    Ok(places)
}

impl DisplayAs for LookedUpExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PillionLookedUp: table={}", self.table.shape.name)
    }
}

impl ExecutionPlan for LookedUpExec {
    fn name(&self) -> &'static str {
        "PillionLookedUp"
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
        let lookup = Self {
            table: self.table.clone(),
            sequence: self.sequence,
            projection: self.projection.clone(),
            properties: self.properties.clone(),
            wanted: self.wanted.clone(),
            found: self.found.clone(),
        };
        let lookup = Arc::new(lookup);
        let batches = stream::try_unfold(0, move |start| {
            let lookup = lookup.clone();
            async move {
                // Others get their turn, and the query notices here whether it was cancelled.
                if start > 0 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, DataFusionError>(
                    lookup
                        .next(partition, start)?
                        .map(|(rows, next)| (stream::iter(rows.into_iter().map(Ok)), next)),
                )
            }
        });
        let batches = futures::TryStreamExt::try_flatten(batches);
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches))))
    }
}
