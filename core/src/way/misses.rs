//! Reads of rows that a table does not hold, and that its source is asked for.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::SystemTime;

use arrow::array::RecordBatch;

use crate::answer::batches::{AnswerInfo, Batches};
use crate::answer::certificate::Certificate;
use crate::answer::row::Row;
use crate::blocking::brief;
use crate::coverage::{Fetching, Held, UpstreamSlot, Wanted, delegated, out_of_reach};
use crate::source::Keys;
use crate::storage::key::KeyBytes;
use crate::storage::key::decode::decode_keys;
use crate::storage::{KeyColumn, State, TableState};
use crate::types::bounds::ReadBounds;
use crate::types::cell::value_at;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::value::Value;
use crate::types::version::{Freshness, Tier};

/// The most keys that an error names.
const KEYS_SHOWN: usize = 3;

/// The row of a key that is not held, from the source.
pub(super) fn row(
    upstream: &UpstreamSlot,
    state: &State,
    table: &TableState,
    held: Option<&Held<'_>>,
    key: &[u8],
) -> Result<Option<Row>> {
    let mut rows = rows(upstream, state, table, held, &[KeyBytes::from_slice(key)])?;
    Ok(rows.remove(key))
}

/// The rows of keys that are not held, from the source; those that it has.
pub(super) fn rows(
    upstream: &UpstreamSlot,
    state: &State,
    table: &TableState,
    held: Option<&Held<'_>>,
    keys: &[KeyBytes],
) -> Result<HashMap<KeyBytes, Row>> {
    let mut missing: HashSet<&[u8]> = keys.iter().map(|key| &key[..]).collect();
    let shape = &table.shape;
    let columns = (0..shape.schema.fields().len()).collect();
    let keys = named(table, missing.iter().copied())?;
    let described = described(&keys);
    let (mut fetching, as_of) =
        begin(upstream, (table, held), Wanted { keys: Some(keys), ..wanted(table, columns, described) })?;
    let mut found = Vec::with_capacity(missing.len());
    // A source that cannot choose sends all rows; the rest of them is of no use.
    while !missing.is_empty()
        && let Some(batch) = fetching.next_batch()
    {
        let batch = Arc::new(batch?);
        for (index, (key, _)) in keys_of(&batch, table)?.iter().enumerate() {
            if missing.remove(key) {
                found.push((KeyBytes::from_slice(key), batch.clone(), index));
            }
        }
    }
    // Many keys are several questions, and the rows of each have a moment of their own.
    let as_of = fetching.as_of().unwrap_or(as_of);
    let row = |batch, index| Row::fetched(batch, index, state.version, Some(Freshness { as_of }));
    Ok(found.into_iter().map(|(key, batch, index)| (key, row(batch, index))).collect())
}

/// All rows of a table, from its source.
pub(super) fn scan(
    upstream: &UpstreamSlot,
    state: &State,
    table: &TableState,
    held: Option<&Held<'_>>,
    columns: Vec<usize>,
) -> Result<Batches> {
    let projected = table.shape.schema.project(&columns);
    let schema = projected.map_err(|error| Error::internal("cannot project a schema").with_source(error))?;
    let (fetching, as_of) = begin(upstream, (table, held), wanted(table, columns, "all rows".to_owned()))?;
    let reason = match held {
        Some(_) => "a scan needs all rows, and it holds only some",
        None => "the read asks the source",
    };
    let info = AnswerInfo {
        version: state.version,
        freshness: Some(Freshness { as_of }),
        tier: Tier::Delegated,
        certificate: Certificate::new(vec![delegated(table, held, reason.to_owned(), Some(as_of))]),
    };
    Ok(Batches::new(Arc::new(schema), info, Box::new(fetching)))
}

fn wanted(table: &TableState, columns: Vec<usize>, described: String) -> Wanted {
    Wanted {
        table: table.shape.clone(),
        columns,
        keys: None,
        #[cfg(feature = "sql")]
        condition: None,
        described,
        bounds: ReadBounds { partial: false, ..ReadBounds::current().unwrap_or_default() },
    }
}

/// Begins a fetch, and waits until rows begin to come.
fn begin(
    upstream: &UpstreamSlot,
    (table, held): (&TableState, Option<&Held<'_>>),
    wanted: Wanted,
) -> Result<(Fetching, SystemTime)> {
    let upstream = upstream.get().ok_or_else(|| out_of_reach(table, held, &wanted.described))?;
    if !brief::may_wait() {
        return Err(Error::internal("a read that waits for a source must have a thread of its own"));
    }
    let fetching = upstream.fetch_one(&Arc::new(wanted))?;
    let as_of = fetching.wait_for_begin()?;
    Ok((fetching, as_of))
}

/// Keys as their values.
fn named<'a>(table: &TableState, keys: impl Iterator<Item = &'a [u8]>) -> Result<Keys> {
    let shape = &table.shape;
    let mut column = KeyColumn::default();
    keys.for_each(|key| column.push(key));
    let types: Vec<_> = shape.primary_key.iter().map(|&it| shape.schema.field(it).data_type()).collect();
    let arrays = decode_keys(&column, &types)?;
    let row = |index: usize| -> Result<Vec<Value>> {
        arrays.iter().map(|array| Ok(value_at(array.as_ref(), index)?.into_owned())).collect()
    };
    let values = (0..column.len()).map(row).collect::<Result<_>>()?;
    let columns = shape.primary_key.iter().map(|&it| shape.schema.field(it).name().clone()).collect();
    Ok(Keys { columns, values })
}

fn described(keys: &Keys) -> String {
    let shown = keys.values.iter().take(KEYS_SHOWN).map(|values| {
        let values: Vec<_> = values.iter().map(ToString::to_string).collect();
        values.join(", ")
    });
    let shown: Vec<_> = shown.map(|values| format!("({values})")).collect();
    let more = keys.values.len().saturating_sub(KEYS_SHOWN);
    let more = if more > 0 { format!(" and {more} others") } else { String::new() };
    format!("rows with the key {} ({}){more}", shown.join(", "), keys.columns.join(", "))
}

/// The encoded keys of rows of a source.
///
/// # Errors
/// [`ErrorCode::SourceInvalid`] if a key has a null.
fn keys_of(batch: &RecordBatch, table: &TableState) -> Result<KeyColumn> {
    let shape = &table.shape;
    if let Some(column) = shape.primary_key.iter().find(|&&column| batch.column(column).null_count() > 0) {
        return Err(Error::new(
            ErrorCode::SourceInvalid,
            format!(
                "the source sent a row of table `{}` with a null in `{}`, a column of its primary key",
                shape.name,
                shape.schema.field(*column).name()
            ),
        ));
    }
    KeyColumn::of(batch, &shape.primary_key)
}
