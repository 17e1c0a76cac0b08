//! Changes that are sent to the sidecar: in one message where their rows fit, else batch by batch.

use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use serde::de::DeserializeOwned;
use serde_bytes::ByteBuf;

use crate::input::Input;
use crate::remote::connection::{Connection, Link, Repeat};
use crate::storage::{batch_len, rows_within};
use crate::types::clock::nanoseconds_of;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::way::change::ChangeRequest;
use crate::wire::{
    self, Begin, COMMIT_LEN_MAX, Call, ChangeMessage, Commit, Empty, Next, VersionMessage, WireValue, Write,
    WriteKind,
};

/// Rows are sent in portions of at most this many bytes; a single row may have more.
const PORTION_LEN: usize = 4 << 20;
/// Most bytes of an encoded portion: it shares a frame with the rest of its message.
const PORTION_LEN_MAX: usize = pillion_ipc::FRAME_BODY_MAX - 1024;

/// Sends the rows of `input` and waits for their commit. `table` is the schema of the table that they go to, if it
/// exists.
pub(super) fn upload<T: DeserializeOwned>(
    connection: &Connection,
    kind: WriteKind,
    input: Input,
    table: Option<&SchemaRef>,
    as_of: Option<SystemTime>,
) -> Result<T> {
    connection.check_open()?;
    let _permit = connection.permit_upload()?;
    let input = input.open(table)?;
    let as_of = as_of.map(nanoseconds_of);
    let begin = Begin { kind, as_of, schema: wire::encode_schema(&input.schema)? };
    let (Next { id }, link) = connection.call_on(Call::Begin, &begin, Repeat::Once)?;
    let upload = Upload { connection, link: &link, id: Some(id) };
    let mut sent_rows = 0_u64;
    let sent = input.batches.map(|batch| {
        let mut rest = batch?;
        while rest.num_rows() > 0 {
            let rows = rows_within(&rest, PORTION_LEN);
            let write = Write { id, rows: encode_portion(&rest.slice(0, rows), sent_rows)? };
            let Empty {} = connection.call_held(&link, Call::Write, &write, Repeat::Once)?;
            sent_rows += rows as u64;
            rest = rest.slice(rows, rest.num_rows() - rows);
        }
        Ok(())
    });
    sent.collect::<Result<()>>()?;
    upload.finish();
    connection.call_held(&link, Call::Finish, &Next { id }, Repeat::Never)
}

/// Encodes rows to be sent; `before` rows were sent before them.
///
/// # Errors
/// [`ErrorCode::InvalidArgument`] if they do not fit into a frame; then `portion` is a single row.
fn encode_portion(portion: &RecordBatch, before: u64) -> Result<Vec<u8>> {
    let bytes = wire::encode_batch(portion)?;
    if bytes.len() <= PORTION_LEN_MAX {
        return Ok(bytes);
    }
    let message = format!(
        "row {} has {} bytes, and a sidecar is sent rows of at most {PORTION_LEN_MAX}: let the owner of the directory \
         write it, or split its values",
        before + 1,
        bytes.len()
    );
    Err(Error::new(ErrorCode::InvalidArgument, message))
}

/// An upload under way. Dropping it tells the sidecar not to wait for more rows.
struct Upload<'a> {
    connection: &'a Connection,
    link: &'a Link,
    id: Option<u64>,
}

impl Upload<'_> {
    /// All rows were sent.
    fn finish(mut self) {
        self.id = None;
    }
}

impl Drop for Upload<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.connection.tell(self.link, Call::Abandon, &Next { id });
        }
    }
}

/// Sends changes and waits for their commit. `schema` returns the columns of a table.
///
/// # Errors
/// Those of the commit; [`ErrorCode::InvalidArgument`] for several changes that do not fit into one message.
pub(super) fn write(
    connection: &Connection,
    changes: Vec<ChangeRequest>,
    as_of: SystemTime,
    schema: &dyn Fn(u64) -> Result<SchemaRef>,
) -> Result<VersionMessage> {
    connection.check_open()?;
    let is_one = changes.len() == 1;
    let mut room = COMMIT_LEN_MAX;
    let mut messages = Vec::with_capacity(changes.len());
    for change in changes {
        let (table, mode, rows) = match change {
            ChangeRequest::Rows { table, mode, rows } => (table, mode, rows),
            ChangeRequest::Delete { table, keys } => {
                messages.push(ChangeMessage::Delete { table, keys: wire_keys(&keys) });
                continue;
            }
            ChangeRequest::Invalidate { table, keys } => {
                messages.push(ChangeMessage::Invalidate { table, keys: wire_keys(&keys) });
                continue;
            }
            ChangeRequest::Truncate { table } => {
                messages.push(ChangeMessage::Truncate { table });
                continue;
            }
            ChangeRequest::Position { source, position } => {
                messages.push(ChangeMessage::Position { source, position });
                continue;
            }
        };
        match gather(rows, &schema(table)?, room)? {
            Gathered::All(batches, len) => {
                room -= len;
                let encoded = batches.iter().map(|batch| wire::encode_batch(batch).map(ByteBuf::from));
                messages.push(ChangeMessage::rows(table, mode, encoded.collect::<Result<_>>()?));
            }
            Gathered::Part(rows) if is_one => {
                let upload = WriteKind::rows(table, mode);
                return self::upload(connection, upload, rows, Some(&schema(table)?), Some(as_of));
            }
            Gathered::Part(_) => {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    format!(
                        "rows of more than {COMMIT_LEN_MAX} bytes in a transaction of several changes; \
                         through a sidecar they must be several transactions"
                    ),
                ));
            }
        }
    }
    let commit = Commit { as_of: nanoseconds_of(as_of), changes: messages };
    let _permit = connection.permit_commit()?;
    connection.call(Call::Commit, &commit, Repeat::Never)
}

fn wire_keys(keys: &[Vec<Value>]) -> Vec<Vec<WireValue>> {
    keys.iter().map(|key| key.iter().map(|part| part.borrow().into()).collect()).collect()
}

/// Rows that were read in order to send them.
enum Gathered {
    /// All rows, in at least one batch, and their bytes.
    All(Vec<RecordBatch>, usize),
    /// The first rows were already too many: all rows, to be read from the start.
    Part(Input),
}

fn gather(rows: Input, schema: &SchemaRef, room: usize) -> Result<Gathered> {
    let input = rows.open(Some(schema))?;
    let (mut batches, mut len) = (Vec::new(), 0);
    let mut rest = input.batches;
    for batch in rest.by_ref() {
        let batch = batch?;
        len += batch_len(&batch);
        batches.push(batch);
        if len > room {
            let all = batches.into_iter().map(Ok).chain(rest);
            return Ok(Gathered::Part(Input::fallible(input.schema, all)));
        }
    }
    // As separate batches, each would bring its schema along. If they do not fit together, the sidecar says what is
    // wrong.
    let all = concat_batches(&input.schema, &batches).map_or(batches, |all| vec![all]);
    Ok(Gathered::All(all, len))
}
