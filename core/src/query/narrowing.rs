//! Conditions that joins and sorts find out while they run, at the scans below them.
//!
//! A join that has read its smaller side knows which keys can match, and a sort that keeps its first rows knows the worst of them, and
//! tightens its condition. A scan to which [a rule](super::narrow) gave it leaves out batches by their bounds, and rows by the
//! condition itself. It need not: the operators above check every row that comes.
//!
//! Only conditions on columns whose values SQL compares by their bits are taken: a list of floats is searched by bits, but 0.0 equals
//! -0.0. Casts are not taken, because they may fail for rows that a filter between the scan and the join removes.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::common::cast::as_boolean_array;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::error::Result;
use datafusion::logical_expr::ColumnarValue;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::Literal;
use datafusion::physical_expr_common::physical_expr::{snapshot_generation, snapshot_physical_expr};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::metrics::{Count, ExecutionPlanMetricsSet, MetricBuilder};

use super::pruning::kept;
use super::sorted::is_ordered;
use crate::storage::Part;

/// The most characters of the conditions that are shown.
const SHOWN: usize = 300;
/// After so many rows a condition that leaves out few is not asked any more until it changes.
const TRIED_ROWS: usize = 1 << 16;

/// The condition of a scan, if it has one.
#[derive(Clone, Debug, Default)]
pub(super) struct Narrowing {
    filter: Option<Arc<dyn PhysicalExpr>>,
}

impl Narrowing {
    /// By a condition on columns of the scan whose types are [taken](is_taken_type).
    pub(super) fn by(filter: Arc<dyn PhysicalExpr>) -> Self {
        Self { filter: Some(filter) }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.filter.is_none()
    }

    /// Visits the condition.
    pub(super) fn apply(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.filter.as_ref().map_or(Ok(TreeNodeRecursion::Continue), visit)
    }

    /// Asks bounds, for one partition of a scan with columns of `schema`.
    pub(super) fn zones(
        &self,
        schema: &SchemaRef,
        metrics: &ExecutionPlanMetricsSet,
        partition: usize,
    ) -> NarrowedZones {
        NarrowedZones {
            filter: self.filter.clone(),
            schema: schema.clone(),
            generation: 0,
            bounds: Bounds::Unknown,
            kept: HashMap::new(),
            left_out: self.counter("batches_left_out", metrics, partition),
        }
    }

    /// Asks rows, for one partition of a scan.
    pub(super) fn rows(&self, metrics: &ExecutionPlanMetricsSet, partition: usize) -> NarrowedRows {
        let left_out = self.counter("rows_left_out", metrics, partition);
        NarrowedRows { filter: self.filter.clone(), generation: 0, tried: 0, passed: 0, left_out }
    }

    /// A metric that scans without conditions do not show.
    fn counter(&self, name: &'static str, metrics: &ExecutionPlanMetricsSet, partition: usize) -> Count {
        match self.is_empty() {
            true => Count::new(),
            false => MetricBuilder::new(metrics).counter(name, partition),
        }
    }
}

impl fmt::Display for Narrowing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(filter) = &self.filter else { return Ok(()) };
        let text = filter.to_string();
        match text.char_indices().nth(SHOWN) {
            Some((end, _)) => write!(f, ", narrowed=[{}…]", &text[..end]),
            None => write!(f, ", narrowed=[{text}]"),
        }
    }
}

/// Whether SQL compares values of a type by their bits.
pub(super) fn is_taken_type(data_type: &DataType) -> bool {
    is_ordered(data_type) && !matches!(data_type, DataType::FixedSizeBinary(_))
}

/// What the bounds of batches are compared with.
#[derive(Debug)]
enum Bounds {
    /// Nothing yet.
    Unknown,
    /// No row is wanted.
    Nothing,
    Predicate(Arc<PruningPredicate>),
}

/// Leaves out batches by their bounds.
#[derive(Debug)]
pub(super) struct NarrowedZones {
    filter: Option<Arc<dyn PhysicalExpr>>,
    schema: SchemaRef,
    /// The generation of the condition that `bounds` and `kept` are of.
    generation: u64,
    bounds: Bounds,
    /// By segment.
    kept: HashMap<u64, Vec<bool>>,
    left_out: Count,
}

impl NarrowedZones {
    /// Whether a part may hold rows that are still wanted.
    pub(super) fn may_hold(&mut self, part: &Part) -> bool {
        let Some(filter) = &self.filter else { return true };
        // Read first: if the condition changes in between, it is asked again for the next part.
        let generation = snapshot_generation(filter);
        if generation != self.generation {
            self.generation = generation;
            self.bounds = bounds(filter, &self.schema);
            self.kept.clear();
        }
        let may = match (&self.bounds, part) {
            (Bounds::Nothing, _) => false,
            (Bounds::Predicate(predicate), Part::Segment { segment, batch }) => {
                let kept = self.kept.entry(segment.id()).or_insert_with(|| {
                    segment.open().ok().and_then(|open| kept(predicate, open)).unwrap_or_default()
                });
                kept.get(*batch).is_none_or(|kept| *kept)
            }
            _ => true,
        };
        if !may {
            self.left_out.add(1);
        }
        may
    }
}

fn bounds(filter: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Bounds {
    let Ok(now) = snapshot_physical_expr(filter.clone()) else { return Bounds::Unknown };
    match now.downcast_ref::<Literal>().map(Literal::value) {
        Some(ScalarValue::Boolean(Some(true))) => return Bounds::Unknown,
        Some(ScalarValue::Boolean(_)) => return Bounds::Nothing,
        _ => {}
    }
    let predicate = PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(now);
    predicate.map_or(Bounds::Unknown, Bounds::Predicate)
}

/// Leaves out rows by the condition itself.
#[derive(Debug)]
pub(super) struct NarrowedRows {
    filter: Option<Arc<dyn PhysicalExpr>>,
    generation: u64,
    tried: usize,
    passed: usize,
    left_out: Count,
}

impl NarrowedRows {
    /// The rows that are still wanted, and perhaps others; `None` if there are none.
    pub(super) fn of(&mut self, rows: RecordBatch) -> Option<RecordBatch> {
        let Some(filter) = &self.filter else { return Some(rows) };
        let generation = snapshot_generation(filter);
        if generation != self.generation {
            (self.generation, self.tried, self.passed) = (generation, 0, 0);
        }
        // A copy of most rows costs more than the operators above would save.
        let is_most = |passed: usize, of: usize| passed > of / 4 * 3;
        if self.tried >= TRIED_ROWS && is_most(self.passed, self.tried) {
            return Some(rows);
        }
        // Whatever fails here fails above, if the row gets there.
        let Ok(mask) = mask(filter, &rows) else { return Some(rows) };
        let passed = mask.true_count();
        self.tried += rows.num_rows();
        self.passed += passed;
        if passed > 0 && is_most(passed, rows.num_rows()) {
            return Some(rows);
        }
        let Ok(narrowed) = filter_record_batch(&rows, &mask) else { return Some(rows) };
        self.left_out.add(rows.num_rows() - passed);
        (passed > 0).then_some(narrowed)
    }
}

/// The rows for which a condition is true; it may be null for others.
fn mask(filter: &Arc<dyn PhysicalExpr>, rows: &RecordBatch) -> Result<BooleanArray> {
    let values = match filter.evaluate(rows)? {
        ColumnarValue::Scalar(ScalarValue::Boolean(value)) => {
            return Ok(BooleanArray::from(vec![value == Some(true); rows.num_rows()]));
        }
        values => values.into_array(rows.num_rows())?,
    };
    let values = as_boolean_array(&values)?;
    Ok(match values.nulls() {
        Some(valid) => BooleanArray::new(values.values() & valid.inner(), None),
        None => values.clone(),
    })
}
