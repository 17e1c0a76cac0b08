//! Answers that a client fetches portion by portion.

use std::sync::Arc;
use std::task::{Poll, ready};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::sharing::Sharing;
use crate::answer::batches::Batches;
use crate::storage::rows_within;
use crate::types::error::{Error, Result};
use crate::way::Reader;
use crate::wire::layout::Description;
use crate::wire::message::NextReply;
use crate::wire::rows::encode_batch;

/// Rows are sent in portions of at most this many bytes; a single row may have more.
const PORTION_LEN: usize = 4 << 20;
/// A portion of layouts is sent once this many bytes were copied for it.
const GATHER_LEN: usize = 1 << 20;
/// Or once this much time has passed, or would pass before more rows come: the client works on the first rows
/// meanwhile.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// Or once it has this many batches.
const GATHER_BATCHES: usize = 4096;

/// The rest of an answer.
#[derive(Debug)]
pub(super) struct Cursor {
    batches: Batches,
    /// The version that is read: holding it keeps its files for as long as the client may have to open them.
    _pin: Option<Arc<dyn Reader>>,
    /// The rest of a batch whose first rows were sent.
    pending: Option<RecordBatch>,
    /// The error that ended the batches: rows that came before it are sent first.
    failed: Option<Error>,
    ended: bool,
    /// Whether an answer to the client named files.
    names_files: bool,
}

/// A part of an answer, as it is sent.
#[derive(Debug)]
pub(super) struct Portion {
    pub(super) reply: NextReply,
    /// The lease of its bytes.
    pub(super) lease: Option<u64>,
}

impl Cursor {
    pub(super) fn new(batches: Batches, pin: Option<Arc<dyn Reader>>) -> Self {
        Self { batches, _pin: pin, pending: None, failed: None, ended: false, names_files: false }
    }

    pub(super) fn batches(&self) -> &Batches {
        &self.batches
    }

    /// Whether the client needs nothing of it any more: everything was sent, and no files have to stay.
    pub(super) fn is_done(&self) -> bool {
        self.is_sent() && !self.names_files
    }

    /// Whether no more portions follow.
    fn is_sent(&self) -> bool {
        self.ended && self.failed.is_none()
    }

    /// The first portion; it has no rows if there is an error, which is then the next answer.
    pub(super) fn first(&mut self, sharing: Option<&Sharing>) -> Result<Portion> {
        match self.next(sharing) {
            Ok(first) => Ok(first),
            Err(error) => {
                self.failed = Some(error);
                let none = RecordBatch::new_empty(self.batches.schema().clone());
                let rows = if sharing.is_some() { Vec::new() } else { encode_batch(&none)? };
                Ok(Portion { reply: NextReply { rows, layout: Vec::new(), last: false }, lease: None })
            }
        }
    }

    /// The next portion.
    pub(super) fn next(&mut self, sharing: Option<&Sharing>) -> Result<Portion> {
        if let Some(error) = self.failed.take() {
            self.ended = true;
            return Err(error);
        }
        match sharing.filter(|_| Description::suits(self.batches.schema())) {
            Some(sharing) => self.next_layout(sharing),
            None => self.next_stream(),
        }
    }

    fn next_stream(&mut self) -> Result<Portion> {
        let rows = match self.next_batch()? {
            Some(batch) => encode_batch(&self.part(&batch))?,
            None => Vec::new(),
        };
        Ok(Portion { reply: NextReply { rows, layout: Vec::new(), last: self.is_sent() }, lease: None })
    }

    fn next_layout(&mut self, sharing: &Sharing) -> Result<Portion> {
        let until = Instant::now() + GATHER_TIME;
        let mut description = Description::new(self.batches.schema().clone(), sharing.maps());
        loop {
            // Rows that are ready do not wait for others.
            let next = match description.batches() {
                0 => self.next_batch(),
                _ => match self.next_batch_until(until) {
                    Poll::Ready(next) => next,
                    Poll::Pending => break,
                },
            };
            match next {
                Ok(Some(batch)) => {
                    if !description.push_mapped(&batch)? {
                        description.push(&self.part(&batch))?;
                    }
                }
                Ok(None) => break,
                Err(error) if description.batches() > 0 => {
                    self.failed = Some(error);
                    break;
                }
                Err(error) => return Err(error),
            }
            if description.copied_len() >= GATHER_LEN
                || description.batches() >= GATHER_BATCHES
                || Instant::now() >= until
            {
                break;
            }
        }
        self.names_files |= description.names_files();
        let described = description.finish(sharing.arena())?;
        let reply = NextReply { rows: Vec::new(), layout: described.bytes, last: self.is_sent() };
        Ok(Portion { reply, lease: described.lease })
    }

    /// The next batch, or the rest of the last one.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.ended || self.pending.is_some() {
            return Ok(self.pending.take());
        }
        let next = self.batches.next();
        self.came(next)
    }

    /// As [`next_batch`](Self::next_batch), if it comes by `until`.
    fn next_batch_until(&mut self, until: Instant) -> Poll<Result<Option<RecordBatch>>> {
        if self.ended || self.pending.is_some() {
            return Poll::Ready(Ok(self.pending.take()));
        }
        let next = ready!(self.batches.next_until(until));
        Poll::Ready(self.came(next))
    }

    fn came(&mut self, next: Option<Result<RecordBatch>>) -> Result<Option<RecordBatch>> {
        self.ended = !matches!(next, Some(Ok(_)));
        next.transpose()
    }

    /// As much of a batch as one portion may copy; the rest is the next batch.
    fn part(&mut self, batch: &RecordBatch) -> RecordBatch {
        let rows = rows_within(batch, PORTION_LEN);
        if rows < batch.num_rows() {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        batch.slice(0, rows)
    }
}
