//! Publications: made, or checked if an administrator has made them.

use std::collections::BTreeSet;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;
use tokio_postgres::types::Type;

use super::Names;
use super::table::FollowedTable;
use crate::names::quoted;
use crate::options::PostgresOptions;
use crate::replication::PublicationName;
use crate::session::Session;

const PUBLICATION: &str = "SELECT pubinsert AND pubupdate AND pubdelete AND pubtruncate, puballtables \
    FROM pg_catalog.pg_publication WHERE pubname = $1";

/// Columns and conditions are there from version 15 on; older servers have neither.
const TABLES: &str = "SELECT t.schemaname::pg_catalog.text, t.tablename::pg_catalog.text, \
    pg_catalog.to_jsonb(t) ->> 'rowfilter', ARRAY(SELECT pg_catalog.jsonb_array_elements_text( \
        CASE pg_catalog.jsonb_typeof(pg_catalog.to_jsonb(t) -> 'attnames') WHEN 'array' \
        THEN pg_catalog.to_jsonb(t) -> 'attnames' ELSE '[]' END)) \
    FROM pg_catalog.pg_publication_tables t WHERE t.pubname = $1";

/// What a publication has of a table.
pub(super) struct Published {
    schema: String,
    name: String,
    condition: Option<String>,
    /// Empty for all.
    columns: Vec<String>,
}

/// Makes sure that a publication gives out all changes of the tables.
pub(super) async fn ensure(
    options: &Arc<PostgresOptions>,
    runtime: &Arc<Runtime>,
    names: &Names,
    tables: &[FollowedTable],
) -> Result<()> {
    let session = Session::open(options.clone(), runtime.clone()).await?;
    let ensured = ensure_in(&session, names, tables).await;
    session.done();
    ensured
}

async fn ensure_in(session: &Session, names: &Names, tables: &[FollowedTable]) -> Result<()> {
    let name = names.publication.as_str();
    let list = tables.iter().map(FollowedTable::qualified).collect::<Vec<_>>().join(", ");
    let what = "publish = 'insert, update, delete, truncate'";
    let client = session.client()?;
    let found = client.query_typed_opt(PUBLICATION, &[(&name, Type::TEXT)]).await;
    let found = found.map_err(|error| session.failure(error))?;
    let published = published(session, name).await?;
    let fault = match &found {
        None => Some(format!("there is no publication `{name}`")),
        Some(row) => {
            let is_whole: bool = row.try_get(0).map_err(|error| session.failure(error))?;
            let lacks_kind =
                || format!("the publication `{name}` lacks a kind of change; {what} gives it all");
            (!is_whole)
                .then(lacks_kind)
                .or_else(|| tables.iter().find_map(|table| lack(name, table, &published)))
        }
    };
    let Some(fault) = fault else { return Ok(()) };
    let commands = match &found {
        _ if names.is_given => {
            let code = if found.is_some() { ErrorCode::InvalidArgument } else { ErrorCode::SourceNotFound };
            return Err(Error::new(code, format!("{}: {fault}", session.place())));
        }
        None => format!("CREATE PUBLICATION {} FOR TABLE {list} WITH ({what})", quoted(name)),
        Some(_) => {
            let name = quoted(name);
            format!("ALTER PUBLICATION {name} SET ({what}); ALTER PUBLICATION {name} SET TABLE {list}")
        }
    };
    client.batch_execute(&commands).await.map_err(|error| {
        let hint = "whoever owns the tables and may create in the database makes it, or an administrator does and its name is given";
        session.failure(error).context(format!("the publication `{name}` cannot be made; {hint}"))
    })
}

/// Removes a publication, if there is one.
pub(super) async fn remove(
    options: &Arc<PostgresOptions>,
    runtime: &Arc<Runtime>,
    name: &PublicationName,
) -> Result<()> {
    let session = Session::open(options.clone(), runtime.clone()).await?;
    let command = format!("DROP PUBLICATION IF EXISTS {}", quoted(name.as_str()));
    let removed = match session.client() {
        Ok(client) => client.batch_execute(&command).await.map_err(|error| session.failure(error)),
        Err(error) => Err(error),
    };
    session.done();
    removed
}

pub(super) async fn published(session: &Session, name: &str) -> Result<Vec<Published>> {
    let rows = session.client()?.query_typed(TABLES, &[(&name, Type::TEXT)]).await;
    let read = |row: &tokio_postgres::Row| -> std::result::Result<_, tokio_postgres::Error> {
        Ok(Published {
            schema: row.try_get(0)?,
            name: row.try_get(1)?,
            condition: row.try_get(2)?,
            columns: row.try_get(3)?,
        })
    };
    let rows = rows.map_err(|error| session.failure(error))?;
    rows.iter().map(|row| read(row).map_err(|error| session.failure(error))).collect()
}

/// What a publication lacks of a table.
pub(super) fn lack(publication: &str, table: &FollowedTable, published: &[Published]) -> Option<String> {
    let (qualified, of) = (table.qualified(), &table.table);
    let has = published.iter().find(|other| (&other.schema, &other.name) == (&of.schema, &of.name));
    let Some(has) = has else {
        return Some(format!(
            "the publication `{publication}` lacks {qualified}; ALTER PUBLICATION … ADD TABLE adds it"
        ));
    };
    if let Some(condition) = &has.condition {
        return Some(format!(
            "the publication `{publication}` has only rows of {qualified} with {condition}"
        ));
    }
    if has.columns.is_empty() {
        return None;
    }
    let columns: BTreeSet<&String> = has.columns.iter().collect();
    let lacks = table.schema().fields().iter().find(|field| !columns.contains(field.name()));
    lacks.map(|field| {
        format!("the publication `{publication}` lacks column `{}` of {qualified}", field.name())
    })
}
