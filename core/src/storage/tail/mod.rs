//! The tail of a table: rows that stand in the log and not in a segment yet, and rows of segments that were deleted since
//! the segments were written.
//!
//! A tail belongs to one log file. Commits append to the tail of the newest log file; when rows are moved into
//! segments, the tails that they came from end. Rows are read in place in the mapped log, except those of many small
//! commits, which are joined.

mod append_list;
mod joined;
mod keys;
mod rows;

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;

use self::append_list::AppendList;
pub(crate) use self::joined::JOINED_BATCHES;
pub(crate) use self::keys::KeyColumn;
pub(crate) use self::rows::{RowsRecord, encode_rows, map_rows};
use crate::storage::key::{self, KeyBytes};
use crate::storage::live::{Before, TailIndex};
use crate::types::error::{Error, Result};

/// Rows of one commit, as they stand in the log.
#[derive(Debug)]
pub(crate) struct TailBatch {
    /// The rows.
    pub(crate) rows: Arc<RecordBatch>,
    /// Number of the first of them in the tail.
    pub(crate) first: u32,
    /// Bytes of the rows before them in the tail.
    before: u64,
    /// The commit that added them.
    pub(crate) sequence: u64,
}

/// What all views of a tail share.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Number of the log file that its rows stand in.
    pub(crate) log: u64,
    /// The commit that began it; no other tail of the table has the same.
    pub(crate) since: u64,
    batches: AppendList<TailBatch>,
    joined: AppendList<RecordBatch>,
    /// Why its rows could not be moved out of the log, from the first attempt that failed.
    stuck: OnceLock<String>,
}

/// A tail at one version.
#[derive(Clone, Debug)]
pub(crate) struct TailView {
    /// What does not depend on the version.
    pub(crate) tail: Arc<Tail>,
    /// Rows by key, and deletions; `None` for a table without a primary key, whose tails lose no single rows.
    pub(crate) index: Option<Arc<TailIndex>>,
    /// Batches.
    pub(crate) batches: usize,
    /// Rows in them, deleted ones included.
    pub(crate) rows: usize,
    /// Bytes of these rows. Counted as rows come, because every write asks for them.
    pub(crate) bytes: u64,
}

impl TailView {
    /// An empty tail.
    pub(crate) fn new(log: u64, since: u64, index: Option<Arc<TailIndex>>) -> Self {
        let (batches, joined) = (AppendList::default(), AppendList::default());
        let tail = Tail { log, since, batches, joined, stuck: OnceLock::new() };
        Self { tail: Arc::new(tail), index, batches: 0, rows: 0, bytes: 0 }
    }

    /// Remembers that its rows could not be moved out of the log, and why.
    pub(crate) fn stays(&self, why: &str) {
        self.tail.stuck.get_or_init(|| why.to_owned());
    }

    /// Why its rows could not be moved out of the log, if an attempt failed.
    pub(crate) fn stuck(&self) -> Option<&str> {
        self.tail.stuck.get().map(String::as_str)
    }

    /// Its batches, oldest first.
    pub(crate) fn batches(&self) -> impl DoubleEndedIterator<Item = &TailBatch> {
        (0..self.batches).filter_map(|number| self.tail.batches.get(number))
    }

    /// A batch.
    pub(crate) fn batch(&self, number: usize) -> Result<&TailBatch> {
        let batch = if number < self.batches { self.tail.batches.get(number) } else { None };
        batch.ok_or_else(|| Error::internal("a tail's index names a batch that is not there"))
    }

    /// Adds the rows of a commit. [`insert`](Self::insert) then enters each in the index, if there is one.
    pub(crate) fn push(&mut self, rows: RecordBatch, sequence: u64) -> Result<()> {
        let first = u32::try_from(self.rows).map_err(|_| Error::internal("a tail has too many rows"))?;
        let (len, before) = (rows.num_rows(), self.bytes);
        self.bytes += rows.columns().iter().map(|column| column.get_buffer_memory_size() as u64).sum::<u64>();
        self.tail.batches.set(self.batches, TailBatch { rows: Arc::new(rows), first, before, sequence });
        self.batches += 1;
        self.rows += len;
        Ok(())
    }

    /// The newest row under a key at a sequence, live or deleted: its batch, its place in the batch, and the commit
    /// that deleted it, or 0.
    #[inline]
    pub(crate) fn find(
        &self,
        key_columns: &[usize],
        hash: u64,
        key: &[u8],
        sequence: u64,
    ) -> Result<Option<(&TailBatch, u32, u64)>> {
        let Some(index) = &self.index else { return Ok(None) };
        let found = index.find(hash, sequence, |row, batch| {
            let batch = self.batch(batch as usize)?;
            Ok(row_key(batch, row - batch.first, key_columns)?.as_slice() == key)
        })?;
        let Some(found) = found else { return Ok(None) };
        let batch = self.batch(found.batch as usize)?;
        Ok(Some((batch, found.row - batch.first, found.deleted_at)))
    }

    /// Enters a row of the newest batch in the index. See [`TailIndex::insert`].
    pub(crate) fn insert(
        &self,
        key_columns: &[usize],
        hash: u64,
        key: &[u8],
        index_in_batch: usize,
    ) -> Result<Before> {
        let Some(index) = &self.index else { return Ok(Before::None) };
        let number = self.batches.checked_sub(1).ok_or_else(|| Error::internal("a tail has no batch"))?;
        let newest = self.batch(number)?;
        let row = newest.first + narrow(index_in_batch);
        index.insert(row, hash, newest.sequence, narrow(number), |row, batch| {
            let batch = self.batch(batch as usize)?;
            Ok(row_key(batch, row - batch.first, key_columns)?.as_slice() == key)
        })
    }

    /// The numbers of the rows of some batches.
    pub(crate) fn rows_of(&self, batches: Range<usize>) -> Result<Range<u32>> {
        let end = narrow(self.rows);
        let first = |batch: Option<&TailBatch>| batch.map_or(end, |batch| batch.first);
        Ok(first(self.at(batches.start)?)..first(self.at(batches.end)?))
    }

    /// Bytes of the rows of some batches.
    pub(crate) fn bytes_of(&self, batches: Range<usize>) -> Result<u64> {
        let before = |batch: Option<&TailBatch>| batch.map_or(self.bytes, |batch| batch.before);
        Ok(before(self.at(batches.end)?) - before(self.at(batches.start)?))
    }

    /// A batch, or `None` for the end of the tail.
    fn at(&self, number: usize) -> Result<Option<&TailBatch>> {
        if number == self.batches { Ok(None) } else { self.batch(number).map(Some) }
    }

    /// Which rows are live at a sequence; `None`: all.
    pub(crate) fn live_mask(&self, rows: Range<u32>, sequence: u64) -> Option<BooleanBuffer> {
        self.index.as_ref()?;
        let is_live = |row: usize| self.is_live(rows.start + narrow(row), sequence);
        let live = BooleanBuffer::collect_bool(rows.len(), is_live);
        (live.count_set_bits() < rows.len()).then_some(live)
    }

    /// How many rows are live at a sequence.
    #[cfg(any(test, feature = "sql"))]
    pub(crate) fn live_count(&self, rows: Range<u32>, sequence: u64) -> usize {
        if self.index.is_none() {
            rows.len()
        } else {
            rows.filter(|&row| self.is_live(row, sequence)).count()
        }
    }

    #[inline]
    fn is_live(&self, row: u32, sequence: u64) -> bool {
        let deleted_at = self.index.as_ref().map_or(0, |index| index.deleted_at(row));
        deleted_at == 0 || deleted_at > sequence
    }
}

fn row_key(batch: &TailBatch, index: u32, key_columns: &[usize]) -> Result<KeyBytes> {
    let mut bytes = KeyBytes::new();
    for &column in key_columns {
        key::encode_cell(&mut bytes, batch.rows.column(column).as_ref(), index as usize)?;
    }
    Ok(bytes)
}

/// Rows of a tail fit 32 bits: [`TailView::push`] ensures it.
#[expect(clippy::cast_possible_truncation, reason = "bounded by `TailView::push`")]
fn narrow(row: usize) -> u32 {
    row as u32
}
