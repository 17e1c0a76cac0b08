//! A table, as DataFusion plans over it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Constraint, Constraints};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_plan::ExecutionPlan;
use parking_lot::Mutex;

use super::error::external;
use super::filters::Converter;
use super::key_filter::find_keys;
use super::lookup::PointExec;
use super::pruning::Pruning;
use super::scan::{PartRef, ScanExec};
use super::sorted::{SortedBounds, is_ordered};
use crate::answer::certificate::TableCertificate;
use crate::coverage::{Held, Predicate, Region, domain_of, held};
use crate::storage::{Part, State, TableShape, TableState};

/// The most characters of a condition that are shown.
const CONDITION_SHOWN: usize = 300;

/// What all scans of one execution share: an extension of the session's configuration.
#[derive(Debug)]
pub(super) struct ExecutionState {
    /// The state that is read.
    pub(super) state: Arc<State>,
    /// Whether scans report the bounds of their columns to the planner.
    pub(super) tells_bounds: bool,
    /// Whether answers may come from tables that lack rows and say so: the answer must then show its certificates.
    pub(super) takes_partial: bool,
    /// What the scans of working sets say of the answer.
    pub(super) certificates: Mutex<Vec<TableCertificate>>,
    /// Kept by scans as long as they are there, so that others of the same plan find the same state.
    pub(super) pin: Option<Arc<dyn Any + Send + Sync>>,
}

impl ExecutionState {
    pub(super) fn new(state: Arc<State>, tells_bounds: bool) -> Self {
        Self { state, tells_bounds, takes_partial: true, certificates: Mutex::default(), pin: None }
    }

    fn certify(&self, certificate: TableCertificate) -> Arc<str> {
        let shown = certificate.to_string().into();
        let mut all = self.certificates.lock();
        if !all.contains(&certificate) {
            all.push(certificate);
        }
        shown
    }
}

/// Says on which state a session plans, where the session itself does not know it.
pub(super) trait PlansOn: fmt::Debug + Send + Sync {
    /// The state of what the session plans.
    ///
    /// # Errors
    /// Those of finding the state, and for a table that may not be read.
    fn execution(&self, session: &dyn Session, table: &TableShape) -> Result<Arc<ExecutionState>>;
}

/// A table by its number. Its rows are looked up when a plan is executed, so that a plan can be kept.
#[derive(Debug)]
pub(super) struct CacheTable {
    shape: Arc<TableShape>,
    constraints: Constraints,
    /// `None` in sessions of our own engine, which know the state.
    plans_on: Option<Arc<dyn PlansOn>>,
}

impl CacheTable {
    pub(super) fn new(shape: Arc<TableShape>) -> Self {
        // A key is unique by its bits, but SQL takes some different bits for equal.
        let is_unique = !shape.primary_key.is_empty()
            && shape.primary_key.iter().all(|&column| is_ordered(shape.schema.field(column).data_type()));
        let key = is_unique.then(|| Constraint::PrimaryKey(shape.primary_key.clone()));
        let constraints = Constraints::new_unverified(key.into_iter().collect());
        Self { shape, constraints, plans_on: None }
    }

    /// The same table, for sessions that do not know the state on which they plan.
    #[cfg(feature = "datafusion")]
    pub(super) fn planned_on(self, plans_on: Arc<dyn PlansOn>) -> Self {
        Self { plans_on: Some(plans_on), ..self }
    }

    /// Number of the table.
    pub(super) fn id(&self) -> u64 {
        self.shape.id
    }

    /// What of the table never changes.
    pub(super) fn shape(&self) -> &TableShape {
        &self.shape
    }

    /// Whether the rows that satisfy some filters are held. DataFusion wants no other rows of this scan: it hands down only conditions
    /// without which no row counts, whatever joins, groups or limits stand above.
    ///
    /// # Errors
    /// [`ErrorCode::NotCovered`](crate::ErrorCode::NotCovered) if rows may be missing and the table does not answer then.
    fn ask(&self, execution: &ExecutionState, held: &Held<'_>, filters: &[Expr]) -> Result<Arc<str>> {
        let converter = Converter::new(&self.shape.schema);
        let filter = Predicate::And(filters.iter().map(|filter| converter.predicate(filter)).collect());
        let asked = Region::around(&filter, &|column| domain_of(&self.shape, column));
        let is_covered = held.covers(&asked);
        let wanted = match filters {
            [] => "the query asks for all rows".to_owned(),
            _ => format!("the query asks for rows where {}", shortened(&filter)),
        };
        if !is_covered && !(held.answers_partially() && execution.takes_partial) {
            let or_partial = match held.answers_partially() {
                true => ", or make the catalog one of `partial` answers",
                false => "",
            };
            return Err(external(held.not_covered(format_args!(
                "{wanted}: add that condition to it, or ask the source{or_partial}"
            ))));
        }
        Ok(execution.certify(held.certificate(is_covered, wanted)))
    }

    fn table(&self, session: &dyn Session) -> Result<(Arc<ExecutionState>, Arc<TableState>)> {
        let execution = match &self.plans_on {
            Some(plans_on) => plans_on.execution(session, &self.shape)?,
            None => session
                .config()
                .get_extension::<ExecutionState>()
                .ok_or_else(|| DataFusionError::Internal("no state to execute on".to_owned()))?,
        };
        let table = execution.state.tables.get(&self.shape.id).cloned();
        let table =
            table.ok_or_else(|| DataFusionError::Plan(format!("table `{}` was dropped", self.shape.name)))?;
        Ok((execution, table))
    }
}

/// A condition in as many characters as a message may have.
fn shortened(filter: &Predicate) -> String {
    let text = filter.to_string();
    match text.char_indices().nth(CONDITION_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
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
        let held = held(&execution.state, &table);
        if let Some(keys) = find_keys(&self.shape, filters) {
            let point = PointExec::new(table.clone(), version.sequence, projection, keys)?;
            let certified = match &held {
                None => None,
                // A key names one row, and a row that is held is the one.
                Some(held) if point.finds_all()? => {
                    let reason = "a row with each key is held".to_owned();
                    Some(execution.certify(held.certificate(true, reason)))
                }
                Some(held) => Some(self.ask(&execution, held, filters)?),
            };
            return Ok(Arc::new(point.certified(certified).holding(execution.pin.clone())));
        }
        let certified = held.map(|held| self.ask(&execution, &held, filters)).transpose()?;
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
        let scan = scan.certified(certified).holding(execution.pin.clone());
        Ok(Arc::new(if execution.tells_bounds { scan } else { scan.without_bounds() }))
    }
}
