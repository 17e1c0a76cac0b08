//! What the recorder of the cache is told of a call.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;
use pillion::{ErrorCode, Event, Operation};
use tokio::task::AbortHandle;
use tonic::body::Body;
use tonic::{Code, Status};

use super::connection::Ending;
use crate::door::{DOOR, Door};
use crate::status::{self, CODE};

/// What a call asks for, which its handler finds out: an extension of its request.
#[derive(Clone, Debug)]
pub(crate) struct Asked(Arc<Mutex<Operation>>);

impl Asked {
    /// From now on, this is what it asks for.
    pub(crate) fn is(&self, operation: Operation) {
        *self.0.lock() = operation;
    }

    /// Whether it changes tables, as far as is known.
    pub(crate) fn changes_tables(&self) -> bool {
        matches!(*self.0.lock(), Operation::Write | Operation::Upload)
    }
}

/// A call, of which the recorder is told when its answer has ended, or its client is gone.
#[derive(Debug)]
pub(crate) struct Call {
    door: Arc<Door>,
    operation: Asked,
    began: Instant,
    /// When its answer was ready, as a time since it came.
    ready: Option<Duration>,
    request_bytes: Arc<AtomicU64>,
    answer_bytes: u64,
    error: Option<ErrorCode>,
}

impl Call {
    /// A call that came just now.
    pub(crate) fn begin(door: &Arc<Door>, name: &str) -> Self {
        let operation = match name {
            "GetFlightInfo" | "GetSchema" | "DoGet" => Operation::Sql,
            "DoPut" => Operation::Write,
            _ => Operation::Session,
        };
        Self {
            door: door.clone(),
            operation: Asked(Arc::new(Mutex::new(operation))),
            began: Instant::now(),
            ready: None,
            request_bytes: Arc::default(),
            answer_bytes: 0,
            error: None,
        }
    }

    /// What it asks for.
    pub(crate) fn operation(&self) -> Asked {
        self.operation.clone()
    }

    /// The body of the request, whose bytes are counted.
    pub(crate) fn asked(&self, body: Incoming) -> Body {
        Body::new(Counted { body, bytes: self.request_bytes.clone() })
    }

    /// The answer, of which the recorder is told once its body has ended. Keeps `held` until then, or until its client has left a part
    /// of it unread for too long. One that goes on to do so ends its connection.
    pub(crate) fn answered(
        mut self,
        response: Response<Body>,
        held: impl Send + 'static,
        ending: Arc<Ending>,
    ) -> Response<Body> {
        self.ready = Some(self.began.elapsed());
        self.error = response.extensions().get::<Status>().and_then(|status| {
            code_of(status.metadata().as_ref()).or_else(|| status::counted_as(status.code()))
        });
        let (unread, patience) = (Arc::new(Unread::new(held)), self.door.options.read_timeout);
        let watch = {
            let unread = unread.clone();
            let watch = async move {
                unread.for_as_long_as(patience).await;
                tracing::info!("an answer is left unread, and gives up its place");
                unread.let_go();
                unread.for_as_long_as(patience.saturating_mul(2)).await;
                ending.now();
            };
            tokio::spawn(watch).abort_handle()
        };
        response.map(|body| Body::new(Told { body, call: self, unread, watch }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Without an answer, the client went away before it was ready.
        let error = if self.ready.is_some() { self.error } else { Some(ErrorCode::Cancelled) };
        self.door.cache.blocking().record(&Event::Call {
            door: DOOR,
            operation: *self.operation.0.lock(),
            duration: self.ready.unwrap_or_else(|| self.began.elapsed()),
            request_bytes: self.request_bytes.load(Ordering::Relaxed),
            answer_bytes: self.answer_bytes,
            error,
        });
    }
}

/// The code of the cache in the metadata of a status.
fn code_of(metadata: &HeaderMap) -> Option<ErrorCode> {
    ErrorCode::from_number(metadata.get(CODE)?.to_str().ok()?.parse().ok()?)
}

/// A body whose bytes are counted as they come, and that never looks whole if it is not.
struct Counted {
    body: Incoming,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        Poll::Ready(match ready!(Pin::new(&mut self.body).poll_frame(context)) {
            Some(Ok(frame)) => {
                let len = frame.data_ref().map_or(0, |data| data.len() as u64);
                self.bytes.fetch_add(len, Ordering::Relaxed);
                Some(Ok(frame))
            }
            Some(Err(_)) => Some(Err(broken_off())),
            // A call that its client cancels ends as one that it has sent to its end.
            None if !self.body.is_end_stream() => Some(Err(broken_off())),
            None => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

fn broken_off() -> Status {
    // Not `CANCELLED`, which ends a stream of messages like its end.
    let message = "the client broke its call off";
    status::with_code(Code::Aborted, ErrorCode::Cancelled, message)
}

/// What an answer holds, and since when its client has left a part of it unread.
struct Unread {
    held: Mutex<Option<Box<dyn Send>>>,
    /// `None` while the client waits for the door.
    since: Mutex<Option<Instant>>,
}

impl Unread {
    fn new(held: impl Send + 'static) -> Self {
        Self { held: Mutex::new(Some(Box::new(held))), since: Mutex::new(Some(Instant::now())) }
    }

    /// Waits until a part was left unread for this long.
    async fn for_as_long_as(&self, patience: Duration) {
        loop {
            let left = match *self.since.lock() {
                Some(since) => patience.saturating_sub(since.elapsed()),
                None => patience,
            };
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }

    fn let_go(&self) {
        let held = self.held.lock().take();
        drop(held);
    }
}

/// The body of an answer. The connection asks for its next part when the client has room for it. When it is dropped, the call is over.
struct Told {
    body: Body,
    call: Call,
    unread: Arc<Unread>,
    watch: AbortHandle,
}

impl Drop for Told {
    fn drop(&mut self) {
        self.watch.abort();
        self.unread.let_go();
    }
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        *self.unread.since.lock() = polled.is_ready().then(Instant::now);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                self.call.answer_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if let Some(status) = frame.trailers_ref().and_then(Status::from_header_map)
                    && status.code() != Code::Ok
                {
                    let code = code_of(status.metadata().as_ref());
                    self.call.error = code.or_else(|| status::counted_as(status.code()));
                }
            }
            Poll::Ready(Some(Err(status))) => self.call.error = status::counted_as(status.code()),
            _ => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
