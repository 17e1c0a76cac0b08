//! Answers that are fetched portion by portion.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::stream::BoxStream;

use crate::answer::batches::{AnswerInfo, BatchSource, Batches, CancelHook};
use crate::answer::certificate::{Certificate, TableCertificate};
use crate::blocking::threads;
use crate::remote::connection::{Connection, Link, Repeat};
use crate::types::clock::freshness_at;
use crate::types::error::Result;
use crate::wire::{self, Call, CursorReply, Next, NextReply};

/// The answer whose first rows came with `reply` on a connection.
pub(super) fn begin_answer(connection: Arc<Connection>, link: Link, reply: &CursorReply) -> Result<Batches> {
    let version = connection.saw(reply.version);
    let schema = link.shared().answer_schema(&reply.schema)?;
    let certificate = Certificate::new(reply.certificate.iter().map(TableCertificate::from).collect());
    let info =
        AnswerInfo { version, freshness: freshness_at(reply.as_of), tier: (&reply.tier).into(), certificate };
    let mut source = RemoteSource {
        connection,
        link,
        id: reply.id,
        schema: schema.clone(),
        ready: VecDeque::new(),
        last: reply.first.last,
    };
    // Now, and not when the caller asks for it: the rows are in memory that the sidecar lent.
    source.ready = source.read(&reply.first)?;
    Ok(Batches::new(schema, info, Box::new(source)))
}

/// The rest of an answer; dropping it tells the sidecar that nobody needs more.
struct RemoteSource {
    connection: Arc<Connection>,
    link: Link,
    /// The number of the cursor that the sidecar holds; 0 if it holds none.
    id: u64,
    schema: SchemaRef,
    ready: VecDeque<RecordBatch>,
    /// Whether nothing follows the batches in `ready`.
    last: bool,
}

impl RemoteSource {
    /// The batches of a portion.
    fn read(&self, portion: &NextReply) -> Result<VecDeque<RecordBatch>> {
        if !portion.layout.is_empty() {
            let batches = wire::rebuild(&portion.layout, &self.schema, self.link.shared())?;
            return Ok(batches.into());
        }
        if portion.rows.is_empty() {
            return Ok(VecDeque::new());
        }
        Ok(VecDeque::from([wire::decode_batch(&portion.rows)?]))
    }

    fn fetch(&mut self) -> Result<()> {
        let portion: NextReply =
            self.connection.call_held(&self.link, Call::Next, &Next { id: self.id }, Repeat::Once)?;
        self.last = portion.last;
        self.ready = self.read(&portion)?;
        Ok(())
    }
}

impl RemoteSource {
    /// Fetches portions until one has rows or is the last.
    fn fetch_rows(&mut self) -> Result<()> {
        while self.ready.is_empty() && !self.last {
            self.fetch()?;
        }
        Ok(())
    }
}

impl BatchSource for RemoteSource {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        if let Err(error) = self.fetch_rows() {
            self.last = true;
            return Some(Err(error));
        }
        self.ready.pop_front().map(Ok)
    }

    fn cancel_hook(&self) -> Option<CancelHook> {
        if self.id == 0 {
            return None;
        }
        let (connection, link, id) = (self.connection.clone(), self.link.clone(), self.id);
        Some(Box::new(move || connection.tell(&link, Call::Close, &Next { id })))
    }

    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        // Batches that are here already are returned at once; fetching more blocks, so a thread of the pool does it.
        Box::pin(futures::stream::unfold(Some(self), |source| async move {
            let mut source = source?;
            if source.ready.is_empty() && !source.last {
                let mut give_up = GiveUp { cancel: source.cancel_hook() };
                let fetched;
                (source, fetched) = threads::run(move || {
                    let fetched = source.fetch_rows();
                    (source, fetched)
                })
                .await;
                give_up.cancel = None;
                if let Err(error) = fetched {
                    source.last = true;
                    return Some((Err(error), None));
                }
            }
            let batch = source.ready.pop_front()?;
            Some((Ok(batch), Some(source)))
        }))
    }
}

/// Dropped before it is disarmed, ends the query: nobody waits for the portion any more.
struct GiveUp {
    cancel: Option<CancelHook>,
}

impl Drop for GiveUp {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            cancel();
        }
    }
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        if self.id != 0 {
            self.connection.tell(&self.link, Call::Close, &Next { id: self.id });
        }
    }
}
