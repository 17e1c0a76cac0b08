//! What the recorder of the cache is told of a request.

use std::error::Error as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Method, Request};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use pillion::{Error, ErrorCode, Event, Operation};

use crate::door::{DOOR, Door};

/// Why a request failed: an extension of its answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Failed(pub(crate) ErrorCode);

/// A request, of which the recorder is told when its answer has ended, or its client is gone.
#[derive(Debug)]
pub(crate) struct Call {
    door: Arc<Door>,
    operation: Operation,
    began: Instant,
    /// When its answer was ready, as a time since it came.
    ready: Option<Duration>,
    request_bytes: Arc<AtomicU64>,
    answer_bytes: u64,
    error: Option<ErrorCode>,
}

impl Call {
    /// A request that came just now.
    pub(crate) fn begin<B>(door: &Arc<Door>, request: &Request<B>) -> Self {
        Self {
            door: door.clone(),
            operation: operation(request.method(), request.uri().path()),
            began: Instant::now(),
            ready: None,
            request_bytes: Arc::default(),
            answer_bytes: 0,
            error: None,
        }
    }

    /// The body of the request, whose bytes are counted.
    pub(crate) fn asked(&self, body: Body) -> Body {
        Body::new(Counted { body, bytes: self.request_bytes.clone() })
    }

    /// The answer, of which the recorder is told once its body has ended.
    pub(crate) fn answered(mut self, response: Response) -> Response {
        self.ready = Some(self.began.elapsed());
        self.error = response.extensions().get::<Failed>().map(|failed| failed.0);
        let (head, body) = response.into_parts();
        Response::from_parts(head, Body::new(Told { body, call: self }))
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Without an answer, the client went away before it was ready.
        let error = if self.ready.is_some() { self.error } else { Some(ErrorCode::Cancelled) };
        self.door.cache.blocking().record(&Event::Call {
            door: DOOR,
            operation: self.operation,
            duration: self.ready.unwrap_or_else(|| self.began.elapsed()),
            request_bytes: self.request_bytes.load(Ordering::Relaxed),
            answer_bytes: self.answer_bytes,
            error,
        });
    }
}

/// What a request asks for.
fn operation(method: &Method, path: &str) -> Operation {
    match path.strip_prefix("/v1/") {
        Some("sql") => Operation::Sql,
        Some("tables" | "status") => Operation::Catalog,
        Some(path) => match path.strip_prefix("tables/").map(|table| table.split_once('/')) {
            Some(None) => Operation::Catalog,
            Some(Some((_, "changes"))) => Operation::Changes,
            Some(Some((_, "refresh"))) => Operation::Refresh,
            Some(Some((_, "rows"))) => Operation::Upload,
            Some(Some(_)) if *method == Method::GET || *method == Method::HEAD => Operation::Get,
            Some(Some(_)) => Operation::Write,
            None => Operation::Session,
        },
        None => Operation::Session,
    }
}

/// A body whose bytes are counted as they come.
struct Counted {
    body: Body,
    bytes: Arc<AtomicU64>,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.bytes.fetch_add(data_len(&polled), Ordering::Relaxed);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of an answer. When it is dropped, the request is over.
struct Told {
    body: Body,
    call: Call,
}

impl HttpBody for Told {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        self.call.answer_bytes += data_len(&polled);
        if let Poll::Ready(Some(Err(error))) = &polled {
            self.call.error = Some(code(error));
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

fn data_len(polled: &Poll<Option<Result<Frame<Bytes>, axum::Error>>>) -> u64 {
    match polled {
        Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(0, |data| data.len() as u64),
        _ => 0,
    }
}

/// Why an answer broke off.
fn code(error: &axum::Error) -> ErrorCode {
    let mut inner = error.source();
    while let Some(error) = inner {
        let own = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if let Some(own) = own.and_then(|own| own.downcast_ref::<Error>()) {
            return own.code();
        }
        inner = error.source();
    }
    ErrorCode::Internal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_what_they_ask_for() {
        for (method, path, expected) in [
            (Method::POST, "/v1/sql", Operation::Sql),
            (Method::GET, "/v1/tables", Operation::Catalog),
            (Method::GET, "/v1/tables/items", Operation::Catalog),
            (Method::GET, "/v1/status", Operation::Catalog),
            (Method::GET, "/v1/tables/items/1", Operation::Get),
            (Method::HEAD, "/v1/tables/items/1", Operation::Get),
            (Method::GET, "/v1/tables/items/", Operation::Get),
            (Method::PUT, "/v1/tables/items/1", Operation::Write),
            (Method::DELETE, "/v1/tables/items/1", Operation::Write),
            (Method::POST, "/v1/tables/items/rows", Operation::Upload),
            (Method::POST, "/v1/tables/items/refresh", Operation::Refresh),
            (Method::GET, "/v1/tables/items/changes", Operation::Changes),
            (Method::GET, "/v1/openapi.json", Operation::Session),
            (Method::GET, "/nothing", Operation::Session),
        ] {
            assert_eq!(operation(&method, path), expected, "{method} {path}");
        }
    }

    #[test]
    fn an_answer_that_broke_off_says_why() {
        let error = axum::Error::new(io::Error::other(Error::new(ErrorCode::Timeout, "late")));
        assert_eq!(code(&error), ErrorCode::Timeout);
        assert_eq!(code(&axum::Error::new(error)), ErrorCode::Timeout, "also from within");
        assert_eq!(code(&axum::Error::new(io::Error::other("something else"))), ErrorCode::Internal);
    }
}
