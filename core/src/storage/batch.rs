//! What Arrow's batches do not tell or do by themselves.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use crate::api::error::{Error, Result};

/// String views that refer only to bytes that they need: Arrow IPC writes all data buffers of a view array,
/// also those of a small slice.
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

/// Bytes of a row on average, at least one; of a slice, what it refers to and not what it shares.
#[cfg(feature = "sidecar")]
pub(crate) fn row_len(batch: &RecordBatch) -> usize {
    (batch_len(batch) / batch.num_rows().max(1)).max(1)
}

/// Bytes of the rows of a batch; of a slice, what it refers to and not what it shares.
pub(crate) fn batch_len(batch: &RecordBatch) -> usize {
    let lens = batch.columns().iter().map(|array| match array.data_type() {
        // A slice of views tells nothing of the text that it refers to.
        DataType::Utf8View => array.as_string_view().total_buffer_bytes_used() + 16 * array.len(),
        DataType::BinaryView => array.as_binary_view().total_buffer_bytes_used() + 16 * array.len(),
        _ => array.to_data().get_slice_memory_size().unwrap_or_else(|_| array.get_array_memory_size()),
    });
    lens.sum()
}
