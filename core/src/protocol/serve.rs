//! A socket that serves a cache to other processes.

use std::io;
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use pillion_ipc::{FRAME_BODY_MAX, Flags, Frame, FrameReader, FrameWriter, Listener, PeerCredentials};

use super::session::{Answer, Session};
use super::sharing::ArenaPool;
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
    pub(crate) attach: bool,
    pub(crate) arena_len: usize,
    pub(crate) arenas_len: usize,
}

impl ServerOptions {
    /// Serves on the Unix socket at `socket`, with the defaults.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            attach: true,
            arena_len: 32 << 20,
            arenas_len: 1 << 30,
        }
    }

    /// Whether clients are told where the cache directory is, so that those who may read it map its files instead of
    /// asking; they are unless told otherwise. Who can read the directory can read every table.
    #[must_use]
    pub fn attach(mut self, attach: bool) -> Self {
        self.attach = attach;
        self
    }

    /// Bytes of shared memory for the answers of one connection, and of all connections together; 32 MiB and 1 GiB unless
    /// told otherwise. They cost memory when they are first written to, and are given free with the connection. An answer
    /// that finds no room goes through the socket; 0 sends all of them that way.
    #[must_use]
    pub fn shared_memory(mut self, connection: usize, all: usize) -> Self {
        self.arena_len = connection;
        self.arenas_len = all;
        self
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
    arenas: Arc<ArenaPool>,
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
        let arenas = Arc::new(ArenaPool::new(options.arena_len, options.arenas_len));
        let shared = Arc::new(Shared {
            backend,
            options,
            arenas,
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

/// Answers the calls of one connection until it ends.
///
/// One thread at a time reads requests. It answers quick calls itself and reads on. Before it answers another one it
/// hands the reading over, so that a call never waits for the hop to another thread and never holds up the next.
fn serve(shared: &Arc<Shared>, stream: &UnixStream) -> io::Result<()> {
    // A client that does not read is let go, so that it holds up neither the server nor its end.
    stream.set_write_timeout(Some(shared.options.handshake_timeout))?;
    let mut reader = FrameReader::new(stream.try_clone()?);
    reader.limit_frame_time(shared.options.handshake_timeout);
    let session = Session::new(shared.backend.clone(), shared.options.attach, shared.arenas.clone());
    let connection = Arc::new(Connection {
        shared: shared.clone(),
        session,
        writer: Mutex::new(FrameWriter::new(stream.try_clone()?)),
        turns: Mutex::new(Turns { reader: Some(reader), ..Turns::default() }),
        handed_over: Condvar::new(),
    });
    let outcome = connection.take_turns();
    let helpers = std::mem::take(&mut connection.turns.lock().helpers);
    for helper in helpers {
        if helper.join().is_err() {
            tracing::error!("the thread of a call panicked");
        }
    }
    connection.session.end();
    outcome
}

/// One connection, for the threads that answer its calls.
struct Connection {
    shared: Arc<Shared>,
    session: Session,
    writer: Mutex<FrameWriter>,
    turns: Mutex<Turns>,
    handed_over: Condvar,
}

/// Who reads next.
#[derive(Default)]
struct Turns {
    /// `None` while a thread reads.
    reader: Option<FrameReader>,
    /// Threads that wait to read.
    idle: usize,
    helpers: Vec<JoinHandle<()>>,
    ended: bool,
}

impl Connection {
    /// Reads and answers by turns until the connection ends.
    fn take_turns(self: &Arc<Self>) -> io::Result<()> {
        loop {
            let Some(mut reader) = self.wait_for_turn() else { return Ok(()) };
            let frame = loop {
                let next = self.receive(&mut reader).and_then(|frame| {
                    if !Session::is_quick(&frame) {
                        return Ok(Some(frame));
                    }
                    self.reply(&frame).map(|()| None)
                });
                match next {
                    Ok(None) => {}
                    Ok(Some(frame)) => break frame,
                    Err(error) => {
                        self.end();
                        return Err(error);
                    }
                }
            };
            self.hand_over(reader)?;
            if let Err(error) = self.reply(&frame) {
                self.end();
                return Err(error);
            }
        }
    }

    /// The reader, once nobody else reads; `None` if the connection has ended.
    fn wait_for_turn(&self) -> Option<FrameReader> {
        let mut turns = self.turns.lock();
        loop {
            if turns.ended {
                return None;
            }
            if let Some(reader) = turns.reader.take() {
                return Some(reader);
            }
            turns.idle += 1;
            self.handed_over.wait(&mut turns);
            turns.idle -= 1;
        }
    }

    /// Lets another thread read.
    fn hand_over(self: &Arc<Self>, reader: FrameReader) -> io::Result<()> {
        let mut turns = self.turns.lock();
        if turns.ended {
            return Ok(());
        }
        turns.reader = Some(reader);
        if turns.idle > 0 {
            self.handed_over.notify_one();
        } else if turns.helpers.len() < CALLS_MAX - 1 {
            let connection = self.clone();
            let helper = move || {
                if let Err(error) = connection.take_turns() {
                    tracing::debug!(%error, "connection ended");
                }
            };
            turns.helpers.push(std::thread::Builder::new().name("pillion-call".to_owned()).spawn(helper)?);
        }
        // Else nothing more is read from this connection before a call of it is answered.
        Ok(())
    }

    /// Lets all its threads go, also the one that reads. Calls under way are of no use to anyone, unless it is the server
    /// that ends.
    fn end(&self) {
        self.turns.lock().ended = true;
        self.handed_over.notify_all();
        if !self.shared.stopping.load(Ordering::SeqCst) {
            self.session.end();
            drop(self.writer.lock().shut_down());
        }
    }

    fn receive(&self, reader: &mut FrameReader) -> io::Result<Frame> {
        let timeout = self.shared.options.handshake_timeout;
        let deadline = (!self.session.is_greeted()).then(|| Instant::now() + timeout);
        reader.receive(deadline).map_err(io::Error::other)
    }

    fn reply(&self, frame: &Frame) -> io::Result<()> {
        let answered = catch_unwind(AssertUnwindSafe(|| self.session.answer(frame)));
        let Answer { flags, mut body, descriptor } = answered.unwrap_or_else(|_| {
            Answer::error(&Error::internal("the call panicked; others are not affected"))
        });
        if frame.flags.contains(Flags::QUIET) {
            return Ok(());
        }
        let answer = |flags, body| Frame { call: frame.call, flags, request: frame.request, body };
        let mut writer = self.writer.lock();
        // Long answers go in parts.
        while body.len() > FRAME_BODY_MAX {
            let rest = body.split_off(FRAME_BODY_MAX);
            let more = Flags::from_bits(flags.bits() | Flags::MORE.bits());
            writer.send(&answer(more, std::mem::replace(&mut body, rest)))?;
        }
        match descriptor {
            Some(descriptor) => writer.send_with(&answer(flags, body), descriptor.as_fd()),
            None => writer.send(&answer(flags, body)),
        }
    }
}
