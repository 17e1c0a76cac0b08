//! The changes of a commit, as they are asked for and as they are ready to be committed.

use std::sync::Arc;

use arrow::array::RecordBatch;

use crate::storage::load::NewSegments;
use crate::storage::table::TableShape;
use crate::storage::table::deleted::DeletedRecord;
use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::rules::WritePolicy;

/// Batches of rows to be written.
pub(crate) type Incoming<'a> = &'a mut dyn Iterator<Item = Result<RecordBatch>>;

/// One change of a commit.
pub(crate) enum Change<'a> {
    /// Writes rows as `mode` says.
    Rows { table: u64, mode: WriteMode, rows: Incoming<'a> },
    /// Deletes the rows with some keys. With `invalidates`, they are gone from the cache but not from their source.
    Delete { table: u64, keys: KeyColumn, invalidates: bool },
    /// Deletes all rows.
    Truncate { table: u64 },
    /// Drops the table.
    Drop { table: u64 },
    /// Remembers that a source has sent everything up to a position.
    Position { source: String, position: Vec<u8> },
}

impl Change<'_> {
    /// Refuses a change that the policy of its table does not allow. The commit also sets the positions of `sources`.
    pub(super) fn check(&self, shape: &TableShape, sources: &[String]) -> Result<()> {
        let is_allowed = match &shape.rules.write_policy {
            WritePolicy::Anyone => true,
            WritePolicy::AppendOnly => {
                matches!(self, Self::Rows { mode: WriteMode::Append, .. } | Self::Drop { .. })
            }
            WritePolicy::Source(source) => {
                sources.contains(source)
                    || matches!(self, Self::Drop { .. } | Self::Delete { invalidates: true, .. })
            }
        };
        if is_allowed { Ok(()) } else { Err(not_allowed(shape)) }
    }

    /// Bytes that it takes in the record of its commit, as far as known before its rows are read.
    pub(super) fn record_len(&self) -> usize {
        match self {
            Self::Delete { keys, .. } => keys.bytes(),
            Self::Position { source, position } => source.len() + position.len(),
            _ => 0,
        }
    }

    pub(super) fn adds_rows(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }

    pub(super) fn table(&self) -> Option<u64> {
        match *self {
            Self::Rows { table, .. }
            | Self::Delete { table, .. }
            | Self::Truncate { table }
            | Self::Drop { table } => Some(table),
            Self::Position { .. } => None,
        }
    }
}

impl TableShape {
    /// Refuses a statement that the policy of the table does not allow, before its rows are computed. `appends`: it only adds
    /// rows.
    ///
    /// # Errors
    /// [`ErrorCode::WriteNotAllowed`].
    #[cfg(feature = "sql")]
    pub(crate) fn admit_statement(&self, appends: bool) -> Result<()> {
        match self.rules.write_policy {
            WritePolicy::Anyone => Ok(()),
            WritePolicy::AppendOnly if appends => Ok(()),
            WritePolicy::AppendOnly | WritePolicy::Source(_) => Err(not_allowed(self)),
        }
    }
}

fn not_allowed(shape: &TableShape) -> Error {
    let advice = match &shape.rules.write_policy {
        WritePolicy::Source(source) => format!(
            "is fed by the source `{source}`: change the row there; `invalidate` takes it out of the cache"
        ),
        _ => "takes new rows only, and keeps those that it has".to_owned(),
    };
    Error::new(ErrorCode::WriteNotAllowed, format!("table `{}` {advice}", shape.name))
}

/// A change whose rows were read, checked and, where they are many, written.
pub(super) enum Ready {
    Insert {
        shape: Arc<TableShape>,
        rows: Rows,
        upsert: bool,
    },
    Delete {
        shape: Arc<TableShape>,
        keys: KeyColumn,
    },
    /// As `Delete`, for rows that are invalid or too old. It is not news from a source: freshness does not change.
    LetGo {
        shape: Arc<TableShape>,
        keys: KeyColumn,
    },
    /// Deletes `rows` rows of a segment that became too old.
    ExpireRows {
        table: u64,
        deleted: DeletedRecord,
        rows: u64,
    },
    Replace {
        shape: Arc<TableShape>,
        new: NewSegments,
    },
    Truncate {
        table: u64,
    },
    Drop {
        table: u64,
    },
    Position {
        source: String,
        position: Vec<u8>,
    },
    Define {
        shape: Arc<TableShape>,
        new: NewSegments,
    },
}

pub(super) enum Rows {
    Inline(RecordBatch),
    Segments(NewSegments),
}

impl Ready {
    /// Bytes of its new segments.
    pub(super) fn segment_bytes(&self) -> u64 {
        self.new_segments().map_or(0, |new| new.segments().iter().map(|segment| segment.record().len).sum())
    }

    /// Its new segments.
    pub(super) fn new_segments(&self) -> Option<&NewSegments> {
        match self {
            Self::Insert { rows: Rows::Segments(new), .. }
            | Self::Replace { new, .. }
            | Self::Define { new, .. } => Some(new),
            _ => None,
        }
    }

    pub(super) fn segments(self) -> Option<NewSegments> {
        match self {
            Self::Insert { rows: Rows::Segments(new), .. }
            | Self::Replace { new, .. }
            | Self::Define { new, .. } => Some(new),
            _ => None,
        }
    }

    pub(super) fn table(&self) -> Option<u64> {
        match self {
            Self::Insert { shape, .. }
            | Self::Delete { shape, .. }
            | Self::LetGo { shape, .. }
            | Self::Replace { shape, .. }
            | Self::Define { shape, .. } => Some(shape.id),
            Self::ExpireRows { table, .. } | Self::Truncate { table } | Self::Drop { table } => Some(*table),
            Self::Position { .. } => None,
        }
    }

    /// Whether it drops a table.
    pub(super) fn drops(&self) -> bool {
        matches!(self, Self::Drop { .. })
    }

    pub(super) fn inline_rows(&self) -> Option<(u64, usize)> {
        match self {
            Self::Insert { rows: Rows::Inline(rows), shape, .. } => Some((shape.id, rows.num_rows())),
            Self::Delete { keys, shape } | Self::LetGo { keys, shape } => Some((shape.id, keys.len())),
            _ => None,
        }
    }

    /// Whether it deletes rows of segments in bulk, not row by row.
    pub(super) fn replaces_in_bulk(&self) -> bool {
        matches!(self, Self::Insert { rows: Rows::Segments(_), upsert: true, .. })
    }
}
