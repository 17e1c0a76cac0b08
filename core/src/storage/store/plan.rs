//! What a commit changes, in the state, in the log and in what readers share.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;

use super::change::{Ready, Rows};
use super::committer::Committer;
use super::dropped;
use super::replaced::{Replaced, Rewritten, visit_keys};
use crate::storage::catalog::edit::Edit;
use crate::storage::catalog::state::State;
use crate::storage::live::TailIndex;
use crate::storage::load::NewSegments;
use crate::storage::segment::SegmentHandle;
use crate::storage::table::deleted::{DeletedRecord, DeletedRows};
use crate::storage::table::{Context, TableState, Under};
use crate::storage::tail::{KeyColumn, RowsRecord, encode_rows, map_rows};
use crate::types::clock::nanoseconds_of;
use crate::types::error::{Error, ErrorCode, Result};

/// What a commit does.
pub(super) struct Plan<'a> {
    context: Context<'a>,
    /// The state that it makes. What the state shares with readers is changed only after the commit is logged.
    pub(super) state: State,
    pub(super) edits: Vec<Edit>,
    pub(super) data: Vec<u8>,
    steps: Vec<Step>,
    /// By table, for those with more than one change: keys that this commit changed so far, and whether they exist now.
    written: HashMap<u64, HashMap<Vec<u8>, bool>>,
    /// By table: segments of this commit whose rows replace rows in tails.
    bulk: HashMap<u64, Vec<Arc<SegmentHandle>>>,
    /// Tables with more than one change.
    repeated: BTreeSet<u64>,
    /// By table: what many rows replace, as looked up before.
    replaced: HashMap<u64, Replaced>,
    /// Segments that were written anew for this commit.
    rewritten: Vec<NewSegments>,
    fresh: BTreeSet<u64>,
}

/// What is applied once the commit is logged.
enum Step {
    Insert { table: u64, rows: RowsRecord, keys: KeyColumn, under: Vec<Under>, replaced: u64 },
    Delete { table: u64, keys: KeyColumn, under: Vec<Under>, deleted: u64 },
    DeleteInTail(Vec<(Arc<TailIndex>, u32)>),
}

impl<'a> Plan<'a> {
    /// An empty plan. `replaced`: by table, what many rows replace, as far as it was looked up.
    pub(super) fn new(
        before: &State,
        ready: &[Ready],
        replaced: HashMap<u64, Replaced>,
        context: Context<'a>,
    ) -> Self {
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
            replaced,
            rewritten: Vec::new(),
            fresh: BTreeSet::new(),
        }
    }

    pub(super) fn add(&mut self, change: &Ready, as_of: SystemTime) -> Result<()> {
        // A commit that nobody sees yet may have dropped the table since the change was prepared.
        if let Some(table) = change.table().filter(|_| !matches!(change, Ready::Define { .. })) {
            self.table(table)?;
        }
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
            Ready::LetGo { shape, keys } => self.delete(shape.id, keys),
            Ready::ExpireRows { table, deleted, rows } => self.expire_rows(*table, deleted, *rows),
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
                self.state.check_position(source, position)?;
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
                self.state.check_room_for(shape)?;
                self.edit(Edit::DefineTable(shape.to_record()?))?;
                self.insert_segments(shape.id, new, false)?;
                self.freshness(shape.id, as_of)
            }
        }
    }

    /// Adds an edit that changes nothing that is shared with readers.
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
            self.edit(Edit::SetFreshness { table, as_of: nanoseconds_of(as_of) })?;
        }
        Ok(())
    }

    fn table(&self, table: u64) -> Result<&Arc<TableState>> {
        self.state.tables.get(&table).ok_or_else(dropped)
    }

    fn expire_rows(&mut self, table: u64, deleted: &DeletedRecord, rows: u64) -> Result<()> {
        let is_there = self.table(table)?.segments.iter().any(|segment| segment.id() == deleted.segment);
        if !is_there {
            // All rows were replaced meanwhile.
            return Ok(());
        }
        let deleted = vec![deleted.clone()];
        self.state.table_mut(table)?.add_segments(Vec::new(), rows, &deleted)?;
        self.edits.push(Edit::AddSegments { table, segments: Vec::new(), replaced: rows, deleted });
        Ok(())
    }

    fn insert_segments(&mut self, table: u64, new: &NewSegments, upsert: bool) -> Result<()> {
        if new.rows() == 0 {
            return Ok(());
        }
        let current = self.table(table)?.clone();
        let is_empty = current.segments.is_empty() && current.tails.is_empty();
        let has_keys = !current.shape.primary_key.is_empty() && !is_empty;
        let mut deleted = HashMap::new();
        let mut in_tail = Vec::new();
        let mut elsewhere = 0;
        if upsert {
            if self.steps.iter().any(|step| step.is_of(table)) {
                return Err(Error::new(
                    ErrorCode::InvalidArgument,
                    "an upsert of so many rows must come before the other changes of its table in a commit",
                ));
            }
            let known = self.replaced.remove(&table).filter(|known| known.is_of(&current));
            let found = match known.filter(|_| !self.repeated.contains(&table)) {
                Some(found) => found,
                None => Replaced::find(&current, new, |keys| self.under(table, keys))?,
            };
            (deleted, in_tail) = (found.deleted, found.in_tail);
            if let Some(Rewritten { segments, into, deleted }) = found.rewritten {
                elsewhere = deleted;
                let (into_records, log) = (into.records(), 0);
                self.rewritten.push(into);
                self.edit(Edit::Rewrite { table, segments, log, into: into_records, deleted: Vec::new() })?;
            }
        } else if has_keys && self.repeated.contains(&table) {
            // Not compared with the table when they were written, because other changes of this commit come before.
            visit_keys(new, |segment, first, keys| {
                let is_there = self.present(table, keys, &self.under(table, keys)?);
                let Some(row) = is_there.iter().position(|&is_there| is_there) else { return Ok(()) };
                let open = segment.open()?;
                let (batch, index) = open.locate(first + row);
                Err(current.shape.duplicate_key(index, |column| open.cell(batch, column, index)))
            })?;
        }
        if let Some(written) = self.written.get_mut(&table) {
            for (key, is_there) in written {
                let hash = crate::storage::key::hash(key);
                for segment in new.segments().iter().filter(|segment| segment.may_hold(key)) {
                    *is_there |= segment.open()?.find(hash, key, false)?.is_some();
                }
            }
        }
        let replaced =
            deleted.values().map(DeletedRows::count).sum::<u64>() + in_tail.len() as u64 + elsewhere;
        let mut deleted: Vec<_> =
            deleted.iter().map(|(&segment, rows)| DeletedRecord::new(segment, rows)).collect();
        deleted.sort_unstable_by_key(|record| record.segment);
        self.state.table_mut(table)?.add_segments(new.segments().to_vec(), replaced, &deleted)?;
        let records = new.records();
        let last = records.iter().map(|record| record.id + 1).max().unwrap_or_default();
        self.state.next_segment = self.state.next_segment.max(last);
        self.edits.push(Edit::AddSegments { table, segments: records, replaced, deleted });
        // Until this commit is logged, tails still have the rows that this change, or one before it, replaces.
        if !in_tail.is_empty() || self.repeated.contains(&table) {
            self.bulk.entry(table).or_default().extend(new.segments().iter().cloned());
        }
        if !in_tail.is_empty() {
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
        shape.refuse_long_key(keys.longest())?;
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

    /// Makes room for rows and deletions in the tail, beside what earlier changes of this commit need.
    fn begin_tail(&mut self, table: u64, rows: usize, deletions: usize) -> Result<()> {
        let (mut rows, mut deletions) = (rows, deletions);
        for step in self.steps.iter().filter(|step| step.is_of(table)) {
            let (more_rows, more_deletions) = step.room();
            (rows, deletions) = (rows + more_rows, deletions + more_deletions);
        }
        let context = self.context;
        self.state.table_mut(table)?.begin_tail(&context, rows, deletions)
    }

    /// What a change finds under keys, after earlier changes of this commit in bulk.
    fn under(&self, table: u64, keys: &KeyColumn) -> Result<Vec<Under>> {
        let mut under = self.table(table)?.under(keys, self.context.sequence)?;
        // The rows of tails that these segments replace are deleted only when this commit is logged.
        for segment in self.bulk.get(&table).into_iter().flatten() {
            for ((key, hash), under) in keys.iter().zip(&mut under) {
                if segment.may_hold(key)
                    && let Some(row) = segment.open()?.find(hash, key, false)?
                {
                    *under = Under::in_segment(segment, row)?;
                }
            }
        }
        Ok(under)
    }

    /// Whether keys exist, after earlier changes of this commit.
    fn present(&self, table: u64, keys: &KeyColumn, under: &[Under]) -> Vec<bool> {
        let written = self.written.get(&table);
        let is_there = |((key, _), under): ((&[u8], u64), &Under)| {
            let written = written.and_then(|written| written.get(key)).copied();
            written.unwrap_or(*under != Under::Nothing)
        };
        keys.iter().zip(under).map(is_there).collect()
    }

    /// Remembers for later changes of this commit whether keys exist now.
    fn note(&mut self, table: u64, keys: &KeyColumn, is_there: bool) {
        if !self.repeated.contains(&table) {
            return;
        }
        let written = self.written.entry(table).or_default();
        written.extend(keys.iter().map(|(key, _)| (key.to_vec(), is_there)));
    }

    /// Applies what was logged; the data of the record stands at `data` in the log.
    pub(super) fn apply(&mut self, committer: &mut Committer, data: usize) -> Result<()> {
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

    /// Keeps the segments that were written anew for the commit.
    pub(super) fn keep(&mut self) {
        self.rewritten.drain(..).for_each(NewSegments::keep);
    }

    /// Removes the indexes that were made for a commit that failed.
    pub(super) fn give_up(&self, before: &State) {
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
