//! Rows that are older than their table keeps them: a refresh does not bring them back.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::compute::{filter_record_batch, not};
use arrow::datatypes::Schema;
use parking_lot::Mutex;

use super::append::Positions;
use crate::input::{Input, OpenInput};
use crate::source::AppendBy;
use crate::storage::{is_older, oldest};
use crate::types::error::{Error, Result};
use crate::types::rules::Retention;

/// What was on its way into a table, and did not get there.
#[derive(Clone, Debug, Default)]
pub(super) struct LeftOut {
    found: Arc<Mutex<Found>>,
}

#[derive(Debug, Default)]
struct Found {
    /// The highest position of all rows, also of those that were left out.
    highest: Option<i128>,
    is_any: bool,
}

impl LeftOut {
    /// The rows of `input` that are not too old at `now`. Batches are decoded.
    ///
    /// # Errors
    /// Those of opening the input, and of a column of positions that has none.
    pub(super) fn of(
        retention: &Retention,
        by: Option<&AppendBy>,
        now: SystemTime,
        input: Input,
    ) -> Result<(Self, Input)> {
        let OpenInput { schema, batches } = input.open(None)?;
        let left_out = Self::default();
        let Some((column, oldest)) = limit(retention, &schema, now) else {
            // Whoever makes the table says what is wrong with the column.
            return Ok((left_out, Input::fallible(schema, batches)));
        };
        let positions = by.map(|by| Positions::new(&schema, by)).transpose()?;
        let found = left_out.found.clone();
        let batches = batches.map(move |batch| {
            let batch = batch?;
            let older = is_older(batch.column(column).as_ref(), oldest)?;
            let highest = positions.as_ref().map(|positions| positions.highest_of(&batch)).transpose()?;
            let mut found = found.lock();
            found.highest = found.highest.max(highest.flatten());
            if older.true_count() == 0 {
                return Ok(batch);
            }
            found.is_any = true;
            drop(found);
            let stays = not(&older).and_then(|stays| filter_record_batch(&batch, &stays));
            stays.map_err(|error| Error::internal("rows that are not too old").with_source(error))
        });
        Ok((left_out, Input::fallible(schema, batches)))
    }

    /// The highest position that came, if rows were left out that the table cannot tell it by.
    pub(super) fn highest(&self) -> Option<i128> {
        let found = self.found.lock();
        found.highest.filter(|_| found.is_any)
    }
}

/// The column of times, and the oldest one that stays.
fn limit(retention: &Retention, schema: &Schema, now: SystemTime) -> Option<(usize, i64)> {
    let (column, field) = schema.column_with_name(&retention.column)?;
    Some((column, oldest(field.data_type(), now, retention.age)?))
}
