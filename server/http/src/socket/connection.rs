//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use pillion_door::{Entered, Stream, closed};

use super::paced::Paced;
use crate::door::Door;
use crate::guard;

/// The most bytes of the head of a request. A longer one is answered with 431.
const HEAD_LEN_MAX: usize = 16 << 10;
/// The most headers of a request. With more, it is answered with 431.
const HEADERS_MAX: usize = 64;

/// Longer times cannot be added to a clock.
const IDLE_MAX: Duration = Duration::from_secs(31_536_000);

/// Speaks with a client until one of both ends closes the connection, or the door closes and the request under way is answered.
pub(crate) async fn speak(
    door: Arc<Door>,
    router: Router<()>,
    stream: Box<dyn Stream>,
    entered: &Arc<Entered>,
) {
    let closing = door.closing.clone();
    let (head_timeout, idle_timeout) = (door.options.head_timeout, door.options.idle_timeout);
    let in_progress = entered.in_progress().clone();
    let io = TokioIo::new(Paced::new(stream, head_timeout, idle_timeout, in_progress));
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Paced` keeps both times; this is never the first to notice.
        .header_read_timeout(idle_timeout.max(head_timeout).min(IDLE_MAX))
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEAD_LEN_MAX);
    let entered = entered.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let busy = entered.busy();
        let (door, router) = (door.clone(), router.clone());
        async move {
            let response = guard::serve(door, router, request.map(Body::new)).await;
            let (head, body) = response.into_parts();
            let body = guard::holding(body, busy);
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
