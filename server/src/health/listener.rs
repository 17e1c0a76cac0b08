//! A small HTTP listener for probes and scrapers, on a thread of its own: it answers however busy the threads of queries
//! are.

use std::convert::Infallible;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::sync::{Semaphore, oneshot};

use super::monitor::Monitor;
use super::readiness::{NotReady, reasons};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::metrics;

/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 32;
/// How long a client may take to send a request, and how long a connection may be idle.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may last: a client that does not read its answer gives its place to others then.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// How long to wait when no connection can be accepted, for example because descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Answers that are looked up at a time. Looking them up may wait for the disk.
const LOOKUPS_MAX: usize = 2;

/// A listener that answers probes and scrapers. It ends when it is dropped.
#[derive(Debug)]
pub(crate) struct HealthListener {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl HealthListener {
    /// Listens at an address from now on.
    ///
    /// # Errors
    /// If the address cannot be bound, or the system has no thread.
    pub(crate) fn bind(address: SocketAddr, monitor: Arc<Monitor>) -> Result<Self, Failure> {
        let listener = TcpListener::bind(address).map_err(|error| {
            let exit = match error.kind() {
                std::io::ErrorKind::AddrInUse => Exit::Retry,
                _ => Exit::Report,
            };
            Failure::new(exit, format!("cannot listen on {address}, the `listen` of [health]"))
                .because(&error)
        })?;
        Self::start(listener, monitor)
    }

    /// Answers on a socket that listens from now on.
    ///
    /// # Errors
    /// If the system has no thread, or refuses something else.
    pub(crate) fn start(listener: TcpListener, monitor: Arc<Monitor>) -> Result<Self, Failure> {
        let failed = |error: &std::io::Error| {
            Failure::new(Exit::Report, "the listener for probes cannot be started").because(error)
        };
        listener.set_nonblocking(true).map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .max_blocking_threads(LOOKUPS_MAX)
            .thread_name("pillion-health")
            .build()
            .map_err(|error| failed(&error))?;
        let thread = std::thread::Builder::new()
            .name("pillion-health".to_owned())
            .spawn(move || {
                runtime.block_on(accept(listener, monitor, stopped));
                // A lookup that waits for the disk does not hold up the end of the process.
                runtime.shutdown_background();
            })
            .map_err(|error| failed(&error))?;
        Ok(Self { address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for HealthListener {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that answers probes panicked");
        }
    }
}

/// Accepts connections until the other end of `stopped` is dropped.
async fn accept(listener: TcpListener, monitor: Arc<Monitor>, mut stopped: oneshot::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "probes are not answered"),
    };
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = places.clone().acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        let Some((accepted, place)) = until(next, &mut stopped).await.flatten() else { return };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::debug!(%error, "a connection of a probe could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let monitor = monitor.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(request, monitor.clone()));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(REQUEST_TIMEOUT)
                // One request each, so that nobody can ask for more answers than they read.
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_TIMEOUT, connection).await {
                tracing::debug!(%error, "a connection of a probe ended");
            }
            drop(place);
        });
    }
}

/// What `work` gives, or `None` if it is time to stop.
async fn until<T>(work: impl Future<Output = T>, stopped: &mut oneshot::Receiver<()>) -> Option<T> {
    let work = std::pin::pin!(work);
    match futures::future::select(work, stopped).await {
        futures::future::Either::Left((done, _)) => Some(done),
        futures::future::Either::Right(_) => None,
    }
}

async fn answer(
    request: Request<Incoming>,
    monitor: Arc<Monitor>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if ![Method::GET, Method::HEAD].contains(request.method()) {
        let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return Ok(response);
    }
    let look_up: fn(&Arc<Monitor>) -> Response<Full<Bytes>> = match request.uri().path() {
        // On this thread: it looks at nothing that could wait.
        "/health/live" => return Ok(health("live", &monitor.not_live())),
        "/health/startup" => return Ok(health("started", &monitor.not_started())),
        "/health/ready" => |monitor| health("ready", &monitor.not_ready()),
        "/metrics" => |monitor| of_type(StatusCode::OK, metrics::CONTENT_TYPE, metrics::text(monitor)),
        _ => {
            let known = "there are /health/live, /health/ready, /health/startup and /metrics\n";
            return Ok(text(StatusCode::NOT_FOUND, known));
        }
    };
    let looked_up = tokio::task::spawn_blocking(move || look_up(&monitor)).await;
    Ok(looked_up.unwrap_or_else(|error| {
        tracing::error!(%error, "the answer to a probe panicked");
        text(StatusCode::INTERNAL_SERVER_ERROR, "a defect of the sidecar; its log says more\n")
    }))
}

/// The answer to a probe: `status` if nothing is missing, and what is missing otherwise.
fn health(status: &str, missing: &[NotReady]) -> Response<Full<Bytes>> {
    let (code, status) = match missing {
        [] => (StatusCode::OK, status.to_owned()),
        _ => (StatusCode::SERVICE_UNAVAILABLE, format!("not {status}")),
    };
    let body = json!({ "status": status, "reasons": reasons(missing) });
    of_type(code, "application/json", format!("{body}\n"))
}

fn text(code: StatusCode, body: &'static str) -> Response<Full<Bytes>> {
    of_type(code, "text/plain; charset=utf-8", body.to_owned())
}

fn of_type(code: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = code;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
