//! What one connection holds, and the answers to its calls. Does no I/O: bytes in, bytes out.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::sync::{Arc, OnceLock};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use pillion_ipc::{Flags, Frame};

use super::calls::{self, Request};
use super::held::{Gift, Held};
use super::sharing::{ArenaPool, Sharing};
use super::upload::UploadLimits;
use crate::blocking::brief;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::recorder::Event;
use crate::way::{Backend, Reader};
use crate::wire::cells::{GetRow, encode_found};
use crate::wire::{Call, ErrorMessage, encode, version};

/// Most bytes of a request for a query that the thread that reads may answer at once.
const KNOWN_LEN: usize = 4 << 10;

/// The cache as one connection sees it, and what it holds there. Its calls may come from several threads.
pub(super) struct Session {
    pub(super) backend: Arc<dyn Backend>,
    /// Whether to tell clients where the directory is.
    pub(super) attach: bool,
    pub(super) arenas: Arc<ArenaPool>,
    pub(super) uploads: Arc<UploadLimits>,
    pub(super) uid: u32,
    /// Set by the first call: whether the client understands rows of sources.
    pub(super) greeted: OnceLock<bool>,
    pub(super) sharing: OnceLock<Sharing>,
    pub(super) held: Mutex<Held>,
    pub(super) last_schema: Mutex<Option<SentSchema>>,
}

/// Columns of an answer, and as they are sent.
pub(super) type SentSchema = (SchemaRef, Vec<u8>);

/// A held version, if the answer needs one.
pub(super) type Pinned = Option<Arc<dyn Reader>>;

/// The answer to a request, as it is sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) flags: Flags,
    pub(super) body: Vec<u8>,
    pub(super) descriptor: Option<OwnedFd>,
    /// Why the call failed, if it did.
    pub(super) error: Option<ErrorCode>,
}

impl Session {
    /// The session of a new connection of a user.
    pub(super) fn new(
        backend: Arc<dyn Backend>,
        attach: bool,
        arenas: Arc<ArenaPool>,
        uploads: Arc<UploadLimits>,
        uid: u32,
    ) -> Self {
        Self {
            backend,
            attach,
            arenas,
            uploads,
            uid,
            greeted: OnceLock::new(),
            sharing: OnceLock::new(),
            held: Mutex::default(),
            last_schema: Mutex::default(),
        }
    }

    /// Whether a frame is a [lookup of a row](Self::get_row) that wants an answer.
    pub(super) fn is_lookup(frame: &Frame) -> bool {
        frame.call == Call::GetRow as u16 && frame.flags == Flags::default()
    }

    /// Whether the first call has been answered.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted.get().is_some()
    }

    /// A request has come: from now on it can be cancelled. Returns the number to answer it with.
    pub(super) fn begin(&self, frame: &Frame) -> u64 {
        use Call as C;
        let completes = matches!(Call::from_number(frame.call), Some(C::Write | C::Finish));
        self.held.lock().begin(frame.request, completes)
    }

    /// Answers a begun request.
    pub(super) fn answer(&self, task: u64, frame: &Frame) -> Answer {
        let descriptor = OnceCell::new();
        let outcome = self.dispatch(task, frame, &descriptor);
        self.answered(task, outcome, descriptor)
    }

    fn answered(&self, task: u64, outcome: Result<Vec<u8>>, descriptor: OnceCell<OwnedFd>) -> Answer {
        let released = self.held.lock().end(task, outcome.is_err());
        self.give_back(&released.leases);
        match outcome {
            Ok(body) => Answer { body, descriptor: descriptor.into_inner(), ..Answer::default() },
            Err(error) => Answer::error(&error),
        }
    }

    /// Answers a begun request unless that would take waiting for a source; otherwise `None`, and somebody who may wait has to
    /// [answer](Self::answer) it.
    pub(super) fn answer_briefly(&self, task: u64, frame: &Frame) -> Option<Answer> {
        let descriptor = OnceCell::new();
        let outcome = brief::briefly(|| self.dispatch(task, frame, &descriptor))?;
        Some(self.answered(task, outcome, descriptor))
    }

    /// Answers a begun request for a query that is known to take no longer than a lookup; otherwise `None`, and somebody
    /// else has to [answer](Self::answer) it.
    pub(super) fn answer_known(&self, task: u64, frame: &Frame) -> Option<Answer> {
        if !self.is_greeted() || frame.body.len() > KNOWN_LEN {
            return None;
        }
        let known = match Call::from_number(frame.call)? {
            Call::Sql => self.known_sql(task, &frame.body),
            Call::Execute => self.known_execute(task, &frame.body),
            _ => return None,
        };
        // An error comes again, and is reported then.
        let body = known.ok().flatten()?;
        let released = self.held.lock().end(task, false);
        self.give_back(&released.leases);
        Some(Answer { body, ..Answer::default() })
    }

    /// Answers a begun request with an error, instead of working on it.
    pub(super) fn refuse(&self, task: u64, error: &Error) -> Answer {
        let released = self.held.lock().end(task, true);
        self.give_back(&released.leases);
        Answer::error(error)
    }

    /// The client sends no more: releases its uploads, once no call is under way that may complete one.
    pub(super) fn abandon_uploads(&self) {
        let _released = self.held.lock().abandon_uploads();
    }

    /// The client is gone: ends its queries and releases what it held.
    pub(super) fn end(&self) {
        let released = self.held.lock().clear();
        self.give_back(&released.leases);
    }

    pub(super) fn give_back(&self, leases: &[u64]) {
        if let Some(arena) = self.sharing.get().and_then(Sharing::arena) {
            for &lease in leases {
                // A lease that was given back before is ignored: this concerns only its own client.
                arena.give_back(lease);
            }
        }
    }

    fn dispatch(&self, task: u64, frame: &Frame, descriptor: &OnceCell<OwnedFd>) -> Result<Vec<u8>> {
        let Some(call) = Call::from_number(frame.call) else {
            let message = format!("call {} is of a newer protocol than {}", frame.call, version::NEWEST);
            return Err(Error::new(ErrorCode::Unsupported, message));
        };
        if call != Call::Hello {
            self.check_greeted()?;
        }
        let request = Request::new(task, &frame.body, descriptor);
        calls::handler(call)(self, request)
    }

    /// The newest version, or a held one.
    pub(super) fn reader(&self, snapshot: Option<u64>) -> Result<Arc<dyn Reader>> {
        match snapshot {
            None => Ok(self.backend.clone()),
            Some(id) => self.snapshot(id),
        }
    }

    pub(super) fn snapshot(&self, id: u64) -> Result<Arc<dyn Reader>> {
        find(&self.held.lock().snapshots, id, "snapshot")
    }

    /// Appends the answer to a lookup. It holds nothing for the client, so it need not be begun or cancelled.
    pub(super) fn get_row(&self, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.check_greeted()?;
        let request = GetRow::decode(body)?;
        let pinned = request.snapshot.map(|id| self.snapshot(id)).transpose()?;
        let tells_tiers = self.greeted.get().copied().unwrap_or_default();
        let found = match &pinned {
            Some(pinned) => {
                let row = pinned.get(request.table, &request)?;
                encode_found(out, row.as_ref(), tells_tiers, || pinned.version())?;
                row.is_some()
            }
            None => {
                let reader = &self.backend;
                let row = reader.get(request.table, &request)?;
                encode_found(out, row.as_ref(), tells_tiers, || reader.version())?;
                row.is_some()
            }
        };
        let hits = u64::from(found);
        self.backend.recording().record(&Event::Lookups { hits, misses: 1 - hits });
        Ok(())
    }

    pub(super) fn check_greeted(&self) -> Result<()> {
        if self.is_greeted() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::InvalidArgument, "the first call of a connection is hello"))
    }

    pub(super) fn give(&self, task: u64, lease: Option<u64>) {
        if let Some(lease) = lease {
            self.held.lock().give(task, Gift::Lease(lease));
        }
    }
}

impl Answer {
    /// An answer that says what went wrong.
    pub(super) fn error(error: &Error) -> Self {
        let body = encode(&ErrorMessage::new(error)).unwrap_or_default();
        Self { flags: Flags::ERROR, body, descriptor: None, error: Some(error.code()) }
    }
}

pub(super) fn find<T: Clone>(held: &std::collections::HashMap<u64, T>, id: u64, what: &str) -> Result<T> {
    held.get(&id).cloned().ok_or_else(|| unknown(what, id))
}

pub(super) fn unknown(what: &str, id: u64) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the connection holds no {what} {id}"))
}
