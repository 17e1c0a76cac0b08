//! Reads of the newest version, or of one that the sidecar holds.

use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::answers::begin_answer;
use super::connection::{Connection, Link, Repeat};
use crate::answer::batches::Batches;
use crate::answer::cells::{CellColumns, SentRow};
use crate::answer::row::Row;
use crate::types::bounds::ReadBounds;
use crate::types::clock::freshness_at;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::{Key, KeyParts};
use crate::types::value::{Value, ValueRef};
use crate::types::version::Version;
use crate::way::Reader;
use crate::way::table_info::TableInfo;
use crate::wire::{
    self, Call, Empty, FoundRow, Get, GetMany, InfoMessage, Name, Pin, RowsReply, Scan, Sql, VersionMessage,
    WireValue,
};

/// Bytes of most lookups: room that is reserved for one.
const LOOKUP_LEN: usize = 64;
/// Keys of one request of `get_many`; a longer list takes several requests at one snapshot.
const KEYS_PER_CALL: usize = 10_000;
/// Bytes of the keys of one request; the rest is for the names in the message.
const KEYS_LEN_PER_CALL: usize = wire::KEYS_LEN_MAX - 1024;
/// Most bytes that a key takes beside its parts.
const KEY_LEN: usize = 5;

/// A version of the cache, or at each call the newest.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) connection: Arc<Connection>,
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

impl View {
    /// The newest version at each call.
    pub(super) fn newest(connection: Arc<Connection>) -> Self {
        Self { connection, snapshot: None }
    }

    /// The number of the snapshot.
    pub(super) fn snapshot(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|held| held.id)
    }

    /// Asks for something of this version; if it is held, only on the connection that holds it.
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

    /// How rows of a table are sent as cells; costs a call the first time.
    fn cells(&self, table: u64) -> Result<Option<Arc<CellColumns>>> {
        let known = || self.connection.link().shared().cells(table);
        if let Some(cells) = known() {
            return Ok(cells);
        }
        self.table_by_id(table)?;
        Ok(known().flatten())
    }

    /// Looks up a row whose columns are known and have cells.
    fn get_row(&self, table: u64, columns: &Arc<CellColumns>, key: &dyn Key) -> Result<Option<Row>> {
        let mut body = Vec::with_capacity(LOOKUP_LEN);
        wire::encode_get_row(&mut body, self.snapshot(), table, key)?;
        let answer = self.send(Call::GetRow, &body)?;
        let wrong = || Error::internal("the answer of the sidecar is not a row of its table");
        let FoundRow { version, freshness, cells, tier } = FoundRow::decode(&answer).ok_or_else(wrong)?;
        self.connection.saw(version);
        cells
            .map(|start| {
                let row = SentRow::decode(columns.clone(), answer, start).ok_or_else(wrong)?;
                Ok(Row::of_cells(row, version, freshness, tier))
            })
            .transpose()
    }

    /// Asks for the rows of keys; returns how many of the keys were answered, which are the first ones.
    fn get_some(&self, table: u64, keys: &mut Vec<wire::Key>, rows: &mut Vec<Option<Row>>) -> Result<usize> {
        // Before the request: once there is an answer, it must be read, as reading it gives back what it leases.
        let schema = self.schema(table)?;
        let (snapshot, bounds) = (self.snapshot(), self.connection.bounds()?);
        let wanted = keys.len();
        let (reply, link): (RowsReply, Link) = if wanted == 1 {
            let key = keys.first().cloned().unwrap_or_default();
            self.ask(Call::Get, &Get { snapshot, table, key, bounds })?
        } else {
            let request = GetMany { snapshot, table, keys: std::mem::take(keys), partial: true, bounds };
            let answer = self.ask(Call::GetMany, &request);
            *keys = request.keys;
            answer?
        };
        let version = self.connection.saw(reply.version);
        let found = reply.found.iter().filter(|&&found| found).count();
        let freshness = freshness_at(reply.as_of);
        let batch = if !reply.layout.is_empty() {
            wire::rebuild(&reply.layout, &schema, link.shared())?.pop()
        } else if found > 0 {
            Some(wire::decode_batch(&reply.rows)?)
        } else {
            None
        };
        let received = batch.as_ref().map_or(0, |batch| batch.num_rows());
        let answered = reply.found.len();
        if answered == 0 || answered > wanted || received != found {
            return Err(Error::internal("the sidecar answered another number of keys than it was asked for"));
        }
        let batch = batch.map(Arc::new);
        let mut next = 0;
        rows.extend(reply.found.iter().map(|&is_found| {
            let batch = batch.as_ref().filter(|_| is_found)?;
            let fetched = reply.fetched.get(next).copied().flatten();
            next += 1;
            Some(match fetched {
                None => Row::of_batch(batch.clone(), next - 1, version, freshness),
                Some(as_of) => Row::fetched(batch.clone(), next - 1, version, freshness_at(Some(as_of))),
            })
        }));
        Ok(answered)
    }
}

impl View {
    /// The columns of a table, which never change; costs a call the first time.
    pub(super) fn schema(&self, table: u64) -> Result<SchemaRef> {
        match self.connection.link().shared().schema(table) {
            Some(schema) => Ok(schema),
            None => Ok(self.table_by_id(table)?.schema),
        }
    }
}

/// What a broken connection means for a snapshot that it held.
fn snapshot_lost(error: Error) -> Error {
    match error.code() {
        ErrorCode::Unavailable => {
            let message = "the snapshot was held by a connection that broke; take a new one";
            Error::new(ErrorCode::Closed, message).with_source(error)
        }
        _ => error,
    }
}

/// The information on a table; remembers its columns.
fn learn(info: InfoMessage, link: &Link) -> Result<TableInfo> {
    let info = info.into_info()?;
    link.shared().learn_schema(info.id, &info.schema);
    Ok(info)
}

impl Reader for View {
    fn version(&self) -> Result<Version> {
        let reply: VersionMessage = self.ask(Call::Version, &Pin { snapshot: self.snapshot() })?.0;
        Ok(self.connection.saw(reply.version))
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
        let request = wire::Table { snapshot: self.snapshot(), table };
        let (reply, link) = self.ask(Call::TableById, &request)?;
        learn(reply, &link)
    }

    fn get(&self, table: u64, key: &dyn Key) -> Result<Option<Row>> {
        // A lookup in bytes says nothing of bounds.
        if ReadBounds::current().is_none()
            && let Some(columns) = self.cells(table)?
        {
            return self.get_row(table, &columns, key);
        }
        let mut rows = Vec::with_capacity(1);
        self.get_some(table, &mut vec![wire_key(key)?], &mut rows)?;
        Ok(rows.pop().flatten())
    }

    fn get_many(&self, table: u64, keys: &mut dyn Iterator<Item = &dyn Key>) -> Result<Vec<Option<Row>>> {
        let keys: Vec<wire::Key> = keys.map(wire_key).collect::<Result<_>>()?;
        let mut rows = Vec::with_capacity(keys.len());
        let parts = portions(keys);
        // Several requests must see one version.
        let mut view = if parts.len() > 1 { self.held()? } else { self.clone() };
        for mut part in parts {
            while !part.is_empty() {
                let answered = view.get_some(table, &mut part, &mut rows)?;
                if answered < part.len() && view.snapshot.is_none() {
                    // The answer was cut, as it would be too long. It is the first one, so all keys are asked for
                    // again at one version.
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
        let (snapshot, bounds) = (self.snapshot(), self.connection.bounds()?);
        let request = Scan { snapshot, table, columns: columns.map(<[String]>::to_vec), bounds };
        let (reply, link) = self.ask(Call::Scan, &request)?;
        begin_answer(self.connection.clone(), link, &reply)
    }

    fn sql(&self, text: &str, parameters: &[Value]) -> Result<Batches> {
        let (snapshot, bounds) = (self.snapshot(), self.connection.bounds()?);
        let request = Sql { snapshot, text: text.to_owned(), parameters: wire_values(parameters), bounds };
        let (reply, link) = self.ask(Call::Sql, &request)?;
        begin_answer(self.connection.clone(), link, &reply)
    }

    /// A message takes waiting.
    fn sql_known(&self, _: &str, _: &[Value]) -> Result<Option<Batches>> {
        Ok(None)
    }
}

impl View {
    /// This version held, or the newest one, so that several requests see the same.
    fn held(&self) -> Result<Self> {
        if self.snapshot.is_some() { Ok(self.clone()) } else { self.pinned() }
    }

    pub(super) fn pinned(&self) -> Result<Self> {
        let (Pin { snapshot }, link) = self.connection.call_on(Call::Snapshot, &Empty {}, Repeat::Once)?;
        let id = snapshot.ok_or_else(|| Error::internal("the sidecar held no snapshot"))?;
        let held = HeldSnapshot { connection: self.connection.clone(), link, id };
        Ok(Self { snapshot: Some(Arc::new(held)), ..self.clone() })
    }
}

/// Splits keys into requests, each with few enough keys and bytes.
fn portions(keys: Vec<wire::Key>) -> Vec<Vec<wire::Key>> {
    let mut portions: Vec<Vec<wire::Key>> = Vec::new();
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

pub(super) fn wire_values(values: &[Value]) -> Vec<WireValue> {
    values.iter().map(|value| value.borrow().into()).collect()
}

fn wire_key(key: &dyn Key) -> Result<wire::Key> {
    struct Collect(wire::Key);

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
