//! Rows of many small commits, read together: each of their batches alone costs more than its rows.

use std::ops::Range;

use arrow::array::{Array, RecordBatch, RecordBatchOptions};
use arrow::compute::interleave;
use arrow::datatypes::SchemaRef;

use super::TailView;
use crate::types::error::{Error, Result};

/// Batches of a group. A group begins at a multiple of this number, and is joined once for all readers if it is small.
pub(crate) const JOINED_BATCHES: usize = 512;
/// A group with more rows is not joined.
const JOINED_ROWS_MAX: usize = 4096;
/// A group with more bytes is not joined: its bytes would count twice in memory from then on.
const JOINED_LEN_MAX: u64 = 256 << 10;

impl TailView {
    /// Whether batches are joined once for all readers: a whole, small group is.
    pub(crate) fn are_joined(&self, batches: &Range<usize>) -> Result<bool> {
        let is_group = batches.start.is_multiple_of(JOINED_BATCHES) && batches.len() == JOINED_BATCHES;
        Ok(is_group
            && self.rows_of(batches.clone())?.len() <= JOINED_ROWS_MAX
            && self.bytes_of(batches.clone())? <= JOINED_LEN_MAX)
    }

    /// All rows of such a group in one batch, deleted ones included. The copy is kept until the tail ends.
    pub(crate) fn joined(&self, batches: Range<usize>) -> Result<&RecordBatch> {
        let number = batches.start / JOINED_BATCHES;
        if self.tail.joined.get(number).is_none() {
            let schema = self.batch(batches.start)?.rows.schema();
            let all: Vec<usize> = (0..schema.fields().len()).collect();
            // Another reader may have been faster, with the same rows.
            self.tail.joined.set(number, self.gather(batches, &all, &schema, |_| true)?);
        }
        self.tail.joined.get(number).ok_or_else(|| Error::internal("joined batches are not there"))
    }

    /// The rows of some batches that are live at a sequence, with some of their columns, in one batch. For small
    /// batches: each row is copied on its own.
    pub(crate) fn gather_live(
        &self,
        batches: Range<usize>,
        sequence: u64,
        projection: &[usize],
        schema: &SchemaRef,
    ) -> Result<RecordBatch> {
        self.gather(batches, projection, schema, |row| self.is_live(row, sequence))
    }

    fn gather(
        &self,
        batches: Range<usize>,
        projection: &[usize],
        schema: &SchemaRef,
        is_wanted: impl Fn(u32) -> bool,
    ) -> Result<RecordBatch> {
        let mut rows = Vec::with_capacity(self.rows_of(batches.clone())?.len());
        let batches = batches.map(|batch| self.batch(batch)).collect::<Result<Vec<_>>>()?;
        for (number, batch) in batches.iter().enumerate() {
            let wanted = (batch.first..).zip(0..batch.rows.num_rows()).filter(|(row, _)| is_wanted(*row));
            rows.extend(wanted.map(|(_, row)| (number, row)));
        }
        let column = |&column: &usize| {
            let arrays: Vec<&dyn Array> =
                batches.iter().map(|batch| batch.rows.column(column).as_ref()).collect();
            interleave(&arrays, &rows)
        };
        let columns = projection.iter().map(column).collect::<std::result::Result<_, _>>();
        let options = RecordBatchOptions::new().with_row_count(Some(rows.len()));
        columns
            .and_then(|columns| RecordBatch::try_new_with_options(schema.clone(), columns, &options))
            .map_err(|error| Error::internal("cannot join rows").with_source(error))
    }
}
