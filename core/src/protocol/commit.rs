//! Commits whose rows fit into one message.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::message::{Key, VersionMessage, freshness};
use super::rows::decode_batch;
use super::session::values;
use crate::api::backend::Backend;
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::transaction::Change;
use crate::source::Input;

/// Rows of a commit beyond this many bytes are sent batch by batch, as an upload.
pub(crate) const COMMIT_LEN_MAX: usize = 4 << 20;
/// A commit has at most so many changes.
const CHANGES_MAX: usize = 10_000;

/// Changes of one commit, in their order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Commit {
    /// When the client began to fetch the rows, in nanoseconds since 1970.
    pub(crate) as_of: i64,
    pub(crate) changes: Vec<ChangeMessage>,
}

/// A change; rows are batches, each as an Arrow IPC stream, at least one.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChangeMessage {
    /// More rows.
    Append { table: u64, rows: Vec<ByteBuf> },
    /// Rows in the place of those with the same keys.
    Upsert { table: u64, rows: Vec<ByteBuf> },
    /// Rows in the place of all rows.
    Replace { table: u64, rows: Vec<ByteBuf> },
    /// The rows with some keys are gone.
    Delete { table: u64, keys: Vec<Key> },
    /// The rows with some keys are gone from the cache, not from their source.
    Invalidate { table: u64, keys: Vec<Key> },
    /// All rows are gone.
    Truncate { table: u64 },
    /// A source told everything up to a position.
    Position {
        source: String,
        #[serde(with = "serde_bytes")]
        position: Vec<u8>,
    },
}

/// A source by its name.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Source {
    pub(crate) source: String,
}

/// Up to where a source told everything.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct PositionReply {
    pub(crate) position: Option<ByteBuf>,
}

/// Makes the changes.
///
/// # Errors
/// Those of the commit; [`ErrorCode::InvalidArgument`] for messages that are none.
pub(super) fn commit(backend: &dyn Backend, commit: Commit) -> Result<VersionMessage> {
    if commit.changes.len() > CHANGES_MAX {
        let message = format!("{} changes in one commit; at most {CHANGES_MAX}", commit.changes.len());
        return Err(Error::new(ErrorCode::TooMany, message));
    }
    let rows = |rows: &[ByteBuf]| {
        let batches = rows.iter().map(|batch| decode_batch(batch)).collect::<Result<Vec<_>>>()?;
        Ok(Input::from(batches))
    };
    let keys = |keys: Vec<Key>| keys.into_iter().map(values).collect::<Result<_>>();
    let changes = commit.changes.into_iter().map(|change| {
        Ok(match change {
            ChangeMessage::Append { table, rows: sent } => Change::Append { table, rows: rows(&sent)? },
            ChangeMessage::Upsert { table, rows: sent } => Change::Upsert { table, rows: rows(&sent)? },
            ChangeMessage::Replace { table, rows: sent } => Change::Replace { table, rows: rows(&sent)? },
            ChangeMessage::Delete { table, keys: sent } => Change::Delete { table, keys: keys(sent)? },
            ChangeMessage::Invalidate { table, keys: sent } => {
                Change::Invalidate { table, keys: keys(sent)? }
            }
            ChangeMessage::Truncate { table } => Change::Truncate { table },
            ChangeMessage::Position { source, position } => Change::Position { source, position },
        })
    });
    // A clock that is ahead of ours must not make the rows fresher than they are.
    let as_of = freshness(Some(commit.as_of)).map_or(SystemTime::UNIX_EPOCH, |freshness| freshness.as_of);
    let version = backend.write(changes.collect::<Result<_>>()?, as_of.min(SystemTime::now()))?;
    Ok(VersionMessage { version })
}
