//! Rows on their way from the server to whoever fetches them.

use std::pin::pin;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::future::select;
use mysql_async::{BinaryProtocol, QueryResult, Row, Value};
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::{CallEnd, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::decode::RowDecoder;
use crate::failures;
use crate::session::Session;

/// Rows that are handed over together, in bytes; a single one may be larger.
const PORTION_LEN: usize = 256 << 10;
/// Portions that wait for the thread that makes batches of them. The server waits when there are as many.
const PORTIONS: usize = 2;

type Portion = Result<Vec<Row>>;

/// The batches of a query. Dropping it ends the query and the session.
pub(crate) struct Rows {
    portions: Receiver<Portion>,
    portion: std::vec::IntoIter<Row>,
    decoder: RowDecoder,
    call: Call,
    place: Arc<str>,
    /// Whether a portion without rows said that no more follow.
    is_complete: bool,
    has_ended: bool,
    /// Drives the session; the source may be gone by now.
    _runtime: Arc<Runtime>,
}

impl Rows {
    /// Takes the rows of the query that was executed last in the session.
    pub(crate) fn start(session: Session, decoder: RowDecoder, call: &Call, runtime: Arc<Runtime>) -> Self {
        let (sender, portions) = channel(PORTIONS);
        let place = session.place().clone();
        let end = CallEnd::of(call);
        runtime.spawn(async move {
            // When the call ends, or nobody takes rows any more, the session is dropped, and that stops the server.
            let moving = pin!(hand_over(session, &sender));
            let unwanted = pin!(sender.closed());
            let _ = end.unless(select(moving, unwanted)).await;
        });
        Self {
            portions,
            portion: Vec::new().into_iter(),
            decoder,
            call: call.clone(),
            place,
            is_complete: false,
            has_ended: false,
            _runtime: runtime,
        }
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        while !self.decoder.is_full() {
            if let Some(row) = self.portion.next() {
                self.decoder.add(row)?;
                continue;
            }
            if self.is_complete {
                break;
            }
            self.call.check()?;
            match pollster::block_on(self.portions.recv()) {
                Some(portion) => {
                    let portion = portion?;
                    self.is_complete = portion.is_empty();
                    self.portion = portion.into_iter();
                }
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

async fn hand_over(mut session: Session, sender: &Sender<Portion>) {
    loop {
        match gathered(&mut session).await {
            Ok(portion) => {
                let is_complete = portion.is_empty();
                if sender.send(Ok(portion)).await.is_err() {
                    return;
                }
                if is_complete {
                    break;
                }
            }
            Err(error) => {
                session.done();
                // Nobody may want to know it any more.
                let _ = sender.send(Err(error)).await;
                return;
            }
        }
    }
    session.done();
}

/// The next rows; none if the server said that all were sent.
async fn gathered(session: &mut Session) -> Portion {
    let place = session.place().clone();
    let mut result = QueryResult::<'_, '_, BinaryProtocol>::new(session.conn()?);
    let (mut portion, mut len) = (Vec::new(), 0);
    while len < PORTION_LEN {
        match result.next().await.map_err(|error| failures::of_session(&place, error))? {
            Some(row) => {
                len += len_of(&row);
                portion.push(row);
            }
            // Asked again, it says so again.
            None => break,
        }
    }
    Ok(portion)
}

/// About how much memory a row takes.
fn len_of(row: &Row) -> usize {
    let texts = (0..row.len()).map(|index| match row.as_ref(index) {
        Some(Value::Bytes(bytes)) => bytes.len(),
        _ => 0,
    });
    size_of::<Row>() + row.len() * size_of::<Value>() + texts.sum::<usize>()
}
