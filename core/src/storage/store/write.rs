//! Commits: what they change is planned, logged, applied and shown to readers, in this order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{concat_batches, filter_record_batch};

use super::committer::{Committer, MANIFESTS_KEPT};
use super::merge::is_full;
use super::{Store, Sync, dropped};
use crate::api::error::{Error, ErrorCode, Result};
use crate::api::version::Version;
use crate::storage::batch::batch_len;
use crate::storage::deleted::{DeletedRecord, DeletedRows};
use crate::storage::edit::Edit;
use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::live::TailIndex;
use crate::storage::load::{Duplicates, NewSegments};
use crate::storage::log::{Record, RecordKind};
use crate::storage::segment::SegmentHandle;
use crate::storage::state::State;
use crate::storage::table::{Context, TableShape, TableState, Under};
use crate::storage::tail::{KeyColumn, RowsRecord, encode_rows, map_rows};

/// Rows of a commit beyond this many bytes are written as segments.
const INLINE_BYTES_MAX: usize = 2 << 20;
/// Rows of a commit beyond this number are written as segments.
const INLINE_ROWS_MAX: usize = 1 << 15;
/// A commit waits until rows are moved out of the log when it has this many bytes ...
const LOG_BYTES_MAX: u64 = 96 << 20;
/// ... or this many rows and deletions.
const LOG_ROWS_MAX: usize = 1 << 20;

/// Rows that come.
pub(crate) type Incoming<'a> = &'a mut dyn Iterator<Item = Result<RecordBatch>>;

/// One change of a commit.
pub(crate) enum Change<'a> {
    /// Rows are added; none may have a key that is there.
    Append { table: u64, rows: Incoming<'a> },
    /// Rows are added in the place of those with the same keys; of rows with the same key the last counts.
    Upsert { table: u64, rows: Incoming<'a> },
    /// The rows with some keys are gone.
    Delete { table: u64, keys: KeyColumn },
    /// Rows take the place of all rows.
    Replace { table: u64, rows: Incoming<'a> },
    /// All rows are gone.
    Truncate { table: u64 },
    /// The table is gone.
    Drop { table: u64 },
    /// A source told everything up to a position.
    Position { source: String, position: Vec<u8> },
}

impl Change<'_> {
    fn adds_rows(&self) -> bool {
        matches!(self, Self::Append { .. } | Self::Upsert { .. } | Self::Replace { .. })
    }

    fn table(&self) -> Option<u64> {
        match *self {
            Self::Append { table, .. }
            | Self::Upsert { table, .. }
            | Self::Delete { table, .. }
            | Self::Replace { table, .. }
            | Self::Truncate { table }
            | Self::Drop { table } => Some(table),
            Self::Position { .. } => None,
        }
    }
}

/// A change whose rows were read, checked and, where they are many, written.
enum Ready {
    Insert { shape: Arc<TableShape>, rows: Rows, upsert: bool },
    Delete { shape: Arc<TableShape>, keys: KeyColumn },
    Replace { shape: Arc<TableShape>, new: NewSegments },
    Truncate { table: u64 },
    Drop { table: u64 },
    Position { source: String, position: Vec<u8> },
    Define { shape: Arc<TableShape>, new: NewSegments },
}

enum Rows {
    Inline(RecordBatch),
    Segments(NewSegments),
}

impl Ready {
    /// Bytes of its new segments.
    fn segment_bytes(&self) -> u64 {
        match self {
            Self::Insert { rows: Rows::Segments(new), .. }
            | Self::Replace { new, .. }
            | Self::Define { new, .. } => new.segments().iter().map(|segment| segment.record().len).sum(),
            _ => 0,
        }
    }

    fn segments(self) -> Option<NewSegments> {
        match self {
            Self::Insert { rows: Rows::Segments(new), .. }
            | Self::Replace { new, .. }
            | Self::Define { new, .. } => Some(new),
            _ => None,
        }
    }

    fn table(&self) -> Option<u64> {
        match self {
            Self::Insert { shape, .. }
            | Self::Delete { shape, .. }
            | Self::Replace { shape, .. }
            | Self::Define { shape, .. } => Some(shape.id),
            Self::Truncate { table } | Self::Drop { table } => Some(*table),
            Self::Position { .. } => None,
        }
    }

    fn inline_rows(&self) -> Option<(u64, usize)> {
        match self {
            Self::Insert { rows: Rows::Inline(rows), shape, .. } => Some((shape.id, rows.num_rows())),
            Self::Delete { keys, shape } => Some((shape.id, keys.len())),
            _ => None,
        }
    }

    /// Whether it deletes rows of segments in another way than row by row.
    fn replaces_in_bulk(&self) -> bool {
        matches!(self, Self::Insert { rows: Rows::Segments(_), upsert: true, .. })
    }
}

impl Store {
    /// Adds a table with its first rows, in one commit; the number in `shape` is replaced.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`], those of a load and of a commit; there is then no such table.
    pub(crate) fn create_table(
        &self,
        shape: TableShape,
        as_of: SystemTime,
        batches: Incoming<'_>,
    ) -> Result<Arc<State>> {
        let table = self.next_table.fetch_add(1, Ordering::Relaxed);
        let shape = Arc::new(TableShape { id: table, ..shape });
        let loaded = self.load(&shape, Duplicates::Refuse(None)).run(batches);
        let created = loaded.and_then(|new| {
            let ready = Ready::Define { shape: shape.clone(), new };
            self.refuse_beyond_limit(ready.segment_bytes())?;
            self.commit(vec![ready], as_of)
        });
        if created.is_err() {
            // Fails if files stayed, whose commit may be in the log.
            drop(self.files.vfs.remove_dir(&self.files.table_dir(table)));
        }
        created
    }

    /// Makes changes in one commit: readers see all of them or none.
    ///
    /// # Errors
    /// Those of a load and of a commit; everything is then as before.
    pub(crate) fn write(&self, changes: Vec<Change<'_>>, as_of: SystemTime) -> Result<Version> {
        self.refuse_unless_writable()?;
        // In the order of their numbers, so that two commits never wait for each other.
        let tables: BTreeSet<u64> = changes.iter().filter_map(Change::table).collect();
        let locks: Vec<_> = tables.iter().map(|&table| self.load_lock(table)).collect();
        let _loading: Vec<_> = locks.iter().map(|lock| lock.lock()).collect();
        self.make_room()?;
        let mut inline_bytes = 0;
        let mut ready = Vec::with_capacity(changes.len());
        let adds_rows = changes.iter().any(Change::adds_rows);
        for change in changes {
            ready.push(self.prepare(change, &mut inline_bytes)?);
        }
        if adds_rows {
            let segments = ready.iter().map(Ready::segment_bytes).sum::<u64>();
            self.refuse_beyond_limit(segments + inline_bytes as u64)?;
        }
        Ok(self.commit(ready, as_of)?.version)
    }

    /// Refuses rows of so many bytes, which are written already where they are many, if the files may not take them.
    fn refuse_beyond_limit(&self, bytes: u64) -> Result<()> {
        let limit = self.disk_limit.load(Ordering::Relaxed);
        if limit == u64::MAX || self.used_bytes() + bytes <= limit {
            return Ok(());
        }
        // What was replaced and deleted may be most of it: two manifests let go of it.
        for _ in 0..MANIFESTS_KEPT {
            // Each of another sequence.
            self.commit(Vec::new(), SystemTime::now())?;
            self.fold()?;
            if self.used_bytes() + bytes <= limit {
                return Ok(());
            }
        }
        let used = self.used_bytes();
        Err(Error::new(
            ErrorCode::DiskFull,
            format!(
                "the files take {used} bytes and the rows {bytes}, and they may take {limit} together: delete rows or \
                 drop tables, or raise `disk_limit`"
            ),
        ))
    }

    /// Bytes of the segments, of those that wait to be removed, and of the log.
    fn used_bytes(&self) -> u64 {
        let state = self.state();
        let segments = state.tables.values().flat_map(|table| table.segments.iter());
        let committer = self.committer.lock();
        segments.map(|segment| segment.record().len).sum::<u64>()
            + committer.retired_bytes()
            + committer.log.len()
    }

    /// Moves rows out of the log if it is full.
    fn make_room(&self) -> Result<()> {
        let is_full = {
            let committer = self.committer.lock();
            committer.log.len() >= LOG_BYTES_MAX || committer.rows >= LOG_ROWS_MAX
        };
        if is_full { self.fold() } else { Ok(()) }
    }

    fn prepare(&self, change: Change<'_>, inline_bytes: &mut usize) -> Result<Ready> {
        Ok(match change {
            Change::Append { table, rows } => {
                let current = self.table(table)?;
                let shape = current.shape.clone();
                let rows = self.gather(&current, rows, false, inline_bytes)?;
                Ready::Insert { shape, rows, upsert: false }
            }
            Change::Upsert { table, rows } => {
                let current = self.table(table)?;
                let shape = current.shape.clone();
                if shape.primary_key.is_empty() {
                    return Err(shape.no_primary_key());
                }
                let rows = self.gather(&current, rows, true, inline_bytes)?;
                Ready::Insert { shape, rows, upsert: true }
            }
            Change::Delete { table, keys } => {
                let shape = self.table(table)?.shape.clone();
                if shape.primary_key.is_empty() {
                    return Err(shape.no_primary_key());
                }
                let keys = keys.distinct();
                *inline_bytes += keys.bytes();
                Ready::Delete { shape, keys }
            }
            Change::Replace { table, rows } => {
                let shape = self.table(table)?.shape.clone();
                let new = self.load(&shape, Duplicates::Refuse(None)).run(rows)?;
                Ready::Replace { shape, new }
            }
            Change::Truncate { table } => Ready::Truncate { table: self.table(table)?.shape.id },
            Change::Drop { table } => Ready::Drop { table: self.table(table)?.shape.id },
            Change::Position { source, position } => Ready::Position { source, position },
        })
    }

    /// Reads rows: as they are if they are few, else into segments.
    fn gather(
        &self,
        table: &TableState,
        rows: Incoming<'_>,
        upsert: bool,
        inline_bytes: &mut usize,
    ) -> Result<Rows> {
        let shape = &table.shape;
        let (mut few, mut seen, mut bytes) = (Vec::new(), 0, 0);
        let mut is_many = false;
        for batch in &mut *rows {
            let batch = shape.conform(&batch?, &mut seen)?;
            bytes += batch_len(&batch);
            few.push(batch);
            if seen > INLINE_ROWS_MAX as u64 || *inline_bytes + bytes > INLINE_BYTES_MAX {
                is_many = true;
                break;
            }
        }
        if !is_many {
            *inline_bytes += bytes;
            let rows = match few.as_slice() {
                [one] => one.clone(),
                few => concat_batches(&shape.schema, few)
                    .map_err(|error| Error::internal("cannot join batches").with_source(error))?,
            };
            return Ok(Rows::Inline(rows));
        }
        if is_full(table) {
            self.merge_table(shape.id)?;
        }
        let current = self.table(shape.id)?;
        let state = self.state.load_full();
        let duplicates = match upsert {
            true => Duplicates::LastWins,
            false => Duplicates::Refuse(Some((&current, state.version.sequence))),
        };
        let mut all = few.into_iter().map(Ok).chain(rows);
        Ok(Rows::Segments(self.load(shape, duplicates).run(&mut all)?))
    }

    /// Commits what is ready. Files of new segments stay if the commit is there, or may be.
    fn commit(&self, ready: Vec<Ready>, as_of: SystemTime) -> Result<Arc<State>> {
        // Who moves rows knows nothing of rows of segments that are deleted in bulk.
        let _still = ready.iter().any(Ready::replaces_in_bulk).then(|| self.maintenance.lock());
        let mut committer = self.committer.lock();
        let committed = self.commit_locked(&mut committer, &ready, as_of);
        if self.is_due(&committer) {
            self.wake();
        }
        drop(committer);
        if committed.as_ref().err().is_none_or(|error| error.code() == ErrorCode::OutcomeUnknown) {
            ready.into_iter().filter_map(Ready::segments).for_each(NewSegments::keep);
        }
        committed
    }

    fn commit_locked(
        &self,
        committer: &mut Committer,
        ready: &[Ready],
        as_of: SystemTime,
    ) -> Result<Arc<State>> {
        committer.check()?;
        self.grow_indexes(committer, ready)?;
        let before = self.state.load_full();
        let mut plan = Plan::new(&before, ready, self.context(committer, before.version.sequence + 1));
        let planned = ready.iter().try_for_each(|change| plan.add(change, as_of));
        let result = planned.and_then(|()| self.carry_out(committer, &mut plan));
        match result {
            Ok(()) => {
                let state = Arc::new(plan.state);
                self.show(committer, &before, &state, state.version.sequence);
                Ok(state)
            }
            Err(error) => {
                plan.give_up(&before);
                Err(error)
            }
        }
    }

    pub(super) fn context(&self, committer: &Committer, sequence: u64) -> Context<'_> {
        Context { files: &self.files, indexes: self.indexes(), log: committer.log.number(), sequence }
    }

    /// Makes room in the indexes of tails that are there. What they hold does not change.
    fn grow_indexes(&self, committer: &Committer, ready: &[Ready]) -> Result<()> {
        let mut needed: HashMap<u64, usize> = HashMap::new();
        for (table, rows) in ready.iter().filter_map(Ready::inline_rows) {
            *needed.entry(table).or_default() += rows;
        }
        for (table, rows) in needed {
            let before = self.state.load_full();
            let Some(current) = before.tables.get(&table) else { continue };
            let context = self.context(committer, before.version.sequence + 1);
            let mut current = current.clone();
            if Arc::make_mut(&mut current).grow_tail(&context, rows, rows)? {
                // It must stay also if this commit fails: readers in other processes may have found it.
                let mut grown = (*before).clone();
                grown.tables.insert(table, current);
                self.state.store(Arc::new(grown));
            }
        }
        Ok(())
    }

    /// Logs what is planned, and applies to rows what must not be seen before.
    fn carry_out(&self, committer: &mut Committer, plan: &mut Plan<'_>) -> Result<()> {
        let edits = rmp_serde::to_vec_named(&plan.edits)
            .map_err(|error| Error::internal("cannot encode a commit").with_source(error))?;
        let version = plan.state.version;
        let record = Record { kind: RecordKind::Commit, version, edits: &edits, data: &plan.data };
        if record.body_len() > RECORD_BODY_MAX {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "the commit's record has {} bytes; the limit is {RECORD_BODY_MAX}: make several commits",
                    record.body_len()
                ),
            ));
        }
        committer.log.reserve(&record)?;
        let data = usize::try_from(committer.log.len()).unwrap_or(usize::MAX) + record.data_offset();
        let result = committer.log.append(&record).and_then(|()| self.sync_commit(committer));
        let result = result.and_then(|()| plan.apply(committer, data));
        committer.poison_on_error(result).map_err(|error| {
            Error::new(
                ErrorCode::OutcomeUnknown,
                "the disk failed while the commit was written; open the cache again and look whether it is there",
            )
            .with_source(error)
        })
    }

    /// Makes what was just logged durable, if every commit is to be before it is seen.
    pub(super) fn sync_commit(&self, committer: &mut Committer) -> Result<()> {
        match self.sync {
            Sync::Always => committer.log.sync(),
            Sync::Later => Ok(()),
        }
    }

    /// Makes a state the newest for all readers. No manifest of `dropped_at` or later will name the segments that it does
    /// not have any more.
    pub(super) fn show(
        &self,
        committer: &mut Committer,
        before: &State,
        state: &Arc<State>,
        dropped_at: u64,
    ) {
        committer.uncheckpointed = true;
        committer.records += 1;
        self.state.store(state.clone());
        self.head.publish(committer.head(state));
        // Only now: who follows may have looked for them before.
        for (id, old) in &before.tables {
            let new = state.tables.get(id);
            if new.is_some_and(|new| Arc::ptr_eq(old, new)) {
                continue;
            }
            let is_kept_tail =
                |since: u64| new.is_some_and(|new| new.tails.iter().any(|tail| tail.tail.since == since));
            for tail in old.tails.iter().filter(|tail| !is_kept_tail(tail.tail.since)) {
                if let Some(index) = &tail.index {
                    self.indexes().remove(&self.files, *id, tail.tail.since, index.capacity());
                }
            }
            if new.is_some_and(|new| Arc::ptr_eq(&old.segments, &new.segments)) {
                continue;
            }
            let kept: BTreeSet<u64> =
                new.iter().flat_map(|new| new.segments.iter()).map(|segment| segment.id()).collect();
            let gone: Vec<_> =
                old.segments.iter().filter(|segment| !kept.contains(&segment.id())).cloned().collect();
            committer.retire(&gone, dropped_at);
        }
    }
}

/// What a commit does.
struct Plan<'a> {
    context: Context<'a>,
    /// The state that it makes. What readers share with it is not changed before it is logged.
    state: State,
    edits: Vec<Edit>,
    data: Vec<u8>,
    steps: Vec<Step>,
    /// Keys that changes of this commit wrote, and whether they are there; of tables with more than one change.
    written: HashMap<u64, HashMap<Vec<u8>, bool>>,
    /// Segments of this commit whose rows take the place of rows in tails, by table.
    bulk: HashMap<u64, Vec<Arc<SegmentHandle>>>,
    /// Tables with more than one change.
    repeated: BTreeSet<u64>,
    fresh: BTreeSet<u64>,
}

/// What is applied once it is logged.
enum Step {
    Insert { table: u64, rows: RowsRecord, keys: KeyColumn, under: Vec<Under>, replaced: u64 },
    Delete { table: u64, keys: KeyColumn, under: Vec<Under>, deleted: u64 },
    DeleteInTail(Vec<(Arc<TailIndex>, u32)>),
}

impl<'a> Plan<'a> {
    fn new(before: &State, ready: &[Ready], context: Context<'a>) -> Self {
        let mut seen = BTreeSet::new();
        let repeated = ready.iter().filter_map(Ready::table).filter(|&table| !seen.insert(table)).collect();
        let mut state = before.clone();
        state.version.sequence = context.sequence;
        Self {
            context,
            state,
            edits: Vec::new(),
            data: Vec::new(),
            steps: Vec::new(),
            written: HashMap::new(),
            bulk: HashMap::new(),
            repeated,
            fresh: BTreeSet::new(),
        }
    }

    fn add(&mut self, change: &Ready, as_of: SystemTime) -> Result<()> {
        match change {
            Ready::Insert { shape, rows: Rows::Inline(rows), upsert } => {
                self.insert(shape.id, rows, *upsert)?;
                self.freshness(shape.id, as_of)
            }
            Ready::Insert { shape, rows: Rows::Segments(new), upsert } => {
                self.insert_segments(shape.id, new, *upsert)?;
                self.freshness(shape.id, as_of)
            }
            Ready::Delete { shape, keys } => {
                self.delete(shape.id, keys)?;
                self.freshness(shape.id, as_of)
            }
            Ready::Replace { shape, new } => {
                self.truncate(shape.id)?;
                self.insert_segments(shape.id, new, false)?;
                self.freshness(shape.id, as_of)
            }
            Ready::Truncate { table } => {
                self.truncate(*table)?;
                self.freshness(*table, as_of)
            }
            Ready::Drop { table } => {
                self.steps.retain(|step| !step.is_of(*table));
                self.edit(Edit::DropTable { table: *table })
            }
            Ready::Position { source, position } => {
                let (source, position) = (source.clone(), position.clone());
                self.edit(Edit::SetPosition { source, position })
            }
            Ready::Define { shape, new } => {
                if self.state.names.contains_key(&shape.name) {
                    return Err(Error::new(
                        ErrorCode::TableExists,
                        format!("there is a table `{}` already", shape.name),
                    ));
                }
                self.edit(Edit::DefineTable(shape.to_record()?))?;
                self.insert_segments(shape.id, new, false)?;
                self.freshness(shape.id, as_of)
            }
        }
    }

    /// An edit that changes nothing that readers share.
    fn edit(&mut self, edit: Edit) -> Result<()> {
        self.state.apply(&edit, None, &self.context)?;
        self.edits.push(edit);
        Ok(())
    }

    fn truncate(&mut self, table: u64) -> Result<()> {
        // What this commit did to the table before does not matter any more.
        self.steps.retain(|step| !step.is_of(table));
        self.bulk.remove(&table);
        self.written.insert(table, HashMap::new());
        self.edit(Edit::Truncate { table })
    }

    fn freshness(&mut self, table: u64, as_of: SystemTime) -> Result<()> {
        if self.fresh.insert(table) {
            self.edit(Edit::SetFreshness { table, as_of: nanoseconds(as_of) })?;
        }
        Ok(())
    }

    fn table(&self, table: u64) -> Result<&Arc<TableState>> {
        self.state.tables.get(&table).ok_or_else(dropped)
    }

    fn insert_segments(&mut self, table: u64, new: &NewSegments, upsert: bool) -> Result<()> {
        if new.rows() == 0 {
            return Ok(());
        }
        let current = self.table(table)?.clone();
        let mut deleted: HashMap<u64, DeletedRows> = HashMap::new();
        let mut in_tail = Vec::new();
        if upsert {
            if self.steps.iter().any(|step| step.is_of(table)) {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    "so many rows of a table must come before its other changes in a commit",
                ));
            }
            for segment in new.segments() {
                let open = segment.open()?;
                for row in 0..open.rows() {
                    let key = open.key_at(row)?;
                    let hash = crate::storage::key::hash(&key);
                    let mut under = current.under_key(&key, hash, self.context.sequence)?;
                    // As in `under`: an earlier change of this commit may have the key in its segments.
                    for earlier in self.bulk.get(&table).into_iter().flatten() {
                        if earlier.may_hold(&key)
                            && let Some(row) = earlier.open()?.find(hash, &key)?
                        {
                            under = Under::in_segment(earlier, row)?;
                        }
                    }
                    match under {
                        Under::Nothing => {}
                        Under::Tail(tail, row) => {
                            in_tail.extend(current.tails[tail].index.clone().map(|index| (index, row)));
                        }
                        Under::Segment(segment, _, row) => {
                            deleted.entry(segment).or_default().insert(row);
                        }
                    }
                }
            }
        }
        let replaced = deleted.values().map(DeletedRows::count).sum::<u64>() + in_tail.len() as u64;
        let mut deleted: Vec<_> =
            deleted.iter().map(|(&segment, rows)| DeletedRecord::new(segment, rows)).collect();
        deleted.sort_unstable_by_key(|record| record.segment);
        self.state.table_mut(table)?.add_segments(new.segments().to_vec(), replaced, &deleted)?;
        let records = new.records();
        let last = records.iter().map(|record| record.id + 1).max().unwrap_or_default();
        self.state.next_segment = self.state.next_segment.max(last);
        self.edits.push(Edit::AddSegments { table, segments: records, replaced, deleted });
        if !in_tail.is_empty() {
            self.bulk.entry(table).or_default().extend(new.segments().iter().cloned());
            self.steps.push(Step::DeleteInTail(in_tail));
        }
        Ok(())
    }

    fn insert(&mut self, table: u64, rows: &RecordBatch, upsert: bool) -> Result<()> {
        let shape = self.table(table)?.shape.clone();
        if rows.num_rows() == 0 {
            return Ok(());
        }
        if shape.primary_key.is_empty() {
            return self.log_rows(table, rows, KeyColumn::default(), Vec::new(), 0);
        }
        let mut keys = KeyColumn::of(rows, &shape.primary_key)?;
        let mut rows = rows.clone();
        if let Some(is_last) = last_of_keys(&keys) {
            if !upsert {
                let row = is_last.iter().position(|is_last| !is_last).unwrap_or_default();
                return Err(shape.duplicate_key(row, |column| Ok(rows.column(column).as_ref())));
            }
            rows = filter_record_batch(&rows, &BooleanArray::from(is_last))
                .map_err(|error| Error::internal("cannot select rows").with_source(error))?;
            keys = KeyColumn::of(&rows, &shape.primary_key)?;
        }
        let under = self.under(table, &keys)?;
        let is_there = self.present(table, &keys, &under);
        if !upsert && let Some(row) = is_there.iter().position(|&is_there| is_there) {
            return Err(shape.duplicate_key(row, |column| Ok(rows.column(column).as_ref())));
        }
        let replaced = is_there.iter().filter(|&&is_there| is_there).count() as u64;
        self.note(table, &keys, true);
        self.log_rows(table, &rows, keys, under, replaced)
    }

    fn log_rows(
        &mut self,
        table: u64,
        rows: &RecordBatch,
        keys: KeyColumn,
        under: Vec<Under>,
        replaced: u64,
    ) -> Result<()> {
        let record = encode_rows(&mut self.data, rows)?;
        self.begin_tail(table, rows.num_rows(), rows.num_rows())?;
        self.edits.push(Edit::Insert { table, rows: record.clone(), replaced });
        self.steps.push(Step::Insert { table, rows: record, keys, under, replaced });
        Ok(())
    }

    fn delete(&mut self, table: u64, keys: &KeyColumn) -> Result<()> {
        if keys.len() == 0 {
            return Ok(());
        }
        let keys = keys.clone();
        let under = self.under(table, &keys)?;
        let is_there = self.present(table, &keys, &under);
        let deleted = is_there.iter().filter(|&&is_there| is_there).count() as u64;
        self.note(table, &keys, false);
        let record = encode_rows(&mut self.data, &keys.to_batch()?)?;
        self.begin_tail(table, 0, keys.len())?;
        self.edits.push(Edit::Delete { table, keys: record, deleted });
        self.steps.push(Step::Delete { table, keys, under, deleted });
        Ok(())
    }

    /// Room for rows in the tail, beside what earlier changes of this commit need.
    fn begin_tail(&mut self, table: u64, rows: usize, deletions: usize) -> Result<()> {
        let (mut rows, mut deletions) = (rows, deletions);
        for step in self.steps.iter().filter(|step| step.is_of(table)) {
            let (more_rows, more_deletions) = step.room();
            (rows, deletions) = (rows + more_rows, deletions + more_deletions);
        }
        let context = self.context;
        self.state.table_mut(table)?.begin_tail(&context, rows, deletions)
    }

    /// What stands under keys for changes that follow.
    fn under(&self, table: u64, keys: &KeyColumn) -> Result<Vec<Under>> {
        let mut under = self.table(table)?.under(keys, self.context.sequence)?;
        // The rows of tails that these took the place of are deleted only when this commit is logged.
        for segment in self.bulk.get(&table).into_iter().flatten() {
            for ((key, hash), under) in keys.iter().zip(&mut under) {
                if segment.may_hold(key)
                    && let Some(row) = segment.open()?.find(hash, key)?
                {
                    *under = Under::in_segment(segment, row)?;
                }
            }
        }
        Ok(under)
    }

    /// Whether keys are there, earlier changes of this commit included.
    fn present(&self, table: u64, keys: &KeyColumn, under: &[Under]) -> Vec<bool> {
        let written = self.written.get(&table);
        let is_there = |((key, _), under): ((&[u8], u64), &Under)| {
            let written = written.and_then(|written| written.get(key)).copied();
            written.unwrap_or(*under != Under::Nothing)
        };
        keys.iter().zip(under).map(is_there).collect()
    }

    /// Remembers what became of keys for later changes of this commit.
    fn note(&mut self, table: u64, keys: &KeyColumn, is_there: bool) {
        if !self.repeated.contains(&table) {
            return;
        }
        let written = self.written.entry(table).or_default();
        written.extend(keys.iter().map(|(key, _)| (key.to_vec(), is_there)));
    }

    /// Applies what was logged; the data of the record stands at `data` in the log.
    fn apply(&mut self, committer: &mut Committer, data: usize) -> Result<()> {
        for step in &self.steps {
            let (rows, deletions) = step.room();
            committer.rows += rows.max(deletions);
            match step {
                Step::Insert { table, rows, keys, under, replaced } => {
                    let context = self.context;
                    let table = self.state.table_mut(*table)?;
                    let rows = map_rows(&table.shape.schema, rows, committer.log.region(), data)
                        .map_err(Error::internal)?;
                    table.insert(&context, rows, Some((keys, under)), *replaced)?;
                }
                Step::Delete { table, keys, under, deleted } => {
                    let context = self.context;
                    self.state.table_mut(*table)?.delete(&context, Some((keys, under)), *deleted)?;
                }
                Step::DeleteInTail(rows) => {
                    for (index, row) in rows {
                        index.delete(*row, self.context.sequence);
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes what was made for a commit that is not.
    fn give_up(&self, before: &State) {
        for (id, table) in &self.state.tables {
            let was_there = |since: u64| {
                before.tables.get(id).is_some_and(|old| old.tails.iter().any(|tail| tail.tail.since == since))
            };
            for tail in table.tails.iter().filter(|tail| !was_there(tail.tail.since)) {
                if let Some(index) = &tail.index {
                    self.context.indexes.remove(self.context.files, *id, tail.tail.since, index.capacity());
                }
            }
        }
    }
}

impl Step {
    fn is_of(&self, wanted: u64) -> bool {
        match self {
            Self::Insert { table, .. } | Self::Delete { table, .. } => *table == wanted,
            Self::DeleteInTail(_) => false,
        }
    }

    /// Rows and deletions that it adds to a tail.
    fn room(&self) -> (usize, usize) {
        match self {
            Self::Insert { rows, keys, .. } => {
                let rows = usize::try_from(rows.positions.rows).unwrap_or(usize::MAX);
                (rows, keys.len())
            }
            Self::Delete { keys, .. } => (0, keys.len()),
            Self::DeleteInTail(_) => (0, 0),
        }
    }
}

/// Which rows are the last with their keys; `None` if all are.
fn last_of_keys(keys: &KeyColumn) -> Option<Vec<bool>> {
    let mut last: HashMap<&[u8], usize> = HashMap::with_capacity(keys.len());
    let mut is_last = vec![true; keys.len()];
    let mut is_all = true;
    for (row, (key, _)) in keys.iter().enumerate() {
        if let Some(before) = last.insert(key, row) {
            is_last[before] = false;
            is_all = false;
        }
    }
    (!is_all).then_some(is_last)
}

fn nanoseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}
