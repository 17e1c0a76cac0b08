//! Rows in a record of the log, laid out to be read in place.

use arrow::array::RecordBatch;
use arrow::array::RecordBatchOptions;
use arrow::datatypes::SchemaRef;
use arrow::ipc::MetadataVersion;
use arrow::ipc::writer::{DictionaryTracker, IpcDataGenerator, IpcWriteContext, IpcWriteOptions};
use serde::{Deserialize, Serialize};

use crate::storage::batch::compact_views;
use crate::storage::format::{SEGMENT_ALIGNMENT, align_up};
use crate::storage::mapped::region::Region;
use crate::storage::segment::{BatchPositions, map_columns, positions};
use crate::types::error::{Error, Result};

/// Where the buffers of some rows stand in the data of a record.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RowsRecord {
    /// Their positions; offsets count from the start of the record's data.
    pub(crate) positions: BatchPositions,
}

/// Appends the buffers of rows to the data of a record.
///
/// # Errors
/// [`Internal`](crate::ErrorCode::Internal).
pub(crate) fn encode_rows(data: &mut Vec<u8>, batch: &RecordBatch) -> Result<RowsRecord> {
    let failed = |error| Error::internal("cannot encode rows").with_source(error);
    let batch = compact_views(batch)?;
    let options = IpcWriteOptions::try_new(SEGMENT_ALIGNMENT, false, MetadataVersion::V5).map_err(failed)?;
    let mut dictionaries = DictionaryTracker::new(true);
    let mut context = IpcWriteContext::default();
    let (_, encoded) = IpcDataGenerator::default()
        .encode(&batch, &mut dictionaries, &options, &mut context)
        .map_err(failed)?;
    data.resize(align_up(data.len(), SEGMENT_ALIGNMENT), 0);
    let mut positions = positions(&encoded.ipc_message)?;
    for buffer in &mut positions.buffers {
        buffer.offset += data.len() as u64;
    }
    data.extend_from_slice(&encoded.arrow_data);
    Ok(RowsRecord { positions })
}

/// The rows of a record whose data stands at `data` in a mapped log. Their bytes passed the record's checksum, or were
/// just written by a process that is still running.
///
/// # Errors
/// A description of what does not fit.
pub(crate) fn map_rows(
    schema: &SchemaRef,
    record: &RowsRecord,
    region: &Region,
    data: usize,
) -> Result<RecordBatch, String> {
    let mut positions = record.positions.clone();
    for buffer in &mut positions.buffers {
        buffer.offset = buffer.offset.checked_add(data as u64).ok_or("a buffer is out of bounds")?;
    }
    let columns = map_columns(schema.fields(), &positions, region)?;
    let rows = usize::try_from(positions.rows).map_err(|_| "too many rows")?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    let columns = columns.into_iter().map(|column| column.array).collect();
    RecordBatch::try_new_with_options(schema.clone(), columns, &options).map_err(|error| error.to_string())
}
