//! What Arrow's batches do not tell or do by themselves.

pub(crate) mod row_lens;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::concat_batches;
use arrow::datatypes::DataType;

use crate::storage::batch::row_lens::RowLens;
use crate::types::error::{Error, Result};

/// Rows that are copied together have at most about this many bytes, unless it is a single row. Arrow counts the bytes
/// of a column of texts in 31 bits.
pub(crate) const BATCH_BYTES_TARGET: usize = 64 << 20;

/// The batch with string views that refer only to bytes that they need: Arrow IPC writes all data buffers of a view
/// array, even for a small slice.
pub(crate) fn compact_views(batch: &RecordBatch) -> Result<RecordBatch> {
    let is_view = |array: &ArrayRef| matches!(array.data_type(), DataType::Utf8View | DataType::BinaryView);
    if !batch.columns().iter().any(is_view) {
        return Ok(batch.clone());
    }
    let columns = batch.columns().iter().map(|array| -> ArrayRef {
        match array.data_type() {
            DataType::Utf8View => Arc::new(array.as_string_view().gc()),
            DataType::BinaryView => Arc::new(array.as_binary_view().gc()),
            _ => array.clone(),
        }
    });
    RecordBatch::try_new(batch.schema(), columns.collect())
        .map_err(|error| Error::internal("cannot compact string views").with_source(error))
}

/// Bytes of the rows of a batch. Of buffers that a slice shares, only the bytes of its own rows count.
pub(crate) fn batch_len(batch: &RecordBatch) -> usize {
    let lens = batch.columns().iter().map(|array| match array.data_type() {
        // The memory size of a slice of views does not show how much text its views refer to.
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    });
    lens.sum()
}

/// Makes batches of a bounded size out of batches of any size.
pub(crate) struct Rebatch {
    rows_max: usize,
    bytes_max: usize,
    pending: Vec<RecordBatch>,
    rows: usize,
    bytes: usize,
}

impl Rebatch {
    /// Batches have at most `rows_max` rows, and `bytes_max` bytes or a single row.
    pub(crate) fn new(rows_max: usize, bytes_max: usize) -> Self {
        Self { rows_max, bytes_max, pending: Vec::new(), rows: 0, bytes: 0 }
    }

    /// Takes rows.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal), and what `emit` returns.
    pub(crate) fn push(
        &mut self,
        batch: &RecordBatch,
        emit: &mut dyn FnMut(RecordBatch) -> Result<()>,
    ) -> Result<()> {
        let (lens, mut start) = (RowLens::of(batch), 0);
        while start < batch.num_rows() {
            let most = batch.num_rows().min(start + self.rows_max - self.rows);
            let fitting = lens.fitting(start..most, self.bytes_max.saturating_sub(self.bytes));
            if fitting > 0 || self.rows == 0 {
                // A batch takes its first row whatever the size of that row.
                let rows = fitting.max(1);
                self.bytes += lens.len(start..start + rows);
                self.rows += rows;
                self.pending.push(batch.slice(start, rows));
                start += rows;
            }
            if self.rows == self.rows_max || self.bytes >= self.bytes_max || start < batch.num_rows() {
                self.finish(emit)?;
            }
        }
        Ok(())
    }

    /// Emits what is left.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(crate) fn finish(&mut self, emit: &mut dyn FnMut(RecordBatch) -> Result<()>) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        (self.rows, self.bytes) = (0, 0);
        let batch = match pending.as_slice() {
            [] => return Ok(()),
            [only] => only.clone(),
            [first, ..] => concat_batches(&first.schema(), &pending)
                .map_err(|error| Error::internal("cannot join batches").with_source(error))?,
        };
        emit(batch)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::StringArray;

    use super::*;

    #[test]
    fn batches_have_no_more_bytes_than_they_may() {
        let batch = |texts: &[usize]| {
            let texts = StringArray::from_iter_values(texts.iter().map(|&len| "x".repeat(len)));
            RecordBatch::try_from_iter([("text", Arc::new(texts) as ArrayRef)]).unwrap()
        };
        let mut rebatch = Rebatch::new(10, 1000);
        let mut found = Vec::new();
        let mut emit = |batch: RecordBatch| {
            found.push(batch.column(0).as_string::<i32>().iter().flatten().map(str::len).collect::<Vec<_>>());
            Ok(())
        };
        for texts in [&[400, 400][..], &[300, 0, 5000, 1, 2, 3], &[], &[0; 23], &[900, 900]] {
            rebatch.push(&batch(texts), &mut emit).unwrap();
        }
        rebatch.finish(&mut emit).unwrap();
        let expected: [&[usize]; 7] = [
            &[400, 400],
            &[300, 0],
            &[5000],
            &[1, 2, 3, 0, 0, 0, 0, 0, 0, 0],
            &[0; 10],
            &[0, 0, 0, 0, 0, 0, 900],
            &[900],
        ];
        assert_eq!(found, expected);
    }
}
