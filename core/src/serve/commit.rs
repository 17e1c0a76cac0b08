//! Commits whose rows fit into one message.

use std::time::SystemTime;

use serde_bytes::ByteBuf;

use crate::input::Input;
use crate::types::clock::freshness_at;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::way::Backend;
use crate::way::change::ChangeRequest;
use crate::wire::encoding::values;
use crate::wire::message::{ChangeMessage, Commit, Key, VersionMessage};
use crate::wire::rows::decode_batch;

/// Most changes of one commit.
const CHANGES_MAX: usize = 10_000;

/// Makes the changes.
///
/// # Errors
/// Those of the commit; [`ErrorCode::InvalidArgument`] for changes that cannot be decoded.
pub(super) fn commit(backend: &dyn Backend, commit: Commit) -> Result<VersionMessage> {
    if commit.changes.len() > CHANGES_MAX {
        let message =
            format!("one commit has {} changes, and may have at most {CHANGES_MAX}", commit.changes.len());
        return Err(Error::new(ErrorCode::TooLarge, message));
    }
    let rows = |rows: &[ByteBuf]| {
        let batches = rows.iter().map(|batch| decode_batch(batch)).collect::<Result<Vec<_>>>()?;
        Ok(Input::from(batches))
    };
    let keys = |keys: Vec<Key>| keys.into_iter().map(values).collect::<Result<_>>();
    let changes = commit.changes.into_iter().map(|change| {
        Ok(match change {
            ChangeMessage::Append { table, rows: sent } => {
                ChangeRequest::Rows { table, mode: WriteMode::Append, rows: rows(&sent)? }
            }
            ChangeMessage::Upsert { table, rows: sent } => {
                ChangeRequest::Rows { table, mode: WriteMode::Upsert, rows: rows(&sent)? }
            }
            ChangeMessage::Replace { table, rows: sent } => {
                ChangeRequest::Rows { table, mode: WriteMode::Replace, rows: rows(&sent)? }
            }
            ChangeMessage::Delete { table, keys: sent } => ChangeRequest::Delete { table, keys: keys(sent)? },
            ChangeMessage::Invalidate { table, keys: sent } => {
                ChangeRequest::Invalidate { table, keys: keys(sent)? }
            }
            ChangeMessage::Truncate { table } => ChangeRequest::Truncate { table },
            ChangeMessage::Position { source, position } => ChangeRequest::Position { source, position },
        })
    });
    // A client's clock that is ahead must not make the rows fresher than they are.
    let as_of = freshness_at(Some(commit.as_of)).map_or(SystemTime::UNIX_EPOCH, |freshness| freshness.as_of);
    let version = backend.write(changes.collect::<Result<_>>()?, as_of.min(SystemTime::now()))?;
    Ok(VersionMessage { version: version.into() })
}
