//! Leaves out batches whose zone maps say that no row can satisfy the filters.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};

use super::error::external;
use crate::storage::{Segment, ZoneMaps};

/// The filters of a scan in the form that zone maps can answer.
pub(super) struct Pruning {
    predicate: Option<Arc<PruningPredicate>>,
}

impl Pruning {
    pub(super) fn new(session: &dyn Session, schema: &SchemaRef, filters: &[Expr]) -> Result<Self> {
        let Some(filter) = conjunction(filters.iter().cloned()) else { return Ok(Self { predicate: None }) };
        let df_schema = DFSchema::try_from(schema.as_ref().clone())?;
        let expr = session.create_physical_expr(filter, &df_schema)?;
        // What cannot be turned into a question to zone maps prunes nothing.
        Ok(Self { predicate: PruningPredicateBuilder::new().with_file_schema(schema.clone()).build(expr) })
    }

    /// The batches of a segment that may hold rows.
    pub(super) fn batches(&self, segment: &Segment) -> Result<Vec<usize>> {
        let all = 0..segment.batch_count();
        let Some(predicate) = &self.predicate else { return Ok(all.collect()) };
        let statistics = SegmentStatistics { segment, zones: segment.zones().map_err(external)? };
        let keep = predicate.prune(&statistics)?;
        Ok(all.filter(|&batch| keep.get(batch).is_none_or(|&keep| keep)).collect())
    }
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
