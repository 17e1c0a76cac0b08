//! A connection to a sidecar that is made again when it breaks.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pillion_ipc::{CallError, Client, Flags, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::scope::CallScope;
use super::shared::{ArenaView, FilesView, Shared};
use crate::api::error::{Error, ErrorCode, Result};
use crate::protocol::{
    Call, Cancel, DirIdentity, ErrorMessage, Hello, HelloReply, MESSAGE_LEN_MAX, Return, Share, ShareReply,
    decode, encode, version,
};

/// How long to wait for a sidecar at least.
const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// Whether a call whose answer was lost may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// It only reads.
    Once,
    /// It may have taken effect.
    Never,
}

/// A connection to a sidecar.
#[derive(Debug)]
pub(super) struct Connection {
    socket: PathBuf,
    /// Where this process sees the sidecar's directory, if that is elsewhere than where the sidecar does.
    dir: Option<PathBuf>,
    /// How long a call may take, connecting included.
    deadline: Duration,
    current: Mutex<Link>,
    /// What tells the sidecar's directory from others.
    identity: Option<DirIdentity>,
    closed: AtomicBool,
    sent: AtomicU64,
}

/// One connection of those that were made one after another.
#[derive(Clone, Debug)]
pub(super) struct Link {
    client: Client,
    /// Grows with every connection: what an earlier one held is gone.
    generation: u64,
    shared: Arc<Shared>,
}

impl Link {
    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        self.generation == other.generation
    }

    /// What is shared over it.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Connection {
    /// Connects, and learns where the sidecar's directory is.
    pub(super) fn open(socket: &Path, dir: Option<&Path>, deadline: Duration) -> Result<(Self, HelloReply)> {
        let (client, shared, reply) = greet(socket, dir, deadline)?;
        let connection = Self {
            socket: socket.to_owned(),
            dir: dir.map(Path::to_owned),
            deadline,
            current: Mutex::new(Link { client, generation: 1, shared: Arc::new(shared) }),
            identity: reply.identity,
            closed: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        };
        Ok((connection, reply))
    }

    /// Whether this process finds the files of the sidecar.
    pub(super) fn shares_files(&self) -> bool {
        self.current.lock().shared.has_files()
    }

    /// Calls made so far, those that made the connection not counted.
    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Makes a call and waits for its answer.
    pub(super) fn call<T: DeserializeOwned>(
        &self,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T> {
        self.call_on(call, request, repeat).map(|(reply, _)| reply)
    }

    /// As [`call`](Self::call), and says which connection answered.
    pub(super) fn call_on<T: DeserializeOwned>(
        &self,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<(T, Link)> {
        let body = encode(request)?;
        let deadline = Instant::now() + self.deadline;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let link = self.connected(deadline)?;
            match self.exchange(&link, call, body.clone(), deadline) {
                Ok(answer) => return Ok((answer.and_then(|body| decode(&body))?, link)),
                Err(CallError::NotSent(_)) if attempts < 3 => {}
                Err(CallError::Lost(_)) if repeat == Repeat::Once && attempts < 3 => {}
                Err(error) => return Err(self.lost(&error, repeat)),
            }
        }
    }

    /// Makes a call on a certain connection, for what only that one holds.
    pub(super) fn call_held<T: DeserializeOwned>(
        &self,
        link: &Link,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T> {
        if !self.current.lock().is(link) {
            return Err(Error::new(
                ErrorCode::Unavailable,
                "the connection broke before the answer was complete; ask again",
            ));
        }
        let deadline = Instant::now() + self.deadline;
        let answer = self
            .exchange(link, call, encode(request)?, deadline)
            .map_err(|error| self.lost(&error, repeat))?;
        decode(&answer?)
    }

    /// Sends a call that is not answered, if the connection still stands.
    pub(super) fn tell(&self, link: &Link, call: Call, request: &impl Serialize) {
        if !link.client.is_broken() {
            self.sent.fetch_add(1, Ordering::Relaxed);
            tell(&link.client, call, request);
        }
    }

    /// Whether this client may still write.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`].
    pub(super) fn check_open(&self) -> Result<()> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::Closed, "the cache was closed; connect again to write"));
        }
        Ok(())
    }

    /// Refuses further writes.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// The connection, made anew if it is broken.
    fn connected(&self, deadline: Instant) -> Result<Link> {
        let mut current = self.current.lock();
        if current.client.is_broken() {
            let patience = deadline.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
            let (client, shared, reply) = greet(&self.socket, self.dir.as_deref(), patience)?;
            if self.identity.is_some() && reply.identity.is_some() && self.identity != reply.identity {
                // Its tables have the same numbers and are others.
                let message = format!(
                    "the sidecar on {} serves another directory than before; connect again",
                    self.socket.display()
                );
                return Err(Error::new(ErrorCode::Closed, message));
            }
            *current = Link { client, generation: current.generation + 1, shared: Arc::new(shared) };
        }
        Ok(current.clone())
    }

    /// One request and its answer.
    fn exchange(
        &self,
        link: &Link,
        call: Call,
        body: Vec<u8>,
        deadline: Instant,
    ) -> Result<Result<Vec<u8>>, CallError> {
        let leases = link.shared.take_returns();
        if !leases.is_empty() {
            tell(&link.client, Call::Return, &Return { leases });
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let pending = link.client.begin()?;
        let scope = CallScope::current();
        if scope.as_ref().is_some_and(|scope| !scope.enter(&link.client, pending.request())) {
            return Ok(Err(Error::new(ErrorCode::Cancelled, "the call was given up")));
        }
        let answer = receive(&pending, call, body, deadline);
        if let Some(scope) = scope {
            scope.leave();
        }
        if answer.as_ref().is_err_and(|error| *error == CallError::Timeout) {
            cancel(&link.client, pending.request());
        }
        answer
    }

    /// What a call without an answer means to its caller: of a write, nobody knows whether it took effect.
    fn lost(&self, error: &CallError, repeat: Repeat) -> Error {
        let socket = self.socket.display();
        let code = match (error, repeat) {
            (CallError::Forked, _) => ErrorCode::Closed,
            (CallError::NotSent(_), _) => ErrorCode::Unavailable,
            (_, Repeat::Never) => ErrorCode::OutcomeUnknown,
            (CallError::Timeout, Repeat::Once) => ErrorCode::Timeout,
            (_, Repeat::Once) => ErrorCode::Unavailable,
        };
        Error::new(code, format!("{socket}: {error}"))
    }
}

/// Nobody waits for the answer to a request: what it gives would never be let go of.
pub(super) fn cancel(client: &Client, request: u64) {
    tell(client, Call::Cancel, &Cancel { request });
}

/// Sends a call that is not answered. What the sidecar holds for a connection that breaks, it lets go of by itself.
fn tell(client: &Client, call: Call, request: &impl Serialize) {
    if let (Ok(body), Ok(pending)) = (encode(request), client.begin()) {
        drop(pending.send(call as u16, Flags::QUIET, body));
    }
}

/// Connects, agrees on a version of the protocol, and shares what can be shared.
fn greet(socket: &Path, dir: Option<&Path>, patience: Duration) -> Result<(Client, Shared, HelloReply)> {
    let deadline = Instant::now() + patience;
    let unavailable = |error: std::io::Error| {
        Error::new(ErrorCode::Unavailable, format!("no sidecar answers on {}: {error}", socket.display()))
            .with_source(error)
    };
    let stream = pillion_ipc::connect(socket, deadline).map_err(unavailable)?;
    // A sidecar that does not read is as good as gone.
    stream.set_write_timeout(Some(patience)).map_err(unavailable)?;
    let client = Client::new(stream).map_err(unavailable)?;
    let refused = |error: CallError| {
        let code = if error == CallError::Timeout { ErrorCode::Timeout } else { ErrorCode::Unavailable };
        Error::new(code, format!("{}: {error}", socket.display()))
    };
    let hello = Hello { protocol: version::NEWEST, client: format!("pillion {}", env!("CARGO_PKG_VERSION")) };
    let pending = client.begin().map_err(refused)?;
    let answer = receive(&pending, Call::Hello, encode(&hello)?, deadline).map_err(refused)?;
    let mut reply: HelloReply = decode(&answer?)?;
    if reply.protocol < version::FIRST || reply.protocol > version::NEWEST {
        let message = format!(
            "{} answers in protocol {}, which this client does not speak",
            reply.server, reply.protocol
        );
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    if let Some(dir) = dir {
        reply.dir = dir.display().to_string();
    }
    let files = reply.identity.and_then(|identity| FilesView::find(Path::new(&reply.dir), identity));
    let share = Share { memory: true, files: files.is_some() };
    let pending = client.begin().map_err(refused)?;
    let answer = receive(&pending, Call::Share, encode(&share)?, deadline).map_err(refused)?;
    let ShareReply { memory } = decode(&answer?)?;
    let arena = match pending.take_descriptor() {
        Some(descriptor) if memory > 0 => {
            let sealed = pillion_ipc::check_sealed(descriptor).map_err(|error| {
                Error::new(ErrorCode::Unsupported, "the sidecar's memory is not safe to map")
                    .with_source(error)
            })?;
            Some(ArenaView::map(&sealed)?)
        }
        _ => None,
    };
    Ok((client, Shared::new(arena, files), reply))
}

/// Sends a request and receives its answer, which may come in several frames.
fn receive(
    pending: &pillion_ipc::Call,
    call: Call,
    body: Vec<u8>,
    deadline: Instant,
) -> Result<Result<Vec<u8>>, CallError> {
    if body.len() > pillion_ipc::FRAME_BODY_MAX {
        let message = format!("a request of {} bytes; at most {}", body.len(), pillion_ipc::FRAME_BODY_MAX);
        return Ok(Err(Error::new(ErrorCode::TooMany, message)));
    }
    pending.send(call as u16, Flags::default(), body)?;
    let Frame { mut flags, mut body, .. } = pending.receive(Some(deadline))?;
    while flags.contains(Flags::MORE) {
        let next = pending.receive(Some(deadline))?;
        if body.len() + next.body.len() > MESSAGE_LEN_MAX {
            return Ok(Err(Error::new(
                ErrorCode::TooMany,
                format!("an answer of more than {MESSAGE_LEN_MAX} bytes"),
            )));
        }
        flags = next.flags;
        body.extend_from_slice(&next.body);
    }
    if flags.contains(Flags::ERROR) {
        return Ok(Err(decode::<ErrorMessage>(&body).map_or_else(|error| error, ErrorMessage::into_error)));
    }
    Ok(Ok(body))
}
