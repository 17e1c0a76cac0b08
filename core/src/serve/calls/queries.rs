//! Calls whose answers are many rows, and held versions of them.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;

use super::Request;
use crate::answer::batches::{Batches, Canceller};
use crate::serve::cursor::Cursor;
use crate::serve::held::{HeldCursor, HeldStatement};
use crate::serve::session::{Pinned, Session, find};
use crate::types::clock::nanoseconds_of;
use crate::types::error::Result;
use crate::way::Reader;
use crate::wire::encoding::values;
use crate::wire::message::CertificateMessage;
use crate::wire::{
    BoundsMessage, Changes, CursorReply, Empty, Execute, Next, Pin, Prepare, PrepareReply, Scan, Sql, decode,
    encode, rows,
};

/// Longest columns of an answer that are kept, in bytes.
const SCHEMA_KEPT_LEN: usize = 64 << 10;

impl Session {
    pub(super) fn answer_snapshot(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, .. } = request;
        let snapshot = self.backend.pin()?;
        let id = self.held.lock().hold_snapshot(task, snapshot)?;
        encode(&Pin { snapshot: Some(id) })
    }

    pub(super) fn answer_release(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Pin { snapshot } = decode(body)?;
        self.held.lock().snapshots.remove(&snapshot.unwrap_or_default());
        encode(&Empty {})
    }

    pub(super) fn answer_scan(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Scan { snapshot, table, columns, bounds } = decode(body)?;
        let (reader, pin) = self.reader_of_cursor(snapshot)?;
        let batches = self
            .cancellable(task)
            .run(|| BoundsMessage::run(bounds, || reader.scan(table, columns.as_deref())))?;
        self.begin_cursor(task, batches, pin)
    }

    pub(super) fn answer_changes(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Changes { table, since } = decode(body)?;
        let (_, pin) = self.reader_of_cursor(None)?;
        self.begin_cursor(task, self.backend.changes(table, since.into())?, pin)
    }

    pub(super) fn answer_sql(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Sql { snapshot, text, parameters, bounds } = decode(body)?;
        let (reader, pin) = self.reader_of_cursor(snapshot)?;
        let parameters = values(parameters)?;
        let batches =
            self.cancellable(task).run(|| BoundsMessage::run(bounds, || reader.sql(&text, &parameters)))?;
        self.begin_cursor(task, batches, pin)
    }

    pub(super) fn answer_prepare(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Prepare { text } = decode(body)?;
        let statement = self.cancellable(task).run(|| self.backend.clone().prepare(&text))?;
        let parameters = statement.parameters() as u64;
        let held = HeldStatement { statement, text_len: text.len() };
        let id = self.held.lock().hold_statement(task, held)?;
        encode(&PrepareReply { id, parameters })
    }

    pub(super) fn answer_execute(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Execute { snapshot, id, parameters, bounds } = decode(body)?;
        let statement = find(&self.held.lock().statements, id, "statement")?;
        let (_, pin) = self.reader_of_cursor(snapshot)?;
        let parameters = values(parameters)?;
        let planning = self.cancellable(task);
        let execute = || statement.statement.execute(pin.as_deref(), &parameters);
        let batches = planning.run(|| BoundsMessage::run(bounds, execute))?;
        self.begin_cursor(task, batches, pin)
    }

    /// The answer to [`Call::Sql`](crate::wire::Call) for a query that needs no planning.
    pub(in crate::serve) fn known_sql(&self, task: u64, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let Sql { snapshot, text, parameters, bounds } = decode(body)?;
        let (reader, pin) = self.reader_of_cursor(snapshot)?;
        let parameters = values(parameters)?;
        let known = BoundsMessage::run(bounds, || reader.sql_known(&text, &parameters))?;
        known.map(|batches| self.begin_cursor(task, batches, pin)).transpose()
    }

    /// The answer to [`Call::Execute`](crate::wire::Call) for a query that needs no planning.
    pub(in crate::serve) fn known_execute(&self, task: u64, body: &[u8]) -> Result<Option<Vec<u8>>> {
        let Execute { snapshot, id, parameters, bounds } = decode(body)?;
        let held = find(&self.held.lock().statements, id, "statement")?;
        let (_, pin) = self.reader_of_cursor(snapshot)?;
        let parameters = values(parameters)?;
        let known = BoundsMessage::run(bounds, || held.statement.execute_known(pin.as_deref(), &parameters))?;
        known.map(|batches| self.begin_cursor(task, batches, pin)).transpose()
    }

    pub(super) fn answer_forget(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Next { id } = decode(body)?;
        self.held.lock().statements.remove(&id);
        encode(&Empty {})
    }

    pub(super) fn answer_next(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Next { id } = decode(body)?;
        let held = find(&self.held.lock().cursors, id, "cursor")?;
        self.held.lock().can_cancel(task, &held.canceller);
        let mut cursor = held.cursor.lock();
        let next = cursor.next(self.sharing.get());
        let is_done = cursor.is_done();
        drop(cursor);
        if is_done {
            self.held.lock().cursors.remove(&id);
        }
        let next = next?;
        self.give(task, next.lease);
        encode(&next.reply)
    }

    pub(super) fn answer_close(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Next { id } = decode(body)?;
        let closed = self.held.lock().cursors.remove(&id);
        if let Some(held) = closed {
            held.canceller.cancel();
        }
        encode(&Empty {})
    }

    /// As [`reader`](Self::reader), and holds the version: files that an answer names must stay until the client has
    /// opened them.
    fn reader_of_cursor(&self, snapshot: Option<u64>) -> Result<(Arc<dyn Reader>, Pinned)> {
        let names_files = self.sharing.get().is_some_and(|sharing| sharing.maps().is_some());
        let pin = match snapshot {
            Some(id) => Some(self.snapshot(id)?),
            None if names_files => Some(self.backend.pin()?),
            None => None,
        };
        Ok((pin.clone().unwrap_or_else(|| self.backend.clone()), pin))
    }

    /// A canceller for the planning of a statement, and for the run of one that changes tables, used if its request is cancelled; cancelled already if the request
    /// was before.
    pub(super) fn cancellable(&self, task: u64) -> Canceller {
        let canceller = Canceller::new(None);
        self.held.lock().can_cancel(task, &canceller);
        canceller
    }

    /// Columns as they are sent. Those of the last answer are kept: a statement that runs again has the same.
    fn encoded_schema(&self, schema: &SchemaRef) -> Result<Vec<u8>> {
        let mut last = self.last_schema.lock();
        if let Some((known, encoded)) = last.as_ref()
            && Arc::ptr_eq(known, schema)
        {
            return Ok(encoded.clone());
        }
        let encoded = rows::encode_schema(schema)?;
        *last = (encoded.len() <= SCHEMA_KEPT_LEN).then(|| (schema.clone(), encoded.clone()));
        Ok(encoded)
    }

    fn begin_cursor(&self, task: u64, batches: Batches, pin: Pinned) -> Result<Vec<u8>> {
        let canceller = batches.canceller();
        self.held.lock().can_cancel(task, &canceller);
        let mut cursor = Cursor::new(batches, pin);
        let first = cursor.first(self.sharing.get())?;
        self.give(task, first.lease);
        let (schema, version, as_of, tier, certificate) = {
            let batches = cursor.batches();
            (
                self.encoded_schema(batches.schema())?,
                batches.version(),
                batches.freshness().map(|freshness| nanoseconds_of(freshness.as_of)),
                batches.tier().into(),
                batches.certificate().tables().iter().map(CertificateMessage::from).collect(),
            )
        };
        let id = match cursor.is_done() {
            true => 0,
            false => {
                let held = HeldCursor { cursor: Mutex::new(cursor), canceller };
                self.held.lock().hold_cursor(task, Arc::new(held))?
            }
        };
        let (version, first) = (version.into(), first.reply);
        encode(&CursorReply { id, schema, version, as_of, tier, certificate, first })
    }
}
