//! Moves rows: out of the log into segments, and out of many segments into few. Which rows a table has does not change.

use std::cell::Cell;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::Store;
use super::committer::Committer;
use super::merge::segments_to_rewrite;
use crate::storage::catalog::edit::Edit;
use crate::storage::catalog::manifest::Manifest;
use crate::storage::catalog::state::State;
use crate::storage::load::{Duplicates, Load, NewSegments};
use crate::storage::log::{Record, RecordKind};
use crate::storage::segment::SegmentHandle;
use crate::storage::table::deleted::{DeletedRecord, DeletedRows};
use crate::storage::table::{Part, TableState};
use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, ErrorCode, Result};

/// Rows are moved out of the log when it has this many bytes ...
const FOLD_LOG_BYTES: u64 = 32 << 20;
/// ... or this many rows and deletions ...
const FOLD_ROWS: usize = 1 << 18;
/// ... or this many commits ...
const FOLD_RECORDS: usize = 1 << 13;
/// ... or when segments of this many bytes were dropped since the last manifest.
const FOLD_RETIRED_BYTES: u64 = 64 << 20;

/// Rows of a table that were written anew.
struct Moved {
    table: u64,
    /// The table that they were read from.
    from: Arc<TableState>,
    /// Its segments that they stood in.
    segments: Vec<Arc<SegmentHandle>>,
    /// They also stood in the tails of log files up to this one; 0 if in none.
    log: u64,
    new: NewSegments,
}

/// Why rows were not written anew.
pub(super) struct Unmoved {
    pub(super) error: Error,
    /// The segment that could not be read, if that is the reason.
    segment: Option<Arc<SegmentHandle>>,
}

impl From<Error> for Unmoved {
    fn from(error: Error) -> Self {
        Self { error, segment: None }
    }
}

impl Store {
    /// Whether rows should be moved out of the log.
    pub(super) fn is_due(&self, committer: &Committer) -> bool {
        committer.log.len() >= FOLD_LOG_BYTES
            || committer.rows >= FOLD_ROWS
            || committer.records >= FOLD_RECORDS
            || committer.retired_since >= FOLD_RETIRED_BYTES && !committer.is_stuck
    }

    /// Tells the thread that moves rows that there is work.
    pub(crate) fn wake(&self) {
        *self.due.0.lock() = true;
        self.due.1.notify_all();
    }

    /// Waits until rows should be moved, or for some time; returns whether they should.
    pub(crate) fn wait_until_due(&self, patience: Duration) -> bool {
        let mut due = self.due.0.lock();
        if !*due {
            self.due.1.wait_for(&mut due, patience);
        }
        std::mem::take(&mut *due)
    }

    /// Moves all rows out of the existing log files into segments, and writes a manifest that makes these files
    /// unnecessary. Commits go on meanwhile, in a new file. The move is [slowed down](Self::limit_moves) unless
    /// somebody [hurries](Self::hurry) it.
    ///
    /// # Errors
    /// [`ErrorCode::DiskFull`], [`ErrorCode::Io`], [`ErrorCode::Corrupt`], [`ErrorCode::Poisoned`],
    /// [`ErrorCode::Closed`]. Nothing is lost: the log only grows until the next attempt. If only some tables
    /// fail, the rows of the others are moved all the same.
    pub(crate) fn fold(&self) -> Result<()> {
        self.fold_tables()?.map_or(Ok(()), Err)
    }

    /// As [`fold`](Self::fold), but returns the reason in `Ok` if only the rows of some tables stay in the log.
    ///
    /// # Errors
    /// An error that concerns all tables.
    pub(crate) fn fold_tables(&self) -> Result<Option<Error>> {
        self.refuse_if_forked()?;
        let _moving = self.maintenance.lock();
        // Syncs most of the log while commits go on. Only the sync below holds them up.
        self.sync()?;
        let (frozen, log) = {
            let syncing = self.syncing.lock();
            let mut committer = self.writing()?;
            let is_folded = committer.newest().tables.values().all(|table| table.tails.is_empty());
            if !committer.uncheckpointed && is_folded {
                return Ok(None);
            }
            self.sync_locked(&syncing, &mut committer)?;
            committer.rotate(&self.files)?;
            self.pace.set_urgent(false);
            committer.uncheckpointed = false;
            (committer.newest().clone(), committer.log.number())
        };
        let folded = self.fold_frozen(&frozen, log);
        let mut committer = self.hold_committer();
        committer.is_stuck = matches!(folded, Ok(Some(_)));
        committer.uncheckpointed |= !matches!(folded, Ok(None));
        drop(committer);
        folded
    }

    /// Moves the rows of `frozen`. `log` is the number of the log file with the commits behind it.
    fn fold_frozen(&self, frozen: &State, log: u64) -> Result<Option<Error>> {
        let mut folded = frozen.clone();
        let sequence = frozen.version.sequence;
        let mut moved = Vec::new();
        let mut stuck = None;
        for (&id, table) in &frozen.tables {
            if let Some(error) = table.unsure() {
                stuck = stuck.or(Some(stays(table, error)?));
                continue;
            }
            match self.write_readable(table, 0, true, sequence) {
                Ok(None) => {}
                Ok(Some((segments, new))) => {
                    let dropped: Vec<u64> = segments.iter().map(|segment| segment.id()).collect();
                    folded.rewrite(id, &dropped, log - 1, &new)?;
                    moved.push(Moved { table: id, from: table.clone(), segments, log: log - 1, new });
                }
                Err(error) => stuck = stuck.or(Some(stays(table, error)?)),
            }
        }
        for moved in moved {
            let table = moved.from.clone();
            if let Err(error) = self.commit_moved(moved, sequence) {
                if self.poison().is_some() {
                    return Err(error);
                }
                stuck = stuck.or(Some(stays(&table, error)?));
            }
        }
        if stuck.is_some() {
            // The logged moves must be durable before anybody renews the log files before them.
            self.sync()?;
            // A manifest cannot hold rows of the log. Those that stay need the existing manifest, and every log file
            // since.
            return Ok(stuck);
        }
        // Whoever finds the manifest must find the moves too, even after a failed sync, and the commits that made some
        // of them unnecessary.
        self.sync()?;
        let manifest = Manifest { version: folded.version, catalog: folded.to_record(log)? };
        if self.writing()?.has_manifest(&manifest) {
            return Ok(None);
        }
        // Commits go on meanwhile. Nobody else writes a manifest or closes the cache while rows are moved.
        let written = manifest.write(self.files.vfs.as_ref(), &self.files.dir);
        self.hold_committer().wrote_manifest(&self.files, &manifest, written)?;
        Ok(None)
    }

    /// Merges segments of a table so that there is room for `coming` more runs, and rewrites those with too many
    /// deleted rows.
    ///
    /// # Errors
    /// As [`fold`](Self::fold).
    pub(crate) fn merge_table(&self, id: u64, coming: usize) -> Result<()> {
        self.refuse_if_forked()?;
        let _moving = self.maintenance.lock();
        let state = self.newest_logged()?;
        let Some(table) = state.tables.get(&id) else { return Ok(()) };
        let sequence = state.version.sequence;
        let Some((segments, new)) = self.write_readable(table, coming, false, sequence)? else {
            return Ok(());
        };
        self.commit_moved(Moved { table: id, from: table.clone(), segments, log: 0, new }, sequence)
    }

    /// Writes anew the rows of the segments that should be rewritten and, with `tails`, those of the tails; `None` if
    /// there are neither. Segments that cannot be read stay as they are, and are not tried again.
    fn write_readable(
        &self,
        table: &Arc<TableState>,
        coming: usize,
        tails: bool,
        sequence: u64,
    ) -> Result<Option<(Vec<Arc<SegmentHandle>>, NewSegments)>> {
        let rows: usize = if tails { table.tails.iter().map(|tail| tail.rows).sum() } else { 0 };
        loop {
            let segments = segments_to_rewrite(table, rows as u64, coming);
            if segments.is_empty() && (!tails || table.tails.is_empty()) {
                return Ok(None);
            }
            match self.write_anew(table, &segments, tails, sequence) {
                Ok(new) => return Ok(Some((segments, new))),
                Err(Unmoved { error, segment: Some(segment) })
                    if [ErrorCode::Corrupt, ErrorCode::Io].contains(&error.code()) =>
                {
                    let table = &table.shape.name;
                    tracing::error!(%error, %table, "a segment cannot be read, and is not merged with others any more");
                    segment.meet(error.to_string());
                }
                Err(Unmoved { error, .. }) => return Err(error),
            }
        }
    }

    /// Writes new segments with the rows of some segments and, with `tails`, of the tails that are live at a sequence.
    pub(super) fn write_anew(
        &self,
        table: &Arc<TableState>,
        segments: &[Arc<SegmentHandle>],
        tails: bool,
        sequence: u64,
    ) -> Result<NewSegments, Unmoved> {
        let mut parts = Vec::new();
        for segment in segments {
            let of_segment = TableState::segment_parts(segment)
                .map_err(|error| Unmoved { error, segment: Some(segment.clone()) })?;
            parts.extend(of_segment);
        }
        if tails {
            parts.extend(table.tail_parts_once()?);
        }
        let schema = &table.shape.schema;
        let all: Vec<usize> = (0..schema.fields().len()).collect();
        let unreadable = Cell::new(None);
        let mut rows = parts.iter().flat_map(|part| {
            let unreadable = &unreadable;
            table.pieces(part, None, sequence, &all, schema).inspect(move |piece| {
                if let (Part::Segment { segment, .. }, Err(_)) = (part, piece) {
                    unreadable.set(Some(segment.clone()));
                }
            })
        });
        let load = self.load(&table.shape, Duplicates::Unique);
        let written = Load { pace: Some(&self.pace), ..load }.run(&mut rows);
        drop(rows);
        written.map_err(|error| Unmoved { error, segment: unreadable.take() })
    }

    /// Commits moved rows in their new places, without those that were deleted since `sequence`.
    fn commit_moved(&self, moved: Moved, sequence: u64) -> Result<()> {
        let mut committer = self.writing()?;
        let before = committer.newest().clone();
        let Some(current) = before.tables.get(&moved.table).filter(|current| moved.is_from(current)) else {
            // The table was emptied meanwhile. Only the manifest that will be written still needs the new files.
            committer.retire(moved.new.segments(), before.version.sequence);
            moved.new.keep();
            return Ok(());
        };
        let deleted = moved.deleted_since(current, sequence)?;
        let edit = Edit::Rewrite {
            table: moved.table,
            segments: moved.segments.iter().map(|segment| segment.id()).collect(),
            log: moved.log,
            into: moved.new.records(),
            deleted,
        };
        let context = self.context(&committer, before.version.sequence + 1);
        let mut state = (*before).clone();
        state.version.sequence = context.sequence;
        let Edit::Rewrite { segments, deleted, .. } = &edit else { return Ok(()) };
        state.rewrite(moved.table, segments, moved.log, &moved.new)?;
        state.table_mut(moved.table)?.add_deleted(deleted)?;
        let edits = rmp_serde::to_vec_named(&[&edit])
            .map_err(|error| Error::internal("cannot encode a commit").with_source(error))?;
        let record = Record { kind: RecordKind::Commit, version: state.version, edits: &edits, data: &[] };
        committer.log.reserve(&record)?;
        // After a failure the record may be there or not. The rows are the same either way, but the files must stay.
        let result = committer.log.append(&record);
        moved.new.keep();
        committer.poison_on_error(result)?;
        // The manifest that ends a fold has the sequence whose rows were moved, and names their new places.
        let dropped_at = if moved.log > 0 { sequence } else { state.version.sequence };
        let version = state.version;
        self.logged(&mut committer, Arc::new(state), dropped_at);
        drop(committer);
        self.wait_until_shown(version)
    }
}

/// Remembers and returns why rows of a table stay in the log.
///
/// # Errors
/// `error` itself, if it concerns all tables.
fn stays(table: &TableState, error: Error) -> Result<Error> {
    if [ErrorCode::DiskFull, ErrorCode::Closed, ErrorCode::Poisoned, ErrorCode::OutcomeUnknown]
        .contains(&error.code())
    {
        return Err(error);
    }
    let why = format!("rows of table `{}` cannot be moved out of the log: {error:#}", table.shape.name);
    table.tails.iter().for_each(|tail| tail.stays(&why));
    Ok(Error::new(error.code(), why).with_source(error))
}

impl Moved {
    /// Whether a table still has all segments and tails that the rows were moved from.
    fn is_from(&self, current: &TableState) -> bool {
        let held: HashSet<u64> = current.segments.iter().map(|segment| segment.id()).collect();
        let has_tail = |since: u64| current.tails.iter().any(|tail| tail.tail.since == since);
        self.segments.iter().all(|segment| held.contains(&segment.id()))
            && (self.log == 0 || self.from.tails.iter().all(|tail| has_tail(tail.tail.since)))
    }

    /// The moved rows that were deleted after `sequence`, by their new places.
    fn deleted_since(&self, current: &TableState, sequence: u64) -> Result<Vec<DeletedRecord>> {
        let mut deleted: BTreeMap<u64, DeletedRows> = BTreeMap::new();
        let mut delete = |key: &[u8], hash: u64| -> Result<()> {
            for segment in self.new.segments().iter().filter(|segment| segment.may_hold(key)) {
                if let Some(row) = segment.open()?.find(hash, key, false)? {
                    deleted.entry(segment.id()).or_default().insert(row);
                    return Ok(());
                }
            }
            Err(Error::new(ErrorCode::Internal, "a row that was moved is not where it was moved to"))
        };
        let key_columns = &current.shape.primary_key;
        if self.log > 0 {
            for tail in &self.from.tails {
                // A larger index may have replaced that of the tail since.
                let view = current.tails.iter().find(|held| held.tail.since == tail.tail.since);
                let Some(index) = view.and_then(|view| view.index.as_ref()) else { continue };
                for batch in tail.batches() {
                    let is_since = |row: u32| index.deleted_at(batch.first + row) > sequence;
                    let rows = u32::try_from(batch.rows.num_rows()).unwrap_or(u32::MAX);
                    for row in (0..rows).filter(|&row| is_since(row)) {
                        let keys = KeyColumn::of(&batch.rows.slice(row as usize, 1), key_columns)?;
                        keys.iter().try_for_each(|(key, hash)| delete(key, hash))?;
                    }
                }
            }
        }
        for index in current.tails.iter().filter_map(|tail| tail.index.as_ref()) {
            for (id, row, at) in index.deleted_rows() {
                let source = self.segments.iter().find(|segment| segment.id() == id);
                if let Some(source) = source.filter(|_| at > sequence) {
                    let key = source.open()?.key_at(row as usize)?;
                    delete(&key, crate::storage::key::hash(&key))?;
                }
            }
        }
        Ok(deleted.iter().map(|(&segment, rows)| DeletedRecord::new(segment, rows)).collect())
    }
}

impl State {
    /// Replaces segments of a table, and its tails in log files up to `log`, by new segments.
    fn rewrite(&mut self, table: u64, dropped: &[u64], log: u64, new: &NewSegments) -> Result<()> {
        let last = new.segments().iter().map(|segment| segment.id() + 1).max().unwrap_or_default();
        self.next_segment = self.next_segment.max(last);
        self.table_mut(table)?.rewrite(dropped, log, new.segments().to_vec(), &[])
    }
}
