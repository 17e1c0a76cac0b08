//! A connection to a sidecar that is made again when it breaks.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pillion_ipc::{CallError, Client, Flags, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::api::error::{Error, ErrorCode, Result};
use crate::protocol::{Call, ErrorMessage, Hello, HelloReply, MESSAGE_LEN_MAX, decode, encode, version};

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
    /// How long a call may take, connecting included.
    deadline: Duration,
    current: Mutex<Current>,
    closed: AtomicBool,
}

#[derive(Clone, Debug)]
struct Current {
    client: Client,
    /// Grows with every connection: what an earlier one held is gone.
    generation: u64,
}

impl Connection {
    pub(super) fn open(socket: &Path, deadline: Duration) -> Result<Self> {
        let (client, _) = greet(socket, deadline)?;
        Ok(Self {
            socket: socket.to_owned(),
            deadline,
            current: Mutex::new(Current { client, generation: 1 }),
            closed: AtomicBool::new(false),
        })
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
    ) -> Result<(T, u64)> {
        let body = encode(request)?;
        let deadline = Instant::now() + self.deadline;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let Current { client, generation } = self.connected(deadline)?;
            match exchange(&client, call, body.clone(), deadline) {
                Ok(answer) => return Ok((answer.and_then(|body| decode(&body))?, generation)),
                Err(CallError::NotSent(_)) if attempts < 3 => {}
                Err(CallError::Lost(_)) if repeat == Repeat::Once && attempts < 3 => {}
                Err(error) => return Err(self.lost(&error, repeat)),
            }
        }
    }

    /// Makes a call on a certain connection, for what only that one holds.
    pub(super) fn call_held<T: DeserializeOwned>(
        &self,
        generation: u64,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T> {
        let current = self.current.lock().clone();
        if current.generation != generation {
            return Err(Error::new(
                ErrorCode::Unavailable,
                "the connection broke before the answer was complete; ask again",
            ));
        }
        let deadline = Instant::now() + self.deadline;
        let answer = exchange(&current.client, call, encode(request)?, deadline)
            .map_err(|error| self.lost(&error, repeat))?;
        decode(&answer?)
    }

    /// Sends a call that is not answered, if the connection still stands.
    pub(super) fn tell(&self, generation: u64, call: Call, request: &impl Serialize) {
        let current = self.current.lock().clone();
        if current.generation != generation || current.client.is_broken() {
            return;
        }
        // What the sidecar holds for a connection that breaks, it lets go of by itself.
        if let (Ok(body), Ok(pending)) = (encode(request), current.client.begin()) {
            drop(pending.send(call as u16, Flags::QUIET, body));
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
    fn connected(&self, deadline: Instant) -> Result<Current> {
        let mut current = self.current.lock();
        if current.client.is_broken() {
            let patience = deadline.saturating_duration_since(Instant::now()).max(PATIENCE_MIN);
            let (client, _) = greet(&self.socket, patience)?;
            *current = Current { client, generation: current.generation + 1 };
        }
        Ok(current.clone())
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

/// Connects and agrees on a version of the protocol.
fn greet(socket: &Path, patience: Duration) -> Result<(Client, HelloReply)> {
    let deadline = Instant::now() + patience;
    let unavailable = |error: std::io::Error| {
        Error::new(ErrorCode::Unavailable, format!("no sidecar answers on {}: {error}", socket.display()))
            .with_source(error)
    };
    let stream = pillion_ipc::connect(socket, deadline).map_err(unavailable)?;
    // A sidecar that does not read is as good as gone.
    stream.set_write_timeout(Some(patience)).map_err(unavailable)?;
    let client = Client::new(stream).map_err(unavailable)?;
    let hello = Hello { protocol: version::NEWEST, client: format!("pillion {}", env!("CARGO_PKG_VERSION")) };
    let answer = exchange(&client, Call::Hello, encode(&hello)?, deadline).map_err(|error| {
        let code = if error == CallError::Timeout { ErrorCode::Timeout } else { ErrorCode::Unavailable };
        Error::new(code, format!("{}: {error}", socket.display()))
    })?;
    let reply: HelloReply = decode(&answer?)?;
    if reply.protocol < version::FIRST || reply.protocol > version::NEWEST {
        let message = format!(
            "{} answers in protocol {}, which this client does not speak",
            reply.server, reply.protocol
        );
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    Ok((client, reply))
}

/// One request and its answer, which may come in several frames.
fn exchange(
    client: &Client,
    call: Call,
    body: Vec<u8>,
    deadline: Instant,
) -> Result<Result<Vec<u8>>, CallError> {
    let pending = client.begin()?;
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
