//! Finds rows by their keys.

use std::sync::Arc;

#[cfg(any(test, feature = "sql"))]
use arrow::array::RecordBatch;
#[cfg(any(test, feature = "sql"))]
use arrow::datatypes::SchemaRef;

use super::TableState;
use super::prefetch::{PREFETCHED_KEYS, Prefetch};
use crate::storage::key;
use crate::storage::segment::SegmentHandle;
use crate::storage::tail::{KeyColumn, TailBatch};
use crate::types::error::{Error, Result};

/// Where a row stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Found<'a> {
    /// In a segment: the row's number.
    Segment(&'a Arc<SegmentHandle>, u32),
    /// In a tail: the row's place in the batch.
    Tail(&'a TailBatch, u32),
}

impl Found<'_> {
    /// A batch of the row with some of its columns; only the pages that hold the row are read and verified.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    #[cfg(any(test, feature = "sql"))]
    pub(crate) fn read(self, projection: &[usize], schema: &SchemaRef) -> Result<RecordBatch> {
        match self {
            Self::Segment(segment, row) => segment.open()?.read_row(row as usize, projection, schema),
            Self::Tail(batch, row) => {
                let rows = batch
                    .rows
                    .project(projection)
                    .map_err(|error| Error::internal("cannot project a row").with_source(error))?;
                Ok(rows.slice(row as usize, 1))
            }
        }
    }
}

/// What stands under a key that a commit writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Under {
    /// Nothing.
    Nothing,
    /// A row of a tail: the tail's place among those of the table, and the row's number.
    Tail(usize, u32),
    /// A row of a segment: the segment, the row's batch, and the row.
    Segment(u64, u32, u32),
}

impl Under {
    /// A row of a segment.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    pub(crate) fn in_segment(segment: &SegmentHandle, row: u32) -> Result<Self> {
        let (batch, _) = segment.open()?.locate(row as usize);
        let batch = u32::try_from(batch).map_err(|_| Error::internal("a segment has too many batches"))?;
        Ok(Self::Segment(segment.id(), batch, row))
    }
}

impl TableState {
    /// The row with an encoded key at a sequence: the sequence of this state, or of the commit that is being made on
    /// it.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorCode::Corrupt) or [`Io`](crate::ErrorCode::Io).
    #[inline]
    pub(crate) fn find(&self, key: &[u8], sequence: u64) -> Result<Option<Found<'_>>> {
        self.find_hashed(key, key::hash(key), sequence)
    }

    /// As [`find`](Self::find), for a caller that knows the key's hash.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    #[inline]
    pub(crate) fn find_hashed(&self, key: &[u8], hash: u64, sequence: u64) -> Result<Option<Found<'_>>> {
        for tail in self.tails.iter().rev() {
            // A key whose row is deleted in a tail may have come back in a segment.
            if let Some((batch, row, deleted_at)) = tail.find(&self.shape.primary_key, hash, key, sequence)?
                && (deleted_at == 0 || deleted_at > sequence)
            {
                return Ok(Some(Found::Tail(batch, row)));
            }
        }
        let found = self.find_in_segments(hash, key, sequence, true)?;
        Ok(found.map(|(segment, row)| Found::Segment(segment, row)))
    }

    #[inline]
    fn find_in_segments(
        &self,
        hash: u64,
        key: &[u8],
        sequence: u64,
        will_read: bool,
    ) -> Result<Option<(&Arc<SegmentHandle>, u32)>> {
        let mut damage = None;
        let found = self.search_segments(hash, key, sequence, will_read, |_, error| {
            damage.get_or_insert(error);
        });
        match (found, damage) {
            // If the row is in none of the others, it may be in the one that cannot be searched.
            (None, Some(error)) => Err(error),
            (found, _) => Ok(found),
        }
    }

    /// The live row with a key in the segments that can be searched. A key has at most one live row, so the segments
    /// that cannot be searched matter only if no row is found. `failed` gets each of these, with its error.
    #[inline]
    fn search_segments(
        &self,
        hash: u64,
        key: &[u8],
        sequence: u64,
        will_read: bool,
        mut failed: impl FnMut(&Arc<SegmentHandle>, Error),
    ) -> Option<(&Arc<SegmentHandle>, u32)> {
        for segment in self.segments.holding(key) {
            match segment.open().and_then(|open| open.find(hash, key, will_read)) {
                Ok(Some(row)) if self.is_plain() || !self.is_deleted(segment.id(), row, sequence) => {
                    return Some((segment, row));
                }
                Ok(_) => {}
                Err(error) => failed(segment, error),
            }
        }
        None
    }

    /// Whether a row of a segment is deleted at a sequence.
    pub(crate) fn is_deleted(&self, segment: u64, row: u32, sequence: u64) -> bool {
        let in_tail = |deleted_at: Option<u64>| deleted_at.is_some_and(|deleted_at| deleted_at <= sequence);
        self.deleted.get(&segment).is_some_and(|deleted| deleted.contains(row))
            || self
                .tails
                .iter()
                .filter_map(|tail| tail.index.as_ref())
                .any(|index| in_tail(index.segment_row_deleted_at(segment, row)))
    }

    /// What stands under every key for a commit at a sequence.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub(crate) fn under(&self, keys: &KeyColumn, sequence: u64) -> Result<Vec<Under>> {
        self.under_each(keys, sequence, |_, error| Err(error))
    }

    /// As [`under`](Self::under), for a commit that is replayed: a segment that cannot be searched for one of the keys
    /// [is given up](SegmentHandle::give_up), because nobody can know any more which of its rows are live.
    ///
    /// # Errors
    /// [`Internal`](crate::ErrorCode::Internal).
    pub(crate) fn under_replayed(&mut self, keys: &KeyColumn, sequence: u64) -> Result<Vec<Under>> {
        let mut damaged = Vec::new();
        let under = self.under_each(keys, sequence, |segment, error| {
            if !segment.is_given_up() {
                damaged.push((segment.id(), error));
            }
            Ok(())
        })?;
        damaged.iter().for_each(|(segment, error)| self.give_up(*segment, error));
        Ok(under)
    }

    fn under_each(
        &self,
        keys: &KeyColumn,
        sequence: u64,
        mut failed: impl FnMut(&SegmentHandle, Error) -> Result<()>,
    ) -> Result<Vec<Under>> {
        let all: Vec<(&[u8], u64)> = keys.iter().collect();
        let mut under = Vec::with_capacity(all.len());
        for some in all.chunks(PREFETCHED_KEYS) {
            self.prefetch(some, Prefetch::Keys);
            for &(key, hash) in some {
                under.push(self.under_key(key, hash, sequence, &mut failed)?);
            }
        }
        Ok(under)
    }

    fn under_key(
        &self,
        key: &[u8],
        hash: u64,
        sequence: u64,
        failed: &mut impl FnMut(&SegmentHandle, Error) -> Result<()>,
    ) -> Result<Under> {
        for (number, tail) in self.tails.iter().enumerate().rev() {
            if let Some((batch, row, 0)) = tail.find(&self.shape.primary_key, hash, key, sequence)? {
                return Ok(Under::Tail(number, batch.first + row));
            }
        }
        let mut damaged = Vec::new();
        let found = self.search_segments(hash, key, sequence, false, |segment, error| {
            damaged.push((segment.clone(), error));
        });
        if let Some((segment, row)) = found {
            return Under::in_segment(segment, row);
        }
        damaged.into_iter().try_for_each(|(segment, error)| failed(&segment, error))?;
        Ok(Under::Nothing)
    }
}
