//! The door as a whole: opened, and closed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pillion::Cache;
use pillion_access::Access;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::door::{Counts, Door, closed};
use crate::options::{HttpOptions, Listen};
use crate::routes;
use crate::socket::{self, Bound, Listener, Tls};

/// Threads that speak with clients: few, so that the door takes no processor from others.
const THREADS: usize = 2;
/// Threads for work that blocks beside uploads: rows that are written one by one.
const BLOCKING_THREADS: usize = 16;
/// More uploads than this at a time wait for threads.
const UPLOAD_THREADS_MAX: usize = 1024;
/// How often files of certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After an accept that failed, such as for want of descriptors, the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client gets that comes when as many are here as are allowed.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// Why a door cannot be opened.
#[derive(Debug)]
pub enum HttpError {
    /// Its socket cannot be bound.
    Bind(io::Error),
    /// Its certificate or key cannot be used.
    Tls(String),
    /// The system refuses threads.
    Start(io::Error),
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => write!(f, "its socket cannot be bound: {error}"),
            Self::Tls(message) => f.write_str(message),
            Self::Start(error) => write!(f, "its threads cannot be started: {error}"),
        }
    }
}

impl std::error::Error for HttpError {}

/// An open door. Dropping it closes it without waiting for anything.
#[derive(Debug)]
pub struct HttpServer {
    address: Option<SocketAddr>,
    counts: Arc<Counts>,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl HttpServer {
    /// Opens a door to a cache and returns; threads of its own serve it.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn start(cache: &Cache, options: HttpOptions, access: Arc<Access>) -> Result<Self, HttpError> {
        let tls = options.tls.clone().map(Tls::new).transpose().map_err(HttpError::Tls)?.map(Arc::new);
        let bound = Bound::new(&options.listen, options.socket_mode).map_err(HttpError::Bind)?;
        let address = bound.address();
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(options.uploads_max.min(UPLOAD_THREADS_MAX) + BLOCKING_THREADS)
            .thread_name("pillion-http")
            .enable_all()
            .build()
            .map_err(HttpError::Start)?;
        let listener = {
            let _entered = runtime.enter();
            bound.listen().map_err(HttpError::Bind)?
        };
        let (closing, is_closing) = watch::channel(false);
        let counts = Arc::new(Counts::default());
        let door = Arc::new(Door {
            cache: cache.clone().into_async(),
            access,
            requests: Admission::new("requests", options.requests_max, options.requests_waiting_max),
            streams: Admission::new("streams of changes", options.streams_max, 0),
            uploads: Admission::new("uploads", options.uploads_max, 0),
            counts: counts.clone(),
            closing: is_closing,
            options,
        });
        let thread = thread::Builder::new()
            .name("pillion-http-door".to_owned())
            .spawn(move || run(&runtime, door, listener, tls))
            .map_err(HttpError::Start)?;
        Ok(Self { address, counts, closing, thread: Some(thread) })
    }

    /// The address at which it listens; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::Relaxed)
    }

    /// Accepts no more connections and no more requests, and returns at once. Requests under way go on.
    pub fn begin_to_stop(&self) {
        self.closing.send_replace(true);
    }

    /// Closes it: waits for requests under way, for at most as long as `patience`, and ends those that are left.
    pub fn stop(mut self, patience: Duration) {
        self.begin_to_stop();
        let Some(thread) = self.thread.take() else { return };
        let deadline = std::time::Instant::now() + patience.min(Duration::from_secs(31_536_000));
        while !thread.is_finished() && std::time::Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if thread.is_finished() && thread.join().is_err() {
            tracing::error!("the thread of the HTTP door panicked");
        }
    }

    /// Why it no longer serves, if its thread ended by itself, which is a defect.
    pub fn failure(&self) -> Option<String> {
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        (ended && !*self.closing.borrow()).then(|| "the thread of the HTTP door ended".to_owned())
    }
}

impl Drop for HttpServer {
    fn drop(&mut self) {
        self.begin_to_stop();
    }
}

/// Serves until the door closes and the last connection has ended.
fn run(runtime: &Runtime, door: Arc<Door>, listener: Listener, tls: Option<Arc<Tls>>) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        let looking = tls.clone().map(|tls| tokio::spawn(look_at_certificates(tls)));
        let router = routes::router(door.clone());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(door.closing.clone()) => break,
            };
            // Those that have ended.
            while connections.try_join_next().is_some() {}
            let mut stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let counted = Connected::new(door.counts.clone());
            if counted.number > door.options.connections_max {
                door.counts.refused_connections.fetch_add(1, Ordering::Relaxed);
                tracing::debug!("a connection is refused: as many as are allowed are open");
                if tls.is_none() {
                    // A few bytes, for which a new connection has room: this waits for nobody.
                    let _ = tokio::time::timeout(Duration::ZERO, stream.write_all(TOO_MANY)).await;
                }
                continue;
            }
            let (door, router, tls) = (door.clone(), router.clone(), tls.clone());
            connections.spawn(async move {
                socket::serve(door, router, stream, tls).await;
                drop(counted);
            });
        }
        // Those who come now are refused by the system.
        drop(listener);
        if let Some(looking) = looking {
            looking.abort();
        }
        while connections.join_next().await.is_some() {}
    });
}

async fn look_at_certificates(tls: Arc<Tls>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        tls.look();
    }
}

/// A connection, counted while it is open.
struct Connected {
    counts: Arc<Counts>,
    number: usize,
}

impl Connected {
    fn new(counts: Arc<Counts>) -> Self {
        let number = counts.connections.fetch_add(1, Ordering::AcqRel) + 1;
        Self { counts, number }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.counts.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How an address is shown.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
