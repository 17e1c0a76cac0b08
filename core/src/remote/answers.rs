//! Answers that are fetched batch by batch.

use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::stream::BoxStream;

use super::connection::{Connection, Repeat};
use crate::api::batches::{AnswerInfo, BatchSource, Batches};
use crate::api::error::Result;
use crate::api::version::Tier;
use crate::protocol::{self, Call, CursorReply, Next, NextReply};

/// The answer whose first rows came with `reply` on the connection `generation`.
pub(super) fn begin_answer(
    connection: Arc<Connection>,
    generation: u64,
    reply: CursorReply,
) -> Result<Batches> {
    let schema = protocol::decode_schema(&reply.schema)?;
    let info =
        AnswerInfo { version: reply.version, freshness: protocol::freshness(reply.as_of), tier: Tier::Local };
    let open = !reply.first.last;
    let source = RemoteSource { connection, generation, id: reply.id, open, next: Some(reply.first) };
    Ok(Batches::new(schema, info, Box::new(source)))
}

/// The rest of an answer; dropping it tells the sidecar that nobody wants it.
struct RemoteSource {
    connection: Arc<Connection>,
    generation: u64,
    id: u64,
    open: bool,
    next: Option<NextReply>,
}

impl BatchSource for RemoteSource {
    fn next_batch(&mut self) -> Option<Result<RecordBatch>> {
        let reply = match self.next.take() {
            Some(reply) => Ok(reply),
            None if !self.open => return None,
            None => {
                self.connection.call_held(self.generation, Call::Next, &Next { id: self.id }, Repeat::Once)
            }
        };
        match reply {
            Ok(NextReply { last: true, .. }) => {
                self.open = false;
                None
            }
            Ok(NextReply { rows, .. }) => Some(protocol::decode_batch(&rows)),
            Err(error) => {
                self.open = false;
                Some(Err(error))
            }
        }
    }

    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        // A batch is one round trip on a local socket; the sidecar does the work.
        Box::pin(futures::stream::unfold(Some(self), |source| async move {
            let mut source = source?;
            let next = source.next_batch()?;
            let rest = next.is_ok().then_some(source);
            Some((next, rest))
        }))
    }
}

impl Drop for RemoteSource {
    fn drop(&mut self) {
        if self.open {
            self.connection.tell(self.generation, Call::Close, &Next { id: self.id });
        }
    }
}
