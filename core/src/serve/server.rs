//! A socket that serves a cache to other processes.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use pillion_ipc::{Flags, Frame, FrameReader, FrameWriter, Head, Listener, PeerCredentials};

use super::connection::serve;
use super::options::{ServerOptions, most_of};
use super::planted::{self, PanicPlace};
use super::quota::{Exceeded, Quota};
use super::sharing::ArenaPool;
use super::state::ServerState;
use super::stats::ServerMonitor;
use super::upload::UploadLimits;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::panics;
use crate::types::recorder::{ConnectionEvent, Event};
use crate::way::Backend;
use crate::wire::encode;
use crate::wire::message::ErrorMessage;

/// Clients at a time that are being told that they are refused; further ones are not told.
const REFUSALS_MAX: usize = 16;
/// How long a refused client may take to say hello; after that it is not told.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(1);

/// A socket that serves a cache to other processes, made by [`Cache::serve`](crate::Cache::serve). It stops when it is
/// dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    shared: Arc<ServerState>,
    /// `None` once the server stops.
    listener: Option<Arc<Listener>>,
    acceptor: Option<JoinHandle<()>>,
}

impl Server {
    pub(crate) fn start(backend: Arc<dyn Backend>, options: ServerOptions) -> Result<Self> {
        let listener = Listener::bind(&options.socket, options.socket_mode).map_err(|error| {
            let code = match &error {
                pillion_ipc::BindError::InUse(_) => ErrorCode::DirectoryLocked,
                pillion_ipc::BindError::Io(..) => ErrorCode::Io,
                _ => ErrorCode::InvalidArgument,
            };
            Error::new(code, error.to_string())
        })?;
        Self::listen(backend, listener, options)
    }

    /// Serves on a socket that a supervisor bound, which keeps it.
    pub(crate) fn adopt(
        backend: Arc<dyn Backend>,
        listener: UnixListener,
        options: ServerOptions,
    ) -> Result<Self> {
        let failed = |error| {
            Error::new(ErrorCode::Io, "the socket of the supervisor cannot be used").with_source(error)
        };
        let listener = Listener::adopt(listener).map_err(failed)?;
        let options = ServerOptions { socket: listener.path().to_owned(), ..options };
        Self::listen(backend, listener, options)
    }

    fn listen(backend: Arc<dyn Backend>, listener: Listener, options: ServerOptions) -> Result<Self> {
        let path = listener.path().to_owned();
        tracing::debug!(socket = %path.display(), access = ?options.access, attach = options.attach, "listening");
        let arenas_of_user = options.arenas_len_of_user;
        let arenas_of_user =
            arenas_of_user.unwrap_or_else(|| most_of(options.arenas_len).max(options.arena_len));
        let arenas = Arc::new(ArenaPool::new(options.arena_len, options.arenas_len, arenas_of_user));
        let (uploads, of_user) = options.uploads();
        let uploads = Arc::new(UploadLimits::new(uploads, of_user, options.upload_timeout));
        let (connections, of_user) = options.connections();
        let recording = backend.recording().clone();
        let shared = Arc::new(ServerState {
            backend,
            recording,
            access: RwLock::new(options.access.clone()),
            options,
            arenas,
            uploads,
            failure: OnceLock::new(),
            stopping: AtomicBool::new(false),
            connected: Arc::new(Quota::new(connections, of_user)),
            denied: AtomicU64::new(0),
            refusals: AtomicUsize::new(0),
            streams: Mutex::default(),
            threads: Mutex::default(),
        });
        let listener = Arc::new(listener);
        let acceptor = {
            let (listener, shared) = (listener.clone(), shared.clone());
            spawn("pillion-accept", move || {
                if catch_unwind(AssertUnwindSafe(|| accept(&listener, &shared))).is_err() {
                    tracing::error!(
                        "the thread that accepts connections panicked; no more clients are let in"
                    );
                    shared.failure.get_or_init(|| "the thread that accepts connections panicked".to_owned());
                    // Clients that come now get an error at once, instead of waiting for somebody to accept them.
                    drop(listener.refuse());
                }
            })?
        };
        Ok(Self { path, shared, listener: Some(listener), acceptor: Some(acceptor) })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Clients connected now.
    pub fn connections(&self) -> usize {
        self.shared.connected.taken()
    }

    /// Clients that were refused so far because of their user and groups.
    pub fn denied(&self) -> u64 {
        self.shared.denied.load(Ordering::Relaxed)
    }

    /// Looks at the server from elsewhere, without keeping it.
    pub fn monitor(&self) -> ServerMonitor {
        ServerMonitor::of(&self.shared)
    }

    /// Why the server accepts no more clients, if a defect ended the thread that does it; connected clients are still
    /// served. Serve the cache anew, or end the process so that it is restarted.
    pub fn failure(&self) -> Option<String> {
        self.shared.failure.get().cloned()
    }

    /// Takes over the settings that can change while clients are served: who is let in, and how many connections and uploads
    /// there may be. They hold for whoever comes from now on. The other settings stay as they were.
    pub fn adjust(&self, options: &ServerOptions) {
        *self.shared.access.write() = options.access.clone();
        let (connections, of_user) = options.connections();
        self.shared.connected.limit(connections, of_user);
        let (uploads, of_user) = options.uploads();
        self.shared.uploads.limit(uploads, of_user);
    }

    /// Stops accepting, lets every call that was begun finish, and closes the connections. Blocks until that is done, so for
    /// ever if a query never ends, even if its client goes meanwhile: give it a thread of its own if clients are not trusted.
    /// The cache stays open.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        let listener = self.listener.take();
        match listener.as_ref().map_or(Ok(()), |listener| listener.refuse()) {
            // If the thread panicked, `failure` says so already.
            Ok(()) => drop(acceptor.join()),
            // Not joined: only another client could wake the thread.
            Err(error) => tracing::error!(%error, "the thread that accepts connections could not be woken"),
        }
        // Removes the socket, so that clients that come now wait for the next server.
        drop(listener);
        for (_, stream) in self.shared.streams.lock().drain(..) {
            // From now on nobody reads what the client sends; answers under way are still sent.
            drop(stream.shutdown(Shutdown::Read));
        }
        let threads = std::mem::take(&mut *self.shared.threads.lock());
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("the thread of a connection panicked");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shut_down();
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread").with_source(error))
}

fn accept(listener: &Listener, shared: &Arc<ServerState>) {
    let mut number = 0;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        planted::panic_at(shared, PanicPlace::Accept);
        let begun = accepted.and_then(|stream| {
            number += 1;
            panics::catch(
                || begin_connection(shared, number, stream),
                || io::Error::other("beginning it panicked"),
            )
        });
        if let Err(error) = begun {
            tracing::warn!(%error, "a connection could not be accepted");
        }
    }
}

fn begin_connection(shared: &Arc<ServerState>, number: u64, stream: UnixStream) -> io::Result<()> {
    planted::panic_at(shared, PanicPlace::Begin);
    let peer = PeerCredentials::of(&stream)?;
    if !shared.access.read().lets_in(&peer) {
        shared.recording.record(&Event::Connection(ConnectionEvent::Denied));
        let denied = shared.denied.fetch_add(1, Ordering::Relaxed) + 1;
        tracing::warn!(uid = peer.uid, gid = peer.gid, groups = ?peer.groups, denied, "not let in");
        let message =
            format!("user {} may not use the sidecar on {}", peer.uid, shared.options.socket.display());
        return refuse(shared, stream, Error::new(ErrorCode::PermissionDenied, message));
    }
    let portion = match shared.connected.take(peer.uid, 1) {
        Ok(portion) => portion,
        Err(limit) => {
            shared.recording.record(&Event::Connection(ConnectionEvent::Refused));
            tracing::warn!(
                uid = peer.uid,
                ?limit,
                "a connection was refused: there are as many as are allowed"
            );
            let whose = match limit {
                Exceeded::OfAll => "the sidecar has".to_owned(),
                Exceeded::OfOne => format!("user {} has", peer.uid),
            };
            let message =
                format!("{whose} as many connections as are allowed; close some, or try again later");
            return refuse(shared, stream, Error::new(ErrorCode::TooMany, message));
        }
    };
    tracing::debug!(number, uid = peer.uid, gid = peer.gid, "connected");
    shared.streams.lock().push((number, stream.try_clone()?));
    shared.recording.record(&Event::Connection(ConnectionEvent::Opened));
    let forget = move |shared: &ServerState| shared.streams.lock().retain(|(other, _)| *other != number);
    let connection = shared.clone();
    let started = std::thread::Builder::new().name("pillion-connection".to_owned()).spawn(move || {
        // Whatever happens in the connection, it is forgotten afterwards.
        match catch_unwind(AssertUnwindSafe(|| serve(&connection, &stream, peer.uid, number))) {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::debug!(number, %error, "connection ended"),
            Err(_) => tracing::error!(number, "the thread of a connection panicked"),
        }
        drop(stream.shutdown(Shutdown::Both));
        forget(&connection);
        drop(portion);
        connection.recording.record(&Event::Connection(ConnectionEvent::Closed));
    });
    shared.keep(started.inspect_err(|_| {
        forget(shared);
        shared.recording.record(&Event::Connection(ConnectionEvent::Closed));
    })?);
    Ok(())
}

/// Answers the first call of a connection with an error, so that the client knows why it ends. Refused clients can
/// take up only a few threads, each for a short time.
fn refuse(shared: &Arc<ServerState>, stream: UnixStream, error: Error) -> io::Result<()> {
    if shared.refusals.fetch_add(1, Ordering::Relaxed) >= REFUSALS_MAX {
        shared.refusals.fetch_sub(1, Ordering::Relaxed);
        return Ok(());
    }
    let place = RefusalPlace(shared.clone());
    let started = std::thread::Builder::new().name("pillion-refusal".to_owned()).spawn(move || {
        planted::panic_at(&place.0, PanicPlace::Refusal);
        if let Err(error) = say_no(stream, &error) {
            tracing::debug!(%error, "a client that was refused could not be told");
        }
        drop(place);
    });
    shared.keep(started?);
    Ok(())
}

/// One of the places for clients that are being refused; released whatever happens.
struct RefusalPlace(Arc<ServerState>);

impl Drop for RefusalPlace {
    fn drop(&mut self) {
        self.0.refusals.fetch_sub(1, Ordering::Relaxed);
    }
}

fn say_no(stream: UnixStream, error: &Error) -> io::Result<()> {
    stream.set_write_timeout(Some(REFUSAL_TIMEOUT))?;
    let hello = FrameReader::new(stream.try_clone()?).receive(Some(Instant::now() + REFUSAL_TIMEOUT));
    let Frame { call, request, .. } = hello.map_err(io::Error::other)?;
    let body = encode(&ErrorMessage::new(error)).map_err(io::Error::other)?;
    FrameWriter::new(stream).send(Head { call, flags: Flags::ERROR, request }, &body)
}
