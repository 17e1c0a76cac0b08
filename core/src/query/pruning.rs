//! Leaves out batches whose zone maps say that no row can satisfy the filters.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use super::monotone::weaken;
use crate::storage::{Segment, ZoneMaps};

/// The filters of a scan in the form that zone maps can answer.
///
/// Bounds only decide what need not be read. So if they cannot be used, nothing is left out, and the query does not
/// fail: a bound may be the value of a row that was deleted, and only the values of remaining rows count.
pub(super) struct Pruning {
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruning {
    pub(super) fn new(session: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Self {
        Self { predicate: predicate(session, schema, filters) }
    }

    /// The batches of a segment that may hold rows.
    pub(super) fn batches(&self, segment: &Segment) -> Vec<usize> {
        let all = 0..segment.batch_count();
        let keep = self.predicate.as_ref().and_then(|predicate| kept(predicate, segment));
        let Some(keep) = keep else { return all.collect() };
        all.filter(|&batch| keep.get(batch).is_none_or(|&keep| keep)).collect()
    }
}

/// For each batch of a segment, whether it may hold rows that satisfy a predicate; `None` if its bounds cannot tell.
pub(super) fn kept(predicate: &PruningPredicate, segment: &Segment) -> Option<Vec<bool>> {
    let statistics = SegmentStatistics { segment, zones: segment.zones().ok()? };
    predicate.prune(&statistics).ok()
}

fn predicate(session: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Option<Arc<PruningPredicate>> {
    let filter = conjunction(filters.iter().filter_map(|filter| weaken(filter, schema)))?;
    let df_schema = DFSchema::try_from(schema.as_ref().clone()).ok()?;
    let expr = session.create_physical_expr(filter, &df_schema).ok()?;
    PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(expr)
}

struct SegmentStatistics<'a> {
    segment: &'a Segment,
    zones: &'a ZoneMaps,
}

impl SegmentStatistics<'_> {
    fn column(&self, column: &Column) -> Option<usize> {
        self.segment.schema().index_of(&column.name).ok()
    }
}

impl PruningStatistics for SegmentStatistics<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.zones.columns[self.column(column)?].min.clone())
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        Some(self.zones.columns[self.column(column)?].max.clone())
    }

    fn num_containers(&self) -> usize {
        self.segment.batch_count()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        Some(Arc::new(self.zones.columns[self.column(column)?].nulls.clone()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        let rows = (0..self.segment.batch_count()).map(|batch| self.segment.batch_rows(batch) as u64);
        Some(Arc::new(UInt64Array::from_iter_values(rows)))
    }

    fn contained(&self, _: &Column, _: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}
