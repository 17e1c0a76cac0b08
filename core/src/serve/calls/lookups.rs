//! Calls for the rows of keys.

use arrow::array::RecordBatch;

use super::Request;
use crate::answer::row::Row;
use crate::blocking::brief;
use crate::serve::session::Session;
use crate::serve::sharing::Sharing;
use crate::types::clock::nanoseconds_of;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::types::version::Tier;
use crate::wire::encoding::values;
use crate::wire::layout::Description;
use crate::wire::message::{KEYS_LEN_MAX, KEYS_MAX};
use crate::wire::{BoundsMessage, Get, GetMany, RowsReply, decode, encode, rows};

/// Most bytes of the rows in one answer to many keys; a single row may have more.
const ROWS_LEN_MAX: usize = 16 << 20;

impl Session {
    pub(super) fn answer_get(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let Get { snapshot, table, key, bounds } = decode(body)?;
        self.rows_of_keys(task, GetMany { snapshot, table, keys: vec![key], partial: false, bounds })
    }

    pub(super) fn answer_get_many(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        if body.len() > KEYS_LEN_MAX {
            let message = format!(
                "the keys of one call have {} bytes, and may have at most {KEYS_LEN_MAX}",
                body.len()
            );
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        self.rows_of_keys(task, decode(body)?)
    }

    pub(super) fn answer_get_row(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { task, body, .. } = request;
        let mut found = Vec::new();
        self.cancellable(task).run(|| self.get_row(body, &mut found))?;
        Ok(found)
    }

    fn rows_of_keys(&self, task: u64, request: GetMany) -> Result<Vec<u8>> {
        let GetMany { snapshot, table, keys, partial, bounds } = request;
        if keys.len() > KEYS_MAX {
            let message = format!("more than {KEYS_MAX} keys in one call");
            return Err(Error::new(ErrorCode::TooLarge, message));
        }
        let reader = self.reader(snapshot)?;
        let keys: Vec<Vec<Value>> = keys.into_iter().map(values).collect::<Result<_>>()?;
        let get_many = || {
            let mut keys = keys.iter().map(|key| key as &dyn crate::types::key::Key);
            BoundsMessage::run(bounds, || reader.get_many(table, &mut keys))
        };
        let mut found = if brief::is_brief() { get_many()? } else { self.cancellable(task).run(get_many)? };
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
        self.backend.recording().lookups(&found);
        let is_local = |row: &&Row| row.tier() == Tier::Local;
        let first = found.iter().flatten().find(is_local).or_else(|| found.iter().flatten().next());
        let (version, as_of) = match first {
            Some(row) => (row.version(), row.freshness().map(|freshness| nanoseconds_of(freshness.as_of))),
            None => (reader.version()?, None),
        };
        let rows: Vec<&Row> = found.iter().flatten().collect();
        let fetched = match rows.iter().all(is_local) {
            true => Vec::new(),
            false => rows.iter().map(|row| fetched_at(row)).collect(),
        };
        let found = found.iter().map(Option::is_some).collect();
        let mut reply = RowsReply {
            found,
            version: version.into(),
            as_of,
            fetched,
            rows: Vec::new(),
            layout: Vec::new(),
        };
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
}

/// When the source sent a row for this read; `None` if the cache has it.
fn fetched_at(row: &Row) -> Option<i64> {
    let freshness = row.freshness().filter(|_| row.tier() != Tier::Local)?;
    Some(nanoseconds_of(freshness.as_of))
}
