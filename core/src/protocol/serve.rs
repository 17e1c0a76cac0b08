//! A socket that serves a cache to other processes.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pillion_ipc::{FRAME_BODY_MAX, Flags, Frame, FrameReader, FrameWriter, Listener, PeerCredentials};

use super::session::Session;
use crate::api::backend::Backend;
use crate::api::error::{Error, ErrorCode, Result};

/// Calls of one connection that are worked on at a time; further ones wait in the socket.
const CALLS_MAX: usize = 32;

/// Settings of a [`Server`].
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(crate) socket: PathBuf,
    pub(crate) connections_max: usize,
    pub(crate) handshake_timeout: Duration,
}

impl ServerOptions {
    /// Serves on the Unix socket at `socket`, with the defaults.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { socket: socket.into(), connections_max: 1024, handshake_timeout: Duration::from_secs(10) }
    }

    /// Connections at a time; 1024 unless told otherwise. Each costs a thread. One more is closed at once.
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// How long a client may take for its first call, for the rest of any frame that it began, and for reading what it
    /// asked for; 10 s unless told otherwise. Then its connection is closed.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }
}

/// A socket that serves a cache to other processes, made by [`Cache::serve`](crate::Cache::serve). It stops when it is
/// dropped.
#[derive(Debug)]
pub struct Server {
    path: PathBuf,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    options: ServerOptions,
    stopping: AtomicBool,
    connected: AtomicUsize,
    /// To wake the threads that wait for requests.
    streams: Mutex<Vec<(u64, UnixStream)>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Server {
    pub(crate) fn start(backend: Arc<dyn Backend>, options: ServerOptions) -> Result<Self> {
        let listener = Listener::bind(&options.socket).map_err(|error| {
            let code = match &error {
                pillion_ipc::BindError::InUse(_) => ErrorCode::DirectoryLocked,
                pillion_ipc::BindError::Io(..) => ErrorCode::Io,
                _ => ErrorCode::InvalidArgument,
            };
            Error::new(code, error.to_string())
        })?;
        let path = listener.path().to_owned();
        let shared = Arc::new(Shared {
            backend,
            options,
            stopping: AtomicBool::new(false),
            connected: AtomicUsize::new(0),
            streams: Mutex::default(),
            threads: Mutex::default(),
        });
        let acceptor = {
            let shared = shared.clone();
            spawn("pillion-accept", move || accept(&listener, &shared))?
        };
        Ok(Self { path, shared, acceptor: Some(acceptor) })
    }

    /// The socket.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Clients connected now.
    pub fn connections(&self) -> usize {
        self.shared.connected.load(Ordering::Relaxed)
    }

    /// Stops accepting, lets every call that was begun finish, and closes the connections. Blocks until then. The
    /// cache stays open.
    pub fn stop(mut self) {
        self.shut_down();
    }

    fn shut_down(&mut self) {
        let Some(acceptor) = self.acceptor.take() else { return };
        self.shared.stopping.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which finds that it is to stop.
        drop(UnixStream::connect(&self.path));
        if acceptor.join().is_err() {
            tracing::error!("the thread that accepts connections panicked");
        }
        for (_, stream) in self.shared.streams.lock().drain(..) {
            // What a client sends from now on is not read; answers under way are still sent.
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

fn accept(listener: &Listener, shared: &Arc<Shared>) {
    let mut number = 0;
    loop {
        let accepted = listener.accept();
        if shared.stopping.load(Ordering::SeqCst) {
            return;
        }
        let begun = accepted.and_then(|stream| {
            number += 1;
            begin_connection(shared, number, stream)
        });
        if let Err(error) = begun {
            tracing::warn!(%error, "a connection could not be accepted");
        }
    }
}

fn begin_connection(shared: &Arc<Shared>, number: u64, stream: UnixStream) -> io::Result<()> {
    let peer = PeerCredentials::of(&stream)?;
    if shared.connected.load(Ordering::Relaxed) >= shared.options.connections_max {
        tracing::warn!(uid = peer.uid, "a connection was refused: there are as many as are allowed");
        return Ok(());
    }
    tracing::debug!(number, uid = peer.uid, gid = peer.gid, "connected");
    shared.streams.lock().push((number, stream.try_clone()?));
    shared.connected.fetch_add(1, Ordering::Relaxed);
    let ended = move |shared: &Shared| {
        shared.streams.lock().retain(|(other, _)| *other != number);
        shared.connected.fetch_sub(1, Ordering::Relaxed);
    };
    let connection = shared.clone();
    let started = std::thread::Builder::new().name("pillion-connection".to_owned()).spawn(move || {
        if let Err(error) = serve(&connection, &stream) {
            tracing::debug!(number, %error, "connection ended");
        }
        drop(stream.shutdown(Shutdown::Both));
        ended(&connection);
    });
    let mut threads = shared.threads.lock();
    threads.retain(|thread| !thread.is_finished());
    threads.push(started.inspect_err(|_| ended(shared))?);
    Ok(())
}

/// Answers the calls of one connection until it ends. Quick calls are answered on this thread, because a hop to another
/// costs more than they do; each of the others gets a thread, so that it does not hold up the rest.
fn serve(shared: &Shared, stream: &UnixStream) -> io::Result<()> {
    // A client that does not read is let go, so that it holds up neither the server nor its end.
    stream.set_write_timeout(Some(shared.options.handshake_timeout))?;
    let session = Arc::new(Session::new(shared.backend.clone()));
    let writer = Arc::new(Mutex::new(FrameWriter::new(stream.try_clone()?)));
    let mut reader = FrameReader::new(stream.try_clone()?);
    reader.limit_frame_time(shared.options.handshake_timeout);
    let mut slow: Vec<JoinHandle<io::Result<()>>> = Vec::new();
    let outcome = loop {
        let deadline = (!session.is_greeted()).then(|| Instant::now() + shared.options.handshake_timeout);
        let frame = match reader.receive(deadline) {
            Ok(frame) => frame,
            Err(error) => break Err(io::Error::other(error)),
        };
        if Session::is_quick(&frame) {
            if let Err(error) = reply(&session, &writer, &frame) {
                break Err(error);
            }
        } else {
            slow.retain(|thread| !thread.is_finished());
            if slow.len() >= CALLS_MAX {
                // Nothing more is read from this connection before a call of it is answered.
                if slow.swap_remove(0).join().is_err() {
                    tracing::error!("the thread of a call panicked");
                }
            }
            let (session, writer) = (session.clone(), writer.clone());
            let thread = std::thread::Builder::new().name("pillion-call".to_owned());
            slow.push(thread.spawn(move || reply(&session, &writer, &frame))?);
        }
    };
    for thread in slow {
        if thread.join().is_err() {
            tracing::error!("the thread of a call panicked");
        }
    }
    outcome
}

fn reply(session: &Session, writer: &Mutex<FrameWriter>, frame: &Frame) -> io::Result<()> {
    let answered = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| session.answer(frame)));
    let (flags, body) = answered.unwrap_or_else(|_| {
        let error =
            super::message::ErrorMessage::new(&Error::internal("the call panicked; others are not affected"));
        (Flags::ERROR, super::session::encode(&error).unwrap_or_default())
    });
    if frame.flags.contains(Flags::QUIET) {
        return Ok(());
    }
    let mut writer = writer.lock();
    let parts = body.len().div_ceil(FRAME_BODY_MAX).max(1);
    for part in 0..parts {
        let start = part * FRAME_BODY_MAX;
        let end = body.len().min(start + FRAME_BODY_MAX);
        let more = if part + 1 < parts { Flags::MORE.bits() } else { 0 };
        let flags = Flags::from_bits(flags.bits() | more);
        writer.send(&Frame {
            call: frame.call,
            flags,
            request: frame.request,
            body: body[start..end].to_vec(),
        })?;
    }
    Ok(())
}
