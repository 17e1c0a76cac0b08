//! What the server says of itself and of its tables.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, StringArray, UInt32Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Schema, UInt32Type};
use arrow::error::ArrowError;
use arrow_flight::sql::{CommandGetSqlInfo, CommandGetTables, SqlInfo};
use bytes::Bytes;
use pillion::{Error, ErrorCode, Result};

use crate::dialect::{Quotes, TableName};
use crate::names::suggestion;
use crate::session::{Session, schema_of};
use crate::stream::Reader;

const GET_TABLES: &str = "GetTables";
/// What the types of tables have in their names that only the server itself looks at.
const SYSTEM: &str = "SYSTEM";
const INFORMATION_SCHEMA: &str = "information_schema";

/// A table that the server has.
struct Listed {
    name: TableName,
    /// Whether people look for it.
    is_of_users: bool,
    /// Its columns, if they were asked for and told.
    columns: Schema,
}

/// A table, by the name with which statements use it.
pub(crate) struct Found {
    pub(crate) name: TableName,
    /// Its columns; none if the server does not say.
    pub(crate) columns: Schema,
}

/// Names of the tables that people look for.
///
/// # Errors
/// [`ErrorCode::Unsupported`] if the server does not list its tables.
pub(crate) async fn names(reader: &mut Reader) -> Result<Vec<String>> {
    let Some(tables) = list(reader, None).await? else {
        let message = format!(
            "{}: the server does not list its tables ({GET_TABLES}); name what is to be fetched",
            reader.session().failures().place()
        );
        return Err(Error::new(ErrorCode::Unsupported, message));
    };
    let tables: Vec<_> = tables.into_iter().filter(|table| table.is_of_users).collect();
    // The catalog says something only where there are several.
    let first = tables.first().and_then(|table| table.name.catalog.clone());
    let is_one = tables.iter().all(|table| table.name.catalog == first);
    let shown = |mut table: Listed| {
        table.name.catalog = table.name.catalog.filter(|_| !is_one);
        table.name.to_string()
    };
    let mut names: Vec<String> = tables.into_iter().map(shown).collect();
    names.sort();
    Ok(names)
}

/// Looks a table up, first as its name is written and then with any case of its letters.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`], with the nearest name.
pub(crate) async fn table(reader: &mut Reader, text: &str) -> Result<Found> {
    let name = TableName::parse(text)?;
    // A pattern: it finds others too where the name has `_` or `%`.
    let Some(tables) = list(reader, Some(name.table.clone())).await? else {
        return Ok(Found { name, columns: Schema::empty() });
    };
    let exact: fn(&str, &str) -> bool = |a, b| a == b;
    if let Some(found) = the_only(&name, &tables, exact) {
        return Ok(found);
    }
    // Some servers find nothing by a pattern.
    let tables = list(reader, None).await?.unwrap_or_default();
    let found =
        the_only(&name, &tables, exact).or_else(|| the_only(&name, &tables, str::eq_ignore_ascii_case));
    found.ok_or_else(|| {
        let known: Vec<String> = tables
            .iter()
            .map(|table| TableName { catalog: None, ..table.name.clone() })
            .map(|known| if name.schema.is_none() { TableName { schema: None, ..known } } else { known })
            .map(|known| known.to_string())
            .collect();
        let hint = suggestion(text, known.iter().map(String::as_str));
        let place = reader.session().failures().place();
        Error::new(ErrorCode::SourceNotFound, format!("{place}: there is no table `{text}`{hint}"))
    })
}

/// The table of a name. Where several have it, such as in different schemas, the server takes the one that it looks for first,
/// and the columns are those that it says when it is asked for rows.
fn the_only(name: &TableName, tables: &[Listed], same: fn(&str, &str) -> bool) -> Option<Found> {
    let mut found =
        tables.iter().filter_map(|table| Some((name.found_in(&table.name, same)?, &table.columns)));
    let (first, columns) = found.next()?;
    let is_one = found.next().is_none();
    Some(Found { name: first, columns: if is_one { columns.clone() } else { Schema::empty() } })
}

/// The tables whose names match a pattern, with their columns, or all of them; `None` if the server lists no tables.
async fn list(reader: &mut Reader, pattern: Option<String>) -> Result<Option<Vec<Listed>>> {
    let command = CommandGetTables {
        catalog: None,
        db_schema_filter_pattern: None,
        include_schema: pattern.is_some(),
        table_name_filter_pattern: pattern,
        table_types: Vec::new(),
    };
    let Some(batches) = answer(reader, GET_TABLES, reader.session().info(&command).await).await? else {
        return Ok(None);
    };
    let mut tables = Vec::new();
    for batch in &batches {
        read_tables(batch, &mut tables).map_err(|error| unreadable(reader.session(), GET_TABLES, error))?;
    }
    Ok(Some(tables))
}

fn read_tables(batch: &RecordBatch, tables: &mut Vec<Listed>) -> std::result::Result<(), ArrowError> {
    let catalogs = column(batch, "catalog_name", &DataType::Utf8)?;
    let schemas = column(batch, "db_schema_name", &DataType::Utf8)?;
    let names = column(batch, "table_name", &DataType::Utf8)?;
    let kinds = column(batch, "table_type", &DataType::Utf8)?;
    let columns = column(batch, "table_schema", &DataType::Binary)?;
    let text = |column: &Option<ArrayRef>, row: usize| {
        let texts: &StringArray = column.as_ref()?.as_string();
        (texts.is_valid(row) && !texts.value(row).is_empty()).then(|| texts.value(row).to_owned())
    };
    for row in 0..batch.num_rows() {
        let Some(table) = text(&names, row) else { continue };
        let name = TableName { catalog: text(&catalogs, row), schema: text(&schemas, row), table };
        let of_system = |text: &str| text.to_ascii_uppercase().contains(SYSTEM);
        let is_of_users = !text(&kinds, row).is_some_and(|kind| of_system(&kind))
            && !name.schema.as_ref().is_some_and(|schema| schema.eq_ignore_ascii_case(INFORMATION_SCHEMA));
        let columns = match &columns {
            Some(columns) => {
                let columns: &BinaryArray = columns.as_binary();
                // What cannot be read is not told: the columns are asked for again when rows are.
                schema_of(Bytes::copy_from_slice(columns.value(row))).unwrap_or_else(|_| Schema::empty())
            }
            None => Schema::empty(),
        };
        tables.push(Listed { name, is_of_users, columns });
    }
    Ok(())
}

/// How the server quotes names; `None` if it does not say. Many servers know nothing of this and answer with errors of all
/// kinds, and a broken connection shows itself at the next call.
pub(crate) async fn quotes(reader: &mut Reader) -> Result<Option<Quotes>> {
    let wanted = SqlInfo::SqlIdentifierQuoteChar as u32;
    let command = CommandGetSqlInfo { info: vec![wanted] };
    match answer(reader, "GetSqlInfo", reader.session().info(&command).await).await {
        Ok(batches) => {
            let batches = batches.unwrap_or_default();
            let told = batches.iter().find_map(|batch| text_of_info(batch, wanted));
            Ok(told.map(|told| Quotes::of(&told)))
        }
        Err(error) if matches!(error.code(), ErrorCode::SourceRefused | ErrorCode::Timeout) => Err(error),
        Err(_) => Ok(None),
    }
}

/// The text that the server gives for a number of `SqlInfo`, in a union of values of all kinds.
fn text_of_info(batch: &RecordBatch, wanted: u32) -> Option<String> {
    let numbers = column(batch, "info_name", &DataType::UInt32).ok().flatten()?;
    let numbers: &UInt32Array = numbers.as_primitive::<UInt32Type>();
    let row = (0..numbers.len()).find(|row| numbers.is_valid(*row) && numbers.value(*row) == wanted)?;
    let value = batch.column_by_name("value")?.as_union_opt()?.value(row);
    let text = cast(&value, &DataType::Utf8).ok()?;
    let text: &StringArray = text.as_string_opt()?;
    (text.len() == 1 && text.is_valid(0)).then(|| text.value(0).to_owned())
}

/// All rows of an answer of metadata; `None` if the server does not have the call.
async fn answer(
    reader: &mut Reader,
    what: &str,
    info: std::result::Result<arrow_flight::FlightInfo, tonic::Status>,
) -> Result<Option<Vec<RecordBatch>>> {
    let read = match info {
        Ok(info) => reader.all(info, what).await,
        Err(status) => Err(reader.session().failures().of_call(what, &status)),
    };
    match read {
        Ok(batches) => Ok(Some(batches)),
        Err(error) if error.code() == ErrorCode::Unsupported => Ok(None),
        Err(error) => Err(error),
    }
}

/// A column, if there is one, as another type.
fn column(
    batch: &RecordBatch,
    name: &str,
    of: &DataType,
) -> std::result::Result<Option<ArrayRef>, ArrowError> {
    batch.column_by_name(name).map(|column| cast(column, of)).transpose()
}

fn unreadable(session: &Session, what: &str, error: ArrowError) -> Error {
    let message = format!("{}: the answer to {what} cannot be read", session.failures().place());
    Error::new(ErrorCode::SourceInvalid, message).with_source(error)
}
