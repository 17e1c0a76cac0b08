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

/// Rows that come.
pub(crate) type Incoming<'a> = &'a mut dyn Iterator<Item = Result<RecordBatch>>;

/// One change of a commit.
pub(crate) enum Change<'a> {
    /// Rows come.
    Rows { table: u64, mode: WriteMode, rows: Incoming<'a> },
    /// The rows with some keys are gone; `invalidates`: from the cache, not from their source.
    Delete { table: u64, keys: KeyColumn, invalidates: bool },
    /// All rows are gone.
    Truncate { table: u64 },
    /// The table is gone.
    Drop { table: u64 },
    /// A source told everything up to a position.
    Position { source: String, position: Vec<u8> },
}

impl Change<'_> {
    /// Refuses what the policy of its table does not allow, in a commit that says how far these sources were read.
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
        if is_allowed {
            return Ok(());
        }
        let advice = match &shape.rules.write_policy {
            WritePolicy::Source(source) => format!(
                "is fed by the source `{source}`: change the row there; `invalidate` takes it out of the cache"
            ),
            _ => "takes new rows only, and keeps those that it has".to_owned(),
        };
        Err(Error::new(ErrorCode::WriteNotAllowed, format!("table `{}` {advice}", shape.name)))
    }

    /// Bytes that it has in the record of its commit, as far as that is known before its rows are read.
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
    /// As `Delete`, of what is invalid or became too old, which is no news of a source.
    LetGo {
        shape: Arc<TableShape>,
        keys: KeyColumn,
    },
    /// So many rows of a segment became too old.
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

    /// Whether it deletes rows of segments in another way than row by row.
    pub(super) fn replaces_in_bulk(&self) -> bool {
        matches!(self, Self::Insert { rows: Rows::Segments(_), upsert: true, .. })
    }
}
