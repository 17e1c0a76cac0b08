//! Removes the rows that are older than their tables keep them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::Store;
use super::change::Ready;
use super::write::INLINE_BYTES_MAX;
use crate::storage::catalog::state::State;
use crate::storage::segment::SegmentHandle;
use crate::storage::table::deleted::{DeletedRecord, DeletedRows};
use crate::storage::table::expiry::{is_older, oldest, oldest_of};
use crate::storage::table::{Part, TableState};
use crate::storage::tail::KeyColumn;
use crate::types::error::{Error, ErrorCode, Result};

/// Rows that are searched, and removed, per commit. Between two commits others can write to the table.
const ROWS_AT_A_TIME: usize = 4096;

/// What is too old in a table.
struct Expiry<'a> {
    table: u64,
    /// The column of times.
    column: usize,
    /// The smallest time that stays.
    oldest: i64,
    /// Columns of the key, and the one of times behind them.
    projection: Vec<usize>,
    schema: SchemaRef,
    /// Whether to end between two commits.
    is_over: &'a dyn Fn() -> bool,
}

impl Store {
    /// Removes rows that are too old at `now`, in commits of their own, until `is_over` returns true. A table without a
    /// primary key can lose rows of segments only. If some of its rows in the log are too old, they are moved first.
    ///
    /// # Errors
    /// As [`fold`](Self::fold). Searches all tables even if one fails, and returns the first error. Rows that were
    /// removed before an error stay removed, and the rest is as it was.
    pub(crate) fn expire(&self, now: SystemTime, is_over: &dyn Fn() -> bool) -> Result<()> {
        let state = self.newest_logged()?;
        let mut outcome = Ok(());
        for table in state.tables.values() {
            if is_over() {
                break;
            }
            let expired = self.expire_table(table, now, is_over);
            outcome = outcome.and(expired);
        }
        let segments: HashSet<u64> = state.tables.values().flat_map(|table| segment_ids(table)).collect();
        self.oldest_times.lock().retain(|(segment, _), _| segments.contains(segment));
        outcome
    }

    fn expire_table(&self, table: &TableState, now: SystemTime, is_over: &dyn Fn() -> bool) -> Result<()> {
        let Some(expiry) = Expiry::of(table, now, is_over)? else { return Ok(()) };
        let removed = if table.shape.primary_key.is_empty() {
            self.expire_rows(&expiry)
        } else {
            self.expire_keys(&expiry, table)
        };
        match removed {
            Ok(true) => self.merge_table(expiry.table, 0),
            Ok(false) => Ok(()),
            Err(error) if error.code() == ErrorCode::TableNotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn expire_keys(&self, expiry: &Expiry<'_>, table: &TableState) -> Result<bool> {
        let mut removed = false;
        for segment in table.segments.iter() {
            for batch in self.batches_to_search(expiry, segment)? {
                let rows = segment.open()?.batch_rows(batch);
                let mut stays = None;
                for start in (0..rows).step_by(ROWS_AT_A_TIME) {
                    if (expiry.is_over)() {
                        return Ok(removed);
                    }
                    let range = start..rows.min(start + ROWS_AT_A_TIME);
                    let part = Part::Segment { segment: segment.clone(), batch };
                    let (some, oldest) = self.expire_some(expiry, |table, sequence| {
                        // If the segment was rewritten meanwhile, the next call finds its rows in their new places.
                        if !segment_ids(table).any(|id| id == segment.id()) {
                            return Ok(Vec::new());
                        }
                        table.read_part(&part, Some(range), sequence, &expiry.projection, &expiry.schema)
                    })?;
                    removed |= some;
                    stays = stays.into_iter().chain(oldest).min();
                }
                self.remember(segment, batch, stays);
            }
        }
        // The tails are searched some parts at a time. Rows that come meanwhile may be left to the next call.
        let mut is_all = false;
        while !is_all && !(expiry.is_over)() {
            is_all = true;
            let (some, _) = self.expire_some(expiry, |table, sequence| {
                let (mut found, mut rows) = (Vec::new(), 0);
                for part in table.tail_parts_once()? {
                    for batch in table.read_part(&part, None, sequence, &expiry.projection, &expiry.schema)? {
                        let older = is_older(batch.column(batch.num_columns() - 1).as_ref(), expiry.oldest)?;
                        rows += older.true_count();
                        found.push(batch);
                    }
                    if rows >= ROWS_AT_A_TIME {
                        is_all = false;
                        break;
                    }
                }
                Ok(found)
            })?;
            removed |= some;
        }
        Ok(removed)
    }

    /// Removes what is too old among the live rows that `read` returns, while nobody else changes the table. Returns
    /// whether there were any, and the oldest time of the rows that stay.
    fn expire_some(
        &self,
        expiry: &Expiry<'_>,
        read: impl FnOnce(&TableState, u64) -> Result<Vec<RecordBatch>>,
    ) -> Result<(bool, Option<i64>)> {
        self.make_room()?;
        let lock = self.loading.of(expiry.table);
        let loading = lock.lock();
        let newest = self.newest_logged()?;
        let Some(table) = newest.tables.get(&expiry.table) else {
            self.loading.forget_gone([expiry.table], &newest);
            return Err(super::dropped());
        };
        let key: Vec<usize> = (0..table.shape.primary_key.len()).collect();
        let (mut keys, mut stays, mut logged) = (KeyColumn::default(), None, None);
        for rows in read(table, newest.version.sequence)? {
            let times = rows.column(key.len()).as_ref();
            stays = stays.into_iter().chain(oldest_of(times, expiry.oldest)?).min();
            let older = filter_record_batch(&rows, &is_older(times, expiry.oldest)?)
                .map_err(|error| Error::internal("cannot select rows").with_source(error))?;
            for (key, _) in KeyColumn::of(&older, &key)?.iter() {
                if keys.len() == ROWS_AT_A_TIME || keys.bytes() + key.len() > INLINE_BYTES_MAX {
                    logged = Some(self.let_go(table, &mut keys)?);
                }
                keys.push(key);
            }
        }
        if keys.len() > 0 {
            logged = Some(self.let_go(table, &mut keys)?);
        }
        drop(loading);
        if let Some(logged) = &logged {
            self.finish(logged)?;
        }
        Ok((logged.is_some(), stays))
    }

    fn let_go(&self, table: &TableState, keys: &mut KeyColumn) -> Result<Arc<State>> {
        let gone = Ready::LetGo { shape: table.shape.clone(), keys: std::mem::take(keys) };
        self.make_room()?;
        self.log(vec![gone], self.files.clock.now())
    }

    fn expire_rows(&self, expiry: &Expiry<'_>) -> Result<bool> {
        let newest = self.newest_logged()?;
        let table = newest.tables.get(&expiry.table).ok_or_else(super::dropped)?;
        let mut in_log = table.tails.iter().flat_map(|tail| tail.batches());
        if in_log.any(|batch| {
            let times = batch.rows.column(expiry.column).as_ref();
            is_older(times, expiry.oldest).is_ok_and(|older| older.true_count() > 0)
        }) {
            self.fold_tables()?;
        }
        // No move may run meanwhile: it would not notice that rows are deleted by their places.
        let _still = self.maintenance.lock();
        let newest = self.newest_logged()?;
        let table = newest.tables.get(&expiry.table).ok_or_else(super::dropped)?;
        let mut removed = false;
        for segment in table.segments.iter() {
            if (expiry.is_over)() {
                break;
            }
            let open = segment.open()?;
            let (mut deleted, mut searched) = (DeletedRows::default(), Vec::new());
            for batch in self.batches_to_search(expiry, segment)? {
                let times = open.read_batch(batch, &expiry.projection, &expiry.schema)?;
                let times = times.column(0).as_ref();
                let older = is_older(times, expiry.oldest)?;
                let live = table.live_rows(segment, batch, newest.version.sequence)?;
                let start = open.batch_start(batch);
                for index in older.values().set_indices() {
                    if live.as_ref().is_none_or(|live| live.value(index)) {
                        let row = u32::try_from(start + index)
                            .map_err(|_| Error::internal("a segment has too many rows"))?;
                        deleted.insert(row);
                    }
                }
                searched.push((batch, oldest_of(times, expiry.oldest)?));
            }
            if deleted.count() > 0 {
                let rows = deleted.count();
                let deleted = DeletedRecord::new(segment.id(), &deleted);
                let expired = Ready::ExpireRows { table: expiry.table, deleted, rows };
                self.commit(vec![expired], self.files.clock.now())?;
                removed = true;
            }
            searched.into_iter().for_each(|(batch, stays)| self.remember(segment, batch, stays));
        }
        Ok(removed)
    }

    /// The batches of a segment that may have rows that are too old and not removed yet.
    fn batches_to_search(&self, expiry: &Expiry<'_>, segment: &SegmentHandle) -> Result<Vec<usize>> {
        let zones = segment.open()?.zones()?;
        let column = zones.columns.get(expiry.column).ok_or_else(|| Error::internal("no such column"))?;
        let older = is_older(column.min.as_ref(), expiry.oldest)?;
        let known = self.oldest_times.lock();
        let may_have = |batch: &usize| {
            known.get(&(segment.id(), *batch)).is_none_or(|&oldest_left| oldest_left < expiry.oldest)
        };
        Ok(older.values().set_indices().filter(may_have).collect())
    }

    /// Remembers the oldest time of the rows that stay in a batch; `None` if no row of it will ever be too old.
    fn remember(&self, segment: &SegmentHandle, batch: usize, stays: Option<i64>) {
        self.oldest_times.lock().insert((segment.id(), batch), stays.unwrap_or(i64::MAX));
    }
}

impl<'a> Expiry<'a> {
    /// What is too old in a table now; `None` if it keeps all rows.
    fn of(table: &TableState, now: SystemTime, is_over: &'a dyn Fn() -> bool) -> Result<Option<Self>> {
        let shape = &table.shape;
        let Some(retention) = &shape.rules.retention else { return Ok(None) };
        let wrong = || {
            let (name, column) = (&shape.name, &retention.column);
            let message = format!("table `{name}` has no column `{column}` of times to tell ages by");
            Error::new(ErrorCode::Corrupt, message)
        };
        let column = shape.schema.index_of(&retention.column).map_err(|_| wrong())?;
        let data_type = shape.schema.field(column).data_type();
        let oldest = oldest(data_type, now, retention.age).ok_or_else(wrong)?;
        let mut projection = shape.primary_key.clone();
        projection.push(column);
        let fields: Vec<_> = projection.iter().map(|&column| shape.schema.fields()[column].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Some(Self { table: shape.id, column, oldest, projection, schema, is_over }))
    }
}

fn segment_ids(table: &TableState) -> impl Iterator<Item = u64> + '_ {
    table.segments.iter().map(|segment| segment.id())
}
