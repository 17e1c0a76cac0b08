//! Columns that were added at the source and are null in all rows so far: the held rows get them without a new copy.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{Field, Schema, SchemaRef};

use super::follower::Follower;
use super::inspect::Listed;
use super::records::{ColumnsRecord, columns_name, encode};
use crate::input::Input;
use crate::refresh::record::position_name;
use crate::types::error::{Error, ErrorCode, Result};
use crate::way::embedded::Embedded;
use crate::way::{Backend, Reader};

/// How long the source may take to say whether nothing but new columns is different.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Follower {
    /// Gives a table in step the columns that were added at the source, if nothing else is different there and rows so far have nulls in them.
    /// Returns whether it did. The table is in step as before.
    ///
    /// # Errors
    /// Those of commits. A source that does not answer is asked again by the next round.
    pub(super) fn widen(&self, table: &Listed) -> Result<bool> {
        let (Some(target), Some(columns)) = (&table.target, &table.columns) else { return Ok(false) };
        let Some(held) = columns.followed() else { return Ok(false) };
        let call = self.shared.call(Some(TIMEOUT), false)?;
        let widened = self.shared.source.widened(&columns.relation(), &held, &call)?;
        let Some(widened) = widened else { return Ok(false) };
        let record = match ColumnsRecord::new(&columns.relation(), &widened) {
            Ok(record) => record,
            Err(error) if error.code() == ErrorCode::UnsupportedType => return Ok(false),
            Err(error) => return Err(error),
        };
        // Somebody who names the columns of a table does not want others.
        let names_columns = {
            let state = self.shared.state.lock();
            state.tables.get(&table.name).is_some_and(|declared| declared.origin.columns.is_some())
        };
        let added = widened
            .schema()
            .fields()
            .iter()
            .filter(|field| !names_columns && target.schema.column_with_name(field.name()).is_none());
        let added: Vec<Arc<Field>> = added.cloned().collect();
        if !added.is_empty() {
            self.shared.watches.breaks(Some(&table.name), "it gets another column");
            add_columns(&self.cache, &table.name, target.table, &added, &self.shared.source_name)?;
        }
        let source = &self.shared.source_name;
        // After the rows: with these columns and without those rows, the table would lack them for ever.
        self.write(vec![(columns_name(source, &table.name), encode(&record)?)])?;
        let names = added.iter().map(|field| field.name().as_str()).collect::<Vec<_>>().join(", ");
        tracing::info!(
            table = table.name,
            source,
            columns = names,
            "the table has columns that were added at the source"
        );
        Ok(true)
    }
}

/// Puts the rows of a table, with columns of nulls, in the place of the table, in one commit.
fn add_columns(cache: &Embedded, name: &str, table: u64, added: &[Arc<Field>], source: &str) -> Result<()> {
    let held = cache.table_by_id(table)?;
    let fields = held.schema.fields().iter().cloned().chain(added.iter().cloned()).collect::<Vec<_>>();
    let schema: SchemaRef = Arc::new(Schema::new(fields));
    let of_rows = schema.clone();
    let rows = cache.scan_held(table, None)?.map(move |batch| widened(&batch?, &of_rows));
    let position = position_name(source, name);
    let record = cache.source_position(&position)?.unwrap_or_default();
    let as_of = held.freshness.map_or_else(SystemTime::now, |freshness| freshness.as_of);
    cache.load_table(name, &held.rules, Input::fallible(schema, rows), (position, record), as_of).map(drop)
}

fn widened(rows: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| {
        let held = rows.column_by_name(field.name()).cloned();
        held.unwrap_or_else(|| new_null_array(field.data_type(), rows.num_rows()))
    });
    RecordBatch::try_new(schema.clone(), columns.collect())
        .map_err(|error| Error::internal("rows with columns that were added").with_source(error))
}
