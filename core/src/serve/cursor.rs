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

/// Rows are sent in portions of at most this many bytes, but for a single one that has more.
const PORTION_LEN: usize = 4 << 20;
/// A portion of layouts is sent when so many bytes were copied for it.
const GATHER_LEN: usize = 1 << 20;
/// Or when so much time has passed, or would pass until there are more: the client works on the first rows meanwhile.
const GATHER_TIME: Duration = Duration::from_millis(2);
/// Or when it has so many batches.
const GATHER_BATCHES: usize = 4096;

/// The rest of an answer.
#[derive(Debug)]
pub(super) struct Cursor {
    batches: Batches,
    /// The version that is read: its files stay as long as the client may have to open them.
    _pin: Option<Arc<dyn Reader>>,
    /// A batch of which a part was sent.
    pending: Option<RecordBatch>,
    /// What the last batch failed with: what came before it is sent first.
    failed: Option<Error>,
    ended: bool,
    /// Whether the client was told of files.
    names_files: bool,
}

/// What is sent of an answer at a time.
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

    /// Whether the client needs nothing of it any more: all was sent, and no files have to stay.
    pub(super) fn is_done(&self) -> bool {
        self.is_sent() && !self.names_files
    }

    /// Whether nothing follows.
    fn is_sent(&self) -> bool {
        self.ended && self.failed.is_none()
    }

    /// The first portion; no rows if there is an error, which comes next.
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

    /// The next batch, or what is left of the last one.
    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        if self.ended || self.pending.is_some() {
            return Ok(self.pending.take());
        }
        let next = self.batches.next();
        self.came(next)
    }

    /// As [`next_batch`](Self::next_batch), if it comes until then.
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

    /// What is sent at a time of a batch that is copied; the rest is the next batch.
    fn part(&mut self, batch: &RecordBatch) -> RecordBatch {
        let rows = rows_within(batch, PORTION_LEN);
        if rows < batch.num_rows() {
            self.pending = Some(batch.slice(rows, batch.num_rows() - rows));
        }
        batch.slice(0, rows)
    }
}
