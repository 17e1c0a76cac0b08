//! The door as a whole: opened, and closed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::RwLock;
use pillion::{Cache, ConnectionEvent, Event};
use pillion_access::Access;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::admission::Admission;
use crate::door::{Counts, DOOR, Door, closed};
use crate::options::{HttpOptions, Listen, Users};
use crate::routes;
use crate::socket::{self, Accepted, Bound, Connections, Entered, Listener, Stream, Tls};

/// Threads that speak with clients: few, so that the door takes no processor from others.
const THREADS: usize = 2;
/// Most threads for work that blocks.
const BLOCKING_THREADS_MAX: usize = 1024;
/// How often files of tokens and certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After an accept that failed, such as for want of descriptors, the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// What a client gets that comes when as many are here as are allowed.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a user gets who may not connect.
const DENIED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

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
    door: Arc<Door>,
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
            .max_blocking_threads(blocking_threads(&options))
            .thread_name("pillion-http")
            .enable_all()
            .build()
            .map_err(HttpError::Start)?;
        let listener = {
            let _entered = runtime.enter();
            bound.listen().map_err(HttpError::Bind)?
        };
        let (closing, is_closing) = watch::channel(false);
        let door = Arc::new(Door {
            // The door tells of its calls itself.
            cache: cache.for_door().into_async(),
            access,
            requests: Admission::new("requests", options.requests_max, options.requests_waiting_max),
            streams: Admission::new("streams of changes", options.streams_max, 0),
            uploads: Admission::new("uploads", options.uploads_max, 0),
            connections: Arc::new(Connections::new(options.connections_max)),
            counts: Counts::default(),
            users: RwLock::new(options.users.clone()),
            closing: is_closing,
            options,
        });
        let served = door.clone();
        let thread = thread::Builder::new()
            .name("pillion-http-door".to_owned())
            .spawn(move || run(&runtime, &served, listener, tls.as_ref()))
            .map_err(HttpError::Start)?;
        Ok(Self { address, door, closing, thread: Some(thread) })
    }

    /// Finds out whether a door could be opened, before there is a cache for it: whether its socket can be bound and its
    /// certificate can be used.
    ///
    /// # Errors
    /// [`HttpError`].
    pub fn check(options: &HttpOptions) -> Result<(), HttpError> {
        options.tls.clone().map(Tls::new).transpose().map_err(HttpError::Tls)?;
        Bound::check(&options.listen).map_err(HttpError::Bind)
    }

    /// From now on, these users may connect to the Unix socket. Connections that are open stay.
    pub fn set_users(&self, users: Users) {
        *self.door.users.write() = users;
    }

    /// The address at which it listens; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.door.connections.count()
    }

    /// Accepts no more connections and no more requests, and returns at once. Requests under way go on.
    pub fn begin_to_stop(&self) {
        self.closing.send_replace(true);
    }

    /// Closes it: waits for requests under way, for at most as long as `patience`. What is left then ends with the process.
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

/// Threads for work that blocks, which start as they are needed: one for each request, upload and stream that may be under way,
/// so that none waits for another, and one for the files of tokens and certificates.
fn blocking_threads(options: &HttpOptions) -> usize {
    let under_way = [options.requests_max, options.uploads_max, options.streams_max, 1];
    under_way.into_iter().fold(0, usize::saturating_add).clamp(1, BLOCKING_THREADS_MAX)
}

/// Serves until the door closes and the last connection has ended.
fn run(runtime: &Runtime, door: &Arc<Door>, listener: Listener, tls: Option<&Arc<Tls>>) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        let looking = tokio::spawn(look_at_files(door.access.clone(), tls.cloned()));
        let router = routes::router(door.clone());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(door.closing.clone()) => break,
            };
            // Those that have ended.
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok(accepted) => {
                    if let Some((stream, entered)) = admit(door, accepted, tls.is_some()).await {
                        let (door, router, tls) = (door.clone(), router.clone(), tls.cloned());
                        connections.spawn(socket::serve(door, router, stream, tls, entered));
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        // Those who come now are refused by the system.
        drop(listener);
        looking.abort();
        while connections.join_next().await.is_some() {}
    });
}

/// Lets a connection in, or refuses it.
async fn admit(door: &Door, accepted: Accepted, is_encrypted: bool) -> Option<(Box<dyn Stream>, Entered)> {
    let Accepted { mut stream, peer, user } = accepted;
    let is_of_socket = matches!(door.options.listen, Listen::Unix(_));
    let (event, answer) = if is_of_socket && !door.users.read().admit(user.as_ref()) {
        let who = user.map_or_else(|| "somebody unknown".to_owned(), |user| format!("user {}", user.uid));
        door.access.denials().count(DOOR, &format_args!("a connection of {who}"));
        (ConnectionEvent::Denied, DENIED)
    } else if let Some(entered) = door.connections.enter(peer) {
        return Some((stream, entered));
    } else {
        tracing::debug!("a connection is refused: as many as are allowed are busy");
        (ConnectionEvent::Refused, TOO_MANY)
    };
    door.counts.refused_connections.fetch_add(1, Ordering::Relaxed);
    door.cache.blocking().record(&Event::Connection(event));
    if !is_encrypted {
        // A few bytes, for which a new connection has room: this waits for nobody.
        let _ = tokio::time::timeout(Duration::ZERO, stream.write_all(answer)).await;
    }
    None
}

/// Looks at the files of tokens and certificates, on a thread that a file system may hold up.
async fn look_at_files(access: Arc<Access>, tls: Option<Arc<Tls>>) {
    loop {
        tokio::time::sleep(LOOK_INTERVAL).await;
        let (access, tls) = (access.clone(), tls.clone());
        let look = move || {
            access.look_at_files();
            if let Some(tls) = tls {
                tls.look();
            }
        };
        if let Err(error) = tokio::task::spawn_blocking(look).await {
            tracing::error!(%error, "the files of tokens and certificates could not be looked at");
        }
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
