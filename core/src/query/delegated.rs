//! The leaf of physical plans that reads rows from the source of a table, because the table does not hold them.

use std::fmt;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::metrics::{ExecutionPlanMetricsSet, MetricBuilder, MetricsSet};
use datafusion::physical_plan::statistics::StatisticsArgs;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{DisplayAs, DisplayFormatType, ExecutionPlan, PlanProperties};
use futures::{StreamExt, stream};
use parking_lot::Mutex;

use super::error::external;
use super::scan::{project, properties, slices};
use crate::answer::batches::AnswerInfo;
use crate::answer::certificate::{Certificate, TableCertificate};
use crate::coverage::{Fetching, Upstream, Wanted};
use crate::types::error::Error;
use crate::types::version::{Freshness, Tier};

/// Reads rows that a table does not hold from its source. Its rows are never more trusted than those of a scan: the plan above applies
/// every condition again.
#[derive(Debug)]
pub(super) struct DelegatedExec {
    wanted: Arc<Wanted>,
    upstream: Arc<dyn Upstream>,
    /// What the answer says of these rows, but for their moment.
    certificate: TableCertificate,
    /// The fetch that [`begin`] began, until it is read.
    begun: Mutex<Option<Fetching>>,
    properties: Arc<PlanProperties>,
    metrics: ExecutionPlanMetricsSet,
}

impl DelegatedExec {
    pub(super) fn new(
        wanted: Wanted,
        upstream: Arc<dyn Upstream>,
        certificate: TableCertificate,
    ) -> Result<Self> {
        let schema = project(&wanted.table.schema, &wanted.columns)?;
        let properties = properties(EquivalenceProperties::new(schema), 1);
        let (wanted, begun, metrics) = (Arc::new(wanted), Mutex::default(), ExecutionPlanMetricsSet::new());
        Ok(Self { wanted, upstream, certificate, begun, properties, metrics })
    }

    /// Another fetch, for a part of a plan that is executed several times.
    fn fetch(&self) -> crate::types::error::Result<Fetching> {
        let fetching = self.upstream.fetch(&[self.wanted.clone()])?.pop();
        fetching.ok_or_else(|| Error::internal("a fetch without rows"))
    }
}

/// Begins all fetches of a plan, and adds what is known of them to what the answer says. An answer that fetches nothing costs a walk over
/// the plan.
///
/// # Errors
/// Those of the sources, before the answer has begun.
pub(super) fn begin(plan: &Arc<dyn ExecutionPlan>, info: &mut AnswerInfo) -> crate::types::error::Result<()> {
    let (mut delegated, mut local) = (Vec::new(), 0);
    collect(plan, &mut delegated, &mut local);
    if delegated.is_empty() {
        return Ok(());
    }
    let by_same = |a: &&DelegatedExec, b: &&DelegatedExec| Arc::ptr_eq(&a.upstream, &b.upstream);
    let mut tables = info.certificate.tables().to_vec();
    let mut oldest: Option<Freshness> = (local > 0).then_some(info.freshness).flatten();
    for group in delegated.chunk_by(by_same) {
        let Some(first) = group.first() else { continue };
        let wanted: Vec<Arc<Wanted>> = group.iter().map(|leaf| leaf.wanted.clone()).collect();
        let fetches = first.upstream.fetch(&wanted)?;
        for (leaf, fetching) in group.iter().zip(fetches) {
            let freshness = Freshness { as_of: fetching.wait_for_begin()? };
            oldest = Some(oldest.map_or(freshness, |oldest| oldest.older(freshness)));
            tables.push(TableCertificate { freshness: Some(freshness), ..leaf.certificate.clone() });
            *leaf.begun.lock() = Some(fetching);
        }
    }
    info.tier = Tier::of(local > 0, delegated.len());
    info.freshness = oldest;
    info.certificate = Certificate::new(tables);
    Ok(())
}

/// The leaves of a plan that fetch, and the number of those that read the cache.
fn collect<'a>(plan: &'a Arc<dyn ExecutionPlan>, delegated: &mut Vec<&'a DelegatedExec>, local: &mut usize) {
    if let Some(leaf) = plan.downcast_ref::<DelegatedExec>() {
        delegated.push(leaf);
    } else if matches!(plan.name(), "PillionScan" | "PillionLookup") {
        *local += 1;
    }
    for child in plan.children() {
        collect(child, delegated, local);
    }
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
        let begun = self.begun.lock().take();
        let fetching = begun.map_or_else(|| self.fetch(), Ok).map_err(external)?;
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
