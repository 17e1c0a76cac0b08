//! Answers that a client fetches batch by batch.

use arrow::array::RecordBatch;

use super::message::NextReply;
use super::rows::encode_batch;
use crate::api::batches::Batches;
use crate::api::error::{Error, Result};
use crate::storage::row_len;

/// Rows are sent in portions of about this many bytes.
const PORTION_LEN: usize = 4 << 20;

/// The rest of an answer.
#[derive(Debug)]
pub(super) struct Cursor {
    batches: Batches,
    /// A batch of which a part was sent.
    pending: Option<RecordBatch>,
    /// What the first batch failed with: an answer has begun before it can fail.
    failed: Option<Error>,
}

impl Cursor {
    pub(super) fn new(batches: Batches) -> Self {
        Self { batches, pending: None, failed: None }
    }

    pub(super) fn batches(&self) -> &Batches {
        &self.batches
    }

    /// The first portion; no rows if there is an error, which comes next.
    pub(super) fn first(&mut self) -> Result<NextReply> {
        match self.next() {
            Ok(first) => Ok(first),
            Err(error) => {
                self.failed = Some(error);
                let none = RecordBatch::new_empty(self.batches.schema().clone());
                Ok(NextReply { rows: encode_batch(&none)?, last: false })
            }
        }
    }

    /// The next portion.
    pub(super) fn next(&mut self) -> Result<NextReply> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let batch = match self.pending.take() {
            Some(batch) => batch,
            None => match self.batches.next().transpose()? {
                Some(batch) => batch,
                None => return Ok(NextReply { rows: Vec::new(), last: true }),
            },
        };
        let rows = (PORTION_LEN / row_len(&batch)).clamp(1, batch.num_rows().max(1));
        let portion = batch.slice(0, rows.min(batch.num_rows()));
        if rows < batch.num_rows() {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        Ok(NextReply { rows: encode_batch(&portion)?, last: false })
    }
}
