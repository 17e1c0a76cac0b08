//! A door as a whole: opened, and closed.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::RwLock;
use pillion::{AsyncCache, Cache, ConnectionEvent, Event};
use pillion_access::Access;
use tokio::io::AsyncWriteExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::connections::{Connections, Entered};
use crate::listener::{Accepted, Bound, Listener, Stream};
use crate::options::{Listen, SocketOptions, Users};
use crate::tls::Tls;

/// Threads that speak with clients: few, so that the door takes no processor from others.
const THREADS: usize = 2;
/// Most threads for work that blocks.
const BLOCKING_THREADS_MAX: usize = 1024;
/// How often files of tokens and certificates are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// After an accept that failed, such as for want of descriptors, the next one waits this long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a door speaks.
pub trait Protocol: Send + Sync + 'static {
    /// How it is called in the log and in metrics.
    const NAME: &'static str;
    /// What TLS calls the protocol that is spoken within.
    const ALPN: &'static [u8];

    /// What an unencrypted client gets that is refused before it has said anything.
    fn refused(refusal: Refusal) -> &'static [u8];

    /// Speaks with a client until one of both ends closes the connection, or [`closed`] and the requests under way are answered.
    fn speak(
        self: Arc<Self>,
        stream: Box<dyn Stream>,
        entered: Arc<Entered>,
    ) -> impl Future<Output = ()> + Send;
}

/// Why a client is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Its user may not connect.
    Denied,
    /// As many connections as are allowed are busy.
    TooMany,
}

/// Why a door cannot be opened.
#[derive(Debug)]
pub enum DoorError {
    /// Its socket cannot be bound.
    Bind(io::Error),
    /// Its certificate or key cannot be used.
    Tls(String),
    /// The system refuses threads.
    Start(io::Error),
}

impl fmt::Display for DoorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(error) => write!(f, "its socket cannot be bound: {error}"),
            Self::Tls(message) => f.write_str(message),
            Self::Start(error) => write!(f, "its threads cannot be started: {error}"),
        }
    }
}

impl std::error::Error for DoorError {}

/// What the connections of a door share.
#[derive(Debug)]
pub struct Gate {
    /// The cache behind the door, which tells of its calls itself.
    pub cache: AsyncCache,
    /// Who may use it.
    pub access: Arc<Access>,
    /// The connections that are open.
    pub connections: Arc<Connections>,
    /// Connections that were refused because too many were open, or because of their user.
    pub refused_connections: AtomicU64,
    /// Becomes true when the door closes: streams without an end end then.
    pub closing: watch::Receiver<bool>,
    users: RwLock<Users>,
}

/// Waits until the door closes.
pub async fn closed(mut closing: watch::Receiver<bool>) {
    // Its sender lives as long as the door is open; without one, the door is closed.
    drop(closing.wait_for(|is_closing| *is_closing).await);
}

/// An open door. Dropping it closes it without waiting for anything.
#[derive(Debug)]
pub struct DoorServer {
    name: &'static str,
    address: Option<SocketAddr>,
    gate: Arc<Gate>,
    closing: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

impl DoorServer {
    /// Opens a door to a cache and returns; threads of its own serve it.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn start<P: Protocol>(
        cache: &Cache,
        options: SocketOptions,
        access: Arc<Access>,
        protocol: impl FnOnce(Arc<Gate>) -> P,
    ) -> Result<Self, DoorError> {
        let tls = options.tls.clone().map(|files| Tls::new(files, P::ALPN)).transpose();
        let tls = tls.map_err(DoorError::Tls)?.map(Arc::new);
        let bound = Bound::new(&options.listen, options.socket_mode).map_err(DoorError::Bind)?;
        let address = bound.address();
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .max_blocking_threads(options.blocking_threads.clamp(1, BLOCKING_THREADS_MAX))
            .thread_name(format!("pillion-{}", P::NAME))
            .enable_all()
            .build()
            .map_err(DoorError::Start)?;
        let listener = {
            let _entered = runtime.enter();
            bound.listen().map_err(DoorError::Bind)?
        };
        let (closing, is_closing) = watch::channel(false);
        let gate = Arc::new(Gate {
            cache: cache.for_door().into_async(),
            access,
            connections: Arc::new(Connections::new(options.connections_max)),
            refused_connections: AtomicU64::new(0),
            closing: is_closing,
            users: RwLock::new(options.users.clone()),
        });
        let protocol = Arc::new(protocol(gate.clone()));
        let served = gate.clone();
        let thread = thread::Builder::new()
            .name(format!("pillion-{}-door", P::NAME))
            .spawn(move || run(&runtime, &served, &protocol, &options, listener, tls.as_ref()))
            .map_err(DoorError::Start)?;
        Ok(Self { name: P::NAME, address, gate, closing, thread: Some(thread) })
    }

    /// Finds out whether a door could be opened, before there is a cache for it: whether its socket can be bound and its
    /// certificate can be used.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn check(options: &SocketOptions) -> Result<(), DoorError> {
        options.tls.as_ref().map_or(Ok(()), |files| files.check()).map_err(DoorError::Tls)?;
        Bound::check(&options.listen).map_err(DoorError::Bind)
    }

    /// From now on, these users may connect to the Unix socket. Connections that are open stay.
    pub fn set_users(&self, users: Users) {
        *self.gate.users.write() = users;
    }

    /// The address at which it listens; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.gate.connections.count()
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
            tracing::error!(door = self.name, "the thread of a door panicked");
        }
    }

    /// Why it no longer serves, if its thread ended by itself, which is a defect.
    pub fn failure(&self) -> Option<String> {
        let ended = self.thread.as_ref().is_some_and(JoinHandle::is_finished);
        (ended && !*self.closing.borrow()).then(|| format!("the thread of the door `{}` ended", self.name))
    }
}

impl Drop for DoorServer {
    fn drop(&mut self) {
        self.begin_to_stop();
    }
}

/// Serves until the door closes and the last connection has ended.
fn run<P: Protocol>(
    runtime: &Runtime,
    gate: &Arc<Gate>,
    protocol: &Arc<P>,
    options: &SocketOptions,
    listener: Listener,
    tls: Option<&Arc<Tls>>,
) {
    runtime.block_on(async {
        let mut connections = JoinSet::new();
        let looking = tokio::spawn(look_at_files(gate.access.clone(), tls.cloned()));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = closed(gate.closing.clone()) => break,
            };
            // Those that have ended.
            while connections.try_join_next().is_some() {}
            match accepted {
                Ok(accepted) => {
                    if let Some((stream, entered)) = admit::<P>(gate, options, accepted).await {
                        let encryption = tls.map(|tls| (tls.clone(), options.handshake_timeout));
                        connections.spawn(serve(protocol.clone(), stream, encryption, entered));
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
async fn admit<P: Protocol>(
    gate: &Gate,
    options: &SocketOptions,
    accepted: Accepted,
) -> Option<(Box<dyn Stream>, Entered)> {
    let Accepted { mut stream, peer, user } = accepted;
    let is_of_socket = matches!(options.listen, Listen::Unix(_));
    let (event, refusal) = if is_of_socket && !gate.users.read().admit(user.as_ref()) {
        let who = user.map_or_else(|| "somebody unknown".to_owned(), |user| format!("user {}", user.uid));
        gate.access.denials().count(P::NAME, &format_args!("a connection of {who}"));
        (ConnectionEvent::Denied, Refusal::Denied)
    } else if let Some(entered) = gate.connections.enter(peer) {
        return Some((stream, entered));
    } else {
        tracing::debug!("a connection is refused: as many as are allowed are busy");
        (ConnectionEvent::Refused, Refusal::TooMany)
    };
    gate.refused_connections.fetch_add(1, Ordering::Relaxed);
    gate.cache.blocking().record(&Event::Connection(event));
    if options.tls.is_none() {
        // A few bytes, for which a new connection has room: this waits for nobody.
        let _ = timeout(Duration::ZERO, stream.write_all(P::refused(refusal))).await;
    }
    None
}

/// Serves a connection until one of both ends closes it, it has to give way to another one, or the door closes and the requests
/// under way are answered.
async fn serve<P: Protocol>(
    protocol: Arc<P>,
    stream: Box<dyn Stream>,
    encryption: Option<(Arc<Tls>, Duration)>,
    entered: Entered,
) {
    let entered = Arc::new(entered);
    let speaking = async {
        let Some((tls, limit)) = encryption else { return protocol.speak(stream, entered.clone()).await };
        match timeout(limit, tls.acceptor().accept(stream)).await {
            Ok(Ok(stream)) => protocol.speak(Box::new(stream), entered.clone()).await,
            Ok(Err(error)) => tracing::debug!(%error, "a client could not be spoken to with TLS"),
            Err(_) => tracing::debug!("a client took too long for TLS"),
        }
    };
    tokio::select! {
        () = speaking => {}
        () = entered.given_away() => tracing::debug!("an idle connection gives way to another one"),
    }
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
