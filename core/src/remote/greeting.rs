//! How a connection begins: the version is agreed on, and what can be shared is shared.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use pillion_ipc::{CallError, Client, ConnectError};

use super::connection::{Address, PATIENCE_MIN};
use super::exchange::{receive, send};
use super::shared_pages::{ArenaView, FilesView, SharedPages};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;
use crate::wire::{Call, Hello, HelloReply, Share, ShareReply, decode, encode, version};

/// How long to wait before greeting again, if a sidecar went away before it answered.
const GREETING_PAUSE: Duration = Duration::from_millis(10);

/// A connection that can be used, what is shared over it, and what the sidecar said of itself.
type Greeting = (Client, SharedPages, HelloReply);

/// Connects, agrees on a version of the protocol, and shares what can be shared. If a sidecar goes away before it has
/// answered, waits for the next one, as for a sidecar that has not started yet.
pub(super) fn greet(
    place: &Address,
    seen: Option<Version>,
    deadline: Instant,
    write_timeout: Duration,
) -> Result<Greeting> {
    let failed =
        |code, error: &dyn fmt::Display| Error::new(code, format!("{}: {error}", place.socket.display()));
    loop {
        let stream = pillion_ipc::connect(&place.socket, deadline).map_err(not_connected)?;
        // A sidecar that does not read is as good as gone.
        let limited = stream.set_write_timeout(Some(write_timeout.max(PATIENCE_MIN)));
        let client = limited.and_then(|()| Client::new(stream));
        let client = client.map_err(|error| failed(ErrorCode::Io, &error).with_source(error))?;
        let unanswered = match greet_over(client, place, seen, deadline) {
            Ok(greeting) => return Ok(greeting),
            Err(Ungreeted::Refused(error)) => return Err(error),
            Err(Ungreeted::Unanswered(error)) => error,
        };
        let code = match &unanswered {
            CallError::Timeout => ErrorCode::Timeout,
            CallError::Garbled(_) => ErrorCode::Unsupported,
            _ if Instant::now() < deadline => {
                std::thread::sleep(GREETING_PAUSE);
                continue;
            }
            _ => ErrorCode::Unavailable,
        };
        return Err(failed(code, &unanswered));
    }
}

fn not_connected(error: ConnectError) -> Error {
    let code = match &error {
        ConnectError::PathTooLong(_) | ConnectError::NotASocket(_) => ErrorCode::InvalidArgument,
        ConnectError::Io(_, error) if error.kind() == io::ErrorKind::PermissionDenied => {
            ErrorCode::PermissionDenied
        }
        _ => ErrorCode::Unavailable,
    };
    Error::new(code, error.to_string()).with_source(error)
}

/// Why a connection that was made is of no use.
enum Ungreeted {
    /// There was no answer.
    Unanswered(CallError),
    /// The sidecar refused, or its answer is of no use to this client.
    Refused(Error),
}

impl From<CallError> for Ungreeted {
    fn from(error: CallError) -> Self {
        Self::Unanswered(error)
    }
}

impl From<Error> for Ungreeted {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// The first calls of a connection.
fn greet_over(
    client: Client,
    place: &Address,
    seen: Option<Version>,
    deadline: Instant,
) -> Result<Greeting, Ungreeted> {
    let call = |call, body: &[u8]| -> Result<(Vec<u8>, pillion_ipc::Call), Ungreeted> {
        let pending = client.begin()?;
        send(&pending, call, body)??;
        let answer = receive(&pending, deadline)??;
        Ok((answer, pending))
    };
    let hello = Hello {
        protocol: version::NEWEST,
        client: format!("pillion {}", env!("CARGO_PKG_VERSION")),
        seen: seen.map(Into::into),
        tiers: true,
    };
    let mut reply: HelloReply = decode(&call(Call::Hello, &encode(&hello)?)?.0)?;
    if reply.protocol < version::FIRST || reply.protocol > version::NEWEST {
        let message = format!(
            "{} answers in protocol {}, which this client does not speak",
            reply.server, reply.protocol
        );
        return Err(Error::new(ErrorCode::Unsupported, message).into());
    }
    if let Some(dir) = &place.dir {
        reply.dir = dir.display().to_string();
    }
    let files = reply.identity.and_then(|identity| FilesView::find(Path::new(&reply.dir), identity));
    let share = Share { memory: !(place.attach && files.is_some()), files: files.is_some() };
    let (answer, pending) = call(Call::Share, &encode(&share)?)?;
    let ShareReply { memory } = decode(&answer)?;
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
    drop(pending);
    Ok((client, SharedPages::new(arena, files, reply.bounds), reply))
}
