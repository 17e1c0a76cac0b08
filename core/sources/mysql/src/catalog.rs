//! What the server's catalogs say of a table.

use mysql_async::prelude::Queryable;
use pillion::{Error, ErrorCode, Result};

use crate::failures;
use crate::names::{TableName, shown, suggestion};
use crate::session::Session;

/// Tables that people look for: of no system database, and readable. Of the session's database if it has one.
const NAMES: &str = "SELECT table_schema, table_name FROM information_schema.tables \
    WHERE table_type IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED') \
    AND table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
    AND (DATABASE() IS NULL OR table_schema = DATABASE()) ORDER BY table_schema, table_name";

/// Names that differ in case may be one table or two; the exact one is the first.
const TABLE: &str = "SELECT table_type, COALESCE(engine, ''), CAST(table_rows AS UNSIGNED), CAST(data_length AS UNSIGNED) \
    FROM information_schema.tables WHERE table_schema = COALESCE(?, DATABASE()) AND table_name = ? \
    ORDER BY CAST(table_name AS BINARY) = CAST(? AS BINARY) DESC LIMIT 1";

/// Engines that enforce `NOT NULL`. Others fetch rows from elsewhere.
const STRICT_ENGINES: &[&str] =
    &["InnoDB", "MyISAM", "Aria", "MEMORY", "ARCHIVE", "CSV", "ROCKSDB", "ndbcluster"];

/// A table or view.
pub(crate) struct CatalogEntry {
    /// Whether columns that are declared `NOT NULL` hold no null.
    pub(crate) is_strict: bool,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

pub(crate) async fn names(session: &mut Session) -> Result<Vec<String>> {
    let rows = listed(session).await?;
    Ok(rows.iter().map(|(database, table)| format!("{}.{}", shown(database), shown(table))).collect())
}

async fn listed(session: &mut Session) -> Result<Vec<(String, String)>> {
    let place = session.place().clone();
    session.conn()?.query(NAMES).await.map_err(|error| failures::of_session(&place, error))
}

pub(crate) async fn table(session: &mut Session, name: &TableName) -> Result<CatalogEntry> {
    type Row = (String, String, Option<u64>, Option<u64>);

    let place = session.place().clone();
    let parameters = (&name.database, &name.table, &name.table);
    let found: Option<Row> = session
        .conn()?
        .exec_first(TABLE, parameters)
        .await
        .map_err(|error| failures::of_session(&place, error))?;
    // The server gave the columns of the table before, so nothing is wrong with one that is not listed.
    let (kind, engine, rows, bytes) = found.unwrap_or_default();
    let is_view = !["BASE TABLE", "SYSTEM VERSIONED"].contains(&kind.as_str());
    Ok(CatalogEntry { is_strict: !is_view && STRICT_ENGINES.contains(&engine.as_str()), rows, bytes })
}

/// The error for a name that names nothing, with the nearest one that does.
pub(crate) async fn missing(session: &mut Session, name: &TableName) -> Result<Error> {
    let known: Vec<String> = listed(session)
        .await?
        .into_iter()
        .map(|(database, table)| match name.database {
            Some(_) => format!("{}.{}", shown(&database), shown(&table)),
            None => shown(&table),
        })
        .collect();
    let text = match &name.database {
        Some(database) => format!("{}.{}", shown(database), shown(&name.table)),
        None => shown(&name.table),
    };
    let hint = suggestion(&text, known.iter().map(String::as_str));
    Ok(Error::new(
        ErrorCode::SourceNotFound,
        format!("{}: there is no table `{text}`{hint}", session.place()),
    ))
}
