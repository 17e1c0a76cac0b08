//! What the server's catalogs say of a table that is to be followed.

use pillion::{Error, ErrorCode, Result};
use tokio_postgres::types::Type;

use crate::session::Session;

/// The server takes no index for an identity that it checks only at the end of a transaction, not even that of a primary key.
const TABLE: &str = "SELECT c.oid, n.nspname::pg_catalog.text, c.relname::pg_catalog.text, \
        c.relkind::pg_catalog.text, c.relpersistence::pg_catalog.text, c.relreplident::pg_catalog.text, \
        EXISTS (SELECT FROM pg_catalog.pg_inherits WHERE inhparent = c.oid), \
        ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
            AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated <> '' ORDER BY a.attnum), \
        ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
        ARRAY(SELECT a.atttypid FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
        ARRAY(SELECT a.atttypmod FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
            AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum), \
        ARRAY(SELECT a.attname::pg_catalog.text FROM pg_catalog.pg_index i \
            JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid \
            AND a.attnum = ANY ((i.indkey::pg_catalog.int2[])[0:i.indnkeyatts - 1]) \
            WHERE i.indrelid = c.oid AND i.indimmediate AND CASE c.relreplident WHEN 'd' THEN i.indisprimary \
            WHEN 'i' THEN i.indisreplident ELSE false END ORDER BY a.attnum) \
    FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    WHERE c.oid = pg_catalog.to_regclass($1)";

/// A table as the server describes it.
#[derive(Clone, Debug)]
pub(super) struct FollowableTable {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    /// Columns whose values the server computes and does not send.
    pub(super) generated: Vec<String>,
    pub(super) columns: Vec<CatalogColumn>,
    /// The columns that name a row in a change.
    pub(super) identity: Vec<String>,
    /// Whether they are those of a unique index. Otherwise they are all columns, and rows may be the same.
    pub(super) has_unique_identity: bool,
}

/// A column with its type, as the server will announce it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CatalogColumn {
    pub(super) name: String,
    pub(super) type_oid: u32,
    pub(super) modifier: i32,
}

/// Looks a table up, and says why it cannot be followed if it cannot.
pub(super) async fn followable(session: &Session, name: &str) -> Result<FollowableTable> {
    let found = session.client()?.query_typed_opt(TABLE, &[(&name, Type::TEXT)]).await;
    let Some(row) = found.map_err(|error| session.failure(error))? else {
        let message = format!("{}: there is no table `{name}`", session.place());
        return Err(Error::new(ErrorCode::SourceNotFound, message));
    };
    let read = || -> std::result::Result<_, tokio_postgres::Error> {
        let names: Vec<String> = row.try_get(8)?;
        let (types, modifiers): (Vec<u32>, Vec<i32>) = (row.try_get(9)?, row.try_get(10)?);
        let columns = names.iter().zip(types).zip(modifiers);
        let columns = columns.map(|((name, type_oid), modifier)| CatalogColumn {
            name: name.clone(),
            type_oid,
            modifier,
        });
        let columns: Vec<CatalogColumn> = columns.collect();
        let identity: String = row.try_get(5)?;
        let table = FollowableTable {
            oid: row.try_get(0)?,
            schema: row.try_get(1)?,
            name: row.try_get(2)?,
            generated: row.try_get(7)?,
            columns,
            has_unique_identity: identity != "f",
            identity: if identity == "f" { names } else { row.try_get(11)? },
        };
        let (kind, persistence): (String, String) = (row.try_get(3)?, row.try_get(4)?);
        Ok((table, kind, persistence, row.try_get::<_, bool>(6)?))
    };
    let (table, kind, persistence, has_children) = read().map_err(|error| session.failure(error))?;
    let why = match (&*kind, &*persistence) {
        ("p", _) => {
            "is partitioned, and the server does not say when one of its partitions is emptied or detached; follow its partitions"
        }
        ("r", "p") if has_children => "has children, whose changes are not its own; follow each of them",
        ("r", "p") if table.identity.is_empty() => {
            "has neither a primary key nor another replica identity, so changed rows cannot be recognised; ALTER TABLE … REPLICA IDENTITY gives it one"
        }
        ("r", "p") => return Ok(table),
        ("r", _) => "is not logged, so its changes are not sent",
        _ => "is not a table, and only changes of tables are sent",
    };
    Err(Error::new(ErrorCode::Unsupported, format!("{}: `{name}` {why}", session.place())))
}
