//! Rows on their way to whoever fetches them.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use futures::future::select;
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::{CallEnd, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::decode::Columns;
use crate::plan::Asked;
use crate::session::Session;
use crate::stream::{Arrived, Reader};

/// Batches that wait for whoever takes them. The server waits when there are as many.
const BATCHES: usize = 2;

/// A batch as the server sent it, or `None` at the end of all rows.
type Message = Result<Option<RecordBatch>>;

/// The batches of a fetch. Dropping it ends the fetch and the session.
pub(crate) struct Rows {
    messages: Receiver<Message>,
    pieces: std::vec::IntoIter<RecordBatch>,
    columns: Columns,
    call: Call,
    place: String,
    has_ended: bool,
    /// Drives the session; the source may be gone by now.
    _runtime: Arc<Runtime>,
}

impl Rows {
    pub(crate) fn start(
        reader: Reader,
        asked: Asked,
        columns: Columns,
        call: &Call,
        runtime: Arc<Runtime>,
    ) -> Self {
        let (sender, messages) = channel(BATCHES);
        let place = reader.session().failures().place().to_owned();
        let end = CallEnd::of(call);
        let fetching = Fetching {
            session: reader.session().clone(),
            asked: Some(asked),
            runtime: runtime.clone(),
            is_busy: true,
        };
        let of_task = columns.clone();
        runtime.spawn(async move {
            // When the call ends, or nobody takes rows any more, what is under way is dropped, and that stops the server.
            let moving = pin!(hand_over(reader, fetching, of_task, &sender));
            let unwanted = pin!(sender.closed());
            let _ = end.unless(select(moving, unwanted)).await;
        });
        let pieces = Vec::new().into_iter();
        Self { messages, pieces, columns, call: call.clone(), place, has_ended: false, _runtime: runtime }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            self.call.check()?;
            if let Some(piece) = self.pieces.next() {
                return Ok(Some(piece));
            }
            match pollster::block_on(self.messages.recv()) {
                Some(message) => match message? {
                    Some(batch) => self.pieces = self.columns.pieces(&batch, &self.place)?.into_iter(),
                    None => return Ok(None),
                },
                None => {
                    self.call.check()?;
                    let message = format!("{}: the rows ended in the middle", self.place);
                    return Err(Error::new(ErrorCode::SourceUnavailable, message));
                }
            }
        }
    }
}

impl Iterator for Rows {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.has_ended {
            return None;
        }
        let batch = self.batch().transpose();
        if !matches!(batch, Some(Ok(_))) {
            self.has_ended = true;
            self.messages.close();
        }
        batch
    }
}

/// What the server does for a fetch. Dropping it asks the server to stop.
struct Fetching {
    session: Session,
    asked: Option<Asked>,
    runtime: Arc<Runtime>,
    /// Whether the server may still be at work.
    is_busy: bool,
}

impl Drop for Fetching {
    fn drop(&mut self) {
        let Some(Asked { info, prepared }) = self.asked.take() else { return };
        if !self.is_busy && prepared.is_none() {
            return;
        }
        let (session, runtime, is_busy) = (self.session.clone(), self.runtime.clone(), self.is_busy);
        self.runtime.spawn(async move {
            if is_busy {
                session.cancel(info).await;
            }
            if let Some(prepared) = prepared {
                session.close(&prepared).await;
            }
            drop(runtime); // kept until here, even if nobody has the source any more
        });
    }
}

async fn hand_over(mut reader: Reader, mut fetching: Fetching, columns: Columns, sender: &Sender<Message>) {
    let moved = move_rows(&mut reader, &fetching, &columns, sender).await;
    if let Some(end) = moved.transpose() {
        fetching.is_busy = end.is_err();
        // Nobody may want to know it any more.
        let _ = sender.send(end.map(|()| None)).await;
    }
}

/// `None` if nobody takes rows any more.
async fn move_rows(
    reader: &mut Reader,
    fetching: &Fetching,
    columns: &Columns,
    sender: &Sender<Message>,
) -> Result<Option<()>> {
    let Some(asked) = &fetching.asked else { return Ok(Some(())) };
    let place = fetching.session.failures().place().to_owned();
    for endpoint in &asked.info.endpoint {
        let mut rows = reader.endpoint(endpoint, "the fetch of rows").await?;
        let mut found: Option<SchemaRef> = None;
        while let Some(arrived) = rows.next().await? {
            match arrived {
                // Some servers name no columns where there are no rows: they are compared when rows come.
                Arrived::Columns(sent) => found = Some(sent),
                Arrived::Rows(batch) => {
                    if let Some(sent) = found.take() {
                        columns.check(&sent, &place)?;
                    }
                    if sender.send(Ok(Some(batch))).await.is_err() {
                        return Ok(None);
                    }
                }
            }
        }
        if let Some(sent) = found.filter(|sent| !sent.fields().is_empty()) {
            columns.check(&sent, &place)?;
        }
    }
    Ok(Some(()))
}
