//! What is kept between calls: prepared statements, and answers that wait to be fetched.
//!
//! Each has a random name that nobody guesses, belongs to the token that asked for it, and goes away if nobody uses it.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pillion::ErrorCode;
use pillion_access::Identity;
use pillion_door::most_of;
use tokio::sync::Notify;
use tonic::{Code, Status};

use super::parameters::Parameters;
use super::prepared::Prepared;
use super::query::Query;
use super::update::Update;
use crate::status;

/// The name of a kept statement, as clients have it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Id([u8; 16]);

impl Id {
    /// The name in a handle or a ticket.
    pub(crate) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    fn random() -> Result<Self, Status> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| status::defect("the system gives no random numbers"))?;
        Ok(Self(bytes))
    }
}

/// Shows nothing: whoever has a name of their own might guess that it is one of others.
impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Id")
    }
}

/// An answer that waits to be fetched, once.
#[derive(Debug)]
pub(crate) enum Waiting {
    Query(Box<Query>),
    Update(Update),
}

#[derive(Debug)]
enum Kept {
    Prepared(Arc<Prepared>),
    Waiting(Waiting),
    /// An answer that is being fetched, and what ends it.
    Running(Arc<Notify>),
}

#[derive(Debug)]
struct Entry {
    owner: String,
    used: Instant,
    /// Memory that it takes, about.
    bytes: usize,
    kept: Kept,
}

/// Everything that is kept.
#[derive(Debug)]
pub(crate) struct Statements {
    max: usize,
    bytes_max: usize,
    timeout: Duration,
    all: Mutex<HashMap<Id, Entry>>,
}

impl Statements {
    /// Keeps at most `max`, which take at most `bytes_max` bytes, until nobody has used them for `timeout`. One token has three
    /// quarters of both.
    pub(crate) fn new(max: usize, bytes_max: usize, timeout: Duration) -> Self {
        Self { max, bytes_max, timeout, all: Mutex::default() }
    }

    /// Keeps a prepared statement.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`.
    pub(crate) fn keep_prepared(&self, owner: &Identity, prepared: Prepared) -> Result<Id, Status> {
        let bytes = prepared.bytes(&prepared.bound());
        self.keep(owner, bytes, Kept::Prepared(Arc::new(prepared)))
    }

    /// Keeps an answer until it is fetched.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED`.
    pub(crate) fn keep_waiting(&self, owner: &Identity, waiting: Waiting) -> Result<Id, Status> {
        let bytes = match &waiting {
            Waiting::Query(query) => query.bytes(),
            Waiting::Update(update) => update.bytes(),
        };
        self.keep(owner, bytes, Kept::Waiting(waiting))
    }

    fn keep(&self, owner: &Identity, bytes: usize, kept: Kept) -> Result<Id, Status> {
        let id = Id::random()?;
        let mut all = self.all.lock();
        let own = all.values().filter(|entry| entry.owner == owner.name()).count();
        if all.len() >= self.max || own >= most_of(self.max) {
            return Err(too_many("as many statements as are allowed are prepared or wait to be fetched"));
        }
        self.admit(&all, owner.name(), bytes)?;
        all.insert(id, Entry { owner: owner.name().to_owned(), used: Instant::now(), bytes, kept });
        Ok(id)
    }

    /// Whether there is room for so many more bytes.
    fn admit(&self, all: &HashMap<Id, Entry>, owner: &str, more: usize) -> Result<(), Status> {
        let (mut taken, mut own) = (more, more);
        for entry in all.values() {
            taken = taken.saturating_add(entry.bytes);
            own = own.saturating_add(if entry.owner == owner { entry.bytes } else { 0 });
        }
        if taken > self.bytes_max || own > most_of(self.bytes_max) {
            return Err(too_many(
                "the statements that are prepared or wait to be fetched take as much memory as is allowed",
            ));
        }
        Ok(())
    }

    /// From now on, a prepared statement runs with these parameters.
    ///
    /// # Errors
    /// [`Gone`]; `RESOURCE_EXHAUSTED`, and then those from before stay.
    pub(crate) fn bind(
        &self,
        owner: &Identity,
        id: Option<Id>,
        parameters: Parameters,
    ) -> Result<Result<(), Status>, Gone> {
        let mut all = self.all.lock();
        let entry = own(&mut all, owner, id)?;
        let Kept::Prepared(prepared) = &entry.kept else { return Err(Gone::Unknown) };
        let (prepared, bytes) = (prepared.clone(), prepared.bytes(&parameters));
        let before = std::mem::replace(&mut entry.bytes, 0);
        let admitted = self.admit(&all, owner.name(), bytes);
        let entry = own(&mut all, owner, id)?;
        entry.used = Instant::now();
        entry.bytes = if admitted.is_ok() { bytes } else { before };
        if admitted.is_ok() {
            prepared.bind(parameters);
        }
        Ok(admitted)
    }

    /// A prepared statement.
    ///
    /// # Errors
    /// [`Gone`] also for one of somebody else.
    pub(crate) fn prepared(&self, owner: &Identity, id: Option<Id>) -> Result<Arc<Prepared>, Gone> {
        let mut all = self.all.lock();
        let entry = own(&mut all, owner, id)?;
        let Kept::Prepared(prepared) = &entry.kept else { return Err(Gone::Unknown) };
        entry.used = Instant::now();
        Ok(prepared.clone())
    }

    /// Forgets a prepared statement.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn close(&self, owner: &Identity, id: Option<Id>) -> Result<(), Gone> {
        let mut all = self.all.lock();
        let Kept::Prepared(_) = own(&mut all, owner, id)?.kept else { return Err(Gone::Unknown) };
        let closed = id.and_then(|id| all.remove(&id));
        drop(all);
        drop(closed);
        Ok(())
    }

    /// Takes an answer that waits, to fetch it: nobody fetches it again.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn fetch(
        self: &Arc<Self>,
        owner: &Identity,
        id: Option<Id>,
    ) -> Result<(Waiting, Running), Gone> {
        let mut all = self.all.lock();
        let entry = own(&mut all, owner, id)?;
        let (Kept::Waiting(_), Some(id)) = (&entry.kept, id) else { return Err(Gone::Unknown) };
        let ending = Arc::new(Notify::new());
        match std::mem::replace(&mut entry.kept, Kept::Running(ending.clone())) {
            Kept::Waiting(waiting) => Ok((waiting, Running { statements: self.clone(), id, ending })),
            _ => Err(Gone::Unknown),
        }
    }

    /// Ends an answer that waits or is being fetched.
    ///
    /// # Errors
    /// [`Gone`].
    pub(crate) fn cancel(&self, owner: &Identity, id: Option<Id>) -> Result<(), Gone> {
        let mut all = self.all.lock();
        match &own(&mut all, owner, id)?.kept {
            Kept::Prepared(_) => return Err(Gone::Unknown),
            Kept::Running(ending) => {
                ending.notify_one();
                return Ok(());
            }
            Kept::Waiting(_) => {}
        }
        let cancelled = id.and_then(|id| all.remove(&id));
        drop(all);
        drop(cancelled);
        Ok(())
    }

    /// Forgets what nobody has used for too long.
    pub(crate) fn forget_unused(&self) {
        let mut unused = Vec::new();
        let mut all = self.all.lock();
        let is_used =
            |entry: &Entry| matches!(entry.kept, Kept::Running(_)) || entry.used.elapsed() < self.timeout;
        let ids: Vec<Id> = all.iter().filter(|(_, entry)| !is_used(entry)).map(|(id, _)| *id).collect();
        unused.extend(ids.iter().filter_map(|id| all.remove(id)));
        drop(all);
        // Ends their queries.
        drop(unused);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.all.lock().len()
    }
}

fn too_many(what: &str) -> Status {
    let message = format!("{what}: close prepared statements, and fetch answers or cancel them");
    status::with_code(Code::ResourceExhausted, ErrorCode::TooMany, &message)
}

/// The entry of a name, if it is of whoever asks for it.
fn own<'a>(all: &'a mut HashMap<Id, Entry>, owner: &Identity, id: Option<Id>) -> Result<&'a mut Entry, Gone> {
    match id.and_then(|id| all.get_mut(&id)) {
        None => Err(Gone::Unknown),
        Some(entry) if entry.owner == owner.name() => Ok(entry),
        Some(_) => Err(Gone::OfOthers),
    }
}

/// Why there is no such statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gone {
    /// It never was, was closed or fetched, or nobody used it for too long.
    Unknown,
    /// Somebody else asked for it. Clients cannot tell it from [`Unknown`](Self::Unknown).
    OfOthers,
}

/// An answer that is being fetched. It is gone when this is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    statements: Arc<Statements>,
    id: Id,
    ending: Arc<Notify>,
}

impl Running {
    /// Waits until somebody cancels it.
    pub(crate) async fn cancelled(&self) {
        self.ending.notified().await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.statements.all.lock().remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use pillion_access::{Access, Anonymous, Permissions};

    use super::*;

    fn identity(door: &'static str) -> Identity {
        let access = Access::new([], Anonymous::at([(door, Permissions::default())])).unwrap();
        access.identify(door, None).unwrap()
    }

    #[test]
    fn answers_are_fetched_once_and_unused_statements_go_away() {
        let statements = Arc::new(Statements::new(4, usize::MAX, Duration::ZERO));
        let owner = identity("a");
        let update = || Waiting::Update(Update::new("DROP TABLE a", Arc::default()));
        let keep = || statements.keep_waiting(&owner, update()).map(Some);
        let (first, second, third) = (keep().unwrap(), keep().unwrap(), keep().unwrap());
        let full = keep().unwrap_err();
        assert_eq!(full.code(), Code::ResourceExhausted, "one token has three quarters");
        let (_, running) = statements.fetch(&owner, first).unwrap();
        assert_eq!(statements.fetch(&owner, first).unwrap_err(), Gone::Unknown, "not twice");
        assert!(running.cancelled().now_or_never().is_none());
        statements.cancel(&owner, first).unwrap();
        assert!(running.cancelled().now_or_never().is_some());
        statements.cancel(&owner, second).unwrap();
        assert_eq!(statements.cancel(&owner, second).unwrap_err(), Gone::Unknown);
        assert_eq!(statements.close(&owner, third).unwrap_err(), Gone::Unknown, "not a prepared one");
        assert_eq!(statements.prepared(&owner, third).unwrap_err(), Gone::Unknown);
        statements.forget_unused();
        assert_eq!(statements.len(), 1, "the one that is being fetched stays");
        drop(running);
        assert_eq!(statements.len(), 0);
        assert!(Id::of(b"short").is_none());
    }
}
