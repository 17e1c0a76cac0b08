//! Removes the rows that are older than their tables keep them.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Schema, SchemaRef};

use super::Store;
use super::change::Ready;
use crate::api::error::{Error, ErrorCode, Result};
use crate::storage::deleted::{DeletedRecord, DeletedRows};
use crate::storage::expiry::{is_older, oldest};
use crate::storage::segment::SegmentHandle;
use crate::storage::state::State;
use crate::storage::table::{Part, TableState};
use crate::storage::tail::KeyColumn;

/// Rows that are looked at, and removed, in one commit: others can write to the table before the next.
const ROWS_AT_A_TIME: usize = 4096;

/// What is too old in a table.
struct Expiry {
    table: u64,
    /// The column of times.
    column: usize,
    /// The smallest time that stays.
    oldest: i64,
    /// Columns of the key, and the one of times behind them.
    projection: Vec<usize>,
    schema: SchemaRef,
}

impl Store {
    /// Removes rows that are too old now, in commits of their own. Tables without a primary key have them removed from
    /// segments only, so that rows of the log are moved first if some of them are too old.
    ///
    /// # Errors
    /// As [`fold`](Self::fold). What was removed before is gone, and the rest is as it was.
    pub(crate) fn expire(&self, now: SystemTime) -> Result<()> {
        let state = self.newest_logged()?;
        for table in state.tables.values() {
            let Some(expiry) = Expiry::of(table, now)? else { continue };
            let removed = if table.shape.primary_key.is_empty() {
                self.expire_rows(&expiry)
            } else {
                self.expire_keys(&expiry, table)
            };
            match removed {
                Ok(true) => self.merge_table(expiry.table)?,
                Ok(false) => {}
                Err(error) if error.code() == ErrorCode::TableNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn newest_logged(&self) -> Result<Arc<State>> {
        let committer = self.committer.lock();
        committer.check()?;
        Ok(committer.newest().clone())
    }

    fn expire_keys(&self, expiry: &Expiry, table: &TableState) -> Result<bool> {
        let mut removed = false;
        for segment in table.segments.iter() {
            for batch in expiry.batches(segment)? {
                let rows = segment.open()?.batch_rows(batch);
                for start in (0..rows).step_by(ROWS_AT_A_TIME) {
                    let range = start..rows.min(start + ROWS_AT_A_TIME);
                    let part = Part::Segment { segment: segment.clone(), batch };
                    removed |= self.expire_some(expiry, |table, sequence| {
                        // If it was rewritten meanwhile, its rows are found where they are now, by the next call.
                        if !table.segments.iter().any(|held| held.id() == segment.id()) {
                            return Ok(Vec::new());
                        }
                        table.read_part(&part, Some(range), sequence, &expiry.projection, &expiry.schema)
                    })?;
                }
            }
        }
        let tails = |table: &TableState, sequence| -> Result<Vec<RecordBatch>> {
            let mut rows = Vec::new();
            for part in table.tail_parts() {
                rows.extend(table.read_part(&part, None, sequence, &expiry.projection, &expiry.schema)?);
            }
            Ok(rows)
        };
        while self.expire_some(expiry, tails)? {
            removed = true;
        }
        Ok(removed)
    }

    /// Removes what is too old, up to a number of rows, of those that `read` finds live while nobody else changes the
    /// table. Returns whether there were some.
    fn expire_some(
        &self,
        expiry: &Expiry,
        read: impl FnOnce(&TableState, u64) -> Result<Vec<RecordBatch>>,
    ) -> Result<bool> {
        let logged = {
            let lock = self.load_lock(expiry.table);
            let _loading = lock.lock();
            let newest = self.newest_logged()?;
            let table = newest.tables.get(&expiry.table).ok_or_else(super::dropped)?;
            let key: Vec<usize> = (0..table.shape.primary_key.len()).collect();
            let mut keys = KeyColumn::default();
            for rows in read(table, newest.version.sequence)? {
                let older = is_older(rows.column(key.len()).as_ref(), expiry.oldest)?;
                let older = filter_record_batch(&rows, &first_set(&older, ROWS_AT_A_TIME - keys.len()))
                    .map_err(|error| Error::internal("cannot select rows").with_source(error))?;
                KeyColumn::of(&older, &key)?.iter().for_each(|(key, _)| keys.push(key));
            }
            if keys.len() == 0 {
                return Ok(false);
            }
            self.log(vec![Ready::Expire { shape: table.shape.clone(), keys }], SystemTime::now())?
        };
        self.finish(&logged)?;
        Ok(true)
    }

    fn expire_rows(&self, expiry: &Expiry) -> Result<bool> {
        let newest = self.newest_logged()?;
        let table = newest.tables.get(&expiry.table).ok_or_else(super::dropped)?;
        let mut in_log = table.tails.iter().flat_map(|tail| tail.batches());
        if in_log.any(|batch| {
            let times = batch.rows.column(expiry.column).as_ref();
            is_older(times, expiry.oldest).is_ok_and(|older| older.true_count() > 0)
        }) {
            self.fold()?;
        }
        // Who moves rows knows nothing of rows that are deleted by their places.
        let _still = self.maintenance.lock();
        let newest = self.newest_logged()?;
        let table = newest.tables.get(&expiry.table).ok_or_else(super::dropped)?;
        let mut removed = false;
        for segment in table.segments.iter() {
            let open = segment.open()?;
            let mut deleted = DeletedRows::default();
            for batch in expiry.batches(segment)? {
                let times = open.read_batch(batch, &expiry.projection, &expiry.schema)?;
                let older = is_older(times.column(0).as_ref(), expiry.oldest)?;
                let live = table.live_rows(segment, batch, newest.version.sequence)?;
                let start = open.batch_start(batch);
                for index in older.values().set_indices() {
                    if live.as_ref().is_none_or(|live| live.value(index)) {
                        let row = u32::try_from(start + index)
                            .map_err(|_| Error::internal("a segment has too many rows"))?;
                        deleted.insert(row);
                    }
                }
            }
            if deleted.count() > 0 {
                let rows = deleted.count();
                let deleted = DeletedRecord::new(segment.id(), &deleted);
                let expired = Ready::ExpireRows { table: expiry.table, deleted, rows };
                self.commit(vec![expired], SystemTime::now())?;
                removed = true;
            }
        }
        Ok(removed)
    }
}

impl Expiry {
    /// What is too old in a table now; `None` if it keeps all rows.
    fn of(table: &TableState, now: SystemTime) -> Result<Option<Self>> {
        let shape = &table.shape;
        let Some(retention) = &shape.retention else { return Ok(None) };
        let wrong = || {
            let (name, column) = (&shape.name, &retention.column);
            Error::new(
                ErrorCode::Corrupt,
                format!("table `{name}` has no column `{column}` of times to tell ages by"),
            )
        };
        let column = shape.schema.index_of(&retention.column).map_err(|_| wrong())?;
        let data_type = shape.schema.field(column).data_type();
        let oldest = oldest(data_type, now, retention.age).ok_or_else(wrong)?;
        let mut projection = shape.primary_key.clone();
        projection.push(column);
        let fields: Vec<_> = projection.iter().map(|&column| shape.schema.fields()[column].clone()).collect();
        let schema = Arc::new(Schema::new(fields));
        Ok(Some(Self { table: shape.id, column, oldest, projection, schema }))
    }

    /// The batches of a segment that have rows that are too old, deleted or not.
    fn batches(&self, segment: &SegmentHandle) -> Result<Vec<usize>> {
        let zones = segment.open()?.zones()?;
        let column = zones.columns.get(self.column).ok_or_else(|| Error::internal("no such column"))?;
        Ok(is_older(column.min.as_ref(), self.oldest)?.values().set_indices().collect())
    }
}

/// The first `count` that are set.
fn first_set(mask: &BooleanArray, count: usize) -> BooleanArray {
    match mask.values().set_indices().nth(count) {
        None => mask.clone(),
        Some(end) => (0..mask.len()).map(|index| Some(index < end && mask.value(index))).collect(),
    }
}
