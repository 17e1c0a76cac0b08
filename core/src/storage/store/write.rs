//! Commits: what they change is planned, logged, applied and shown to readers, in this order.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arrow::compute::concat_batches;
use parking_lot::{Mutex, MutexGuard};

use super::change::{Change, Incoming, Ready, Rows};
use super::committer::{Committer, MANIFESTS_KEPT};
use super::merge::is_full;
use super::plan::Plan;
use super::replaced::Replaced;
use super::{Store, dropped};
use crate::storage::batch::batch_len;
use crate::storage::catalog::state::State;
use crate::storage::format::RECORD_BODY_MAX;
use crate::storage::load::{Duplicates, NewSegments};
use crate::storage::log::{Record, RecordKind};
use crate::storage::planted::{self, Bug};
use crate::storage::table::{Context, TableShape};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::mode::WriteMode;
use crate::types::version::Version;

/// Rows of a commit beyond this many bytes are written as segments.
pub(super) const INLINE_BYTES_MAX: usize = 2 << 20;
/// Rows of a commit beyond this number are written as segments.
const INLINE_ROWS_MAX: usize = 1 << 15;
/// A commit waits until rows are moved out of the log when it has this many bytes ...
const LOG_BYTES_MAX: u64 = 96 << 20;
/// ... or this many rows and deletions.
const LOG_ROWS_MAX: usize = 1 << 20;
/// If rows of some table cannot be moved out of the log, commits that add more are refused when the log has about this
/// many bytes. Small in tests.
const STUCK_LOG_BYTES_MAX: u64 = if cfg!(test) { 128 << 20 } else { 1 << 30 };

/// How often whoever waits for a table looks whether the wait is still wanted.
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Waits for a table, as long as `check` says that somebody wants the change.
fn lock_if_wanted<'a>(lock: &'a Mutex<()>, check: &dyn Fn() -> Result<()>) -> Result<MutexGuard<'a, ()>> {
    loop {
        check()?;
        if let Some(held) = lock.try_lock_for(LOCK_PAUSE) {
            return Ok(held);
        }
    }
}

/// The tables of a commit.
struct Touched {
    tables: BTreeSet<u64>,
    /// Those that lose all rows that they had.
    let_go: BTreeSet<u64>,
}

impl Touched {
    fn by(changes: &[Change<'_>]) -> Self {
        let lets_go = |change: &&Change<'_>| {
            matches!(
                change,
                Change::Rows { mode: WriteMode::Replace, .. } | Change::Truncate { .. } | Change::Drop { .. }
            )
        };
        Self {
            tables: changes.iter().filter_map(Change::table).collect(),
            let_go: changes.iter().filter(lets_go).filter_map(Change::table).collect(),
        }
    }
}

impl Store {
    /// Adds a table with its first rows, in one commit. Gives it a new number in place of the one in `shape`.
    ///
    /// # Errors
    /// [`ErrorCode::TableExists`], and the errors of a load and of a commit. No table was added then.
    pub(crate) fn create_table(
        &self,
        shape: TableShape,
        as_of: SystemTime,
        batches: Incoming<'_>,
    ) -> Result<Arc<State>> {
        self.define(shape, as_of, batches, None, None)
    }

    /// As [`create_table`](Self::create_table). The same commit drops the table `replaced`, and remembers the position up to
    /// which a source was read.
    pub(crate) fn create_fed_table(
        &self,
        shape: TableShape,
        as_of: SystemTime,
        batches: Incoming<'_>,
        replaced: Option<u64>,
        (source, position): (String, Vec<u8>),
    ) -> Result<Arc<State>> {
        self.define(shape, as_of, batches, replaced, Some(Ready::Position { source, position }))
    }

    fn define(
        &self,
        shape: TableShape,
        as_of: SystemTime,
        batches: Incoming<'_>,
        replaced: Option<u64>,
        position: Option<Ready>,
    ) -> Result<Arc<State>> {
        let _directory = self.hold()?;
        self.newest_logged()?.check_room_for(&shape)?;
        let table = self.next_table.fetch_add(1, Ordering::Relaxed);
        let shape = Arc::new(TableShape { id: table, ..shape });
        let loaded = self.load(&shape, Duplicates::Refuse).run(batches);
        let created = loaded.and_then(|new| {
            let defined = Ready::Define { shape: shape.clone(), new };
            self.refuse_beyond_limit(defined.segment_bytes())?;
            let lock = replaced.map(|table| self.loading.of(table));
            let _loading = lock.as_ref().map(|lock| lock.lock());
            let dropped = replaced.map(|table| Ready::Drop { table });
            self.commit(dropped.into_iter().chain([defined]).chain(position).collect(), as_of)
        });
        if let Some(replaced) = replaced {
            let newest = self.hold_committer().newest().clone();
            self.loading.forget_gone([replaced], &newest);
        }
        if created.is_err() {
            // Fails if files stayed because their commit may be in the log.
            drop(self.files.vfs.remove_dir(&self.files.table_dir(table)));
        }
        created
    }

    /// Makes changes in one commit: readers see all of them or none.
    ///
    /// # Errors
    /// Those of a load and of a commit. Everything is then as before.
    pub(crate) fn write(&self, changes: Vec<Change<'_>>, as_of: SystemTime) -> Result<Version> {
        self.write_if_wanted(changes, as_of, &|| Ok(()))
    }

    /// As [`write`](Self::write). `check` fails when nobody wants the changes any more; it is asked while this waits for others.
    ///
    /// # Errors
    /// That of `check`, and as [`write`](Self::write).
    pub(crate) fn write_if_wanted(
        &self,
        changes: Vec<Change<'_>>,
        as_of: SystemTime,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Version> {
        let state = self.prepare_and_log(changes, as_of, check)?;
        self.finish(&state)?;
        Ok(state.version)
    }

    /// Makes changes that follow from the rows of a table, in one commit. Nobody else changes the table from before `read` sees
    /// its newest rows until the commit is logged, so that no change in between is lost; other tables go on.
    ///
    /// # Errors
    /// Those of `read` and `check`, and as [`write`](Self::write).
    ///
    /// `check` fails when nobody wants the changes any more; it is asked while this waits for others, and before the commit. If
    /// there are no changes, there is no commit.
    #[cfg(feature = "sql")]
    pub(crate) fn write_alone<C>(
        &self,
        table: u64,
        as_of: SystemTime,
        check: &dyn Fn() -> Result<()>,
        read: impl FnOnce(&Arc<State>) -> Result<C>,
        changes: impl FnOnce(&mut C) -> Vec<Change<'_>>,
    ) -> Result<Version> {
        let _directory = self.hold()?;
        let lock = self.loading.of(table);
        let held = lock_if_wanted(&lock, check)?;
        let logged = self.newest_logged().and_then(|newest| {
            let mut read = read(&newest)?;
            let changes = changes(&mut read);
            check()?;
            if changes.is_empty() { Ok(newest) } else { self.log_changes(changes, as_of, Some(table), check) }
        });
        drop(held);
        if logged.is_err() {
            let newest = self.hold_committer().newest().clone();
            self.loading.forget_gone([table], &newest);
        }
        let state = logged?;
        self.finish(&state)?;
        Ok(state.version)
    }

    fn prepare_and_log(
        &self,
        changes: Vec<Change<'_>>,
        as_of: SystemTime,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Arc<State>> {
        let _directory = self.hold()?;
        self.log_changes(changes, as_of, None, check)
    }

    /// Reads and logs changes. `held`: the table whose lock the caller holds.
    fn log_changes(
        &self,
        changes: Vec<Change<'_>>,
        as_of: SystemTime,
        held: Option<u64>,
        check: &dyn Fn() -> Result<()>,
    ) -> Result<Arc<State>> {
        // Checked before rows of other changes are read and written.
        let len: usize = changes.iter().map(Change::record_len).sum();
        if len > RECORD_BODY_MAX {
            for change in &changes {
                if let Change::Delete { table, keys, .. } = change {
                    self.table(*table)?.shape.refuse_long_key(keys.longest())?;
                }
            }
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "the keys that the commit deletes, and its positions, have {len} bytes; the limit is \
                     {RECORD_BODY_MAX}: make several commits"
                ),
            ));
        }
        let touched = Touched::by(&changes);
        self.refuse_beyond_stuck_log(&touched)?;
        let adds_rows = changes.iter().any(Change::adds_rows);
        let sources = changes.iter().filter_map(|change| match change {
            Change::Position { source, .. } => Some(source.clone()),
            _ => None,
        });
        let sources: Vec<String> = sources.collect();
        for change in &changes {
            if let Some(table) = change.table() {
                change.check(&self.table(table)?.shape, &sources)?;
            }
        }
        // Rows are read before any lock is taken: whoever sends them slowly holds nobody up.
        let mut inline_bytes = 0;
        let prepared = changes.into_iter().map(|change| self.prepare(change, &mut inline_bytes));
        let ready: Vec<Ready> = prepared.collect::<Result<_>>()?;
        let tables: BTreeSet<u64> = ready.iter().filter_map(Ready::table).collect();
        let drops = ready.iter().any(Ready::drops);
        // Taken in the order of their numbers, so that two commits never wait for each other.
        let free = tables.iter().filter(|&&table| Some(table) != held);
        let locks: Vec<_> = free.map(|&table| self.loading.of(table)).collect();
        let loading: Vec<_> = locks.iter().map(|lock| lock_if_wanted(lock, check)).collect::<Result<_>>()?;
        let bytes =
            adds_rows.then(|| ready.iter().map(Ready::segment_bytes).sum::<u64>() + inline_bytes as u64);
        let logged = self.log_prepared(ready, &touched, bytes, as_of);
        drop(loading);
        if drops || logged.is_err() {
            let newest = self.hold_committer().newest().clone();
            self.loading.forget_gone(tables, &newest);
        }
        logged
    }

    /// Logs changes, while nobody else changes their tables. `bytes`: the size of their rows, if they add any.
    fn log_prepared(
        &self,
        ready: Vec<Ready>,
        touched: &Touched,
        bytes: Option<u64>,
        as_of: SystemTime,
    ) -> Result<Arc<State>> {
        self.make_room()?;
        self.refuse_beyond_stuck_log(touched)?;
        let mut seen = BTreeSet::new();
        let repeated: BTreeSet<u64> =
            ready.iter().filter_map(Ready::table).filter(|&table| !seen.insert(table)).collect();
        for change in &ready {
            self.admit_segments(change, &repeated)?;
        }
        if let Some(bytes) = bytes {
            self.refuse_beyond_limit(bytes)?;
        }
        self.log(ready, as_of)
    }

    /// Makes room for the segments that a change adds to its table, and refuses rows whose keys are in the table
    /// already.
    fn admit_segments(&self, change: &Ready, repeated: &BTreeSet<u64>) -> Result<()> {
        let Ready::Insert { shape, rows: Rows::Segments(new), upsert } = change else { return Ok(()) };
        let mut newest = self.newest_logged()?;
        if newest.tables.get(&shape.id).is_some_and(|current| is_full(current)) {
            let _hurry = self.hurry();
            self.merge_table(shape.id, 1)?;
            newest = self.newest_logged()?;
        }
        let current = newest.tables.get(&shape.id).ok_or_else(dropped)?;
        // Earlier changes of the commit count too: their effect is known when the commit is planned.
        if *upsert || repeated.contains(&shape.id) || shape.primary_key.is_empty() {
            return Ok(());
        }
        new.refuse_existing(current, newest.version.sequence)
    }

    /// Refuses rows of `bytes` bytes if the files would then exceed their limit. If there are many rows, they are already
    /// written as segments.
    fn refuse_beyond_limit(&self, bytes: u64) -> Result<()> {
        let limit = self.disk_limit.load(Ordering::Relaxed);
        if limit == u64::MAX || self.used_bytes() + bytes <= limit {
            return Ok(());
        }
        let _hurry = self.hurry();
        // Most of the space may be that of replaced and deleted rows. Two new manifests let go of it.
        for _ in 0..MANIFESTS_KEPT {
            // An empty commit, so that each manifest has another sequence.
            self.commit(Vec::new(), self.files.clock.now())?;
            // Tables whose rows cannot be moved let go of nothing. That alone is not a reason to refuse this write.
            self.fold_tables()?;
            if self.used_bytes() + bytes <= limit {
                return Ok(());
            }
        }
        let used = self.used_bytes();
        Err(Error::new(
            ErrorCode::DiskFull,
            format!(
                "the files take {used} bytes and the rows {bytes}; they may take {limit} together: delete rows or \
                 drop tables, or raise `disk_limit`"
            ),
        ))
    }

    /// Bytes of the segments, of those that wait to be removed, and of the log.
    fn used_bytes(&self) -> u64 {
        let committer = self.hold_committer();
        let tables = committer.newest().tables.values();
        let segments = tables.flat_map(|table| table.segments.iter());
        segments.map(|segment| segment.record().len).sum::<u64>() + committer.bytes()
    }

    /// Moves rows out of the log if it is full.
    pub(super) fn make_room(&self) -> Result<()> {
        let is_full = {
            let committer = self.hold_committer();
            committer.log.len() >= LOG_BYTES_MAX || committer.rows >= LOG_ROWS_MAX
        };
        if !is_full {
            return Ok(());
        }
        let _hurry = self.hurry();
        self.fold_tables().map(|_| ())
    }

    /// If rows that cannot be moved make the log long, refuses changes of their table; if very long, of any table.
    /// Never refuses a commit that lets go of such rows.
    fn refuse_beyond_stuck_log(&self, touched: &Touched) -> Result<()> {
        let (state, bytes) = {
            let committer = self.writing()?;
            // Files of replaced segments stay as long as that log.
            let bytes = committer.needed_log_bytes() + committer.retired_since;
            if bytes < LOG_BYTES_MAX {
                return Ok(());
            }
            (committer.newest().clone(), bytes)
        };
        let why = |table: &u64| state.tables.get(table).and_then(|table| table.stuck());
        if touched.let_go.iter().any(|table| why(table).is_some()) {
            return Ok(());
        }
        let of_changes = touched.tables.iter().find_map(why);
        let of_all = || state.tables.keys().find_map(why);
        let stuck = of_changes.or_else(|| of_all().filter(|_| bytes >= STUCK_LOG_BYTES_MAX));
        match stuck {
            Some(why) => Err(Error::new(
                ErrorCode::DiskFull,
                format!(
                    "{bytes} bytes of the log and of replaced files must stay: {why}; replace the table, or drop it"
                ),
            )),
            None => Ok(()),
        }
    }

    fn prepare(&self, change: Change<'_>, inline_bytes: &mut usize) -> Result<Ready> {
        Ok(match change {
            Change::Rows { table, mode: WriteMode::Append, rows } => {
                let shape = self.table(table)?.shape.clone();
                let rows = self.gather(&shape, rows, Duplicates::Refuse, inline_bytes)?;
                Ready::Insert { shape, rows, upsert: false }
            }
            Change::Rows { table, mode: WriteMode::Upsert, rows } => {
                let shape = self.table(table)?.shape.clone();
                if shape.primary_key.is_empty() {
                    return Err(shape.no_primary_key());
                }
                let rows = self.gather(&shape, rows, Duplicates::LastWins, inline_bytes)?;
                Ready::Insert { shape, rows, upsert: true }
            }
            Change::Delete { table, keys, invalidates } => {
                let shape = self.table(table)?.shape.clone();
                if shape.primary_key.is_empty() {
                    return Err(shape.no_primary_key());
                }
                shape.refuse_long_key(keys.longest())?;
                let keys = keys.distinct();
                *inline_bytes += keys.bytes();
                if invalidates { Ready::LetGo { shape, keys } } else { Ready::Delete { shape, keys } }
            }
            Change::Rows { table, mode: WriteMode::Replace, rows } => {
                let shape = self.table(table)?.shape.clone();
                let new = self.load(&shape, Duplicates::Refuse).run(rows)?;
                Ready::Replace { shape, new }
            }
            Change::Truncate { table } => Ready::Truncate { table: self.table(table)?.shape.id },
            Change::Drop { table } => Ready::Drop { table: self.table(table)?.shape.id },
            Change::Position { source, position } => Ready::Position { source, position },
        })
    }

    /// Reads rows: keeps them as they are if they are few, otherwise writes segments.
    fn gather(
        &self,
        shape: &Arc<TableShape>,
        rows: Incoming<'_>,
        duplicates: Duplicates,
        inline_bytes: &mut usize,
    ) -> Result<Rows> {
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
        let mut all = few.into_iter().map(Ok).chain(rows);
        Ok(Rows::Segments(self.load(shape, duplicates).run(&mut all)?))
    }

    /// Commits what is ready. Files of new segments stay if the commit succeeded, or if nobody knows whether it did.
    pub(super) fn commit(&self, ready: Vec<Ready>, as_of: SystemTime) -> Result<Arc<State>> {
        let state = self.log(ready, as_of)?;
        self.finish(&state)?;
        Ok(state)
    }

    /// Waits until readers see a commit.
    pub(super) fn finish(&self, state: &State) -> Result<()> {
        self.wait_until_shown(state.version).map_err(in_doubt)
    }

    /// Logs what is ready as a commit. Others can be logged behind it before it is shown.
    pub(super) fn log(&self, ready: Vec<Ready>, as_of: SystemTime) -> Result<Arc<State>> {
        // A move of rows does not notice that rows of its segments are deleted in bulk, so it has to end first.
        let _still =
            ready.iter().any(Ready::replaces_in_bulk).then(|| (self.hurry(), self.maintenance.lock()));
        let replaced = self.look_up_replaced(&ready)?;
        let mut committer = self.writing()?;
        let committed = self.log_locked(&mut committer, &ready, replaced, as_of);
        if self.is_due(&committer) {
            self.wake();
        }
        if committer.log.len() >= LOG_BYTES_MAX / 2 || committer.rows >= LOG_ROWS_MAX / 2 {
            self.pace.set_urgent(true);
        }
        let newest = committer.newest().version;
        drop(committer);
        if committed.as_ref().err().is_none_or(|error| error.code() == ErrorCode::OutcomeUnknown) {
            ready.into_iter().filter_map(Ready::segments).for_each(NewSegments::keep);
        } else {
            // Commits that nobody sees yet may be the reason. They are shown first, so that the caller finds it.
            self.wait_until_shown(newest)?;
        }
        committed
    }

    fn log_locked(
        &self,
        committer: &mut Committer,
        ready: &[Ready],
        replaced: HashMap<u64, Replaced>,
        as_of: SystemTime,
    ) -> Result<Arc<State>> {
        self.grow_indexes(committer, ready)?;
        let before = committer.newest().clone();
        let context = self.context(committer, before.version.sequence + 1);
        let mut plan = Plan::new(&before, ready, replaced, context);
        let planned = ready.iter().try_for_each(|change| plan.add(change, as_of));
        let result = planned.and_then(|()| self.carry_out(committer, &mut plan));
        if result.as_ref().err().is_none_or(|error| error.code() == ErrorCode::OutcomeUnknown) {
            plan.keep();
        }
        match result {
            Ok(()) => {
                let state = Arc::new(plan.state);
                // Segments that the commit both added and dropped are needed as long as its log may be replayed.
                for (table, new) in
                    ready.iter().filter_map(|change| change.table().zip(change.new_segments()))
                {
                    let held = state.tables.get(&table).into_iter().flat_map(|table| table.segments.iter());
                    let held: BTreeSet<u64> = held.map(|segment| segment.id()).collect();
                    let gone = new.segments().iter().filter(|segment| !held.contains(&segment.id()));
                    committer.retire(&gone.cloned().collect::<Vec<_>>(), state.version.sequence);
                }
                self.logged(committer, state.clone(), state.version.sequence);
                Ok(state)
            }
            Err(error) => {
                plan.give_up(&before);
                Err(error)
            }
        }
    }

    pub(super) fn context(&self, committer: &Committer, sequence: u64) -> Context<'_> {
        let (files, indexes, log) = (&self.files, self.indexes(), committer.log.number());
        Context { files, indexes, log, sequence, is_fresh: false }
    }

    /// Makes room in the indexes of existing tails. What they hold does not change.
    fn grow_indexes(&self, committer: &mut Committer, ready: &[Ready]) -> Result<()> {
        let mut needed: HashMap<u64, usize> = HashMap::new();
        for (table, rows) in ready.iter().filter_map(Ready::inline_rows) {
            *needed.entry(table).or_default() += rows;
        }
        for (table, rows) in needed {
            let before = committer.newest().clone();
            let Some(current) = before.tables.get(&table) else { continue };
            let context = self.context(committer, before.version.sequence + 1);
            let mut current = current.clone();
            if current.capacity_needed(&context, rows, rows).is_some()
                && Arc::make_mut(&mut current).grow_tail(&context, rows, rows)?
            {
                // The larger index must stay even if this commit fails: readers in other processes may have found it.
                let mut grown = (*before).clone();
                grown.tables.insert(table, current);
                if let Some(shown) = committer.renew(grown) {
                    self.state.store(shown);
                }
            }
        }
        Ok(())
    }

    /// Logs what is planned. Then applies to rows what nobody may see before.
    fn carry_out(&self, committer: &mut Committer, plan: &mut Plan<'_>) -> Result<()> {
        let edits = rmp_serde::to_vec_named(&plan.edits)
            .map_err(|error| Error::internal("cannot encode a commit").with_source(error))?;
        let version = plan.state.version;
        let record = Record { kind: RecordKind::Commit, version, edits: &edits, data: &plan.data };
        committer.log.reserve(&record)?;
        let data = usize::try_from(committer.log.len()).unwrap_or(usize::MAX) + record.data_offset();
        let result = committer.log.append(&record).and_then(|()| {
            planted::panic_by(Bug::PanicMidCommit);
            plan.apply(committer, data)
        });
        committer.poison_on_error(result).map_err(in_doubt)
    }
}

fn in_doubt(error: Error) -> Error {
    Error::new(
        ErrorCode::OutcomeUnknown,
        "the disk failed while the commit was written; open the cache again and check whether it is there",
    )
    .with_source(error)
}
