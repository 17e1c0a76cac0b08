//! An answer as a stream: encoded as the client reads it, and never cut so that it looks whole.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::FlightData;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::error::FlightError;
use futures::stream::{BoxStream, try_unfold};
use futures::{Stream, StreamExt, stream};
use pillion::{BatchStream, Batches, Error};
use pillion_door::said::Said;
use pillion_door::{compact, rows_at_once};
use tokio::sync::mpsc::{self, Sender};
use tokio::time::timeout;
use tonic::{Response, Status};

use crate::call::guard::Admitted;
use crate::door::Door;
use crate::statement::held::Running;
use crate::statement::query::Query;
use crate::status;

/// What `DoGet` answers with.
pub(crate) type Messages = BoxStream<'static, Result<FlightData, Status>>;

/// Values of a message in bytes, if it has more than one row. Clients bound the messages that they take, many at 4 MiB.
const MESSAGE_LEN: u64 = 1 << 20;
/// The most rows of a message.
const MESSAGE_ROWS: usize = 64 << 10;
/// Messages that wait for the client.
const MESSAGES_WAITING: usize = 2;

/// Answers with the rows of a query. What fails ends the stream with an error. Dropping the stream cancels the query.
pub(crate) fn query(
    door: &Arc<Door>,
    query: Query,
    admitted: Admitted,
    running: Option<Running>,
) -> Response<Messages> {
    let (schema, said) = (query.schema.clone(), query.said.clone());
    let rows = Rows { query: Some(query), stream: None, current: None, admitted: admitted.clone() };
    let rows = try_unfold(rows, |mut rows| async move { Ok(rows.next().await?.map(|batch| (batch, rows))) });
    answer(door, schema, Some(said), rows.boxed(), (admitted, running))
}

/// Answers with rows that are there already.
pub(crate) fn rows(
    door: &Arc<Door>,
    batch: RecordBatch,
    said: Option<Said>,
    admitted: Admitted,
) -> Response<Messages> {
    let schema = batch.schema();
    let mut from = 0;
    let parts = std::iter::from_fn(move || {
        (from < batch.num_rows()).then(|| {
            let (len, _) = rows_at_once(&batch, from, MESSAGE_ROWS, MESSAGE_LEN).map_err(failed)?;
            from += len;
            Ok(batch.slice(from - len, len))
        })
    });
    answer(door, schema, said, stream::iter(parts).boxed(), (admitted, None))
}

fn answer(
    door: &Arc<Door>,
    schema: SchemaRef,
    said: Option<Said>,
    rows: BoxStream<'static, Result<RecordBatch, FlightError>>,
    (admitted, running): (Admitted, Option<Running>),
) -> Response<Messages> {
    let metadata = said.as_ref().map(|said| said.document().to_string()).unwrap_or_default();
    let encoder = FlightDataEncoderBuilder::new()
        .with_schema(schema)
        .with_metadata(metadata.into())
        // Rows come in parts already.
        .with_max_flight_data_size(usize::MAX)
        .build(rows);
    let (sender, receiver) = mpsc::channel(MESSAGES_WAITING);
    let is_late = Arc::new(AtomicBool::new(false));
    let limits = Limits { part: door.options.request_timeout, read: door.options.read_timeout };
    drop(tokio::spawn({
        let is_late = is_late.clone();
        async move {
            let _held = admitted;
            send(encoder, sender, running, limits, &is_late).await;
        }
    }));
    let messages = stream::unfold(Some(receiver), move |receiver| {
        let is_late = is_late.clone();
        async move {
            let mut receiver = receiver?;
            match receiver.recv().await {
                Some(Message::Data(data)) => Some((Ok(*data), Some(receiver))),
                Some(Message::End(Ok(()))) => None,
                Some(Message::End(Err(status))) => Some((Err(status), None)),
                None if is_late.load(Ordering::Acquire) => {
                    Some((Err(status::late("the answer was not read for too long, and broke off")), None))
                }
                None => Some((Err(status::defect("the task that sent the answer panicked")), None)),
            }
        }
    });
    let mut response = Response::new(messages.boxed());
    if let Some(said) = said {
        response.metadata_mut().as_mut().extend(said.brief_headers());
    }
    response
}

/// A message for the client, or the end.
enum Message {
    Data(Box<FlightData>),
    End(Result<(), Status>),
}

#[derive(Clone, Copy)]
struct Limits {
    /// How long a part of an answer may take.
    part: Duration,
    /// How long a client may leave one unread.
    read: Duration,
}

/// Sends an answer as its client takes it, until its end, an error, or the client or somebody who cancels it wants no more of it.
async fn send(
    encoder: impl Stream<Item = Result<FlightData, FlightError>>,
    sender: Sender<Message>,
    running: Option<Running>,
    limits: Limits,
    is_late: &AtomicBool,
) {
    let mut encoder = pin!(encoder);
    let mut cancelled = pin!(async {
        match &running {
            Some(running) => running.cancelled().await,
            None => std::future::pending().await,
        }
    });
    loop {
        let next = tokio::select! {
            next = timeout(limits.part, encoder.next()) => next,
            () = sender.closed() => return,
            () = cancelled.as_mut() => {
                let message = "the query was cancelled before its answer was complete";
                let cancelled = status::of(&Error::new(pillion::ErrorCode::Cancelled, message));
                Ok(Some(Err(FlightError::Tonic(Box::new(cancelled)))))
            }
        };
        let message = match next {
            Ok(Some(Ok(data))) => Message::Data(Box::new(data)),
            Ok(None) => Message::End(Ok(())),
            Ok(Some(Err(FlightError::Tonic(status)))) => Message::End(Err(*status)),
            Ok(Some(Err(error))) => {
                Message::End(Err(status::unsupported(format!("the rows cannot be sent: {error}"))))
            }
            Err(_) => {
                let message = format!("no more of the answer was ready after {:?}", limits.part);
                Message::End(Err(status::late(message)))
            }
        };
        let is_end = matches!(message, Message::End(_));
        // Cancelled while the client reads nothing, it ends when the client reads on.
        match timeout(limits.read, sender.send(message)).await {
            Ok(Ok(())) if !is_end => {}
            Ok(_) => return,
            Err(_) => {
                is_late.store(true, Ordering::Release);
                tracing::info!("an answer was not read for too long, and broke off");
                return;
            }
        }
    }
}

/// The rows of a query, in parts.
struct Rows {
    /// `None` while another thread has it.
    query: Option<Query>,
    /// The run under way.
    stream: Option<BatchStream>,
    /// A batch of which rows are left, from this one on.
    current: Option<(RecordBatch, usize)>,
    admitted: Admitted,
}

impl Rows {
    /// The next part; `None` at the end.
    async fn next(&mut self) -> Result<Option<RecordBatch>, FlightError> {
        loop {
            if let Some((batch, from)) = self.current.take() {
                if from >= batch.num_rows() {
                    continue;
                }
                let (len, _) = rows_at_once(&batch, from, MESSAGE_ROWS, MESSAGE_LEN).map_err(failed)?;
                let part = compact(&batch.slice(from, len))?;
                self.current = Some((batch, from + len));
                return Ok(Some(part));
            }
            if let Some(stream) = &mut self.stream {
                match stream.next().await.transpose().map_err(failed)? {
                    Some(batch) => self.current = Some((batch, 0)),
                    None => self.stream = None,
                }
                continue;
            }
            match self.next_run().await? {
                Some(batches) => self.stream = Some(batches.into_stream()),
                None => return Ok(None),
            }
        }
    }

    async fn next_run(&mut self) -> Result<Option<Batches>, FlightError> {
        let panicked =
            || FlightError::Tonic(Box::new(status::defect("a thread that began a query panicked")));
        let mut query = self.query.take().ok_or_else(panicked)?;
        let (query, run) = if query.is_begun() {
            let run = query.next_run();
            (query, run)
        } else {
            let held = self.admitted.clone();
            let planned = tokio::task::spawn_blocking(move || {
                let _held = held;
                let run = query.next_run();
                (query, run)
            });
            planned.await.map_err(|_| panicked())?
        };
        self.query = Some(query);
        run.transpose().map_err(failed)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: Error) -> FlightError {
    FlightError::Tonic(Box::new(status::of(&error)))
}
