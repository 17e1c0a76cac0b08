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

use super::delegated::{DelegatedExec, keys_of};
use super::error::external;
use super::filters::Converter;
use super::key_filter::find_keys;
use super::lookup::PointExec;
use super::pruning::Pruning;
use super::scan::{PartRef, ScanExec};
use super::sorted::{SortedBounds, is_ordered};
use crate::answer::certificate::TableCertificate;
use crate::coverage::{
    Held, Predicate, Region, UpstreamSlot, Wanted, delegated, domain_of, held, out_of_reach,
};
use crate::storage::{Part, State, TableShape, TableState, freshness};
use crate::types::bounds::ReadBounds;
use crate::types::version::Freshness;

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
    /// Where rows come from that are not held.
    pub(super) upstream: UpstreamSlot,
    /// Tables that are read from their sources, whatever is held.
    pub(super) elsewhere: Mutex<Vec<u64>>,
    /// Kept by scans as long as they are there, so that others of the same plan find the same state.
    pub(super) pin: Option<Arc<dyn Any + Send + Sync>>,
    /// Scans of held rows so far.
    pub(super) here: Mutex<Here>,
}

/// Scans of held rows, counted when they are planned: planning may go on to replace them by their result.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Here {
    pub(super) scans: usize,
    /// The freshness of the oldest table among them.
    pub(super) freshness: Option<Freshness>,
}

/// Who answers a scan.
enum Asked {
    /// The held rows; for a working set this says why, or that some may be missing.
    Here(Option<Arc<str>>),
    /// The source.
    Elsewhere(DelegatedExec),
    /// The source, or the held rows if it fails.
    ElsewhereIfPossible(DelegatedExec),
}

impl ExecutionState {
    pub(super) fn new(state: Arc<State>, tells_bounds: bool, upstream: UpstreamSlot) -> Self {
        let (certificates, elsewhere, here) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { state, tells_bounds, takes_partial: true, certificates, upstream, elsewhere, pin: None, here }
    }

    /// A scan reads the held rows of a table.
    fn reads_here(&self, table: &TableState) {
        let mut here = self.here.lock();
        here.scans += 1;
        if let Some(freshness) = freshness(table) {
            here.freshness = Some(here.freshness.map_or(freshness, |oldest| oldest.older(freshness)));
        }
    }

    fn asks_source(&self, table: &TableState) -> bool {
        self.elsewhere.lock().contains(&table.shape.id)
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

    /// Who has the rows that satisfy some filters. DataFusion wants no other rows of this scan: it hands down only conditions
    /// without which no row counts, whatever joins, groups or limits stand above.
    ///
    /// # Errors
    /// [`ErrorCode::NotCovered`](crate::ErrorCode::NotCovered) if rows may be missing and the table does not answer then.
    fn ask(
        &self,
        execution: &ExecutionState,
        (table, held): (&TableState, Option<&Held<'_>>),
        filters: &[Expr],
        projection: &[usize],
    ) -> Result<Asked> {
        let is_asked = execution.asks_source(table);
        if held.is_none() && !is_asked {
            return Ok(Asked::Here(None));
        }
        let converter = Converter::new(&self.shape.schema);
        let filter = Predicate::And(filters.iter().map(|filter| converter.predicate(filter)).collect());
        let asked = Region::around(&filter, &|column| domain_of(&self.shape, column));
        let is_covered = held.is_none_or(|held| held.covers(&asked));
        let rows = match filters {
            [] => "all rows".to_owned(),
            _ => format!("rows where {}", shortened(&filter)),
        };
        let reason = format!("the query asks for {rows}");
        let may_be_partial = ReadBounds::current().is_some_and(|bounds| bounds.partial);
        if is_asked || (!is_covered && held.is_some_and(Held::delegates)) {
            let reason = if is_asked { format!("{reason}, and for those of the source") } else { reason };
            let (keys, columns) = (keys_of(&self.shape, filters), projection.to_vec());
            // What the source cannot get is an error of it, and never a part of the answer.
            let bounds = ReadBounds { partial: false, ..ReadBounds::current().unwrap_or_default() };
            let (table_shape, condition) = (self.shape.clone(), Some(filter));
            let wanted = Wanted { table: table_shape, columns, keys, condition, described: rows, bounds };
            let upstream = execution.upstream.get().cloned();
            let upstream = upstream.ok_or_else(|| out_of_reach(table, held, &wanted.described));
            let leaf = DelegatedExec::new(wanted, upstream, delegated(table, held, reason, None))?;
            return Ok(if may_be_partial {
                Asked::ElsewhereIfPossible(leaf)
            } else {
                Asked::Elsewhere(leaf)
            });
        }
        let Some(held) = held else { return Ok(Asked::Here(None)) };
        let is_partial = held.answers_partially();
        let takes_partial = may_be_partial || (is_partial && execution.takes_partial);
        if !is_covered && !takes_partial {
            let or_partial = if is_partial { ", or make the catalog one of `partial` answers" } else { "" };
            return Err(external(held.not_covered(format_args!(
                "{reason}: add that condition to it, or ask the source{or_partial}"
            ))));
        }
        Ok(Asked::Here(Some(execution.certify(held.certificate(is_covered, reason)))))
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
        if let Some(keys) = find_keys(&self.shape, filters).filter(|_| !execution.asks_source(&table)) {
            let point = PointExec::new(table.clone(), version.sequence, projection.clone(), keys)?;
            let certified = match &held {
                None => Asked::Here(None),
                // A key names one row, and a row that is held is the one.
                Some(held) if point.finds_all()? => {
                    let reason = "a row with each key is held".to_owned();
                    Asked::Here(Some(execution.certify(held.certificate(true, reason))))
                }
                Some(held) => self.ask(&execution, (&table, Some(held)), filters, &projection)?,
            };
            match certified {
                Asked::Here(certified) => {
                    execution.reads_here(&table);
                    return Ok(Arc::new(point.certified(certified).holding(execution.pin.clone())));
                }
                Asked::Elsewhere(delegated) => return Ok(Arc::new(delegated)),
                Asked::ElsewhereIfPossible(_) => {}
            }
        }
        let (certified, delegated) =
            match self.ask(&execution, (&table, held.as_ref()), filters, &projection)? {
                Asked::Here(certified) => (certified, None),
                Asked::Elsewhere(delegated) => return Ok(Arc::new(delegated)),
                Asked::ElsewhereIfPossible(delegated) => (None, Some(delegated)),
            };
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
        let fresh = freshness(&table);
        if delegated.is_none() {
            execution.reads_here(&table);
        }
        let scan = ScanExec::new(version, table, projection, batches, total, partitions)?;
        let scan = scan.certified(certified).holding(execution.pin.clone());
        let scan = Arc::new(if execution.tells_bounds { scan } else { scan.without_bounds() });
        Ok(match delegated {
            None => scan,
            Some(delegated) => Arc::new(delegated.or(scan, fresh)),
        })
    }
}
