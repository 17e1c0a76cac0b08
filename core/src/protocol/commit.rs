//! Commits whose rows fit into one message.

use serde::{Deserialize, Serialize};

use super::message::{Key, VersionMessage};
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
    pub(crate) changes: Vec<ChangeMessage>,
}

/// A change; rows are one batch as an Arrow IPC stream.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ChangeMessage {
    /// More rows.
    Append {
        table: u64,
        #[serde(with = "serde_bytes")]
        rows: Vec<u8>,
    },
    /// Rows in the place of those with the same keys.
    Upsert {
        table: u64,
        #[serde(with = "serde_bytes")]
        rows: Vec<u8>,
    },
    /// Rows in the place of all rows.
    Replace {
        table: u64,
        #[serde(with = "serde_bytes")]
        rows: Vec<u8>,
    },
    /// The rows with some keys are gone.
    Delete { table: u64, keys: Vec<Key> },
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
    pub(crate) position: Option<serde_bytes::ByteBuf>,
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
    let rows = |rows: &[u8]| decode_batch(rows).map(Input::from);
    let changes = commit.changes.into_iter().map(|change| {
        Ok(match change {
            ChangeMessage::Append { table, rows: sent } => Change::Append { table, rows: rows(&sent)? },
            ChangeMessage::Upsert { table, rows: sent } => Change::Upsert { table, rows: rows(&sent)? },
            ChangeMessage::Replace { table, rows: sent } => Change::Replace { table, rows: rows(&sent)? },
            ChangeMessage::Delete { table, keys } => {
                Change::Delete { table, keys: keys.into_iter().map(values).collect::<Result<_>>()? }
            }
            ChangeMessage::Truncate { table } => Change::Truncate { table },
            ChangeMessage::Position { source, position } => Change::Position { source, position },
        })
    });
    let version = backend.write(changes.collect::<Result<_>>()?)?;
    Ok(VersionMessage { version })
}
