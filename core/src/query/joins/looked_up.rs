//! The rows of a table with some keys, in the place of a scan of it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
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
use crate::storage::{Found, PREFETCHED_KEYS, Prefetch, TableState, batch_len};

/// Keys that are looked up before other work gets its turn.
const KEYS_AT_ONCE: usize = 1024;
/// Bytes of rows after which they are handed on, although more keys could be looked up at once.
const BYTES_AT_ONCE: usize = 8 << 20;

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
    pub(super) async fn new(scan: &ScanExec, keys: &[KeyBytes], found: Count) -> Result<Self> {
        let (table, sequence) = (scan.table().clone(), scan.sequence());
        let partitions = scan.properties().output_partitioning().partition_count().max(1);
        // A scan has an order only if all rows are in segments that follow each other in it.
        let wanted = match scan.properties().output_ordering() {
            Some(_) => shares(&places(&table, sequence, keys).await?, partitions, Wanted::Places),
            None => shares(keys, partitions, Wanted::Keys),
        };
        let (projection, properties) = (scan.projection().to_vec(), scan.properties().clone());
        Ok(Self { table, sequence, projection, properties, wanted, found })
    }

    /// Rows of some keys, and the number of keys that they are of.
    fn rows(&self, keys: &[KeyBytes], step: &mut Step<'_>) -> Result<usize> {
        let schema = self.schema();
        let mut done = 0;
        for keys in keys.chunks(PREFETCHED_KEYS) {
            let hashed: Vec<_> = keys.iter().map(|key| (key, key::hash(key))).collect();
            self.table.prefetch(&hashed, Prefetch::Values);
            for (key, hash) in hashed {
                done += 1;
                let found = self.table.find_hashed(key, hash, self.sequence).map_err(external)?;
                let Some(found) = found else { continue };
                if step.is_full_with(found.read(&self.projection, &schema).map_err(external)?) {
                    return Ok(done);
                }
            }
        }
        Ok(done)
    }

    fn rows_at(&self, places: &[(usize, u32)], step: &mut Step<'_>) -> Result<usize> {
        let schema = self.schema();
        for (number, &(segment, row)) in places.iter().enumerate() {
            let found = Found::Segment(&self.table.segments[segment], row);
            if step.is_full_with(found.read(&self.projection, &schema).map_err(external)?) {
                return Ok(number + 1);
            }
        }
        Ok(places.len())
    }

    /// The rows of a partition from `start`, a few at a time, and where the next ones begin. `memory` is that of the rows that were
    /// handed on last, and then of these.
    fn next(
        &self,
        partition: usize,
        start: usize,
        memory: &MemoryReservation,
    ) -> Result<Option<(Vec<RecordBatch>, usize)>> {
        memory.free();
        let mut step = Step { rows: Vec::new(), bytes: 0, memory };
        let end = start + KEYS_AT_ONCE;
        let done = match self.wanted.get(partition) {
            Some(Wanted::Keys(keys)) if start < keys.len() => {
                self.rows(&keys[start..end.min(keys.len())], &mut step)?
            }
            Some(Wanted::Places(places)) if start < places.len() => {
                self.rows_at(&places[start..end.min(places.len())], &mut step)?
            }
            _ => return Ok(None),
        };
        self.found.add(step.rows.len());
        Ok(Some((joined(&self.schema(), &step.rows)?, start + done)))
    }
}

/// Rows that are handed on together.
struct Step<'a> {
    rows: Vec<RecordBatch>,
    bytes: usize,
    memory: &'a MemoryReservation,
}

impl Step<'_> {
    /// Adds a row; whether it must be the last one, because the rows are many bytes or there is no memory for more. A scan would not
    /// ask for the memory of a batch either, so one row may always come.
    fn is_full_with(&mut self, row: RecordBatch) -> bool {
        let len = batch_len(&row);
        self.bytes += len;
        self.rows.push(row);
        self.memory.try_grow(len).is_err() || self.bytes >= BYTES_AT_ONCE
    }
}

/// Contiguous shares of about equal size, one for each partition.
fn shares<T: Clone>(all: &[T], partitions: usize, wanted: fn(Arc<[T]>) -> Wanted) -> Vec<Wanted> {
    let share = all.len().div_ceil(partitions).max(1);
    let mut shares: Vec<_> = all.chunks(share).map(|share| wanted(share.into())).collect();
    shares.resize_with(partitions, || wanted(Arc::default()));
    shares
}

/// Where the rows with some keys are, in the order of the table.
async fn places(table: &TableState, sequence: u64, keys: &[KeyBytes]) -> Result<Vec<(usize, u32)>> {
    let numbers: HashMap<u64, usize> =
        table.segments.iter().enumerate().map(|(number, segment)| (segment.id(), number)).collect();
    let mut places = Vec::with_capacity(keys.len());
    for (number, keys) in keys.chunks(PREFETCHED_KEYS).enumerate() {
        if number % (KEYS_AT_ONCE / PREFETCHED_KEYS) == KEYS_AT_ONCE / PREFETCHED_KEYS - 1 {
            tokio::task::yield_now().await;
        }
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

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let memory = MemoryConsumer::new("PillionLookedUp").register(context.memory_pool());
        let lookup = Self {
            table: self.table.clone(),
            sequence: self.sequence,
            projection: self.projection.clone(),
            properties: self.properties.clone(),
            wanted: self.wanted.clone(),
            found: self.found.clone(),
        };
        let lookup = Arc::new((lookup, memory));
        let batches = stream::try_unfold(0, move |start| {
            let lookup = lookup.clone();
            async move {
                // Others get their turn, and the query notices here whether it was cancelled.
                if start > 0 {
                    tokio::task::yield_now().await;
                }
                let (lookup, memory) = lookup.as_ref();
                Ok::<_, DataFusionError>(
                    lookup
                        .next(partition, start, memory)?
                        .map(|(rows, next)| (stream::iter(rows.into_iter().map(Ok)), next)),
                )
            }
        });
        let batches = futures::TryStreamExt::try_flatten(batches);
        Ok(make_cooperative(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches))))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;
    use datafusion::execution::memory_pool::{GreedyMemoryPool, MemoryPool};

    use super::*;

    #[test]
    fn a_step_ends_by_its_bytes_and_where_there_is_no_memory() {
        let row = |len: usize| {
            let text = StringArray::from(vec!["x".repeat(len)]);
            RecordBatch::try_from_iter([("t", Arc::new(text) as _)]).unwrap()
        };
        let rows_of_a_step = |pool: usize, len: usize| {
            let pool: Arc<dyn MemoryPool> = Arc::new(GreedyMemoryPool::new(pool));
            let memory = MemoryConsumer::new("test").register(&pool);
            let mut step = Step { rows: Vec::new(), bytes: 0, memory: &memory };
            let rows = (1..20).find(|_| step.is_full_with(row(len)));
            assert!(pool.reserved() <= step.bytes);
            rows
        };
        assert_eq!(rows_of_a_step(usize::MAX, BYTES_AT_ONCE / 4), Some(4));
        assert_eq!(rows_of_a_step(usize::MAX, 10), None);
        assert_eq!(rows_of_a_step(2_500, 1_000), Some(3));
        assert_eq!(rows_of_a_step(0, 1_000), Some(1));
    }
}
