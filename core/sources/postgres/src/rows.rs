//! Rows on their way from the server to whoever fetches them.

use std::pin::{Pin, pin};
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::future::select;
use futures::stream::Fuse;
use futures::{FutureExt, StreamExt};
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::{CallEnd, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio_postgres::CopyOutStream;

use crate::decode::RowDecoder;
use crate::session::Session;

/// Messages that are handed over together, in bytes; a single one may be larger.
const PORTION_LEN: usize = 256 << 10;
/// Portions that wait for the thread that makes batches of them. The server waits when there are as many.
const PORTIONS: usize = 2;

type Portion = Result<Vec<Bytes>>;

/// The batches of a `COPY`. Dropping it ends the `COPY` and the session.
pub(crate) struct Rows {
    portions: Receiver<Portion>,
    portion: std::vec::IntoIter<Bytes>,
    decoder: RowDecoder,
    call: Call,
    place: Arc<str>,
    has_ended: bool,
    /// Drives the session; the source may be gone by now.
    _runtime: Arc<Runtime>,
}

impl Rows {
    pub(crate) fn start(
        session: Session,
        stream: CopyOutStream,
        decoder: RowDecoder,
        call: &Call,
        runtime: Arc<Runtime>,
    ) -> Self {
        let (sender, portions) = channel(PORTIONS);
        let place: Arc<str> = session.place().into();
        let end = CallEnd::of(call);
        runtime.spawn(async move {
            // When the call ends, or nobody takes rows any more, the session is dropped, and that stops the server.
            let moving = pin!(hand_over(session, Box::pin(stream.fuse()), &sender));
            let unwanted = pin!(sender.closed());
            let _ = end.unless(select(moving, unwanted)).await;
        });
        let portion = Vec::new().into_iter();
        let call = call.clone();
        Self { portions, portion, decoder, call, place, has_ended: false, _runtime: runtime }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.decoder.is_full() {
            if let Some(message) = self.portion.next() {
                self.decoder.add(&message)?;
                continue;
            }
            self.call.check()?;
            match pollster::block_on(self.portions.recv()) {
                Some(portion) => self.portion = portion?.into_iter(),
                None if self.decoder.has_ended() => break,
                None => {
                    self.call.check()?;
                    let message = format!("{}: the rows ended in the middle", self.place);
                    return Err(Error::new(ErrorCode::SourceUnavailable, message));
                }
            }
        }
        self.decoder.batch()
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
            self.portions.close();
        }
        batch
    }
}

async fn hand_over(session: Session, mut stream: Pin<Box<Fuse<CopyOutStream>>>, sender: &Sender<Portion>) {
    while let Some(message) = stream.next().await {
        match gathered(message, &mut stream).await {
            Ok(portion) => {
                if sender.send(Ok(portion)).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let error = session.failure(error);
                session.done();
                // Nobody may want to know it any more.
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
    session.done();
}

/// A message and those that are there already.
async fn gathered(
    first: std::result::Result<Bytes, tokio_postgres::Error>,
    stream: &mut Pin<Box<Fuse<CopyOutStream>>>,
) -> std::result::Result<Vec<Bytes>, tokio_postgres::Error> {
    let first = first?;
    let mut len = first.len();
    let mut portion = vec![first];
    while len < PORTION_LEN {
        // The end of the stream is seen again by whoever asks next: the stream is fused.
        let Some(Some(message)) = stream.next().now_or_never() else { break };
        let message = message?;
        len += message.len();
        portion.push(message);
    }
    Ok(portion)
}
