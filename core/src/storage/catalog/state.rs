//! One committed state of the cache: which tables there are and what makes them up.
//!
//! States are immutable and share what did not change, so that a reader holds one for as long as it likes.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::edit::{CatalogRecord, Edit, SegmentRecord, TableContentRecord};
use super::files::Files;
use super::position::Position;
use crate::storage::live::Indexes;
use crate::storage::mapped::region::Region;
use crate::storage::planted::{self, Bug};
use crate::storage::segment::SegmentHandle;
use crate::storage::table::deleted::DeletedRecord;
use crate::storage::table::{Context, TableShape, TableState};
use crate::storage::tail::{KeyColumn, RowsRecord, map_rows};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

/// How many incarnations a state remembers; a reader that slept through more is told that its version may be lost.
const INCARNATIONS_KEPT: usize = 64;

/// Where the data of a record stands: a mapped log file, and the offset of the data in it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RecordData<'a> {
    /// The log file.
    pub(crate) region: &'a Region,
    /// Where the data starts.
    pub(crate) offset: usize,
}

/// A committed state.
#[derive(Clone, Debug)]
pub(crate) struct State {
    /// Its version.
    pub(crate) version: Version,
    /// The newest incarnations, this one included, and the sequence of the last commit before each, oldest first. A
    /// reader of an earlier incarnation learns from them whether commits that it saw were lost.
    pub(crate) incarnations: Vec<(u64, u64)>,
    /// Tables by number.
    pub(crate) tables: BTreeMap<u64, Arc<TableState>>,
    /// Numbers by name.
    pub(crate) names: Arc<HashMap<String, u64>>,
    /// Number of the next table.
    pub(crate) next_table: u64,
    /// Number of the next segment, as far as committed segments show.
    pub(crate) next_segment: u64,
    /// See [`Edit::SetPosition`].
    pub(crate) positions: Arc<BTreeMap<String, Arc<Position>>>,
}

impl State {
    /// The state that a manifest describes.
    pub(crate) fn from_record(version: Version, record: &CatalogRecord, files: &Files) -> Result<Self> {
        let mut state = Self {
            version,
            incarnations: record.incarnations.clone(),
            tables: BTreeMap::new(),
            names: Arc::default(),
            next_table: record.next_table,
            next_segment: record.next_segment,
            positions: Arc::new(record.positions.iter().map(Position::of_record).collect()),
        };
        for content in &record.tables {
            let id = content.table.id;
            state.define(TableShape::from_record(&content.table)?);
            let segments = state.open_records(id, &content.segments, files, SegmentHandle::new)?;
            let table = state.table_mut(id)?;
            table.add_segments(segments, 0, &[])?;
            let deleted = table.add_deleted(&content.deleted)?;
            table.rows = table.rows.saturating_sub(deleted);
            table.as_of = content.as_of;
        }
        Ok(state)
    }

    /// Describes this state for a manifest. Fails if a table has tails: a manifest cannot hold their rows.
    pub(crate) fn to_record(&self, log: u64) -> Result<CatalogRecord> {
        let tables = self.tables.values().map(|table| {
            if !table.tails.is_empty() {
                return Err(Error::internal("a manifest cannot hold rows that stand in the log"));
            }
            let given_up: HashSet<u64> =
                table.segments.iter().filter(|held| held.is_given_up()).map(|held| held.id()).collect();
            let mut deleted: Vec<_> = table
                .deleted
                .iter()
                .filter(|(segment, _)| !given_up.contains(segment))
                .map(|(&segment, rows)| DeletedRecord::new(segment, rows))
                .collect();
            deleted.sort_unstable_by_key(|record| record.segment);
            let mut segments: Vec<SegmentRecord> =
                table.segments.iter().map(|segment| segment.record().clone()).collect();
            // The live rows of the other segments are known. All other rows of the table are in those that were given
            // up: the first of these is recorded with all of them.
            let live = |record: &SegmentRecord| {
                record.rows.saturating_sub(table.deleted.get(&record.id).map_or(0, |deleted| deleted.count()))
            };
            let known = segments.iter().filter(|record| !given_up.contains(&record.id)).map(live).sum();
            let mut unknown = table.rows.saturating_sub(known);
            for record in segments.iter_mut().filter(|record| given_up.contains(&record.id)) {
                record.rows = std::mem::take(&mut unknown);
            }
            Ok(TableContentRecord { table: table.shape.to_record()?, segments, deleted, as_of: table.as_of })
        });
        Ok(CatalogRecord {
            log,
            incarnations: self.incarnations.clone(),
            next_table: self.next_table,
            next_segment: self.next_segment,
            tables: tables.collect::<Result<_>>()?,
            positions: self
                .positions
                .iter()
                .map(|(source, position)| (source.clone(), position.to_record()))
                .collect(),
        })
    }

    /// The same state with only the tables whose names are chosen.
    pub(crate) fn only(&self, is_chosen: &dyn Fn(&str) -> bool) -> Self {
        let chosen = self.names.iter().filter(|(name, _)| is_chosen(name));
        let names: HashMap<String, u64> = chosen.map(|(name, id)| (name.clone(), *id)).collect();
        let ids: HashSet<u64> = names.values().copied().collect();
        let mut only = self.clone();
        only.tables.retain(|id, _| ids.contains(id));
        only.names = Arc::new(names);
        only
    }

    /// Begins an incarnation behind the last commit; it takes a sequence of its own.
    pub(crate) fn begin_incarnation(&mut self, incarnation: u64) {
        self.incarnations.push((incarnation, self.version.sequence));
        let superfluous = self.incarnations.len().saturating_sub(INCARNATIONS_KEPT);
        self.incarnations.drain(..superfluous);
        self.version = Version { incarnation, sequence: self.version.sequence + 1 };
    }

    /// Whether this state has everything that was committed up to `version`. `None` if `version` is of another cache
    /// or of an incarnation that was forgotten.
    pub(crate) fn includes(&self, version: Version) -> Option<bool> {
        let position =
            self.incarnations.iter().position(|&(incarnation, _)| incarnation == version.incarnation)?;
        let ended_at =
            self.incarnations.get(position + 1).map_or(self.version.sequence, |&(_, ended_at)| ended_at);
        Some(version.sequence <= ended_at)
    }

    /// Applies one edit of a commit; `data` is the data of its record.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] if the edit does not fit the state; [`ErrorCode::Io`], [`ErrorCode::DiskFull`] where
    /// indexes of tails are kept in files.
    pub(crate) fn apply(
        &mut self,
        edit: &Edit,
        data: Option<RecordData<'_>>,
        context: &Context<'_>,
    ) -> Result<()> {
        if !context.indexes.are_written()
            && let Some(id) = edit.table()
            && self.tables.contains_key(&id)
        {
            self.table_mut(id)?.follow_indexes(context)?;
        }
        let handle = if context.is_fresh { SegmentHandle::fresh } else { SegmentHandle::new };
        match edit {
            Edit::DefineTable(record) => self.define(TableShape::from_record(record)?),
            Edit::DropTable { table } => {
                if let Some(mut dropped) = self.tables.remove(table) {
                    Arc::make_mut(&mut self.names).remove(&dropped.shape.name);
                    Arc::make_mut(&mut dropped).truncate(context);
                }
            }
            Edit::AddSegments { table, segments, replaced, deleted } => {
                let mut segments = self.open_records(*table, segments, context.files, handle)?;
                let table = self.table_mut(*table)?;
                if *replaced > 0 && context.indexes.are_written() {
                    table.delete_replaced_tail_rows(&mut segments, context.sequence)?;
                }
                table.add_segments(segments, *replaced, deleted)?;
            }
            Edit::Insert { table, rows, replaced } => {
                let table = self.table_mut(*table)?;
                let schema = table.shape.schema.clone();
                let rows = read_rows(&schema, rows, data)?;
                if !context.indexes.are_written() {
                    table.begin_tail(context, rows.num_rows(), rows.num_rows())?;
                    return table.insert(context, rows, None, *replaced);
                }
                let keys = KeyColumn::of(&rows, &table.shape.primary_key)?;
                let under = if table.shape.primary_key.is_empty() {
                    Vec::new()
                } else {
                    table.under_replayed(&keys, context.sequence)?
                };
                table.begin_tail(context, rows.num_rows(), rows.num_rows())?;
                table.insert(context, rows, Some((&keys, &under)), *replaced)?;
            }
            Edit::Delete { table, keys, deleted } => {
                let table = self.table_mut(*table)?;
                let keys = KeyColumn::from_batch(&read_rows(&KeyColumn::schema(), keys, data)?);
                table.begin_tail(context, 0, keys.len())?;
                if !context.indexes.are_written() {
                    return table.delete(context, None, *deleted);
                }
                let under = table.under_replayed(&keys, context.sequence)?;
                table.delete(context, Some((&keys, &under)), *deleted)?;
            }
            Edit::Truncate { table } => self.table_mut(*table)?.truncate(context),
            Edit::Rewrite { table, segments, log, into, deleted } => {
                let handles = self.open_records(*table, into, context.files, handle)?;
                let table = self.table_mut(*table)?;
                // A manifest that was written later contains this move already.
                let is_done = into.iter().any(|new| table.segments.iter().any(|held| held.id() == new.id))
                    || into.is_empty()
                        && !table.segments.iter().any(|held| segments.contains(&held.id()))
                        && !table.tails.iter().any(|tail| tail.tail.log <= *log);
                let deleted = if planted::has(Bug::DeletedMeanwhile) { &[] } else { deleted.as_slice() };
                if is_done {
                    // Earlier commits may have deleted rows in their old places, and the owner's indexes know only
                    // those places. The manifest has the rows in their new places, so that they are deleted here.
                    table.add_deleted(deleted)?;
                } else {
                    table.rewrite(segments, *log, handles, deleted)?;
                }
            }
            Edit::SetFreshness { table, as_of } => self.table_mut(*table)?.as_of = Some(*as_of),
            Edit::SetPosition { source, position } => {
                let positions = Arc::make_mut(&mut self.positions);
                if position.is_empty() {
                    positions.remove(source);
                } else {
                    positions.insert(source.clone(), Arc::new(Position::new(position.clone())));
                }
            }
        }
        Ok(())
    }

    fn define(&mut self, shape: TableShape) {
        self.next_table = self.next_table.max(shape.id.saturating_add(1));
        Arc::make_mut(&mut self.names).insert(shape.name.clone(), shape.id);
        self.tables.insert(shape.id, Arc::new(TableState::empty(Arc::new(shape))));
    }

    /// Handles of the segments that a table gets.
    fn open_records(
        &mut self,
        table: u64,
        records: &[SegmentRecord],
        files: &Files,
        handle: fn(SegmentRecord, Arc<TableShape>, Files) -> SegmentHandle,
    ) -> Result<Vec<Arc<SegmentHandle>>> {
        let last = records.iter().map(|segment| segment.id.saturating_add(1)).max();
        self.next_segment = self.next_segment.max(last.unwrap_or_default());
        let shape = self.table_mut(table)?.shape.clone();
        let handle = |record: &SegmentRecord| Arc::new(handle(record.clone(), shape.clone(), files.clone()));
        Ok(records.iter().map(handle).collect())
    }

    /// A table by name.
    ///
    /// # Errors
    /// [`ErrorCode::TableNotFound`], naming the nearest table there is.
    pub(crate) fn table(&self, name: &str) -> Result<&Arc<TableState>> {
        self.names.get(name).and_then(|id| self.tables.get(id)).ok_or_else(|| self.not_found(name))
    }

    fn not_found(&self, name: &str) -> Error {
        let known = self.names.keys().map(String::as_str);
        let hint = crate::types::error::suggestion(name, known);
        Error::new(ErrorCode::TableNotFound, format!("there is no table `{name}`{hint}"))
    }

    /// Takes over the open segments of another state, where both have them.
    pub(crate) fn adopt(&mut self, other: &Self) {
        for (id, table) in &mut self.tables {
            let Some(known) = other.tables.get(id) else { continue };
            for segment in Arc::make_mut(&mut Arc::make_mut(table).segments).handles_mut() {
                let wanted = (segment.record().id, segment.record().directory_checksum);
                let held = known
                    .segments
                    .iter()
                    .find(|held| (held.record().id, held.record().directory_checksum) == wanted);
                if let Some(held) = held {
                    *segment = held.clone();
                }
            }
        }
    }

    /// Takes the indexes of the tails from the files of an owner that made the same tails. If the owner has no index
    /// of a tail any more, because the tail ended meanwhile, the index of this process stays. It says the same of this
    /// version, and is marked as replaced so that nobody follows later commits with it.
    ///
    /// # Errors
    /// With `all`: the owner has no index of some tail any more, or it cannot be read.
    pub(crate) fn follow_tails(&mut self, files: &Files, owner: u64, all: bool) -> Result<()> {
        for (&id, table) in &mut self.tables {
            let is_indexed = table.tails.iter().any(|tail| tail.index.is_some());
            if !is_indexed {
                continue;
            }
            for tail in &mut Arc::make_mut(table).tails {
                let Some(own) = &tail.index else { continue };
                match Indexes::Followed(owner).get(files, id, tail.tail.since, 0) {
                    Ok(index) => tail.index = Some(Arc::new(index)),
                    Err(error) if all => return Err(error),
                    Err(error) => {
                        tracing::debug!(%error, "a tail ended while it was read");
                        own.mark_replaced();
                    }
                }
            }
        }
        Ok(())
    }

    /// Maps every segment that is not mapped yet. Leaves a damaged one to the reads that need it.
    ///
    /// # Errors
    /// [`ErrorCode::Io`] if a file is not there or cannot be read.
    pub(crate) fn open_segments(&self) -> Result<()> {
        let mut segments = self.tables.values().flat_map(|table| table.segments.iter());
        segments.try_for_each(|segment| match segment.open() {
            Err(error) if error.code() != ErrorCode::Corrupt => Err(error),
            _ => Ok(()),
        })
    }

    /// Fails if a segment was given up because its file was not there.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub(crate) fn refuse_missing_segments(&self) -> Result<()> {
        let mut segments = self.tables.values().flat_map(|table| table.segments.iter());
        segments.try_for_each(|segment| segment.refuse_missing())
    }

    /// Paths of all segments.
    pub(crate) fn segment_paths(&self) -> impl Iterator<Item = PathBuf> + '_ {
        self.tables.values().flat_map(|table| table.segments.iter().map(|segment| segment.path()))
    }

    /// A table by number, to be changed.
    ///
    /// # Errors
    /// [`ErrorCode::Corrupt`] if there is none.
    pub(crate) fn table_mut(&mut self, id: u64) -> Result<&mut TableState> {
        let table = self.tables.get_mut(&id);
        table.map(Arc::make_mut).ok_or_else(|| {
            Error::new(ErrorCode::Corrupt, format!("an edit names table {id}, which does not exist"))
        })
    }
}

/// The rows that an edit names.
pub(crate) fn read_rows(
    schema: &arrow::datatypes::SchemaRef,
    record: &RowsRecord,
    data: Option<RecordData<'_>>,
) -> Result<arrow::array::RecordBatch> {
    let damaged = |what: String| Error::new(ErrorCode::Corrupt, format!("rows in the log: {what}"));
    let data = data.ok_or_else(|| damaged("their record has no data".to_owned()))?;
    map_rows(schema, record, data.region, data.offset).map_err(damaged)
}
