//! Reads the smaller side of a join, up to a bound.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use arrow::array::{Array, ArrayRef, RecordBatch};
use datafusion::error::Result;
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;

use super::held::{HeldExec, HeldPartition};
use super::shape::KeyLookup;
use crate::query::error::external;
use crate::storage::batch_len;
use crate::storage::key::{self, KeyBytes};

/// Most bytes of rows that are held: a large row is more work for the lookup too.
const BYTES_MAX: usize = 64 << 20;

/// What was read of a side.
pub(super) struct Collected {
    partitions: Vec<HeldPartition>,
    rows: usize,
    bytes: usize,
    memory: MemoryReservation,
}

impl Collected {
    /// Reads all partitions of `side` until they end, or have more than `rows_max` rows, or their memory is not there.
    pub(super) async fn read(
        side: &Arc<dyn ExecutionPlan>,
        rows_max: usize,
        context: &Arc<TaskContext>,
    ) -> Result<Self> {
        let partitions = 0..side.output_partitioning().partition_count();
        let partitions = partitions.map(|partition| {
            let rest = Some(side.execute(partition, context.clone())?);
            Ok(HeldPartition { batches: Vec::new(), rest })
        });
        let partitions = partitions.collect::<Result<Vec<_>>>()?;
        let memory = MemoryConsumer::new("PillionIndexJoin").register(context.memory_pool());
        let mut collected = Self { partitions, rows: 0, bytes: 0, memory };
        poll_fn(|waits| {
            loop {
                let mut is_ready = false;
                for number in 0..collected.partitions.len() {
                    let Some(partition) = collected.partitions.get_mut(number) else { continue };
                    let Some(rest) = &mut partition.rest else { continue };
                    match rest.poll_next_unpin(waits) {
                        Poll::Pending => continue,
                        Poll::Ready(None) => partition.rest = None,
                        Poll::Ready(Some(batch)) => {
                            if !collected.hold(number, batch?, rows_max) {
                                return Poll::Ready(Ok(()));
                            }
                        }
                    }
                    is_ready = true;
                }
                if collected.is_whole() {
                    return Poll::Ready(Ok(()));
                }
                if !is_ready {
                    return Poll::Pending;
                }
            }
        })
        .await
        .map(|()| collected)
    }

    /// Adds a batch; whether more may be read.
    fn hold(&mut self, partition: usize, batch: RecordBatch, rows_max: usize) -> bool {
        let len = batch_len(&batch);
        self.rows += batch.num_rows();
        self.bytes += len;
        let has_room = self.memory.try_grow(len).is_ok();
        if let Some(partition) = self.partitions.get_mut(partition) {
            partition.batches.push((batch, if has_room { len } else { 0 }));
        }
        has_room && self.rows <= rows_max && self.bytes <= BYTES_MAX
    }

    /// Whether everything was read, within the bound.
    pub(super) fn is_whole(&self) -> bool {
        self.partitions.iter().all(|partition| partition.rest.is_none())
    }

    /// The keys that the rows match, each once and in order; `None` if there is no memory for them.
    pub(super) fn keys(&self, lookup: &KeyLookup) -> Result<Option<Vec<KeyBytes>>> {
        let (mut keys, mut bytes) = (BTreeSet::new(), 0);
        for (batch, _) in self.partitions.iter().flat_map(|partition| &partition.batches) {
            let values =
                lookup.values.iter().map(|value| value.evaluate(batch)?.into_array(batch.num_rows()));
            let values = values.collect::<Result<Vec<ArrayRef>>>()?;
            for row in 0..batch.num_rows() {
                // A null equals nothing.
                if values.iter().any(|value| value.is_null(row)) {
                    continue;
                }
                let mut key = KeyBytes::new();
                for value in &values {
                    key::encode_cell(&mut key, value.as_ref(), row).map_err(external)?;
                }
                let len = size_of::<KeyBytes>() + if key.spilled() { key.len() } else { 0 };
                if !keys.insert(key) {
                    continue;
                }
                if self.memory.try_grow(len).is_err() {
                    self.memory.shrink(bytes);
                    return Ok(None);
                }
                bytes += len;
            }
        }
        Ok(Some(keys.into_iter().collect()))
    }

    /// What was read, and what comes after it, in the place of the side.
    pub(super) fn into_plan(self, side: &Arc<dyn ExecutionPlan>) -> Arc<dyn ExecutionPlan> {
        Arc::new(HeldExec::new(side.properties(), self.partitions, self.memory))
    }
}
