//! What a connection holds for its client, and for which request it was given.
//!
//! A client that stops waiting for an answer never learns the numbers in it. So what an answer gives is remembered
//! for a while under the number of its request, and released if the request is cancelled.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;

use super::cursor::Cursor;
use super::upload::Upload;
use crate::answer::batches::Canceller;
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::{Reader, Statement};

/// Most snapshots, most cursors and most statements of one connection.
const HELD_MAX: usize = 256;
/// Most bytes of text of the statements of one connection: their plans take a multiple of that.
const STATEMENTS_LEN_MAX: usize = 4 << 20;
/// Most uploads under way of one connection: each sorts in memory of its own.
const UPLOADS_MAX: usize = 8;
/// Answers whose gifts are remembered.
const GIVEN_MAX: usize = 256;

/// An answer under way.
pub(super) struct HeldCursor {
    pub(super) cursor: Mutex<Cursor>,
    /// Ends its query.
    pub(super) canceller: Canceller,
}

/// A statement that was planned.
pub(super) struct HeldStatement {
    pub(super) statement: Arc<dyn Statement>,
    /// Bytes of its text.
    pub(super) text_len: usize,
}

/// An upload under way; `None` once it is complete.
pub(super) type HeldUpload = Arc<Mutex<Option<Upload>>>;

/// What a connection holds.
#[derive(Default)]
pub(super) struct Held {
    next_id: u64,
    pub(super) snapshots: HashMap<u64, Arc<dyn Reader>>,
    pub(super) statements: HashMap<u64, Arc<HeldStatement>>,
    pub(super) cursors: HashMap<u64, Arc<HeldCursor>>,
    pub(super) uploads: HashMap<u64, HeldUpload>,
    reserved_uploads: usize,
    /// Whether the client will send no more.
    is_abandoning: bool,
    /// By numbers of our own: a client may use one number for many requests.
    running: HashMap<u64, Running>,
    next_task: u64,
    given: VecDeque<(u64, Vec<Gift>)>,
}

/// A request that is being answered, or waits for it.
#[derive(Default)]
struct Running {
    request: u64,
    /// Whether it belongs to an upload that was begun.
    uploads: bool,
    is_cancelled: bool,
    canceller: Option<Canceller>,
    gifts: Vec<Gift>,
}

/// Something that is held for a client, which learns its number from an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gift {
    Snapshot(u64),
    Statement(u64),
    Cursor(u64),
    Upload(u64),
    /// Leased memory; the arena holds it.
    Lease(u64),
}

/// What was released; dropped once nothing is locked.
#[derive(Default)]
pub(super) struct Released {
    snapshots: Vec<Arc<dyn Reader>>,
    statements: Vec<Arc<HeldStatement>>,
    cursors: Vec<Arc<HeldCursor>>,
    uploads: Vec<HeldUpload>,
    pub(super) leases: Vec<u64>,
}

impl Held {
    /// Holds a snapshot for the answer to a request that was [begun](Self::begin).
    pub(super) fn hold_snapshot(&mut self, task: u64, snapshot: Arc<dyn Reader>) -> Result<u64> {
        let id = self.next(self.snapshots.len(), HELD_MAX, "snapshots")?;
        self.snapshots.insert(id, snapshot);
        self.give(task, Gift::Snapshot(id));
        Ok(id)
    }

    /// Holds a planned query.
    pub(super) fn hold_statement(&mut self, task: u64, statement: HeldStatement) -> Result<u64> {
        let held: usize = self.statements.values().map(|held| held.text_len).sum();
        if held + statement.text_len > STATEMENTS_LEN_MAX {
            let message = format!(
                "the statements of the connection would have {} bytes of text, and may have at most \
                 {STATEMENTS_LEN_MAX}; drop some",
                held + statement.text_len
            );
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        let id = self.next(self.statements.len(), HELD_MAX, "statements")?;
        self.statements.insert(id, Arc::new(statement));
        self.give(task, Gift::Statement(id));
        Ok(id)
    }

    /// Holds the rest of an answer.
    pub(super) fn hold_cursor(&mut self, task: u64, cursor: Arc<HeldCursor>) -> Result<u64> {
        let id = self.next(self.cursors.len(), HELD_MAX, "cursors")?;
        self.cursors.insert(id, cursor);
        self.give(task, Gift::Cursor(id));
        Ok(id)
    }

    /// Reserves room for an upload before it begins, as beginning it may take long.
    pub(super) fn reserve_upload(&mut self) -> Result<()> {
        check_room(self.uploads.len() + self.reserved_uploads, UPLOADS_MAX, "uploads")?;
        self.reserved_uploads += 1;
        Ok(())
    }

    /// Holds an upload in its reserved room; releases the room if the upload failed to begin.
    pub(super) fn hold_upload(&mut self, task: u64, upload: Result<HeldUpload>) -> Result<u64> {
        self.reserved_uploads -= 1;
        let upload = upload?;
        let id = self.next(self.uploads.len(), UPLOADS_MAX, "uploads")?;
        self.uploads.insert(id, upload);
        self.give(task, Gift::Upload(id));
        Ok(id)
    }

    fn next(&mut self, held: usize, most: usize, what: &str) -> Result<u64> {
        check_room(held, most, what)?;
        self.next_id += 1;
        Ok(self.next_id)
    }

    /// Remembers a gift of the answer to a request.
    pub(super) fn give(&mut self, task: u64, gift: Gift) {
        if let Some(running) = self.running.get_mut(&task) {
            running.gifts.push(gift);
        }
    }

    /// Work on a request begins. Returns the number by which all other methods here know it. `uploads`: it belongs to
    /// an upload that was begun.
    pub(super) fn begin(&mut self, request: u64, uploads: bool) -> u64 {
        self.next_task += 1;
        self.running.insert(self.next_task, Running { request, uploads, ..Running::default() });
        self.next_task
    }

    /// Cancelling the request will cancel `canceller`; if it was cancelled before, does so at once.
    pub(super) fn can_cancel(&mut self, task: u64, canceller: &Canceller) {
        let Some(running) = self.running.get_mut(&task) else { return };
        if running.is_cancelled {
            canceller.cancel();
        }
        running.canceller = Some(canceller.clone());
    }

    /// The answer to a request is ready. If it is an error, or the request was cancelled, its gifts are released, as
    /// nobody learns of them.
    pub(super) fn end(&mut self, task: u64, is_error: bool) -> Released {
        let Some(running) = self.running.remove(&task) else { return Released::default() };
        let mut released = Released::default();
        if running.is_cancelled || is_error {
            released = self.release(&running.gifts);
        } else if !running.gifts.is_empty() {
            self.given.push_back((running.request, running.gifts));
            if self.given.len() > GIVEN_MAX {
                self.given.pop_front();
            }
        }
        released.uploads.extend(self.take_abandoned());
        released
    }

    /// The client sends no more: releases its uploads, at once or when the last running call of an upload has been
    /// answered.
    pub(super) fn abandon_uploads(&mut self) -> Released {
        self.is_abandoning = true;
        Released { uploads: self.take_abandoned(), ..Released::default() }
    }

    fn take_abandoned(&mut self) -> Vec<HeldUpload> {
        if !self.is_abandoning || self.running.values().any(|running| running.uploads) {
            return Vec::new();
        }
        self.uploads.drain().map(|(_, held)| held).collect()
    }

    /// Nobody waits for the answer to a request: cancels it, and releases its gifts.
    pub(super) fn cancel(&mut self, request: u64) -> Released {
        self.running.values_mut().filter(|running| running.request == request).for_each(Running::cancel);
        let mut gifts = Vec::new();
        self.given.retain(|(given, with)| {
            let stays = *given != request;
            if !stays {
                gifts.extend_from_slice(with);
            }
            stays
        });
        self.release(&gifts)
    }

    /// The client is gone: ends all queries and releases everything.
    pub(super) fn clear(&mut self) -> Released {
        self.running.values_mut().for_each(Running::cancel);
        let mut released = Released::default();
        released.snapshots.extend(self.snapshots.drain().map(|(_, held)| held));
        released.statements.extend(self.statements.drain().map(|(_, held)| held));
        released.cursors.extend(self.cursors.drain().map(|(_, held)| held));
        released.uploads.extend(self.uploads.drain().map(|(_, held)| held));
        released.cancel();
        released
    }

    fn release(&mut self, gifts: &[Gift]) -> Released {
        let mut released = Released::default();
        for gift in gifts {
            match gift {
                Gift::Snapshot(id) => released.snapshots.extend(self.snapshots.remove(id)),
                Gift::Statement(id) => released.statements.extend(self.statements.remove(id)),
                Gift::Cursor(id) => released.cursors.extend(self.cursors.remove(id)),
                Gift::Upload(id) => released.uploads.extend(self.uploads.remove(id)),
                Gift::Lease(id) => released.leases.push(*id),
            }
        }
        released.cancel();
        released
    }
}

impl Running {
    fn cancel(&mut self) {
        self.is_cancelled = true;
        if let Some(canceller) = &self.canceller {
            canceller.cancel();
        }
    }
}

fn check_room(held: usize, most: usize, what: &str) -> Result<()> {
    if held < most {
        return Ok(());
    }
    let message = format!("the connection holds {most} {what}, as many as it may; drop some");
    Err(Error::new(ErrorCode::TooMany, message))
}

impl Released {
    fn cancel(&self) {
        self.cursors.iter().for_each(|held| held.canceller.cancel());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Nothing;

    impl Statement for Nothing {
        fn parameters(&self) -> usize {
            0
        }

        fn execute(
            &self,
            _: Option<&dyn Reader>,
            _: &[crate::types::value::Value],
        ) -> Result<crate::answer::batches::Batches> {
            Err(Error::internal("nothing"))
        }

        fn execute_known(
            &self,
            _: Option<&dyn Reader>,
            _: &[crate::types::value::Value],
        ) -> Result<Option<crate::answer::batches::Batches>> {
            Ok(None)
        }
    }

    #[test]
    fn what_a_cancelled_request_gave_is_taken_back_whenever_it_is_cancelled() {
        let mut held = Held::default();
        // The request is cancelled after its answer.
        let task = held.begin(1, false);
        held.hold_statement(task, nothing(0)).unwrap();
        held.give(task, Gift::Lease(7));
        assert!(held.end(task, false).leases.is_empty());
        assert_eq!(held.statements.len(), 1);
        assert_eq!(held.cancel(1).leases, [7]);
        assert!(held.statements.is_empty());
        assert!(held.cancel(1).leases.is_empty(), "once");
        // Before its answer.
        let task = held.begin(2, false);
        assert!(held.cancel(2).leases.is_empty());
        held.hold_statement(task, nothing(0)).unwrap();
        held.give(task, Gift::Lease(8));
        assert_eq!(held.end(task, false).leases, [8]);
        assert!(held.statements.is_empty());
        // Never.
        let task = held.begin(3, false);
        held.hold_statement(task, nothing(0)).unwrap();
        assert!(held.end(task, false).leases.is_empty());
        assert!(held.cancel(99).leases.is_empty(), "a request that never was");
        assert_eq!(held.statements.len(), 1);
    }

    fn nothing(text_len: usize) -> HeldStatement {
        HeldStatement { statement: Arc::new(Nothing), text_len }
    }

    #[test]
    fn statements_of_too_much_text_are_refused() {
        let mut held = Held::default();
        let task = held.begin(1, false);
        for _ in 0..4 {
            held.hold_statement(task, nothing(STATEMENTS_LEN_MAX / 4)).unwrap();
        }
        assert_eq!(held.hold_statement(task, nothing(1)).unwrap_err().code(), ErrorCode::TooMany);
        held.statements.clear();
        held.hold_statement(task, nothing(STATEMENTS_LEN_MAX)).unwrap();
    }

    #[test]
    fn what_an_error_would_have_given_is_taken_back() {
        let mut held = Held::default();
        let task = held.begin(1, false);
        held.hold_statement(task, nothing(0)).unwrap();
        held.give(task, Gift::Lease(7));
        assert_eq!(held.end(task, true).leases, [7]);
        assert!(held.statements.is_empty());
    }

    #[test]
    fn work_on_a_cancelled_request_is_ended() {
        let mut held = Held::default();
        let early = Canceller::new(None);
        let task = held.begin(1, false);
        held.can_cancel(task, &early);
        drop(held.cancel(1));
        assert!(early.is_cancelled());
        let late = Canceller::new(None);
        held.can_cancel(task, &late);
        assert!(late.is_cancelled(), "cancelled before it could be ended");
        let other = Canceller::new(None);
        let task = held.begin(2, false);
        held.can_cancel(task, &other);
        drop(held.end(task, false));
        drop(held.cancel(2));
        assert!(!other.is_cancelled(), "its work was done");
        let task = held.begin(3, false);
        held.can_cancel(task, &other);
        drop(held.clear());
        assert!(other.is_cancelled(), "the client is gone");
    }

    #[test]
    fn requests_of_one_number_are_ended_together() {
        let mut held = Held::default();
        let cancellers = [Canceller::new(None), Canceller::new(None), Canceller::new(None)];
        let tasks: Vec<u64> = cancellers.iter().map(|_| held.begin(5, false)).collect();
        for (task, canceller) in tasks.iter().zip(&cancellers) {
            held.can_cancel(*task, canceller);
        }
        held.give(tasks[0], Gift::Lease(1));
        drop(held.end(tasks[0], false));
        assert_eq!(held.cancel(5).leases, [1]);
        assert!(!cancellers[0].is_cancelled(), "its work was done");
        assert!(cancellers[1].is_cancelled() && cancellers[2].is_cancelled());
    }
}
