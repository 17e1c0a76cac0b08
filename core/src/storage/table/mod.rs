//! A table at one version: which segments, deletions and tails make it up, and how its rows are found and read.

mod conform;
pub(crate) mod deleted;
pub(crate) mod expiry;
mod find;
mod freshness;
pub(crate) mod history;
mod pieces;
mod prefetch;
mod scan;
mod segments;
mod shape;
mod write;

use std::collections::HashMap;
use std::sync::Arc;

pub(crate) use self::find::{Found, Under};
pub(crate) use self::freshness::freshness;
pub(crate) use self::pieces::Pieces;
pub(crate) use self::prefetch::{PREFETCHED_KEYS, Prefetch};
pub(crate) use self::scan::Part;
pub(crate) use self::segments::Segments;
pub(crate) use self::shape::TableShape;
pub(crate) use self::write::Context;
use crate::storage::table::deleted::DeletedRows;
use crate::storage::tail::TailView;
use crate::types::error::{Error, ErrorCode};

/// A table at one version. Cloning shares everything.
#[derive(Clone, Debug)]
pub(crate) struct TableState {
    /// The part of it that never changes.
    pub(crate) shape: Arc<TableShape>,
    /// Its segments, oldest first.
    pub(crate) segments: Arc<Segments>,
    /// Deleted rows, by segment. Rows that the commits of the tails replaced or deleted are in the tails' indexes
    /// instead.
    pub(crate) deleted: Arc<HashMap<u64, Arc<DeletedRows>>>,
    /// Its tails, oldest first.
    pub(crate) tails: Vec<TailView>,
    /// Its rows.
    pub(crate) rows: u64,
    /// See [`Edit::SetFreshness`](crate::storage::catalog::edit::Edit::SetFreshness).
    pub(crate) as_of: Option<i64>,
}

impl TableState {
    /// A table without rows.
    pub(crate) fn empty(shape: Arc<TableShape>) -> Self {
        Self {
            shape,
            segments: Arc::default(),
            deleted: Arc::default(),
            tails: Vec::new(),
            rows: 0,
            as_of: None,
        }
    }

    /// Bytes of its segments on disk, and of its rows in the log.
    pub(crate) fn bytes(&self) -> u64 {
        let segments: u64 = self.segments.iter().map(|segment| segment.record().len).sum();
        segments + self.tails.iter().map(|tail| tail.bytes).sum::<u64>()
    }

    /// Why its rows could not be moved out of the log, if that was tried.
    pub(crate) fn stuck(&self) -> Option<&str> {
        self.tails.iter().find_map(TailView::stuck)
    }

    /// Why its rows must stay where they are, if they must: a segment was given up because it could not be read, and
    /// may be readable at the next opening.
    pub(crate) fn unsure(&self) -> Option<Error> {
        let segment = self.segments.iter().find(|segment| segment.may_pass())?;
        Some(Error::new(ErrorCode::Io, segment.damage().unwrap_or_default()))
    }

    /// The first damage that is known in its segments; otherwise why its rows stay in the log, if they are stuck there.
    pub(crate) fn damage(&self) -> Option<&str> {
        self.segments.iter().find_map(|segment| segment.damage()).or_else(|| self.stuck())
    }

    /// Whether all its rows are in segments and no segment has deleted rows.
    pub(crate) fn is_plain(&self) -> bool {
        self.tails.is_empty() && self.deleted.is_empty()
    }
}
