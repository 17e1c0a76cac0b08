//! What one connection holds, and the answers to its calls. Does no I/O: bytes in, bytes out.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use parking_lot::Mutex;
use pillion_ipc::{Flags, Frame};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cursor::Cursor;
use super::message::{
    Begin, Call, CursorReply, Empty, ErrorMessage, Execute, Get, GetMany, Hello, HelloReply, InfoMessage,
    Key, Name, Next, Pin, Prepare, PrepareReply, RowsReply, Scan, Sql, StatusReply, Table, VersionMessage,
    Write, nanoseconds,
};
use super::upload::{Upload, Written};
use super::value::WireValue;
use super::{rows, version};
use crate::api::backend::{Backend, Reader, Statement};
use crate::api::batches::Batches;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::row::Row;
use crate::api::table::TableInfo;
use crate::api::value::Value;

/// Snapshots, cursors and statements that one connection may hold, of each.
const HELD_MAX: usize = 256;
/// Uploads under way that one connection may hold: each sorts in memory of its own.
const UPLOADS_MAX: usize = 8;
/// Keys that one call may ask for.
const KEYS_MAX: usize = 100_000;

/// One connection's side of a cache. Its calls may come from several threads.
pub(super) struct Session {
    backend: Arc<dyn Backend>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    greeted: bool,
    next_id: u64,
    snapshots: HashMap<u64, Arc<dyn Reader>>,
    statements: HashMap<u64, Arc<dyn Statement>>,
    cursors: HashMap<u64, Arc<Mutex<Cursor>>>,
    uploads: HashMap<u64, Arc<Mutex<Option<Upload>>>>,
}

impl Session {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        Self { backend, held: Mutex::default() }
    }

    /// Whether a call is answered at once, so that it need not leave the thread that read it.
    pub(super) fn is_quick(frame: &Frame) -> bool {
        use Call as C;
        !matches!(
            Call::from_number(frame.call),
            Some(
                C::GetMany
                    | C::Scan
                    | C::Sql
                    | C::Prepare
                    | C::Execute
                    | C::Next
                    | C::Begin
                    | C::Write
                    | C::Finish
                    | C::Abandon
                    | C::DropTable
                    | C::Sync
            )
        )
    }

    /// Whether the first call has been answered.
    pub(super) fn is_greeted(&self) -> bool {
        self.held.lock().greeted
    }

    /// The answer to a request: flags and body of its frame.
    pub(super) fn answer(&self, frame: &Frame) -> (Flags, Vec<u8>) {
        match self.dispatch(frame) {
            Ok(body) => (Flags::default(), body),
            Err(error) => (Flags::ERROR, encode(&ErrorMessage::new(&error)).unwrap_or_default()),
        }
    }

    fn dispatch(&self, frame: &Frame) -> Result<Vec<u8>> {
        let Some(call) = Call::from_number(frame.call) else {
            let message = format!("call {} is of a newer protocol than {}", frame.call, version::NEWEST);
            return Err(Error::new(ErrorCode::Unsupported, message));
        };
        if call != Call::Hello && !self.is_greeted() {
            return Err(Error::new(ErrorCode::InvalidArgument, "the first call of a connection is hello"));
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
                self.get_many(snapshot, table, vec![key])
            }
            Call::GetMany => {
                let GetMany { snapshot, table, keys } = decode(body)?;
                self.get_many(snapshot, table, keys)
            }
            Call::Snapshot => {
                let reader = self.backend.pin()?;
                let id = self.hold(|held| &mut held.snapshots, "snapshots", HELD_MAX, reader)?;
                encode(&Pin { snapshot: Some(id) })
            }
            Call::Release => {
                let Pin { snapshot } = decode(body)?;
                self.held.lock().snapshots.remove(&snapshot.unwrap_or_default());
                encode(&Empty {})
            }
            Call::Scan => {
                let Scan { snapshot, table, columns } = decode(body)?;
                self.begin_cursor(self.reader(snapshot)?.scan(table, columns.as_deref())?)
            }
            Call::Sql => {
                let Sql { snapshot, text, parameters } = decode(body)?;
                self.begin_cursor(self.reader(snapshot)?.sql(&text, &values(parameters)?)?)
            }
            Call::Prepare => {
                let Prepare { text } = decode(body)?;
                let statement = self.backend.clone().prepare(&text)?;
                let parameters = statement.parameters() as u64;
                let id = self.hold(|held| &mut held.statements, "statements", HELD_MAX, statement)?;
                encode(&PrepareReply { id, parameters })
            }
            Call::Execute => {
                let Execute { snapshot, id, parameters } = decode(body)?;
                let statement = find(&self.held.lock().statements, id, "statement")?;
                let at = snapshot.map(|snapshot| self.snapshot(snapshot)).transpose()?;
                self.begin_cursor(statement.execute(at.as_deref(), &values(parameters)?)?)
            }
            Call::Forget => {
                let Next { id } = decode(body)?;
                self.held.lock().statements.remove(&id);
                encode(&Empty {})
            }
            Call::Next => {
                let Next { id } = decode(body)?;
                let cursor = find(&self.held.lock().cursors, id, "cursor")?;
                let next = cursor.lock().next();
                if next.as_ref().map_or(true, |next| next.last) {
                    self.held.lock().cursors.remove(&id);
                }
                encode(&next?)
            }
            Call::Close => {
                let Next { id } = decode(body)?;
                let closed = self.held.lock().cursors.remove(&id);
                drop(closed);
                encode(&Empty {})
            }
            Call::Begin => {
                let Begin { kind, schema } = decode(body)?;
                let upload = Upload::begin(self.backend.clone(), kind, rows::decode_schema(&schema)?)?;
                let upload = Arc::new(Mutex::new(Some(upload)));
                encode(&Next { id: self.hold(|held| &mut held.uploads, "uploads", UPLOADS_MAX, upload)? })
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
            Call::Sync => {
                self.backend.sync()?;
                encode(&Empty {})
            }
            Call::Status => {
                let status = self.backend.status()?;
                encode(&StatusReply {
                    dir: status.dir.display().to_string(),
                    version: status.version,
                    tables: infos(status.tables)?,
                    damage: status.damage,
                })
            }
        }
    }

    fn hello(&self, hello: &Hello) -> Result<Vec<u8>> {
        if hello.protocol < version::FIRST {
            let message = format!("{} speaks protocol {}, which is none", hello.client, hello.protocol);
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        self.held.lock().greeted = true;
        encode(&HelloReply {
            protocol: hello.protocol.min(version::NEWEST),
            server: format!("pillion {}", env!("CARGO_PKG_VERSION")),
            dir: self.backend.status()?.dir.display().to_string(),
        })
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

    fn get_many(&self, snapshot: Option<u64>, table: u64, keys: Vec<Key>) -> Result<Vec<u8>> {
        if keys.len() > KEYS_MAX {
            let message = format!("{} keys in one call; at most {KEYS_MAX}", keys.len());
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        let reader = self.reader(snapshot)?;
        let keys: Vec<Vec<Value>> = keys.into_iter().map(values).collect::<Result<_>>()?;
        let found = reader.get_many(table, &mut keys.iter().map(|key| key as &dyn crate::api::key::Key))?;
        let first = found.iter().flatten().next();
        let (version, as_of) = match first {
            Some(row) => (row.version(), row.freshness().map(nanoseconds)),
            None => (reader.version()?, None),
        };
        let batches: Vec<RecordBatch> = found.iter().flatten().map(Row::to_batch).collect::<Result<_>>()?;
        let rows = match batches.as_slice() {
            [] => Vec::new(),
            [row] => rows::encode_batch(row)?,
            [row, ..] => {
                let joined = arrow::compute::concat_batches(&row.schema(), &batches);
                rows::encode_batch(
                    &joined.map_err(|error| Error::internal("cannot join rows").with_source(error))?,
                )?
            }
        };
        encode(&RowsReply { found: found.iter().map(Option::is_some).collect(), version, as_of, rows })
    }

    fn begin_cursor(&self, batches: Batches) -> Result<Vec<u8>> {
        let mut cursor = Cursor::new(batches);
        let first = cursor.first()?;
        let (schema, version, as_of) = {
            let batches = cursor.batches();
            (rows::encode_schema(batches.schema())?, batches.version(), batches.freshness().map(nanoseconds))
        };
        let id = match first.last {
            true => 0,
            false => {
                self.hold(|held| &mut held.cursors, "cursors", HELD_MAX, Arc::new(Mutex::new(cursor)))?
            }
        };
        encode(&CursorReply { id, schema, version, as_of, first })
    }

    fn hold<T>(
        &self,
        place: impl Fn(&mut Held) -> &mut HashMap<u64, T>,
        what: &str,
        most: usize,
        value: T,
    ) -> Result<u64> {
        let mut held = self.held.lock();
        if place(&mut held).len() >= most {
            let message = format!("the connection holds {most} {what}; let go of some");
            return Err(Error::new(ErrorCode::TooMany, message));
        }
        held.next_id += 1;
        let id = held.next_id;
        place(&mut held).insert(id, value);
        Ok(id)
    }
}

/// A message as the body of a frame.
pub(crate) fn encode(message: &impl Serialize) -> Result<Vec<u8>> {
    rmp_serde::to_vec_named(message)
        .map_err(|error| Error::internal("cannot encode a message").with_source(error))
}

/// The message in the body of a frame.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`].
pub(crate) fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    rmp_serde::from_slice(body).map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, "the body is not the message of its call").with_source(error)
    })
}

fn values(values: Vec<WireValue>) -> Result<Vec<Value>> {
    let wrong = || Error::new(ErrorCode::InvalidArgument, "a value is none that this version knows");
    values.into_iter().map(|value| value.into_value().ok_or_else(wrong)).collect()
}

fn infos(tables: Vec<TableInfo>) -> Result<Vec<InfoMessage>> {
    tables.into_iter().map(InfoMessage::new).collect()
}

fn find<T: Clone>(held: &HashMap<u64, T>, id: u64, what: &str) -> Result<T> {
    held.get(&id).cloned().ok_or_else(|| unknown(what, id))
}

fn unknown(what: &str, id: u64) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the connection holds no {what} {id}"))
}
