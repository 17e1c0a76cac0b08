//! A table, as DataFusion plans over it.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;

use super::error::external;
use super::key_filter::find_keys;
use super::lookup::PointExec;
use super::pruning::Pruning;
use super::scan::{PartRef, ScanExec};
use super::sorted::{SortedBounds, is_ordered};
use crate::storage::{Part, State, TableShape, TableState};

/// What all scans of one execution share: an extension of the session's configuration.
#[derive(Debug)]
pub(super) struct ExecutionState {
    /// The state that is read.
    pub(super) state: Arc<State>,
    /// Whether scans report the bounds of their columns to the planner.
    pub(super) tells_bounds: bool,
}

/// A table by its number. Its rows are looked up when a plan is executed, so that a plan can be kept.
#[derive(Debug)]
pub(super) struct CacheTable {
    shape: Arc<TableShape>,
    constraints: Constraints,
}

impl CacheTable {
    pub(super) fn new(shape: Arc<TableShape>) -> Self {
        // A key is unique by its bits, but SQL takes some different bits for equal.
        let is_unique = !shape.primary_key.is_empty()
            && shape.primary_key.iter().all(|&column| is_ordered(shape.schema.field(column).data_type()));
        let key = is_unique.then(|| Constraint::PrimaryKey(shape.primary_key.clone()));
        Self { shape, constraints: Constraints::new_unverified(key.into_iter().collect()) }
    }

    /// Number of the table.
    pub(super) fn id(&self) -> u64 {
        self.shape.id
    }

    /// What of the table never changes.
    pub(super) fn shape(&self) -> &TableShape {
        &self.shape
    }

    fn table(&self, session: &dyn Session) -> Result<(Arc<ExecutionState>, Arc<TableState>)> {
        let execution = session.config().get_extension::<ExecutionState>();
        let execution =
            execution.ok_or_else(|| DataFusionError::Internal("no state to execute on".to_owned()))?;
        let table = execution.state.tables.get(&self.shape.id).cloned();
        let table =
            table.ok_or_else(|| DataFusionError::Plan(format!("table `{}` was dropped", self.shape.name)))?;
        Ok((execution, table))
    }
}

#[async_trait]
impl TableProvider for CacheTable {
    fn schema(&self) -> SchemaRef {
        self.shape.schema.clone()
    }

    fn constraints(&self) -> Option<&Constraints> {
        Some(&self.constraints)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Every filter is useful, for keys or zone maps, and DataFusion applies every one again above the scan. It may
    /// rewrite filters after it called this and before it calls [`scan`](Self::scan), so nothing may be promised for
    /// them.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let (execution, table) = self.table(session)?;
        let version = execution.state.version;
        let all: Vec<usize> = (0..self.shape.schema.fields().len()).collect();
        let projection = projection.cloned().unwrap_or(all);
        if let Some(keys) = find_keys(&self.shape, filters) {
            return Ok(Arc::new(PointExec::new(table, version.sequence, projection, keys)?));
        }
        let pruning = Pruning::new(session, &self.shape.schema, filters);
        let bounds = SortedBounds::new(&self.shape, filters);
        let mut batches = Vec::new();
        let mut total = 0;
        for segment in table.segments.iter() {
            let open = segment.open().map_err(external)?;
            total += open.batch_count();
            for batch in pruning.batches(open) {
                let rows = bounds.rows(open, batch);
                if !rows.is_empty() {
                    batches.push(PartRef { part: Part::Segment { segment: segment.clone(), batch }, rows });
                }
            }
        }
        for part in table.tail_parts().map_err(external)? {
            let len = table.part_len(&part).map_err(external)?;
            total += 1;
            batches.push(PartRef { part, rows: 0..len });
        }
        // How many rows a part with deleted rows has left is not known.
        if let (Some(limit), true) = (limit, filters.is_empty() && table.is_plain()) {
            let mut rows = 0;
            batches.retain(|batch| {
                let needed = rows < limit;
                rows += batch.rows.len();
                needed
            });
        }
        let partitions = session.config().target_partitions();
        let scan = ScanExec::new(version, table, projection, batches, total, partitions)?;
        Ok(Arc::new(if execution.tells_bounds { scan } else { scan.without_bounds() }))
    }
}
