//! What a file says of its tables.

use std::collections::BTreeSet;

use pillion::{Error, ErrorCode, Result};
use rusqlite::Connection;

use crate::failures;
use crate::names::{quoted, suggestion, unquoted};
use crate::session::Session;

const NAMES: &str = "SELECT name FROM pragma_table_list WHERE schema = 'main' \
    AND type IN ('table', 'view', 'virtual') AND substr(name, 1, 7) <> 'sqlite_' ORDER BY name";
const EVERYTHING: &str = "SELECT name FROM main.sqlite_schema WHERE type IN ('table', 'view')";
const KIND: &str = "SELECT type, wr FROM pragma_table_list(?1) WHERE schema = 'main'";
const COLUMNS: &str =
    "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1, 'main') WHERE hidden <> 1";
/// A primary key that is not the rowid has an index.
const KEY_INDEXES: &str = "SELECT count(*) FROM pragma_index_list(?1, 'main') WHERE origin = 'pk'";
const ESTIMATES: &str = "SELECT stat FROM main.sqlite_stat1 WHERE tbl = ?1";

/// Names under which SQLite has the number of a row, unless a column has them.
const ROWID: [&str; 3] = ["rowid", "_rowid_", "oid"];

/// A table, view or virtual table.
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) is_view: bool,
    /// The name of the rowid, if the table has one that can be read.
    pub(crate) rowid: Option<&'static str>,
    /// Columns of the primary key of a table without rowids.
    pub(crate) key: Vec<String>,
    /// Columns that hold no null.
    pub(crate) not_null: BTreeSet<String>,
    /// About how many rows it had when it was last analysed.
    pub(crate) rows: Option<u64>,
}

/// The names of what people look for.
pub(crate) fn names(session: &Session) -> Result<Vec<String>> {
    texts(session.connection(), NAMES, None).map_err(|error| failures::of_file(session.shown(), error))
}

/// What a name stands for.
///
/// # Errors
/// [`ErrorCode::SourceNotFound`] with the nearest name, and those of reading the file.
pub(crate) fn find(session: &Session, text: &str) -> Result<Entry> {
    let found = look_up(session.connection(), text);
    match found.map_err(|error| failures::of_file(session.shown(), error))? {
        Some(entry) => Ok(entry),
        None => {
            let known = names(session)?;
            let hint = suggestion(text, known.iter().map(String::as_str));
            let empty = if known.is_empty() { "; it has no tables at all" } else { "" };
            let message = format!("`{}` has no table `{text}`{hint}{empty}", session.shown());
            Err(Error::new(ErrorCode::SourceNotFound, message))
        }
    }
}

fn look_up(connection: &Connection, text: &str) -> rusqlite::Result<Option<Entry>> {
    let all = texts(connection, EVERYTHING, None)?;
    let named = |name: &str| all.iter().find(|known| known.eq_ignore_ascii_case(name)).cloned();
    // As it stands first: names may have blanks and points.
    let Some(name) = named(text).or_else(|| named(&unquoted(text)?)) else { return Ok(None) };
    let kind = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?));
    let (kind, is_without_rowid) = connection.query_row(KIND, [&name], kind)?;
    let mut entry = Entry {
        is_view: kind == "view",
        rowid: None,
        key: Vec::new(),
        not_null: BTreeSet::new(),
        rows: None,
        name,
    };
    if !entry.is_view && kind != "virtual" {
        table(connection, &mut entry, is_without_rowid)?;
    }
    if all.iter().any(|name| name == "sqlite_stat1") {
        let estimates = texts(connection, ESTIMATES, Some(&entry.name))?;
        let rows = estimates.iter().filter_map(|stat| stat.split(' ').next()?.parse().ok());
        entry.rows = rows.max();
    }
    Ok(Some(entry))
}

/// What only tables with rows of their own have.
fn table(connection: &Connection, entry: &mut Entry, is_without_rowid: bool) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(COLUMNS)?;
    let columns = statement.query_map([&entry.name], |row| {
        Ok((
            row.get::<_, String>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, bool>(2)?,
            row.get::<_, u32>(3)?,
        ))
    })?;
    let columns = columns.collect::<rusqlite::Result<Vec<_>>>()?;
    let mut key: Vec<_> = columns.iter().filter(|(.., place)| *place > 0).collect();
    key.sort_by_key(|(.., place)| *place);
    for (name, _, is_not_null, _) in &columns {
        if *is_not_null {
            entry.not_null.insert(name.clone());
        }
    }
    if is_without_rowid {
        entry.key = key.iter().map(|(name, ..)| name.clone()).collect();
        entry.not_null.extend(entry.key.iter().cloned());
        return Ok(());
    }
    let is_shadowed = |alias: &str| columns.iter().any(|(name, ..)| name.eq_ignore_ascii_case(alias));
    entry.rowid = ROWID.into_iter().find(|alias| !is_shadowed(alias));
    // A single `INTEGER PRIMARY KEY` is the rowid, which is never null; other primary keys may hold nulls.
    if let [(name, declared, ..)] = key[..]
        && declared.eq_ignore_ascii_case("INTEGER")
        && connection.query_row(KEY_INDEXES, [&entry.name], |row| row.get::<_, i64>(0))? == 0
    {
        entry.not_null.insert(name.clone());
    }
    Ok(())
}

fn texts(connection: &Connection, sql: &str, parameter: Option<&str>) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare(sql)?;
    let rows = statement.query_map(rusqlite::params_from_iter(parameter), |row| row.get(0))?;
    rows.collect()
}

impl Entry {
    /// What stands behind `FROM`.
    pub(crate) fn from(&self) -> String {
        format!("main.{}", quoted(&self.name))
    }
}
