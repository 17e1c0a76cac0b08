//! Applies what commits do to the rows of a table.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::deleted::{DeletedRecord, DeletedRows};
use super::{Segments, TableState, Under};
use crate::storage::catalog::files::Files;
use crate::storage::live::{Before, FIRST_CAPACITY, Indexes};
use crate::storage::segment::SegmentHandle;
use crate::storage::tail::{KeyColumn, TailView};
use crate::types::error::{Error, ErrorCode, Result};

/// What applying a commit needs to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Context<'a> {
    /// The directory.
    pub(crate) files: &'a Files,
    /// Where indexes of tails come from.
    pub(crate) indexes: Indexes,
    /// Number of the log file that the commit stands in.
    pub(crate) log: u64,
    /// The commit's sequence.
    pub(crate) sequence: u64,
    /// Whether the commit and the segments that it adds were just written by a process that is still running.
    pub(crate) is_fresh: bool,
}

impl TableState {
    fn id(&self) -> u64 {
        self.shape.id
    }

    /// The tail of the commit's log file, if there is one.
    fn current_tail(&self, log: u64) -> Option<usize> {
        self.tails.len().checked_sub(1).filter(|&last| self.tails[last].tail.log == log)
    }

    /// Begins the tail of the commit's log file if there is none. Either way, makes room for `rows` more rows and
    /// `deletions` more deletions of segments' rows.
    ///
    /// # Errors
    /// [`DiskFull`](ErrorCode::DiskFull), [`Io`](ErrorCode::Io).
    pub(crate) fn begin_tail(&mut self, context: &Context<'_>, rows: usize, deletions: usize) -> Result<()> {
        if self.current_tail(context.log).is_some() {
            return self.grow_tail(context, rows, deletions).map(drop);
        }
        let is_keyed = !self.shape.primary_key.is_empty();
        let index = is_keyed.then(|| {
            // At least as much as the previous tail needed in the end: each larger index is one more file to map for
            // followers.
            let before =
                self.tails.last().and_then(|tail| Some(tail.rows.max(tail.index.as_ref()?.deletions())));
            let capacity = capacity_for(rows.max(deletions).max(before.unwrap_or_default()));
            let index = context.indexes.get(context.files, self.id(), context.sequence, capacity)?;
            if context.indexes.are_written() {
                index.publish();
            }
            Ok(Arc::new(index))
        });
        self.tails.push(TailView::new(context.log, context.sequence, index.transpose()?));
        Ok(())
    }

    /// The capacity that the index of the commit's tail needs for `rows` more rows and `deletions` more deletions of
    /// segments' rows. `None` if the index has room for them, or there is no such tail.
    pub(crate) fn capacity_needed(
        &self,
        context: &Context<'_>,
        rows: usize,
        deletions: usize,
    ) -> Option<usize> {
        // A follower makes no room: it took the owner's index before the commit, and that has room for it.
        let number = self.current_tail(context.log).filter(|_| context.indexes.are_written())?;
        let tail = &self.tails[number];
        let index = tail.index.as_ref()?;
        let needed = (tail.rows + rows).max(index.deletions() + deletions);
        (needed > index.capacity()).then(|| capacity_for(needed))
    }

    /// Makes room in the commit's tail, if there is one, for `rows` more rows and `deletions` more deletions of
    /// segments' rows. Returns whether the tail got a larger index.
    ///
    /// # Errors
    /// Those of [`begin_tail`](Self::begin_tail); the tail is unchanged.
    pub(crate) fn grow_tail(&mut self, context: &Context<'_>, rows: usize, deletions: usize) -> Result<bool> {
        let Some(capacity) = self.capacity_needed(context, rows, deletions) else { return Ok(false) };
        let table = self.id();
        let Some(tail) = self.tails.last_mut() else { return Ok(false) };
        let Some(index) = &tail.index else { return Ok(false) };
        let since = tail.tail.since;
        let larger = context.indexes.get(context.files, table, since, capacity)?;
        larger.copy_from(index, tail.rows);
        larger.publish();
        index.mark_replaced();
        context.indexes.remove(context.files, table, since, index.capacity());
        tail.index = Some(Arc::new(larger));
        Ok(true)
    }

    /// Takes the larger index of each tail whose index the owner has replaced.
    ///
    /// # Errors
    /// [`Io`](ErrorCode::Io) if the owner has moved on.
    pub(crate) fn follow_indexes(&mut self, context: &Context<'_>) -> Result<()> {
        let table = self.id();
        for tail in &mut self.tails {
            if tail.index.as_ref().is_some_and(|index| index.is_replaced()) {
                let index = context.indexes.get(context.files, table, tail.tail.since, 0)?;
                tail.index = Some(Arc::new(index));
            }
        }
        Ok(())
    }

    /// Adds rows to the tail that was begun for them. `keys` has their keys and what stands under each, if this process
    /// writes the index. `replaced` is the number of live rows that they replace.
    ///
    /// # Errors
    /// [`Internal`](ErrorCode::Internal).
    pub(crate) fn insert(
        &mut self,
        context: &Context<'_>,
        rows: RecordBatch,
        keys: Option<(&KeyColumn, &[Under])>,
        replaced: u64,
    ) -> Result<()> {
        let number = self.current_tail(context.log).ok_or_else(no_tail)?;
        let len = rows.num_rows() as u64;
        self.tails[number].push(rows, context.sequence)?;
        if let Some((keys, under)) = keys {
            for ((row, (key, hash)), under) in keys.iter().enumerate().zip(under) {
                let before = self.tails[number].insert(&self.shape.primary_key, hash, key, row)?;
                if before != Before::Live {
                    self.delete_under(context.sequence, *under);
                }
            }
        }
        self.rows = (self.rows + len).checked_sub(replaced).ok_or_else(|| miscounted(&self.shape.name))?;
        Ok(())
    }

    /// Deletes `deleted` rows. `keys` has their keys and what stands under each, if this process writes the index.
    ///
    /// # Errors
    /// [`Internal`](ErrorCode::Internal).
    pub(crate) fn delete(
        &mut self,
        context: &Context<'_>,
        keys: Option<(&KeyColumn, &[Under])>,
        deleted: u64,
    ) -> Result<()> {
        let number = self.current_tail(context.log).ok_or_else(no_tail)?;
        if let Some((keys, under)) = keys {
            for ((key, hash), under) in keys.iter().zip(under) {
                let tail = &self.tails[number];
                // The same commit may have added it.
                match tail.find(&self.shape.primary_key, hash, key, context.sequence)? {
                    Some((batch, row, 0)) => {
                        if let Some(index) = &tail.index {
                            index.delete(batch.first + row, context.sequence);
                        }
                    }
                    _ => self.delete_under(context.sequence, *under),
                }
            }
        }
        self.rows = self.rows.checked_sub(deleted).ok_or_else(|| miscounted(&self.shape.name))?;
        Ok(())
    }

    /// Deletes what stood under a key before the commit.
    fn delete_under(&self, sequence: u64, under: Under) {
        match under {
            Under::Nothing => {}
            Under::Tail(tail, row) => {
                if let Some(index) = &self.tails[tail].index {
                    index.delete(row, sequence);
                }
            }
            Under::Segment(segment, batch, row) => {
                if let Some(index) = self.tails.last().and_then(|tail| tail.index.as_ref())
                    && index.segment_row_deleted_at(segment, row).is_none()
                {
                    index.delete_in_segment(segment, batch, row, sequence);
                }
            }
        }
    }

    /// Adds segments, whose rows replace `replaced` older ones. `deleted` names the older rows that are in segments.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorCode::Corrupt) if `replaced` or `deleted` does not fit the table.
    pub(crate) fn add_segments(
        &mut self,
        segments: Vec<Arc<SegmentHandle>>,
        replaced: u64,
        deleted: &[DeletedRecord],
    ) -> Result<()> {
        let rows: u64 = segments.iter().map(|segment| segment.record().rows).sum();
        let all = self.segments.iter().cloned().chain(segments).collect();
        self.segments = Arc::new(Segments::new(all));
        self.add_deleted(deleted)?;
        self.rows = (self.rows + rows).checked_sub(replaced).ok_or_else(|| miscounted(&self.shape.name))?;
        Ok(())
    }

    /// Deletes the rows of tails whose keys are in segments that a replayed commit adds; only a process that writes the
    /// indexes needs it. A segment that cannot be searched for one of the keys is given up, and all rows of tails with
    /// keys within its bounds are deleted: a lookup of such a key then reaches the segment and fails.
    ///
    /// # Errors
    /// [`Internal`](ErrorCode::Internal).
    pub(crate) fn delete_replaced_tail_rows(
        &self,
        segments: &mut [Arc<SegmentHandle>],
        sequence: u64,
    ) -> Result<()> {
        for tail in &self.tails {
            let Some(index) = &tail.index else { continue };
            for batch in tail.batches() {
                let keys = KeyColumn::of(&batch.rows, &self.shape.primary_key)?;
                for ((key, hash), row) in keys.iter().zip(batch.first..) {
                    for segment in segments.iter_mut().filter(|segment| segment.may_hold(key)) {
                        match segment.open().and_then(|open| open.find(hash, key, false)) {
                            Ok(None) => continue,
                            Ok(Some(_)) => {}
                            Err(error) if segment.hides_tails() => drop(error),
                            Err(error) => {
                                tracing::error!(%error, "rows of a segment cannot be told apart any more");
                                *segment = Arc::new(segment.give_up(&error, true));
                            }
                        }
                        index.delete(row, sequence);
                    }
                }
            }
        }
        Ok(())
    }

    /// [Gives a segment up](SegmentHandle::give_up).
    pub(crate) fn give_up(&mut self, segment: u64, error: &Error) {
        let table = &self.shape.name;
        tracing::error!(%error, %table, "rows of a segment cannot be told apart any more");
        let handles = Arc::make_mut(&mut self.segments).handles_mut();
        for handle in handles.filter(|handle| handle.id() == segment && !handle.is_given_up()) {
            *handle = Arc::new(handle.give_up(error, false));
        }
    }

    /// Removes every row.
    pub(crate) fn truncate(&mut self, context: &Context<'_>) {
        for tail in std::mem::take(&mut self.tails) {
            // The commit may begin a tail whose index has the same file name.
            if let Some(index) = &tail.index
                && tail.tail.since == context.sequence
            {
                context.indexes.remove(context.files, self.shape.id, tail.tail.since, index.capacity());
            }
        }
        self.segments = Arc::default();
        self.deleted = Arc::default();
        self.rows = 0;
    }

    /// Replaces the segments `dropped`, and the tails of log files up to `log`, by the segments `into`. `deleted` names
    /// deleted rows of the segments that are there then.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorCode::Corrupt) if `deleted` does not fit the table.
    pub(crate) fn rewrite(
        &mut self,
        dropped: &[u64],
        log: u64,
        into: Vec<Arc<SegmentHandle>>,
        deleted: &[DeletedRecord],
    ) -> Result<()> {
        let dropped: HashSet<u64> = dropped.iter().copied().collect();
        let is_kept = |segment: &Arc<SegmentHandle>| !dropped.contains(&segment.id());
        // The rows of a dropped segment are in new ones. The tails that it hides are still there and must stay hidden.
        let hiding = |segment: &Arc<SegmentHandle>| {
            let stays = !is_kept(segment) && segment.hides_tails();
            stays.then(|| Arc::new(segment.without_rows()))
        };
        let hiding: Vec<Arc<SegmentHandle>> = match log {
            0 if !self.tails.is_empty() => self.segments.iter().filter_map(hiding).collect(),
            _ => Vec::new(),
        };
        let mut segments = self.segments.to_vec();
        let position = segments.iter().position(|segment| !is_kept(segment)).unwrap_or(segments.len());
        let kept_after = segments.split_off(position);
        segments.extend(into);
        segments.extend(kept_after.into_iter().filter(is_kept));
        segments.extend(hiding);
        // Rows of remaining segments that the ended tails have deleted.
        let map = Arc::make_mut(&mut self.deleted);
        map.retain(|segment, _| !dropped.contains(segment));
        let (ended, tails) =
            std::mem::take(&mut self.tails).into_iter().partition(|tail| tail.tail.log <= log);
        self.tails = tails;
        let ended: Vec<TailView> = ended;
        let ids: HashSet<u64> = segments.iter().map(|segment| segment.id()).collect();
        self.segments = Arc::new(Segments::new(segments));
        for index in ended.iter().filter_map(|tail| tail.index.as_ref()) {
            for (segment, row, _) in index.deleted_rows().filter(|(segment, _, _)| ids.contains(segment)) {
                Arc::make_mut(map.entry(segment).or_default()).insert(row);
            }
        }
        self.add_deleted(deleted).map(drop)
    }

    /// Adds deleted rows of segments.
    ///
    /// # Errors
    /// [`Corrupt`](ErrorCode::Corrupt) if there are no such rows.
    pub(crate) fn add_deleted(&mut self, records: &[DeletedRecord]) -> Result<u64> {
        let mut count = 0;
        for record in records {
            let segment = self.segments.iter().find(|segment| segment.id() == record.segment);
            let damaged = |what: String| {
                Error::new(ErrorCode::Corrupt, format!("deletions in table `{}`: {what}", self.shape.name))
            };
            let segment = segment.ok_or_else(|| damaged("there is no such segment".to_owned()))?;
            if segment.is_given_up() {
                continue;
            }
            let rows = segment.record().rows;
            let deleted: &mut Arc<DeletedRows> =
                Arc::make_mut(&mut self.deleted).entry(record.segment).or_default();
            count += record.add_to(deleted, rows).map_err(damaged)?;
        }
        Ok(count)
    }
}

fn capacity_for(rows: usize) -> usize {
    rows.next_power_of_two().max(FIRST_CAPACITY)
}

fn no_tail() -> Error {
    Error::internal("a commit adds to a tail that was not begun")
}

fn miscounted(table: &str) -> Error {
    Error::new(ErrorCode::Corrupt, format!("a commit removes more rows of table `{table}` than there are"))
}
