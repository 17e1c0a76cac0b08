//! Messages of Arrow IPC, looked at before they are decoded.

use arrow::ipc::{Message, RecordBatch};

/// Checks that a message has bytes for the rows that it claims: at least a bit for each. Columns of nulls and runs have rows without
/// bytes, and would take memory and time without bound.
///
/// # Errors
/// What is wrong with it.
pub fn check_rows(message: &Message<'_>, len: u64) -> Result<(), String> {
    let dictionary = || message.header_as_dictionary_batch().and_then(|batch| batch.data());
    let Some(batch) = message.header_as_record_batch().or_else(dictionary) else { return Ok(()) };
    if batch.compression().is_some() {
        return Err("its messages are compressed; send them as they are".to_owned());
    }
    match most_rows(&batch) {
        rows if rows <= len.saturating_mul(8) => Ok(()),
        rows => Err(format!("a message of {len} bytes says that it has {rows} rows")),
    }
}

/// The most rows that a batch or a column of it claims, nested ones included.
fn most_rows(batch: &RecordBatch<'_>) -> u64 {
    let nodes = batch.nodes().into_iter().flatten().map(arrow::ipc::FieldNode::length);
    let most = nodes.chain([batch.length()]).max().unwrap_or(0);
    // Negative ones are refused by the decoder.
    u64::try_from(most).unwrap_or(0)
}
