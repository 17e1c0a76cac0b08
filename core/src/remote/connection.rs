//! A connection to a sidecar that is made again when it breaks.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use pillion_ipc::{CallError, Client};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::exchange::{cancel, receive, send, tell};
use super::greeting::greet;
use super::semaphore::{Permit, Semaphore};
use super::shared_pages::SharedPages;
use crate::blocking::scope::CallScope;
use crate::types::bounds::ReadBounds;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;
use crate::wire::{BoundsMessage, Call, HelloReply, Return, Seen, decode, encode};

/// Shortest time to wait for a sidecar.
pub(super) const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// Uploads of one client at a time; a sidecar takes no more per connection.
const UPLOADS_MAX: usize = 8;
/// One-message commits under way at a time: a sidecar answers more calls at a time, and other calls need some of
/// them.
const COMMITS_MAX: usize = 16;

/// How often to try sending a request at most. A request cannot be sent if its sidecar has just ended, and the next
/// sidecar may end too.
const NOT_SENT_MAX: usize = 10;

/// Whether a call whose answer was lost may be made again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Repeat {
    /// The call only reads, so it may be made once more.
    Once,
    /// The call may have taken effect, so it must not be made again.
    Never,
}

/// A connection to a sidecar.
#[derive(Debug)]
pub(super) struct Connection {
    /// A forked child must neither use the connection nor wait for its locks.
    process: u32,
    place: Address,
    /// How long a call may take, connecting included.
    deadline: Duration,
    /// Loaded without a lock, as most calls find the connection unbroken.
    current: ArcSwap<Link>,
    /// Held by the thread that connects again.
    connecting: Mutex<()>,
    /// The newest version of any answer: a later connection must not serve an older state unnoticed.
    seen: Mutex<Option<Version>>,
    uploads: Semaphore,
    commits: Semaphore,
    closed: AtomicBool,
    sent: AtomicU64,
}

/// Where a sidecar is.
#[derive(Clone, Debug)]
pub(super) struct Address {
    /// Its socket.
    pub(super) socket: PathBuf,
    /// The sidecar's directory as this process sees it, if the sidecar sees it elsewhere.
    pub(super) dir: Option<PathBuf>,
    /// Whether this process maps the directory if it finds it, and so has no use for answers in shared memory.
    pub(super) attach: bool,
}

/// One of the connections that follow each other when one breaks.
#[derive(Clone, Debug)]
pub(super) struct Link {
    client: Client,
    shared: Arc<SharedPages>,
}

impl Link {
    /// The memory and files that are shared over it.
    pub(super) fn shared(&self) -> &SharedPages {
        &self.shared
    }

    /// Whether both are the same connection.
    pub(super) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl Connection {
    /// The bounds of what this thread reads now, as they are sent.
    ///
    /// # Errors
    /// [`ErrorCode::Unsupported`] if the sidecar is of a version that would ignore them.
    pub(super) fn bounds(&self) -> Result<Option<BoundsMessage>> {
        let Some(bounds) = ReadBounds::current() else { return Ok(None) };
        if !self.link().shared().heeds_bounds() {
            let message = "the sidecar is of a version without bounds for single reads: read without them, or upgrade it";
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        Ok(Some(bounds.into()))
    }

    /// Connects, and learns where the sidecar's directory is.
    pub(super) fn open(place: Address, deadline: Duration) -> Result<(Self, HelloReply)> {
        let (client, shared, reply) = greet(&place, None, after(deadline), deadline)?;
        let connection = Self {
            process: std::process::id(),
            place,
            deadline,
            current: ArcSwap::from_pointee(Link { client, shared: Arc::new(shared) }),
            connecting: Mutex::new(()),
            seen: Mutex::new(reply.version.map(Into::into)),
            uploads: Semaphore::new(UPLOADS_MAX),
            commits: Semaphore::new(COMMITS_MAX),
            closed: AtomicBool::new(false),
            sent: AtomicU64::new(0),
        };
        Ok((connection, reply))
    }

    /// Remembers the version of an answer.
    pub(super) fn saw(&self, version: impl Into<Version>) -> Version {
        let version = version.into();
        let mut seen = self.seen.lock();
        if seen.is_none_or(|seen| version.includes(seen) != Some(false)) {
            *seen = Some(version);
        }
        version
    }

    /// Waits until this process has fewer uploads under way; the sidecar would refuse one more.
    pub(super) fn permit_upload(&self) -> Result<Permit<'_>> {
        self.permit(&self.uploads)
    }

    /// As [`permit_upload`](Self::permit_upload), for one-message commits.
    pub(super) fn permit_commit(&self) -> Result<Permit<'_>> {
        self.permit(&self.commits)
    }

    fn permit<'a>(&self, writes: &'a Semaphore) -> Result<Permit<'a>> {
        self.check_process()?;
        let timeout = || Error::new(ErrorCode::Timeout, "other writes of this client are still under way");
        writes.acquire(after(self.deadline)).ok_or_else(timeout)
    }

    /// The connection for the next call, unless it breaks.
    pub(super) fn link(&self) -> Guard<Arc<Link>> {
        self.current.load()
    }

    /// Whether this process finds the files of the sidecar.
    pub(super) fn shares_files(&self) -> bool {
        self.current.load().shared.has_files()
    }

    /// Calls made so far, not counting those that made the connection.
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

    /// As [`call`](Self::call); also returns the connection that answered.
    pub(super) fn call_on<T: DeserializeOwned>(
        &self,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<(T, Link)> {
        let body = encode(request)?;
        let deadline = after(self.deadline);
        let (answer, link) = self.send_on(call, &body, deadline, repeat)?;
        Ok((decode(&answer)?, Link::clone(&link)))
    }

    /// Sends the body of a request; connects again if the connection broke.
    pub(super) fn send_on(
        &self,
        call: Call,
        body: &[u8],
        deadline: Instant,
        repeat: Repeat,
    ) -> Result<(Vec<u8>, Guard<Arc<Link>>)> {
        let mut link = self.current.load();
        let mut attempts = 0;
        loop {
            if link.client.is_broken() {
                link = self.connect_again(deadline)?;
            }
            attempts += 1;
            match self.exchange(&link, call, body, deadline) {
                Ok(answer) => return Ok((answer?, link)),
                // The sidecar was restarted again meanwhile and knows nothing of the request.
                Err(CallError::NotSent(_)) if attempts < NOT_SENT_MAX && Instant::now() < deadline => {}
                Err(CallError::Lost(_)) if repeat == Repeat::Once && attempts < 2 => {}
                Err(error) => return Err(self.lost(&error, repeat)),
            }
        }
    }

    /// Makes a call on one connection, for what only that one holds.
    pub(super) fn call_held<T: DeserializeOwned>(
        &self,
        link: &Link,
        call: Call,
        request: &impl Serialize,
        repeat: Repeat,
    ) -> Result<T> {
        let deadline = after(self.deadline);
        decode(&self.send_held(link, call, &encode(request)?, deadline, repeat)?)
    }

    /// Sends the body of a request on one connection.
    pub(super) fn send_held(
        &self,
        link: &Link,
        call: Call,
        body: &[u8],
        deadline: Instant,
        repeat: Repeat,
    ) -> Result<Vec<u8>> {
        if link.client.is_broken() {
            self.check_process()?;
            return Err(Error::new(
                ErrorCode::Unavailable,
                "the connection broke before the answer was complete; ask again",
            ));
        }
        self.exchange(link, call, body, deadline).map_err(|error| self.lost(&error, repeat))?
    }

    /// The deadline of a call that begins now.
    pub(super) fn deadline(&self) -> Instant {
        after(self.deadline)
    }

    /// Sends a call that gets no answer, if the connection is not broken.
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

    /// The connection; connects again if it is still broken.
    #[cold]
    fn connect_again(&self, deadline: Instant) -> Result<Guard<Arc<Link>>> {
        self.check_process()?;
        let waiting = || {
            let socket = self.place.socket.display();
            Error::new(
                ErrorCode::Timeout,
                format!("{socket}: the deadline passed while another call connects"),
            )
        };
        let _connecting = self.connecting.try_lock_until(deadline).ok_or_else(waiting)?;
        if self.current.load().client.is_broken() {
            let seen = *self.seen.lock();
            let patience = deadline.max(Instant::now() + PATIENCE_MIN);
            let (client, shared, reply) = greet(&self.place, seen, patience, self.deadline)?;
            if reply.seen == Some(Seen::Unknown) {
                // Its tables have the same numbers, but are others.
                let socket = self.place.socket.display();
                let message =
                    format!("the sidecar on {socket} serves another cache than before; connect again");
                return Err(Error::new(ErrorCode::Closed, message));
            }
            self.current.store(Arc::new(Link { client, shared: Arc::new(shared) }));
            if let (Some(Seen::Lost), Some(lost)) = (reply.seen, seen) {
                *self.seen.lock() = reply.version.map(Into::into);
                let message = format!(
                    "version {lost} was lost in a crash of the cache's owner; the next call reads what there is"
                );
                return Err(Error::new(ErrorCode::WentBack, message));
            }
        }
        Ok(self.current.load())
    }

    /// Fails in a forked child, before it waits for anything.
    fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::Closed, CallError::Forked.to_string()))
    }

    /// One request and its answer.
    fn exchange(
        &self,
        link: &Link,
        call: Call,
        body: &[u8],
        deadline: Instant,
    ) -> Result<Result<Vec<u8>>, CallError> {
        // This comes first: it fails in a forked child, where locks may be held for ever.
        let pending = link.client.begin()?;
        let leases = link.shared.take_returns();
        if !leases.is_empty() {
            tell(&link.client, Call::Return, &Return { leases });
        }
        self.sent.fetch_add(1, Ordering::Relaxed);
        let scope = CallScope::current();
        let given_up = scope.as_ref().is_some_and(|scope| {
            let (client, request) = (link.client.clone(), pending.request());
            !scope.enter(move || cancel(&client, request))
        });
        if given_up {
            return Ok(Err(Error::new(ErrorCode::Cancelled, "the call was given up")));
        }
        let answer = send(&pending, call, body).and_then(|sent| match sent {
            Err(error) => Ok(Err(error)),
            Ok(()) => {
                // The caller gave up between `begin` and `send`, when the sidecar did not yet know the request to
                // cancel.
                if scope.as_ref().is_some_and(CallScope::is_cancelled) {
                    cancel(&link.client, pending.request());
                }
                receive(&pending, deadline)
            }
        });
        if let Some(scope) = scope {
            scope.leave();
        }
        if answer.as_ref().is_err_and(|error| *error == CallError::Timeout) {
            cancel(&link.client, pending.request());
        }
        answer
    }

    /// What a call without an answer means to its caller: nobody knows whether a write took effect.
    fn lost(&self, error: &CallError, repeat: Repeat) -> Error {
        let socket = self.place.socket.display();
        let code = match (error, repeat) {
            (CallError::Forked, _) => ErrorCode::Closed,
            (CallError::NotSent(_), _) => ErrorCode::Unavailable,
            (CallError::TooLong(_), _) => ErrorCode::TooLarge,
            (_, Repeat::Never) => ErrorCode::OutcomeUnknown,
            (CallError::Timeout, Repeat::Once) => ErrorCode::Timeout,
            (_, Repeat::Once) => ErrorCode::Unavailable,
        };
        Error::new(code, format!("{socket}: {error}"))
    }
}

/// This long from now; in a year, if that is too far away for an `Instant`.
fn after(time: Duration) -> Instant {
    let now = Instant::now();
    now.checked_add(time).unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
}
