//! What one connection holds, and the answers to its calls. Does no I/O: bytes in, bytes out.

use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use pillion_ipc::{Flags, Frame};

use super::commit;
use super::cursor::Cursor;
use super::held::{Gift, Held, HeldCursor, HeldStatement};
use super::sharing::{ArenaPool, Sharing};
use super::upload::{Upload, UploadLimits, Written};
use crate::answer::batches::{Batches, Canceller};
use crate::answer::row::Row;
use crate::types::clock::{freshness_at, nanoseconds_of};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::types::version::Version;
use crate::way::table_info::TableInfo;
use crate::way::{Backend, Reader};
use crate::wire::cells::{GetRow, encode_found};
use crate::wire::encoding::{decode, encode, values};
use crate::wire::layout::Description;
use crate::wire::message::{
    Begin, Call, Cancel, Changes, CursorReply, DirIdentity, Empty, ErrorMessage, Execute, Get, GetMany,
    Hello, HelloReply, InfoMessage, KEYS_LEN_MAX, KEYS_MAX, Name, Next, Pin, PositionReply, Prepare,
    PrepareReply, Return, RowsReply, Scan, Seen, Share, ShareReply, Source, Sql, StatusReply, Table,
    VersionMessage, Write,
};
use crate::wire::{rows, version};

/// Bytes of the rows of one answer to many keys, but for a single row that has more.
pub(crate) const ROWS_LEN_MAX: usize = 16 << 20;

/// Keys of so many bytes, some hundreds, are looked up at once: that takes about as long as waking another thread.
const QUICK_KEYS_LEN: usize = 4 << 10;

/// One connection's side of a cache. Its calls may come from several threads.
pub(super) struct Session {
    backend: Arc<dyn Backend>,
    /// Whether clients are told where the directory is.
    attach: bool,
    arenas: Arc<ArenaPool>,
    uploads: Arc<UploadLimits>,
    uid: u32,
    greeted: OnceLock<()>,
    sharing: OnceLock<Sharing>,
    held: Mutex<Held>,
}

/// A held version, if one is needed.
type Pinned = Option<Arc<dyn Reader>>;

/// The answer to a request, as it is sent.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) flags: Flags,
    pub(super) body: Vec<u8>,
    pub(super) descriptor: Option<OwnedFd>,
}

impl Session {
    /// A connection of a user.
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
        }
    }

    /// Whether a call is answered at once, so that it need not leave the thread that read it.
    pub(super) fn is_quick(frame: &Frame) -> bool {
        use Call as C;
        let call = Call::from_number(frame.call);
        if call == Some(C::GetMany) {
            return frame.body.len() <= QUICK_KEYS_LEN;
        }
        !matches!(
            call,
            Some(
                C::Scan
                    | C::Sql
                    | C::Prepare
                    | C::Execute
                    | C::Next
                    | C::Begin
                    | C::Write
                    | C::Finish
                    | C::Abandon
                    | C::Commit
                    | C::DropTable
                    | C::Compact
                    | C::Changes
                    | C::Sync
            )
        )
    }

    /// Whether a call is a [lookup of a row](Self::get_row) that is answered.
    pub(super) fn is_lookup(frame: &Frame) -> bool {
        frame.call == Call::GetRow as u16 && frame.flags == Flags::default()
    }

    /// Whether a call is part of an upload.
    pub(super) fn is_upload(frame: &Frame) -> bool {
        use Call as C;
        matches!(Call::from_number(frame.call), Some(C::Begin | C::Write | C::Finish | C::Abandon))
    }

    /// Whether the first call has been answered.
    pub(super) fn is_greeted(&self) -> bool {
        self.greeted.get().is_some()
    }

    /// A request has come: from now on it can be cancelled. Gives the number with which it is answered.
    pub(super) fn begin(&self, frame: &Frame) -> u64 {
        use Call as C;
        let completes = matches!(Call::from_number(frame.call), Some(C::Write | C::Finish));
        self.held.lock().begin(frame.request, completes)
    }

    /// The answer to a request that was begun.
    pub(super) fn answer(&self, task: u64, frame: &Frame) -> Answer {
        let mut descriptor = None;
        let outcome = self.dispatch(task, frame, &mut descriptor);
        let released = self.held.lock().end(task, outcome.is_err());
        self.give_back(&released.leases);
        match outcome {
            Ok(body) => Answer { flags: Flags::default(), body, descriptor },
            Err(error) => Answer::error(&error),
        }
    }

    /// The answer to a request that was begun and will not be worked on any further.
    pub(super) fn refuse(&self, task: u64, error: &Error) -> Answer {
        let released = self.held.lock().end(task, true);
        self.give_back(&released.leases);
        Answer::error(error)
    }

    /// The client sends no more: uploads are let go of, once no call is under way that may complete one.
    pub(super) fn abandon_uploads(&self) {
        let _released = self.held.lock().abandon_uploads();
    }

    /// The client is gone: ends its queries and lets go of what it held.
    pub(super) fn end(&self) {
        let released = self.held.lock().clear();
        self.give_back(&released.leases);
    }

    fn give_back(&self, leases: &[u64]) {
        if let Some(arena) = self.sharing.get().and_then(Sharing::arena) {
            for &lease in leases {
                // One that was given back before is no concern of others.
                arena.give_back(lease);
            }
        }
    }

    fn dispatch(&self, task: u64, frame: &Frame, descriptor: &mut Option<OwnedFd>) -> Result<Vec<u8>> {
        let Some(call) = Call::from_number(frame.call) else {
            let message = format!("call {} is of a newer protocol than {}", frame.call, version::NEWEST);
            return Err(Error::new(ErrorCode::Unsupported, message));
        };
        if call != Call::Hello {
            self.check_greeted()?;
        }
        let body = frame.body.as_slice();
        match call {
            Call::Hello => self.hello(&decode(body)?),
            Call::Version => {
                let Pin { snapshot } = decode(body)?;
                encode(&VersionMessage { version: self.reader(snapshot)?.version()? })
            }
            Call::Tables => {
                let Pin { snapshot } = decode(body)?;
                encode(&infos(self.reader(snapshot)?.tables()?)?)
            }
            Call::TableByName => {
                let Name { snapshot, name } = decode(body)?;
                encode(&InfoMessage::new(self.reader(snapshot)?.table(&name)?)?)
            }
            Call::TableById => {
                let Table { snapshot, table } = decode(body)?;
                encode(&InfoMessage::new(self.reader(snapshot)?.table_by_id(table)?)?)
            }
            Call::Get => {
                let Get { snapshot, table, key } = decode(body)?;
                self.get_many(task, GetMany { snapshot, table, keys: vec![key], partial: false })
            }
            Call::GetMany => {
                if body.len() > KEYS_LEN_MAX {
                    let message = format!("keys of {} bytes in one call; at most {KEYS_LEN_MAX}", body.len());
                    return Err(Error::new(ErrorCode::TooLarge, message));
                }
                self.get_many(task, decode(body)?)
            }
            Call::GetRow => {
                let mut found = Vec::new();
                self.get_row(body, &mut found)?;
                Ok(found)
            }
            Call::Snapshot => {
                let snapshot = self.backend.pin()?;
                let id = self.held.lock().hold_snapshot(task, snapshot)?;
                encode(&Pin { snapshot: Some(id) })
            }
            Call::Release => {
                let Pin { snapshot } = decode(body)?;
                self.held.lock().snapshots.remove(&snapshot.unwrap_or_default());
                encode(&Empty {})
            }
            Call::Scan => {
                let Scan { snapshot, table, columns } = decode(body)?;
                let (reader, pin) = self.reader_of_cursor(snapshot)?;
                self.begin_cursor(task, reader.scan(table, columns.as_deref())?, pin)
            }
            Call::Changes => {
                let Changes { table, since } = decode(body)?;
                let (_, pin) = self.reader_of_cursor(None)?;
                self.begin_cursor(task, self.backend.changes(table, since)?, pin)
            }
            Call::Sql => {
                let Sql { snapshot, text, parameters } = decode(body)?;
                let (reader, pin) = self.reader_of_cursor(snapshot)?;
                let parameters = values(parameters)?;
                let batches = self.cancellable(task).run(|| reader.sql(&text, &parameters))?;
                self.begin_cursor(task, batches, pin)
            }
            Call::Prepare => {
                let Prepare { text } = decode(body)?;
                let statement = self.cancellable(task).run(|| self.backend.clone().prepare(&text))?;
                let parameters = statement.parameters() as u64;
                let held = HeldStatement { statement, text_len: text.len() };
                let id = self.held.lock().hold_statement(task, held)?;
                encode(&PrepareReply { id, parameters })
            }
            Call::Execute => {
                let Execute { snapshot, id, parameters } = decode(body)?;
                let statement = find(&self.held.lock().statements, id, "statement")?;
                let (_, pin) = self.reader_of_cursor(snapshot)?;
                let parameters = values(parameters)?;
                let planning = self.cancellable(task);
                let batches = planning.run(|| statement.statement.execute(pin.as_deref(), &parameters))?;
                self.begin_cursor(task, batches, pin)
            }
            Call::Forget => {
                let Next { id } = decode(body)?;
                self.held.lock().statements.remove(&id);
                encode(&Empty {})
            }
            Call::Next => {
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
            Call::Close => {
                let Next { id } = decode(body)?;
                let closed = self.held.lock().cursors.remove(&id);
                if let Some(held) = closed {
                    held.canceller.cancel();
                }
                encode(&Empty {})
            }
            Call::Begin => {
                let Begin { kind, as_of, schema } = decode(body)?;
                let now = SystemTime::now();
                let as_of = freshness_at(as_of).map_or(now, |freshness| freshness.as_of.min(now));
                let schema = rows::decode_schema(&schema)?;
                self.held.lock().reserve_upload()?;
                // A panic must not keep the room that was made.
                let begun = catch_unwind(AssertUnwindSafe(|| {
                    let limits = (self.uid, self.uploads.as_ref());
                    Upload::begin(self.backend.clone(), limits, kind, schema, as_of)
                }));
                let upload = begun.unwrap_or_else(|_| Err(Error::internal("the upload panicked")));
                let upload = upload.map(|upload| Arc::new(Mutex::new(Some(upload))));
                encode(&Next { id: self.held.lock().hold_upload(task, upload)? })
            }
            Call::Write => {
                let Write { id, rows } = decode(body)?;
                let upload = find(&self.held.lock().uploads, id, "upload")?;
                match upload.lock().as_mut() {
                    Some(upload) => upload.write(rows::decode_batch(&rows)?)?,
                    None => return Err(unknown("upload", id)),
                }
                encode(&Empty {})
            }
            Call::Finish => {
                let Next { id } = decode(body)?;
                let upload = self.held.lock().uploads.remove(&id).ok_or_else(|| unknown("upload", id))?;
                let upload = upload.lock().take().ok_or_else(|| unknown("upload", id))?;
                match upload.finish()? {
                    Written::Table(info) => encode(&info),
                    Written::Version(version) => encode(&version),
                }
            }
            Call::Abandon => {
                let Next { id } = decode(body)?;
                let abandoned = self.held.lock().uploads.remove(&id);
                drop(abandoned);
                encode(&Empty {})
            }
            Call::DropTable => {
                let Name { name, .. } = decode(body)?;
                encode(&VersionMessage { version: self.backend.drop_table(&name)? })
            }
            Call::Commit => encode(&commit::commit(&*self.backend, decode(body)?)?),
            Call::SourcePosition => {
                let Source { source } = decode(body)?;
                let position = self.backend.source_position(&source)?;
                encode(&PositionReply { position: position.map(serde_bytes::ByteBuf::from) })
            }
            Call::Compact => {
                self.backend.compact()?;
                encode(&Empty {})
            }
            Call::Sync => {
                self.backend.sync()?;
                encode(&Empty {})
            }
            Call::Status => {
                let status = self.backend.status()?;
                encode(&StatusReply {
                    dir: if self.attach { status.dir.display().to_string() } else { String::new() },
                    version: status.version,
                    tables: infos(status.tables)?,
                    damage: status.damage,
                    poisoned: status.poisoned,
                })
            }
            Call::Share => self.share(&decode(body)?, descriptor),
            Call::Return => {
                let Return { leases } = decode(body)?;
                self.give_back(&leases);
                encode(&Empty {})
            }
            Call::Cancel => {
                let Cancel { request } = decode(body)?;
                let released = self.held.lock().cancel(request);
                self.give_back(&released.leases);
                encode(&Empty {})
            }
        }
    }

    fn hello(&self, hello: &Hello) -> Result<Vec<u8>> {
        if hello.protocol < version::FIRST {
            let message = format!("{} speaks protocol {}, which is none", hello.client, hello.protocol);
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let _ = self.greeted.set(());
        let identity = if self.attach { self.backend.identity() } else { None };
        let dir = match identity {
            Some(_) => self.backend.status()?.dir.display().to_string(),
            None => String::new(),
        };
        encode(&HelloReply {
            protocol: hello.protocol.min(version::NEWEST),
            server: format!("pillion {}", env!("CARGO_PKG_VERSION")),
            dir,
            identity: identity.map(|(device, inode)| DirIdentity { device, inode }),
            version: Some(self.backend.version()?),
            seen: hello.seen.map(|version| self.seen(version)).transpose()?,
        })
    }

    fn seen(&self, version: Version) -> Result<Seen> {
        Ok(match self.backend.includes(version)? {
            Some(true) => Seen::Included,
            Some(false) => Seen::Lost,
            None => Seen::Unknown,
        })
    }

    fn share(&self, share: &Share, descriptor: &mut Option<OwnedFd>) -> Result<Vec<u8>> {
        let twice = || Error::new(ErrorCode::InvalidArgument, "a connection shares once");
        if self.sharing.get().is_some() {
            return Err(twice());
        }
        // Without memory, or a descriptor to hand it out, answers go through the socket.
        let arena = if share.memory { self.arenas.take(self.uid) } else { None };
        let handed = arena.as_ref().map(|share| share.arena().descriptor().try_clone_to_owned());
        let arena = match handed {
            Some(Ok(handed)) => {
                *descriptor = Some(handed);
                arena
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "no shared memory for a connection; its answers go through the socket");
                None
            }
            None => None,
        };
        let maps = if share.files { self.backend.maps() } else { None };
        self.sharing.set(Sharing::new(arena, maps)).map_err(|_| twice())?;
        let arena = self.sharing.get().and_then(Sharing::arena);
        encode(&ShareReply { memory: arena.map_or(0, |arena| arena.capacity() as u64) })
    }

    /// The newest version, or a held one.
    fn reader(&self, snapshot: Option<u64>) -> Result<Arc<dyn Reader>> {
        match snapshot {
            None => Ok(self.backend.clone()),
            Some(id) => self.snapshot(id),
        }
    }

    fn snapshot(&self, id: u64) -> Result<Arc<dyn Reader>> {
        find(&self.held.lock().snapshots, id, "snapshot")
    }

    /// As [`reader`](Self::reader), and held: the files that an answer names must stay until the client opened them.
    fn reader_of_cursor(&self, snapshot: Option<u64>) -> Result<(Arc<dyn Reader>, Pinned)> {
        let names_files = self.sharing.get().is_some_and(|sharing| sharing.maps().is_some());
        let pin = match snapshot {
            Some(id) => Some(self.snapshot(id)?),
            None if names_files => Some(self.backend.pin()?),
            None => None,
        };
        Ok((pin.clone().unwrap_or_else(|| self.backend.clone()), pin))
    }

    /// Appends the answer to a lookup. It gives nothing, so it need not be begun or cancelled.
    pub(super) fn get_row(&self, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        self.check_greeted()?;
        let request = GetRow::decode(body)?;
        let pinned = request.snapshot.map(|id| self.snapshot(id)).transpose()?;
        match &pinned {
            Some(pinned) => {
                encode_found(out, pinned.get(request.table, &request)?.as_ref(), || pinned.version())
            }
            None => {
                let reader = &self.backend;
                encode_found(out, reader.get(request.table, &request)?.as_ref(), || reader.version())
            }
        }
    }

    fn check_greeted(&self) -> Result<()> {
        if self.is_greeted() {
            return Ok(());
        }
        Err(Error::new(ErrorCode::InvalidArgument, "the first call of a connection is hello"))
    }

    fn get_many(&self, task: u64, request: GetMany) -> Result<Vec<u8>> {
        let GetMany { snapshot, table, keys, partial } = request;
        if keys.len() > KEYS_MAX {
            let message = format!("more than {KEYS_MAX} keys in one call");
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        let reader = self.reader(snapshot)?;
        let keys: Vec<Vec<Value>> = keys.into_iter().map(values).collect::<Result<_>>()?;
        let mut found =
            reader.get_many(table, &mut keys.iter().map(|key| key as &dyn crate::types::key::Key))?;
        let within = Row::count_within(&found.iter().flatten().collect::<Vec<_>>(), ROWS_LEN_MAX)?;
        let mut with_rows = found.iter().enumerate().filter(|(_, row)| row.is_some());
        if let Some((too_far, _)) = with_rows.nth(within) {
            if !partial {
                let message = format!(
                    "the rows of {} keys have more than {ROWS_LEN_MAX} bytes; ask for {too_far} keys at a time, or fewer",
                    keys.len()
                );
                return Err(Error::new(ErrorCode::TooLarge, message));
            }
            found.truncate(too_far);
        }
        let first = found.iter().flatten().next();
        let (version, as_of) = match first {
            Some(row) => (row.version(), row.freshness().map(|freshness| nanoseconds_of(freshness.as_of))),
            None => (reader.version()?, None),
        };
        let rows: Vec<&Row> = found.iter().flatten().collect();
        let found = found.iter().map(Option::is_some).collect();
        let mut reply = RowsReply { found, version, as_of, rows: Vec::new(), layout: Vec::new() };
        if !rows.is_empty() {
            let batch = Row::gather(&rows)?;
            match self.sharing_for(&batch) {
                Some(sharing) => {
                    let mut description = Description::new(batch.schema(), None);
                    description.push(&batch)?;
                    let described = description.finish(sharing.arena())?;
                    self.give(task, described.lease);
                    reply.layout = described.bytes;
                }
                None => reply.rows = rows::encode_batch(&batch)?,
            }
        }
        encode(&reply)
    }

    fn sharing_for(&self, batch: &RecordBatch) -> Option<&Sharing> {
        self.sharing.get().filter(|_| Description::suits(batch.schema_ref()))
    }

    fn give(&self, task: u64, lease: Option<u64>) {
        if let Some(lease) = lease {
            self.held.lock().give(task, Gift::Lease(lease));
        }
    }

    /// What ends the planning of a query if its request is cancelled, or was before.
    fn cancellable(&self, task: u64) -> Canceller {
        let canceller = Canceller::new(None);
        self.held.lock().can_cancel(task, &canceller);
        canceller
    }

    fn begin_cursor(&self, task: u64, batches: Batches, pin: Pinned) -> Result<Vec<u8>> {
        let canceller = batches.canceller();
        self.held.lock().can_cancel(task, &canceller);
        let mut cursor = Cursor::new(batches, pin);
        let first = cursor.first(self.sharing.get())?;
        self.give(task, first.lease);
        let (schema, version, as_of) = {
            let batches = cursor.batches();
            (
                rows::encode_schema(batches.schema())?,
                batches.version(),
                batches.freshness().map(|freshness| nanoseconds_of(freshness.as_of)),
            )
        };
        let id = match cursor.is_done() {
            true => 0,
            false => {
                let held = HeldCursor { cursor: Mutex::new(cursor), canceller };
                self.held.lock().hold_cursor(task, Arc::new(held))?
            }
        };
        encode(&CursorReply { id, schema, version, as_of, first: first.reply })
    }
}

impl Answer {
    /// An answer that says what went wrong.
    pub(super) fn error(error: &Error) -> Self {
        let body = encode(&ErrorMessage::new(error)).unwrap_or_default();
        Self { flags: Flags::ERROR, body, descriptor: None }
    }
}

fn infos(tables: Vec<TableInfo>) -> Result<Vec<InfoMessage>> {
    tables.into_iter().map(InfoMessage::new).collect()
}

fn find<T: Clone>(held: &std::collections::HashMap<u64, T>, id: u64, what: &str) -> Result<T> {
    held.get(&id).cloned().ok_or_else(|| unknown(what, id))
}

fn unknown(what: &str, id: u64) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the connection holds no {what} {id}"))
}
