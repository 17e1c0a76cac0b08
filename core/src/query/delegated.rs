//! The leaf of physical plans that reads rows from the source of a table, because the table does not hold them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::Expr;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::error::external;
use super::key_filter::values_of_columns;
use super::provider::Here;
use super::scan::{project, properties, slices};
use crate::answer::batches::AnswerInfo;
use crate::answer::certificate::{Certificate, TableCertificate};
use crate::coverage::{Fetching, KEYS_AT_ONCE, Upstream, Wanted};
use crate::source::Keys;
use crate::storage::TableShape;
use crate::types::error::{Error, ErrorCode, ErrorKind};
use crate::types::version::{Freshness, Tier};

/// What [`begin`] has begun.
#[derive(Debug)]
enum Begun {
    Nothing,
    /// A fetch, until it is read.
    Fetching(Fetching),
    /// The source failed.
    Held,
}

/// The error of a read whose source nobody here asks.
#[derive(Debug)]
struct Unreachable {
    code: ErrorCode,
    message: String,
}

/// Reads rows that a table does not hold from its source. Its rows are never more trusted than those of a scan: the plan above applies
/// every condition again.
#[derive(Debug)]
pub(super) struct DelegatedExec {
    wanted: Arc<Wanted>,
    /// Who fetches, or why nobody does.
    upstream: std::result::Result<Arc<dyn Upstream>, Unreachable>,
    /// What the answer says of these rows, but for their moment.
    certificate: TableCertificate,
    /// What is read if the source fails before it has sent rows, if the read allows that, and how fresh that is.
    held: Option<(Arc<dyn ExecutionPlan>, Option<Freshness>)>,
    begun: Mutex<Begun>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DelegatedExec {
    pub(super) fn new(
        wanted: Wanted,
        upstream: crate::types::error::Result<Arc<dyn Upstream>>,
        certificate: TableCertificate,
    ) -> Result<Self> {
        let schema = project(&wanted.table.schema, &wanted.columns)?;
        let properties = properties(EquivalenceProperties::new(schema), 1);
        let upstream =
            upstream.map_err(|error| Unreachable { code: error.code(), message: error.message().to_owned() });
        let (wanted, held, metrics) = (Arc::new(wanted), None, ExecutionPlanMetricsSet::new());
        let begun = Mutex::new(Begun::Nothing);
        Ok(Self { wanted, upstream, certificate, held, begun, properties, metrics })
    }

    /// The same, but a source that fails before it has sent rows leaves the answer to the held rows, which are so fresh.
    pub(super) fn or(self, held: Arc<dyn ExecutionPlan>, freshness: Option<Freshness>) -> Self {
        let held: Arc<dyn ExecutionPlan> = Arc::new(CoalescePartitionsExec::new(held));
        Self { held: Some((held, freshness)), ..self }
    }

    fn upstream(&self) -> crate::types::error::Result<&Arc<dyn Upstream>> {
        self.upstream.as_ref().map_err(|why| Error::new(why.code, why.message.clone()))
    }

    /// What the answer says of the held rows, which it gives because the source failed.
    fn partial(&self, error: &Error, freshness: Option<Freshness>) -> TableCertificate {
        let reason = format!("{}: {}", self.certificate.reason, error.message());
        let of_held = TableCertificate { tier: Tier::Local, is_complete: false, ..self.certificate.clone() };
        TableCertificate { reason, freshness, ..of_held }
    }

    /// Another fetch, for a part of a plan that is executed several times. It begins on a thread of its own: whoever executes a plan must
    /// not wait.
    fn fetch(&self) -> crate::types::error::Result<Fetching> {
        let (upstream, wanted) = (self.upstream()?.clone(), self.wanted.clone());
        Fetching::deferred(move || upstream.fetch_one(&wanted))
    }
}

/// Begins all fetches of a plan, and adds what is known of them to what the answer says. An answer that fetches nothing costs a walk over
/// the plan. `here` are the scans of held rows, also those that planning replaced by their result.
///
/// # Errors
/// Those of the sources, before the answer has begun.
pub(super) fn begin(
    plan: &Arc<dyn ExecutionPlan>,
    here: Here,
    info: &mut AnswerInfo,
) -> crate::types::error::Result<()> {
    let mut leaves = Leaves::default();
    leaves.collect(plan, false);
    let Leaves { delegated, is_repeated } = leaves;
    if delegated.is_empty() {
        return Ok(());
    }
    let mut tables = info.certificate.tables().to_vec();
    let Here { mut scans, freshness: mut oldest } = here;
    let mut older = |freshness: Option<Freshness>| {
        if let Some(freshness) = freshness {
            oldest = Some(oldest.map_or(freshness, |oldest| oldest.older(freshness)));
        }
    };
    let mut fetches = 0;
    for (leaf, fetching) in delegated.iter().zip(all(&delegated)) {
        let begun = fetching.and_then(|fetching| Ok((fetching.wait_for_begin()?, fetching)));
        match (begun, &leaf.held) {
            (Ok((as_of, fetching)), _) => {
                let freshness = Some(Freshness { as_of });
                older(freshness);
                tables.push(TableCertificate { freshness, ..leaf.certificate.clone() });
                *leaf.begun.lock() = Begun::Fetching(fetching);
                fetches += 1;
            }
            (Err(error), Some((_, freshness))) if is_of_source(&error) => {
                older(*freshness);
                tables.push(leaf.partial(&error, *freshness));
                *leaf.begun.lock() = Begun::Held;
                scans += 1;
            }
            (Err(error), _) => return Err(error),
        }
    }
    info.tier = Tier::of(scans > 0, if is_repeated { fetches * 2 } else { fetches });
    info.freshness = oldest;
    info.certificate = Certificate::new(tables);
    Ok(())
}

/// Begins the fetches of some leaves, those of the same sources together.
fn all(leaves: &[&DelegatedExec]) -> Vec<crate::types::error::Result<Fetching>> {
    let wanted: Vec<Arc<Wanted>> = leaves.iter().map(|leaf| leaf.wanted.clone()).collect();
    match leaves.first().map(|leaf| leaf.upstream()) {
        None => Vec::new(),
        Some(Ok(upstream)) => upstream.fetch(&wanted),
        Some(Err(error)) => leaves.iter().map(|_| Err(Error::new(error.code(), error.message()))).collect(),
    }
}

/// Whether an error says that the source does not answer, and not that nobody wants the answer.
fn is_of_source(error: &Error) -> bool {
    use ErrorCode as E;

    error.kind() == ErrorKind::Source
        || matches!(
            error.code(),
            // The source, its process, or the sidecar in between.
            E::Timeout | E::NotCovered | E::Unavailable | E::TooMany | E::Closed
        )
}

/// The leaves of a plan that fetch.
#[derive(Default)]
struct Leaves<'a> {
    delegated: Vec<&'a DelegatedExec>,
    /// Whether one that fetches may do so several times.
    is_repeated: bool,
}

impl<'a> Leaves<'a> {
    fn collect(&mut self, plan: &'a Arc<dyn ExecutionPlan>, is_repeated: bool) {
        if let Some(leaf) = plan.downcast_ref::<DelegatedExec>() {
            self.delegated.push(leaf);
            self.is_repeated |= is_repeated;
        }
        let is_repeated = is_repeated || plan.name() == "RecursiveQueryExec";
        for child in plan.children() {
            self.collect(child, is_repeated);
        }
    }
}

/// Values of the primary key of a table, or of one other column, without which no row satisfies some filters; not more than a source is
/// asked for at a time.
pub(super) fn keys_of(table: &TableShape, filters: &[Expr]) -> Option<Keys> {
    let keys = |columns: &[usize]| {
        let values = values_of_columns(table, columns, filters)?;
        if values.len() > KEYS_AT_ONCE {
            return None;
        }
        let names = columns.iter().map(|&column| table.schema.field(column).name().clone());
        Some(Keys { columns: names.collect(), values })
    };
    let of_key = (!table.primary_key.is_empty()).then(|| keys(&table.primary_key)).flatten();
    of_key.or_else(|| (0..table.schema.fields().len()).find_map(|column| keys(&[column])))
}

impl DisplayAs for DelegatedExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = &self.wanted.table;
        write!(
            f,
            "PillionDelegated: table={}, tier=delegated, from={}",
            table.name, table.rules.write_policy
        )?;
        if let Some(keys) = &self.wanted.keys {
            write!(f, ", keys={}", keys.values.len())?;
        }
        write!(f, ", coverage=[{}]", self.certificate)
    }
}

impl ExecutionPlan for DelegatedExec {
    fn name(&self) -> &'static str {
        "PillionDelegated"
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
        Ok(Arc::new(Statistics::new_unknown(&self.schema())))
    }

    fn execute(&self, partition: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let begun = std::mem::replace(&mut *self.begun.lock(), Begun::Nothing);
        let fetching = match (begun, &self.held) {
            (Begun::Fetching(fetching), _) => fetching,
            (Begun::Held, Some((held, _))) => {
                // Also if this part of the plan is executed again.
                *self.begun.lock() = Begun::Held;
                return held.execute(0, context);
            }
            _ => self.fetch().map_err(external)?,
        };
        let batch_rows = context.session_config().batch_size();
        let output_rows = MetricBuilder::new(&self.metrics).output_rows(partition);
        let batches = fetching.flat_map(move |batch| {
            let pieces: Vec<_> = match batch {
                Ok(batch) => {
                    output_rows.add(batch.num_rows());
                    slices(&batch, batch_rows).into_iter().map(Ok).collect()
                }
                Err(error) => vec![Err(external(error))],
            };
            stream::iter(pieces)
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(self.schema(), batches)))
    }
}
