//! What there is: catalogs, schemas, tables, keys, and facts about the server.

mod facts;
mod keys;
mod types;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow_flight::error::FlightError;
use arrow_flight::sql::metadata::{SqlInfoData, SqlInfoDataBuilder, XdbcTypeInfoDataBuilder};
use arrow_flight::sql::{
    Command, CommandGetCatalogs, CommandGetDbSchemas, CommandGetTableTypes, CommandGetTables,
};
use pillion::{AsyncSnapshot, Freshness, TableInfo};
use pillion_access::{Identity, Right};
use pillion_door::said::Said;
use tonic::Status;

use crate::answer::info::sent;
use crate::door::Door;
use crate::status;

/// The one catalog, as SQL names it.
pub(crate) const CATALOG: &str = "pillion";
/// The one schema, as SQL names it.
pub(crate) const SCHEMA: &str = "public";
/// The one type of tables.
const TABLE: &str = "TABLE";

/// The columns of the answer to a command; `None` if it is not one about what there is.
pub(crate) fn schema(command: &Command) -> Option<SchemaRef> {
    Some(match command {
        Command::CommandGetCatalogs(command) => command.into_builder().schema(),
        Command::CommandGetDbSchemas(command) => command.clone().into_builder().schema(),
        Command::CommandGetTables(command) => command.clone().into_builder().schema(),
        Command::CommandGetTableTypes(command) => command.into_builder().schema(),
        Command::CommandGetPrimaryKeys(_) => keys::primary_schema(),
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => keys::foreign_schema(),
        Command::CommandGetSqlInfo(_) => SqlInfoDataBuilder::schema().clone().into(),
        Command::CommandGetXdbcTypeInfo(_) => XdbcTypeInfoDataBuilder::new().schema(),
        _ => return None,
    })
}

/// The answer to a command, as far as whoever asks may see it; `None` if it is not one about what there is.
///
/// # Errors
/// Those of a snapshot; `NOT_FOUND` for keys of a table that is not there or may not be seen.
pub(crate) async fn answer(
    door: &Door,
    identity: &Identity,
    command: Command,
) -> Result<Option<(RecordBatch, Option<Said>)>, Status> {
    let batch = match command {
        Command::CommandGetCatalogs(command) => catalogs(command),
        Command::CommandGetDbSchemas(command) => db_schemas(command),
        Command::CommandGetTableTypes(command) => table_types(command),
        Command::CommandGetSqlInfo(command) => facts().and_then(|facts| command.into_builder(&facts).build()),
        Command::CommandGetXdbcTypeInfo(command) => {
            types::types().and_then(|types| command.into_builder(&types).build())
        }
        Command::CommandGetTables(command) => {
            let (seen, said) = seen(door, identity).await?;
            return Ok(Some((tables(command, &seen).map_err(failed)?, Some(said))));
        }
        Command::CommandGetPrimaryKeys(command) => {
            let (seen, said) = seen(door, identity).await?;
            return Ok(Some((keys::primary(&command, &seen)?, Some(said))));
        }
        Command::CommandGetExportedKeys(_)
        | Command::CommandGetImportedKeys(_)
        | Command::CommandGetCrossReference(_) => Ok(RecordBatch::new_empty(keys::foreign_schema())),
        _ => return Ok(None),
    };
    Ok(Some((batch.map_err(failed)?, None)))
}

/// The tables that somebody may read.
async fn seen(door: &Door, identity: &Identity) -> Result<(Vec<TableInfo>, Said), Status> {
    let of_cache = |error: pillion::Error| status::of(&error);
    let snapshot: AsyncSnapshot = door.cache.snapshot().await.map_err(of_cache)?;
    let mut tables = snapshot.tables().await.map_err(of_cache)?;
    tables.retain(|table| identity.may(Right::Read, Some(&table.name)));
    let freshness = tables.iter().filter_map(|table| table.freshness).reduce(Freshness::older);
    let version = snapshot.version().await.map_err(of_cache)?;
    Ok((tables, Said::of(version, freshness, door.way())))
}

fn catalogs(command: CommandGetCatalogs) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    builder.append(CATALOG);
    builder.build()
}

fn db_schemas(command: CommandGetDbSchemas) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    builder.append(CATALOG, SCHEMA);
    builder.build()
}

fn table_types(command: CommandGetTableTypes) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    builder.append(TABLE);
    builder.build()
}

fn tables(command: CommandGetTables, seen: &[TableInfo]) -> Result<RecordBatch, FlightError> {
    let mut builder = command.into_builder();
    for table in seen {
        builder.append(CATALOG, SCHEMA, &table.name, TABLE, &sent(&table.schema))?;
    }
    builder.build()
}

fn facts() -> Result<SqlInfoData, FlightError> {
    facts::facts().build()
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: FlightError) -> Status {
    status::invalid(format!("the answer cannot be made: {error}"))
}
