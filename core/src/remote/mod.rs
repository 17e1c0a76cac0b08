//! Remote: the cache runs in a sidecar, and every call is a message over its socket.

mod answers;
mod connection;
mod scope;
mod shared;
mod writes;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::datatypes::SchemaRef;
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::answers::begin_answer;
use self::connection::{Connection, Link, Place, Repeat};
pub(crate) use self::scope::CallScope;
use crate::api::backend::{Backend, Reader, Statement, delegate_reads};
use crate::api::batches::Batches;
use crate::api::cache::{Status, Way};
use crate::api::cells::{CellColumns, SentRow};
use crate::api::definition::TableDefinition;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::key::{Key, KeyParts};
use crate::api::row::Row;
use crate::api::rules::TableRules;
use crate::api::table::TableInfo;
use crate::api::transaction::Change;
use crate::api::value::{Value, ValueRef};
use crate::api::version::Version;
use crate::protocol::{
    self as protocol, Call, Changes, Empty, Execute, Found, Get, GetMany, InfoMessage, Name, Next, Pin,
    PositionReply, Prepare, PrepareReply, RowsReply, Scan, Source, Sql, StatusReply, VersionMessage,
    WireValue, WriteKind,
};

/// Bytes of most lookups.
const LOOKUP_LEN: usize = 64;

/// Keys of one request of `get_many`; longer lists are asked for in parts, of one snapshot.
const KEYS_PER_CALL: usize = 10_000;
/// Their bytes; the rest is for the names of the message.
const KEYS_LEN_PER_CALL: usize = protocol::KEYS_LEN_MAX - 1024;
/// Bytes that a key takes beside its parts at most.
const KEY_LEN: usize = 5;

/// A cache in a sidecar.
#[derive(Debug)]
pub(crate) struct Remote {
    connection: Arc<Connection>,
    newest: View,
    told_dir: Option<PathBuf>,
}

/// One version of it, or the newest at each call.
#[derive(Clone, Debug)]
struct View {
    connection: Arc<Connection>,
    snapshot: Option<Arc<HeldSnapshot>>,
}

/// A snapshot that the sidecar holds for this client. It is gone if the connection breaks.
#[derive(Debug)]
struct HeldSnapshot {
    connection: Arc<Connection>,
    link: Link,
    id: u64,
}

impl Drop for HeldSnapshot {
    fn drop(&mut self) {
        self.connection.tell(&self.link, Call::Release, &Pin { snapshot: Some(self.id) });
    }
}

impl Remote {
    /// Connects to a sidecar, waiting for one that is still starting. Also says where this process finds the sidecar's
    /// directory, if it does: at `dir`, or where the sidecar says. `attach`: the directory will be mapped, and this way
    /// in is for writing only.
    pub(crate) fn connect(
        socket: &Path,
        dir: Option<&Path>,
        attach: bool,
        deadline: Duration,
    ) -> Result<(Self, Option<PathBuf>)> {
        let place = Place { socket: socket.to_owned(), dir: dir.map(Path::to_owned), attach };
        let (connection, greeting) = Connection::open(place, deadline)?;
        let connection = Arc::new(connection);
        let newest = View { connection: connection.clone(), snapshot: None };
        let found = connection.shares_files().then(|| PathBuf::from(&greeting.dir));
        let told_dir = greeting.identity.map(|_| PathBuf::from(greeting.dir));
        Ok((Self { connection, newest, told_dir }, found))
    }

    /// Where the directory should be, if the sidecar lets its clients attach.
    pub(crate) fn told_dir(&self) -> Option<&Path> {
        self.told_dir.as_deref()
    }
}

impl View {
    /// The number of the snapshot.
    fn snapshot(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|held| held.id)
    }

    /// Asks for something of this version; of a held one only on the connection that holds it.
    fn ask<T: DeserializeOwned>(&self, call: Call, request: &impl Serialize) -> Result<(T, Link)> {
        match &self.snapshot {
            None => self.connection.call_on(call, request, Repeat::Once),
            Some(held) => {
                let reply = self.connection.call_held(&held.link, call, request, Repeat::Once);
                reply.map(|reply| (reply, held.link.clone())).map_err(snapshot_lost)
            }
        }
    }

    /// As [`ask`](Self::ask), for a request and an answer that are bytes.
    fn send(&self, call: Call, body: &[u8]) -> Result<Vec<u8>> {
        let (connection, deadline) = (&self.connection, self.connection.deadline());
        match &self.snapshot {
            None => connection.send_on(call, body, deadline, Repeat::Once).map(|(answer, _)| answer),
            Some(held) => {
                let answer = connection.send_held(&held.link, call, body, deadline, Repeat::Once);
                answer.map_err(snapshot_lost)
            }
        }
    }

    /// How rows of a table can be sent as cells; the first time for the price of a call.
    fn cells(&self, table: u64) -> Result<Option<Arc<CellColumns>>> {
        let known = || self.connection.link().shared().cells(table);
        if let Some(cells) = known() {
            return Ok(cells);
        }
        self.table_by_id(table)?;
        Ok(known().flatten())
    }

    /// A lookup of a row whose columns are known and have cells.
    fn get_row(&self, table: u64, columns: &Arc<CellColumns>, key: &dyn Key) -> Result<Option<Row>> {
        let mut body = Vec::with_capacity(LOOKUP_LEN);
        protocol::encode_get_row(&mut body, self.snapshot(), table, key)?;
        let answer = self.send(Call::GetRow, &body)?;
        let wrong = || Error::internal("the answer of the sidecar is no row of its table");
        let Found { version, freshness, cells } = Found::decode(&answer).ok_or_else(wrong)?;
        self.connection.saw(version);
        cells
            .map(|start| {
                let row = SentRow::decode(columns.clone(), answer, start).ok_or_else(wrong)?;
                Ok(Row::of_cells(row, version, freshness))
            })
            .transpose()
    }

    /// Asks for the rows of keys, and tells of how many of them the answer is.
    fn get_some(
        &self,
        table: u64,
        keys: &mut Vec<protocol::Key>,
        rows: &mut Vec<Option<Row>>,
    ) -> Result<usize> {
        // Before there is an answer: what it leases is given back by whoever reads it.
        let schema = self.schema(table)?;
        let snapshot = self.snapshot();
        let wanted = keys.len();
        let (reply, link): (RowsReply, Link) = if wanted == 1 {
            let key = keys.first().cloned().unwrap_or_default();
            self.ask(Call::Get, &Get { snapshot, table, key })?
        } else {
            let request = GetMany { snapshot, table, keys: std::mem::take(keys), partial: true };
            let answer = self.ask(Call::GetMany, &request);
            *keys = request.keys;
            answer?
        };
        self.connection.saw(reply.version);
        let found = reply.found.iter().filter(|&&found| found).count();
        let freshness = protocol::freshness(reply.as_of);
        let batch = if !reply.layout.is_empty() {
            protocol::rebuild(&reply.layout, &schema, link.shared())?.pop()
        } else if found > 0 {
            Some(protocol::decode_batch(&reply.rows)?)
        } else {
            None
        };
        let received = batch.as_ref().map_or(0, |batch| batch.num_rows());
        let answered = reply.found.len();
        if answered == 0 || answered > wanted || received != found {
            return Err(Error::internal("the sidecar answered another number of keys than were asked for"));
        }
        let batch = batch.map(Arc::new);
        let mut next = 0;
        rows.extend(reply.found.iter().map(|&is_found| {
            let batch = batch.as_ref().filter(|_| is_found)?;
            next += 1;
            Some(Row::of_batch(batch.clone(), next - 1, reply.version, freshness))
        }));
        Ok(answered)
    }
}

impl View {
    /// The columns of a table, which never change; the first time for the price of a call.
    fn schema(&self, table: u64) -> Result<SchemaRef> {
        match self.connection.link().shared().schema(table) {
            Some(schema) => Ok(schema),
            None => Ok(self.table_by_id(table)?.schema),
        }
    }
}

/// What it means for a snapshot that its connection broke.
fn snapshot_lost(error: Error) -> Error {
    match error.code() {
        ErrorCode::Unavailable => {
            let message = "the snapshot was held by a connection that broke; take a new one";
            Error::new(ErrorCode::Closed, message).with_source(error)
        }
        _ => error,
    }
}

/// What is told of a table; its columns are remembered.
fn learn(info: InfoMessage, link: &Link) -> Result<TableInfo> {
    let info = info.into_info()?;
    link.shared().learn_schema(info.id, &info.schema);
    Ok(info)
}

impl Reader for View {
    fn version(&self) -> Result<Version> {
        let reply: VersionMessage = self.ask(Call::Version, &Pin { snapshot: self.snapshot() })?.0;
        self.connection.saw(reply.version);
        Ok(reply.version)
    }

    fn tables(&self) -> Result<Vec<TableInfo>> {
        let (reply, link): (Vec<InfoMessage>, Link) =
            self.ask(Call::Tables, &Pin { snapshot: self.snapshot() })?;
        reply.into_iter().map(|info| learn(info, &link)).collect()
    }

    fn table(&self, name: &str) -> Result<TableInfo> {
        let request = Name { snapshot: self.snapshot(), name: name.to_owned() };
        let (reply, link) = self.ask(Call::TableByName, &request)?;
        learn(reply, &link)
    }

    fn table_by_id(&self, table: u64) -> Result<TableInfo> {
        let request = protocol::Table { snapshot: self.snapshot(), table };
        let (reply, link) = self.ask(Call::TableById, &request)?;
        learn(reply, &link)
    }

    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        if let Some(columns) = self.cells(table)? {
            return self.get_row(table, &columns, key);
        }
        let mut rows = Vec::with_capacity(1);
        self.get_some(table, &mut vec![wire_key(key)?], &mut rows)?;
        Ok(rows.pop().flatten())
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        let keys: Vec<protocol::Key> = keys.map(wire_key).collect::<Result<_>>()?;
        let mut rows = Vec::with_capacity(keys.len());
        let parts = portions(keys);
        // Several requests must see one version.
        let mut view = if parts.len() > 1 { self.held()? } else { self.clone() };
        for mut part in parts {
            while !part.is_empty() {
                let answered = view.get_some(table, &mut part, &mut rows)?;
                if answered < part.len() && view.snapshot.is_none() {
                    // The answer would be too long. It is the first one, and all are asked for again.
                    view = view.held()?;
                    rows.clear();
                } else {
                    part.drain(..answered);
                }
            }
        }
        Ok(rows)
    }

    fn scan(&self, table: u64, columns: Option<&[String]>) -> Result<Batches> {
        let request = Scan { snapshot: self.snapshot(), table, columns: columns.map(<[String]>::to_vec) };
        let (reply, link) = self.ask(Call::Scan, &request)?;
        begin_answer(self.connection.clone(), link, &reply)
    }

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        let request =
            Sql { snapshot: self.snapshot(), text: text.to_owned(), parameters: wire_values(parameters) };
        let (reply, link) = self.ask(Call::Sql, &request)?;
        begin_answer(self.connection.clone(), link, &reply)
    }
}

impl View {
    /// This version, or the newest, held for several requests.
    fn held(&self) -> Result<Self> {
        if self.snapshot.is_some() { Ok(self.clone()) } else { self.pinned() }
    }

    fn pinned(&self) -> Result<Self> {
        let (Pin { snapshot }, link) = self.connection.call_on(Call::Snapshot, &Empty {}, Repeat::Once)?;
        let id = snapshot.ok_or_else(|| Error::internal("the sidecar held no snapshot"))?;
        let held = HeldSnapshot { connection: self.connection.clone(), link, id };
        Ok(Self { snapshot: Some(Arc::new(held)), ..self.clone() })
    }
}

impl Reader for Remote {
    delegate_reads!(newest);

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        self.newest.sql(text, parameters)
    }
}

impl Backend for Remote {
    fn way(&self) -> Way {
        Way::Remote
    }

    fn messages_sent(&self) -> u64 {
        self.connection.sent()
    }

    fn includes(&self, version: Version) -> Result<Option<bool>> {
        Ok(self.version()?.includes(version))
    }

    fn pin(&self) -> Result<Arc<dyn Reader>> {
        Ok(Arc::new(self.newest.pinned()?))
    }

    fn prepare(self: Arc<Self>, text: &str) -> Result<Arc<dyn Statement>> {
        let statement = RemoteStatement {
            text: text.to_owned(),
            held: Mutex::new(prepare(&self.connection, text)?),
            connection: self.connection.clone(),
        };
        Ok(Arc::new(statement))
    }

    fn define_table(&self, name: &str, definition: TableDefinition) -> Result<TableInfo> {
        let TableDefinition { input, rules } = definition;
        if let Ok(info) = self.table(name) {
            info.check_definition(&rules)?;
            return Ok(info);
        }
        let TableRules { primary_key, sort_by, write_policy, retention } = rules;
        let name = name.to_owned();
        let kind = WriteKind::Define { name, primary_key, sort_by, write_policy, retention };
        writes::upload::<InfoMessage>(&self.connection, kind, input, None, None)?.into_info()
    }

    fn drop_table(&self, name: &str) -> Result<Version> {
        self.connection.check_open()?;
        let request = Name { snapshot: None, name: name.to_owned() };
        let reply: VersionMessage = self.connection.call(Call::DropTable, &request, Repeat::Never)?;
        self.connection.saw(reply.version);
        Ok(reply.version)
    }

    fn write(&self, changes: Vec<Change>, as_of: SystemTime) -> Result<Version> {
        let reply = writes::write(&self.connection, changes, as_of, &|table| self.newest.schema(table))?;
        self.connection.saw(reply.version);
        Ok(reply.version)
    }

    fn changes(&self, table: u64, since: Version) -> Result<Batches> {
        let request = Changes { table, since };
        let (reply, link) = self.connection.call_on(Call::Changes, &request, Repeat::Once)?;
        begin_answer(self.connection.clone(), link, &reply)
    }

    fn source_position(&self, source: &str) -> Result<Option<Vec<u8>>> {
        let request = Source { source: source.to_owned() };
        let reply: PositionReply = self.connection.call(Call::SourcePosition, &request, Repeat::Once)?;
        Ok(reply.position.map(serde_bytes::ByteBuf::into_vec))
    }

    fn compact(&self) -> Result<()> {
        self.connection.check_open()?;
        let Empty {} = self.connection.call(Call::Compact, &Empty {}, Repeat::Once)?;
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        self.connection.check_open()?;
        let Empty {} = self.connection.call(Call::Sync, &Empty {}, Repeat::Once)?;
        Ok(())
    }

    fn status(&self) -> Result<Status> {
        let reply: StatusReply = self.connection.call(Call::Status, &Empty {}, Repeat::Once)?;
        Ok(Status {
            way: Way::Remote,
            dir: PathBuf::from(reply.dir),
            version: reply.version,
            tables: reply.tables.into_iter().map(InfoMessage::into_info).collect::<Result<_>>()?,
            damage: reply.damage,
            poisoned: reply.poisoned,
            owner: None,
        })
    }

    fn close(&self) -> Result<()> {
        self.connection.close();
        Ok(())
    }
}

/// A query that the sidecar planned for this client; planned again after the connection broke.
#[derive(Debug)]
struct RemoteStatement {
    connection: Arc<Connection>,
    text: String,
    held: Mutex<HeldStatement>,
}

#[derive(Clone, Debug)]
struct HeldStatement {
    link: Link,
    id: u64,
    parameters: usize,
}

impl HeldStatement {
    fn is(&self, other: &Self) -> bool {
        self.id == other.id && self.link.is(&other.link)
    }
}

fn prepare(connection: &Connection, text: &str) -> Result<HeldStatement> {
    let request = Prepare { text: text.to_owned() };
    let (reply, link): (PrepareReply, Link) = connection.call_on(Call::Prepare, &request, Repeat::Once)?;
    let parameters = usize::try_from(reply.parameters).unwrap_or(usize::MAX);
    Ok(HeldStatement { link, id: reply.id, parameters })
}

impl Statement for RemoteStatement {
    fn parameters(&self) -> usize {
        self.held.lock().parameters
    }

    fn execute(&self, at: Option<&dyn Reader>, parameters: &[Value]) -> Result<Batches> {
        let view = match at {
            None => None,
            Some(reader) => match (reader as &dyn std::any::Any).downcast_ref::<View>() {
                Some(view) if Arc::ptr_eq(&view.connection, &self.connection) => Some(view),
                _ => return Err(Error::new(ErrorCode::InvalidArgument, "the snapshot is of another cache")),
            },
        };
        let parameters = wire_values(parameters);
        let mut held = self.held.lock().clone();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let request = Execute {
                snapshot: view.and_then(View::snapshot),
                id: held.id,
                parameters: parameters.clone(),
            };
            let reply = self.connection.call_held(&held.link, Call::Execute, &request, Repeat::Once);
            match reply {
                // The connection that planned it broke; a snapshot went with it.
                Err(error) if error.code() == ErrorCode::Unavailable && view.is_none() && attempts < 3 => {
                    let mut newest = self.held.lock();
                    // Another thread may have been faster.
                    if newest.is(&held) {
                        *newest = prepare(&self.connection, &self.text)?;
                    }
                    held = newest.clone();
                }
                Err(error) => return Err(error),
                Ok(reply) => return begin_answer(self.connection.clone(), held.link, &reply),
            }
        }
    }
}

impl Drop for RemoteStatement {
    fn drop(&mut self) {
        let held = self.held.lock();
        self.connection.tell(&held.link, Call::Forget, &Next { id: held.id });
    }
}

/// Keys as they are asked for at a time: few enough, and not too long.
fn portions(keys: Vec<protocol::Key>) -> Vec<Vec<protocol::Key>> {
    let mut portions: Vec<Vec<protocol::Key>> = Vec::new();
    let mut len = 0;
    for key in keys {
        let key_len = KEY_LEN + key.iter().map(WireValue::len_max).sum::<usize>();
        match portions.last_mut() {
            Some(portion) if portion.len() < KEYS_PER_CALL && len + key_len <= KEYS_LEN_PER_CALL => {
                len += key_len;
                portion.push(key);
            }
            _ => {
                len = key_len;
                portions.push(vec![key]);
            }
        }
    }
    portions
}

fn wire_values(values: &[Value]) -> Vec<WireValue> {
    values.iter().map(|value| value.borrow().into()).collect()
}

fn wire_key(key: &dyn Key) -> Result<protocol::Key> {
    struct Collect(protocol::Key);

    impl KeyParts for Collect {
        fn part(&mut self, value: ValueRef<'_>) -> Result<()> {
            self.0.push(value.into());
            Ok(())
        }
    }

    let mut parts = Collect(Vec::new());
    key.write_to(&mut parts)?;
    Ok(parts.0)
}
