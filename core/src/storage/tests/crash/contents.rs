//! Reads everything that a state holds, in all ways that there are, and compares them.

use std::sync::Arc;

use arrow::array::{AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use super::model::{Content, TableContent};
use crate::storage::key::{self, KeyBytes};
use crate::storage::{KeyColumn, State, TableShape, TableState};
use crate::types::error::Result;

/// Columns of every table: a key and a text.
pub(super) fn schema() -> SchemaRef {
    let id = Field::new("id", DataType::Int64, false);
    Arc::new(Schema::new(vec![id, Field::new("note", DataType::Utf8, false)]))
}

/// The definition of a table.
pub(super) fn shape(name: &str) -> TableShape {
    TableShape::keyed(name, schema(), 0)
}

/// Rows as a load takes them.
pub(super) fn batches<'a>(
    rows: impl IntoIterator<Item = (&'a i64, &'a String)>,
) -> impl Iterator<Item = Result<RecordBatch>> {
    let (ids, notes): (Vec<i64>, Vec<&String>) = rows.into_iter().unzip();
    let columns: [Arc<dyn arrow::array::Array>; 2] =
        [Arc::new(Int64Array::from(ids)), Arc::new(StringArray::from_iter_values(notes))];
    std::iter::once(Ok(RecordBatch::try_new(schema(), columns.into()).unwrap()))
}

/// All rows of all tables, by scan and by key, and the positions of sources.
///
/// # Errors
/// What cannot be read, or is not the same by scan and by key.
pub(super) fn read(state: &State) -> Result<Content, String> {
    let tables = state.tables.values();
    let tables =
        tables.map(|table| Ok((table.shape.name.clone(), read_table(table, state.version.sequence)?)));
    let position = |bytes: &[u8]| bytes.try_into().map(u64::from_le_bytes).map_err(|_| format!("{bytes:?}?"));
    let positions = state.positions.iter().map(|(source, bytes)| Ok((source.clone(), position(bytes)?)));
    Ok(Content {
        tables: tables.collect::<Result<_, String>>()?,
        positions: positions.collect::<Result<_, String>>()?,
    })
}

fn read_table(table: &TableState, sequence: u64) -> Result<TableContent, String> {
    let name = &table.shape.name;
    let failed = |error| format!("table {name} cannot be read: {error:?}");
    let as_of = table.as_of.ok_or_else(|| format!("table {name} has no freshness"))?;
    let as_of = u64::try_from(as_of).unwrap() / 1_000_000_000;
    let mut content = TableContent { as_of, ..TableContent::default() };
    let mut parts = table.tail_parts().map_err(failed)?;
    for segment in table.segments.iter() {
        segment.open().and_then(|open| open.zones().map(drop)).map_err(failed)?;
        parts.extend(TableState::segment_parts(segment).map_err(failed)?);
    }
    for part in &parts {
        for batch in table.read_part(part, None, sequence, &[0, 1], &schema()).map_err(failed)? {
            for (id, note) in pairs(&batch) {
                if content.rows.insert(id, note).is_some() {
                    return Err(format!("table {name} has the key {id} twice"));
                }
            }
        }
    }
    if table.rows != content.rows.len() as u64 {
        return Err(format!(
            "table {name} says that it has {} rows, and has {}",
            table.rows,
            content.rows.len()
        ));
    }
    for (&id, note) in &content.rows {
        match get(table, id, sequence).map_err(failed)? {
            Some(found) if found == *note => {}
            found => return Err(format!("key {id} of {name} gives {found:?}, a scan gives {note:?}")),
        }
        let absent = id + 1_000_000;
        if let Some(found) = get(table, absent, sequence).map_err(failed)? {
            return Err(format!("key {absent} of {name} gives {found:?}, a scan does not have it"));
        }
    }
    Ok(content)
}

fn get(table: &TableState, id: i64, sequence: u64) -> Result<Option<String>> {
    let mut bytes = KeyBytes::new();
    key::encode_cell(&mut bytes, &Int64Array::from(vec![id]), 0)?;
    let Some(found) = table.find(&bytes, sequence)? else { return Ok(None) };
    let batch = found.read(&[0, 1], &schema())?;
    Ok(pairs(&batch).next().filter(|(found, _)| *found == id).map(|(_, note)| note))
}

/// The keys of rows, encoded.
pub(super) fn keys(ids: &[i64]) -> KeyColumn {
    let mut keys = KeyColumn::default();
    for &id in ids {
        let mut bytes = KeyBytes::new();
        key::encode_cell(&mut bytes, &Int64Array::from(vec![id]), 0).unwrap();
        keys.push(&bytes);
    }
    keys
}

fn pairs(batch: &RecordBatch) -> impl Iterator<Item = (i64, String)> {
    let ids = batch.column(0).as_primitive::<Int64Type>().values().iter().copied();
    let notes = batch.column(1).as_string::<i32>().iter().map(|note| note.unwrap().to_owned());
    ids.zip(notes)
}
