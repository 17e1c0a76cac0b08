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
use tokio::time::timeout;

use super::connections::Entered;
use super::listener::Stream;
use super::paced::Paced;
use super::tls::Tls;
use crate::door::{Door, closed};
use crate::guard;

/// The most bytes of the head of a request. A longer one is answered with 431.
const HEAD_LEN_MAX: usize = 16 << 10;
/// The most headers of a request. With more, it is answered with 431.
const HEADERS_MAX: usize = 64;

/// Longer times cannot be added to a clock.
const IDLE_MAX: Duration = Duration::from_secs(31_536_000);

/// Serves a connection until one of both ends closes it, it has to give way to another one, or the door closes and the request
/// under way is answered.
pub(crate) async fn serve(
    door: Arc<Door>,
    router: Router<()>,
    stream: Box<dyn Stream>,
    tls: Option<Arc<Tls>>,
    entered: Entered,
) {
    let entered = Arc::new(entered);
    let speaking = async {
        let Some(tls) = tls else { return speak(door, router, stream, &entered).await };
        match timeout(door.options.head_timeout, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => speak(door, router, stream, &entered).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client could not be spoken to with TLS"),
            Err(_) => tracing::debug!("a client took too long for TLS"),
        }
    };
    tokio::select! {
        () = speaking => {}
        () = entered.given_away() => tracing::debug!("an idle connection gives way to another one"),
    }
}

async fn speak<S: Stream + 'static>(door: Arc<Door>, router: Router<()>, stream: S, entered: &Arc<Entered>) {
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
