//! One connection, from its first byte to its last.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use pillion_door::{Entered, Stream, closed};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use super::guard;
use crate::door::Door;

/// The most calls of a connection at a time, waiting ones included.
const STREAMS_MAX: u32 = 256;
/// The most bytes of the headers of a call.
const HEADERS_LEN_MAX: u32 = 16 << 10;
/// Calls that a client may break off before they are begun; with more, its connection is closed.
const RESETS_MAX: usize = 32;
/// Calls that were refused for an error of the client, before its connection is closed.
const ERRORS_MAX: usize = 64;
/// Bytes that a client may send of a call before the door has taken them.
const CALL_WINDOW: u32 = 1 << 20;
/// The same of all calls of a connection.
const CONNECTION_WINDOW: u32 = 4 << 20;
/// Bytes of answers that wait to be sent, of each call.
const SEND_BUFFER_LEN: usize = 1 << 20;
/// A client that is silent for this long is asked whether it is there, and has as long to answer.
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// How often to look whether a connection is idle.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// Calls without a valid token after which a connection is closed.
const STRANGE_CALLS_MAX: usize = 32;

/// What ends a connection from within its calls.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    strange_calls: AtomicUsize,
    /// After the answers under way.
    soon: Notify,
    now: Notify,
}

impl Ending {
    /// A call had no valid token.
    pub(crate) fn refused(&self) {
        if self.strange_calls.fetch_add(1, Ordering::Relaxed) + 1 >= STRANGE_CALLS_MAX {
            self.soon.notify_one();
        }
    }

    /// Nothing more is sent.
    pub(crate) fn now(&self) {
        self.now.notify_one();
    }
}

/// Speaks with a client until one of both ends closes the connection, it was idle for too long, or the door closes and the calls
/// under way are answered.
pub(crate) async fn speak(door: Arc<Door>, stream: Box<dyn Stream>, entered: Arc<Entered>) {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADERS_LEN_MAX)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BUFFER_LEN)
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let ending = Arc::new(Ending::default());
    let service = {
        let (door, entered, ending) = (door.clone(), entered.clone(), ending.clone());
        service_fn(move |request: Request<Incoming>| {
            let (door, busy, ending) = (door.clone(), entered.busy(), ending.clone());
            async move { Ok::<_, Infallible>(guard::serve(door, request, busy, ending).await) }
        })
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let idle = async {
        while entered.quiet_for() < door.options.idle_timeout {
            sleep(LOOK_INTERVAL.min(door.options.idle_timeout)).await;
        }
    };
    let left_unread = async {
        ending.now.notified().await;
        tracing::info!("a connection whose client leaves an answer unread is closed");
    };
    tokio::pin!(left_unread);
    let is_left = tokio::select! {
        served = connection.as_mut() => return ended(served),
        () = left_unread.as_mut() => return,
        () = closed(door.closing.clone()) => false,
        () = idle => true,
        () = ending.soon.notified() => true,
    };
    connection.as_mut().graceful_shutdown();
    // A client that is told to go and stays is left. When the door closes, it waits for the calls under way.
    let patience = Instant::now() + door.options.client_timeout;
    tokio::select! {
        served = connection.as_mut() => ended(served),
        () = left_unread => {}
        () = sleep_until(patience), if is_left => tracing::debug!("a client that does not go is left"),
    }
}

fn ended(served: hyper::Result<()>) {
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}
