//! What a transaction of the source leaves behind in one table.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave};

use super::target::Target;
use crate::source::{RowChanges, RowOperation};
use crate::storage::KeyColumn;
use crate::types::error::{Error, Result};
use crate::way::embedded::Embedded;

/// The rows of a table after some changes of one transaction, as far as these changed them.
#[derive(Debug, Default)]
pub(super) struct Effect {
    /// Rows that came, complete.
    batches: Vec<RecordBatch>,
    /// By key: what there is now.
    last: HashMap<Box<[u8]>, Place>,
    /// All rows that were there before the transaction are gone.
    pub(super) is_truncated: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    /// A row of a batch.
    Row {
        batch: usize,
        row: usize,
    },
    Gone,
}

/// Why changes cannot be applied.
#[derive(Debug)]
pub(super) enum Fault {
    /// The held rows are not those that the source changed, or keys do not tell rows apart.
    Diverged(String),
    Failed(Error),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// A value of a column that a change leaves as it was: where it is.
type Kept = (ArrayRef, usize);

impl Effect {
    /// All rows are removed.
    pub(super) fn truncate(&mut self) {
        *self = Self { is_truncated: true, ..Self::default() };
    }

    /// Adds changes, after those that came before.
    pub(super) fn add(
        &mut self,
        changes: &RowChanges,
        target: &Target,
        cache: &Embedded,
    ) -> std::result::Result<(), Fault> {
        let rows = target.conform(changes.rows())?;
        let keys = target.keys(&rows)?;
        let keys = keys.ok_or_else(|| Fault::Diverged("a row has a null in its primary key".to_owned()))?;
        let batch = self.batches.len();
        // Values that are not sent, by column of the table and row.
        let mut kept: Vec<HashMap<usize, Kept>> = vec![HashMap::new(); rows.num_columns()];
        let unchanged = unchanged(changes, target);
        let mut before: Option<usize> = None;
        for (row, operation) in changes.operations().iter().enumerate() {
            let key = keys.key(row);
            match operation {
                RowOperation::Insert => {
                    self.refuse_present(key, target, cache)?;
                    self.last.insert(key.into(), Place::Row { batch, row });
                }
                RowOperation::Before => before = Some(row),
                RowOperation::Update => {
                    let old = before.take().map_or(key, |before| keys.key(before));
                    if let Some(columns) = unchanged.get(&row) {
                        self.keep(old, columns, &rows, target, cache, &mut kept, row)?;
                    }
                    if old != key {
                        self.refuse_present(key, target, cache)?;
                        self.last.insert(old.into(), Place::Gone);
                    }
                    self.last.insert(key.into(), Place::Row { batch, row });
                }
                RowOperation::Delete => {
                    self.last.insert(key.into(), Place::Gone);
                }
            }
        }
        self.batches.push(completed(rows, &kept)?);
        Ok(())
    }

    /// Finds the values of some columns that a change leaves as they were.
    #[expect(clippy::too_many_arguments, reason = "it is a part of one loop")]
    fn keep(
        &self,
        old: &[u8],
        columns: &[usize],
        rows: &RecordBatch,
        target: &Target,
        cache: &Embedded,
        kept: &mut [HashMap<usize, Kept>],
        row: usize,
    ) -> std::result::Result<(), Fault> {
        let place = self.last.get(old).copied();
        let lost = || Fault::Diverged("a change is of a row that is not held".to_owned());
        let held = match place {
            Some(Place::Gone) => return Err(lost()),
            None if self.is_truncated => return Err(lost()),
            None => Some(target.held(cache, old)?.ok_or_else(lost)?),
            Some(Place::Row { .. }) => None,
        };
        for &column in columns {
            let value: Kept = match (&held, place) {
                (Some(held), _) => (held.column(column).clone(), 0),
                (None, Some(Place::Row { batch, row: earlier })) => match self.batches.get(batch) {
                    Some(of_before) => (of_before.column(column).clone(), earlier),
                    // A row of this batch, whose own value may be one that was kept.
                    None => {
                        let own = || (rows.column(column).clone(), earlier);
                        kept.get(column).and_then(|kept| kept.get(&earlier)).cloned().unwrap_or_else(own)
                    }
                },
                (None, _) => return Err(lost()),
            };
            if let Some(kept) = kept.get_mut(column) {
                kept.insert(row, value);
            }
        }
        Ok(())
    }

    /// Makes sure that no row has a key that a row is about to get, where the source does not see to that. If one took the place of
    /// another, the removal of either would remove both.
    fn refuse_present(
        &self,
        key: &[u8],
        target: &Target,
        cache: &Embedded,
    ) -> std::result::Result<(), Fault> {
        if target.is_unique {
            return Ok(());
        }
        let is_present = match self.last.get(key) {
            Some(place) => *place != Place::Gone,
            None => !self.is_truncated && target.held(cache, key)?.is_some(),
        };
        if is_present {
            return Err(Fault::Diverged("two rows have the same primary key".to_owned()));
        }
        Ok(())
    }

    /// Bytes of the keys that are gone, with what a record of the log takes for each.
    pub(super) fn gone_bytes(&self) -> usize {
        let gone = self.last.iter().filter(|(_, place)| **place == Place::Gone);
        gone.map(|(key, _)| key.len() + size_of::<u32>()).sum()
    }

    /// The keys that are gone.
    pub(super) fn gone(&self) -> KeyColumn {
        let mut keys = KeyColumn::default();
        for (key, place) in &self.last {
            if *place == Place::Gone {
                keys.push(key);
            }
        }
        keys
    }

    /// The rows that are new or have other values.
    pub(super) fn rows(&self, target: &Target) -> Result<Vec<RecordBatch>> {
        let mut is_last: Vec<Vec<bool>> =
            self.batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        for place in self.last.values() {
            if let Place::Row { batch, row } = *place
                && let Some(is_last) = is_last.get_mut(batch).and_then(|batch| batch.get_mut(row))
            {
                *is_last = true;
            }
        }
        let chosen = self.batches.iter().zip(is_last).map(|(batch, is_last)| {
            let rows = filter_record_batch(batch, &BooleanArray::from(is_last));
            target.declared(&rows.map_err(|error| Error::internal("rows that remain").with_source(error))?)
        });
        let chosen = chosen.filter(|rows| rows.as_ref().map_or(true, |rows| rows.num_rows() > 0));
        chosen.collect()
    }

    /// Of held rows those that the transaction left as they were.
    pub(super) fn untouched(&self, rows: &RecordBatch, target: &Target) -> Result<RecordBatch> {
        let keys = target.keys(rows)?.ok_or_else(|| Error::internal("a held row has no key"))?;
        let is_untouched: BooleanArray =
            keys.iter().map(|(key, _)| Some(!self.last.contains_key(key))).collect();
        filter_record_batch(rows, &is_untouched)
            .map_err(|error| Error::internal("rows that stay").with_source(error))
    }
}

/// By row: the columns of the table whose values are not sent.
fn unchanged(changes: &RowChanges, target: &Target) -> HashMap<usize, Vec<usize>> {
    let mut unchanged: HashMap<usize, Vec<usize>> = HashMap::new();
    for &(row, column) in changes.unchanged() {
        let schema = changes.rows().schema();
        // A column that the table does not have is not kept either.
        if let Ok(column) = target.schema.index_of(schema.field(column).name()) {
            unchanged.entry(row).or_default().push(column);
        }
    }
    unchanged
}

/// Rows with the values that were kept in their places.
fn completed(rows: RecordBatch, kept: &[HashMap<usize, Kept>]) -> Result<RecordBatch> {
    if kept.iter().all(HashMap::is_empty) {
        return Ok(rows);
    }
    let failed = |error| Error::internal("values that stay as they were").with_source(error);
    let columns = rows.columns().iter().zip(kept).map(|(column, kept)| {
        if kept.is_empty() {
            return Ok(column.clone());
        }
        let mut arrays: Vec<&dyn Array> = vec![column.as_ref()];
        let mut places: Vec<(usize, usize)> = (0..rows.num_rows()).map(|row| (0, row)).collect();
        for (row, (array, index)) in kept {
            if let Some(place) = places.get_mut(*row) {
                *place = (arrays.len(), *index);
            }
            arrays.push(array.as_ref());
        }
        interleave(&arrays, &places).map_err(failed)
    });
    let columns = columns.collect::<Result<_>>()?;
    RecordBatch::try_new(rows.schema(), columns).map_err(failed)
}
