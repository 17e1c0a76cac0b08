//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::timeout;

use super::listener::Stream;
use super::paced::{InProgress, Paced};
use super::tls::Tls;
use crate::door::{Door, closed};
use crate::guard;

/// The most bytes of the head of a request. A longer one is answered with 431.
const HEAD_LEN_MAX: usize = 16 << 10;
/// The most headers of a request. With more, it is answered with 431.
const HEADERS_MAX: usize = 64;

/// Longer times cannot be added to a clock.
const IDLE_MAX: Duration = Duration::from_secs(31_536_000);

/// A request that is being answered, until the last byte of its body is with the connection.
struct Counted(InProgress);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Serves a connection until one of both ends closes it, or the door closes and the request under way is answered.
pub(crate) async fn serve(
    door: Arc<Door>,
    router: Router<()>,
    stream: Box<dyn Stream>,
    tls: Option<Arc<Tls>>,
) {
    let Some(tls) = tls else { return speak(door, router, stream).await };
    match timeout(door.options.head_timeout, tls.acceptor().accept(stream)).await {
        Ok(Ok(stream)) => speak(door, router, stream).await,
        Ok(Err(error)) => tracing::debug!(%error, "a client could not be spoken to with TLS"),
        Err(_) => tracing::debug!("a client took too long for TLS"),
    }
}

async fn speak<S: Stream + 'static>(door: Arc<Door>, router: Router<()>, stream: S) {
    let in_progress: InProgress = Arc::new(AtomicUsize::new(0));
    let closing = door.closing.clone();
    let io = TokioIo::new(Paced::new(stream, door.options.head_timeout, in_progress.clone()));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Shorter times for what has begun are kept by `Paced`; this one is for connections that are idle.
        .header_read_timeout(door.options.idle_timeout.max(door.options.head_timeout).min(IDLE_MAX))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_LEN_MAX);
    let service = service_fn(move |request: Request<Incoming>| {
        in_progress.fetch_add(1, Ordering::AcqRel);
        let counted = Counted(in_progress.clone());
        let (door, router) = (door.clone(), router.clone());
        async move {
            let response = guard::serve(door, router, request.map(Body::new)).await;
            let (head, body) = response.into_parts();
            let body = guard::holding(body, counted);
            Ok::<Response, Infallible>(Response::from_parts(head, body))
        }
    });
    let connection = builder.serve_connection(io, service);
    tokio::pin!(connection);
    let served = tokio::select! {
        served = connection.as_mut() => served,
        () = closed(closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
