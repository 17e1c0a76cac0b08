//! What the server's catalogs say of a table.

use pillion::{Error, ErrorCode, Result};
use tokio_postgres::types::Type;

use crate::names::suggestion;
use crate::session::Session;

/// Tables that people look for: of no system schema, no parts of others, and readable.
const NAMES: &str = "SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), pg_catalog.quote_ident(c.relname) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition \
    AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema' \
    AND pg_catalog.has_schema_privilege(n.oid, 'USAGE') \
    AND pg_catalog.has_any_column_privilege(c.oid, 'SELECT') ORDER BY 1";

/// The server reads the name as SQL does. A column holds no null if neither the table nor those that it consists of allow one;
/// foreign tables do not enforce what they declare.
const TABLE: &str = "WITH RECURSIVE tree(oid) AS ( \
        SELECT pg_catalog.to_regclass($1)::pg_catalog.oid \
        UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN tree t ON i.inhparent = t.oid), \
    members AS (SELECT c.* FROM pg_catalog.pg_class c JOIN tree t ON t.oid = c.oid) \
    SELECT pg_catalog.format('%I.%I', n.nspname, c.relname), c.relkind::pg_catalog.text, \
        pg_catalog.has_any_column_privilege(c.oid, 'SELECT'), \
        ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a \
            WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
            AND NOT EXISTS (SELECT FROM members m WHERE m.relkind NOT IN ('r', 'p')) \
            AND NOT EXISTS (SELECT FROM tree t JOIN pg_catalog.pg_attribute b ON b.attrelid = t.oid \
                WHERE b.attname = a.attname AND NOT b.attnotnull)), \
        (SELECT CASE WHEN pg_catalog.bool_and(m.reltuples > 0 OR m.relpages > 0) \
            THEN pg_catalog.sum(m.reltuples)::pg_catalog.float8 END \
            FROM members m WHERE m.relkind <> 'p'), \
        (SELECT pg_catalog.sum(pg_catalog.pg_table_size(m.oid))::pg_catalog.int8 \
            FROM members m WHERE m.relkind IN ('r', 'm')) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = pg_catalog.to_regclass($1)";

/// A table, view, or whatever else has a name and rows.
pub(crate) struct CatalogEntry {
    /// Its full name, as SQL reads it.
    pub(crate) name: String,
    /// Columns that hold no null.
    pub(crate) not_null: Vec<String>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

pub(crate) async fn names(session: &Session) -> Result<Vec<String>> {
    let rows = session.client()?.query_typed(NAMES, &[]).await.map_err(|error| session.failure(error))?;
    rows.iter().map(|row| row.try_get(0).map_err(|error| session.failure(error))).collect()
}

pub(crate) async fn table(session: &Session, name: &str) -> Result<CatalogEntry> {
    if name.contains('\0') {
        return Err(Error::new(ErrorCode::InvalidArgument, "the name of a table contains a zero byte"));
    }
    let found = session.client()?.query_typed_opt(TABLE, &[(&name, Type::TEXT)]).await;
    let row = match found.map_err(|error| session.failure(error).context(format!("table `{name}`")))? {
        Some(row) => row,
        None => return Err(missing(session, name).await?),
    };
    let read = || -> std::result::Result<_, tokio_postgres::Error> {
        let (rows, bytes): (Option<f64>, Option<i64>) = (row.try_get(4)?, row.try_get(5)?);
        let entry = CatalogEntry {
            name: row.try_get(0)?,
            not_null: row.try_get(3)?,
            rows: rows.map(|rows| rows as u64), // an estimate; a float becomes the nearest number that there is
            bytes: bytes.and_then(|bytes| bytes.try_into().ok()),
        };
        Ok((entry, row.try_get::<_, String>(1)?, row.try_get::<_, bool>(2)?))
    };
    let (entry, kind, is_readable) = read().map_err(|error| session.failure(error))?;
    if !["r", "p", "v", "m", "f"].contains(&kind.as_str()) {
        let message = format!("{}: `{name}` has no rows: it is neither a table nor a view", session.place());
        return Err(Error::new(ErrorCode::SourceNotFound, message));
    }
    if !is_readable {
        let message = format!("{}: the user may not read `{name}` (GRANT SELECT allows it)", session.place());
        return Err(Error::new(ErrorCode::SourceRefused, message));
    }
    Ok(entry)
}

/// The error for a name that names nothing, with the nearest one that does.
async fn missing(session: &Session, name: &str) -> Result<Error> {
    let rows = session.client()?.query_typed(NAMES, &[]).await.map_err(|error| session.failure(error))?;
    let column = if name.contains('.') { 0 } else { 1 };
    let known: Vec<String> = rows
        .iter()
        .map(|row| row.try_get(column))
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| session.failure(error))?;
    let hint = suggestion(name, known.iter().map(String::as_str));
    Ok(Error::new(
        ErrorCode::SourceNotFound,
        format!("{}: there is no table `{name}`{hint}", session.place()),
    ))
}
