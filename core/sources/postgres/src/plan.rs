//! The statement that fetches a relation, and the columns that it gives.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use pillion::source::{Fetch, Relation};
use pillion::{Error, ErrorCode, Result};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use crate::catalog;
use crate::decode::cells::{self, Cells};
use crate::failures;
use crate::names::{quoted, suggestion};
use crate::position;
use crate::session::Session;
use crate::types::cells_of;

/// A relation as the server knows it.
pub(crate) struct Shape {
    /// What stands behind `FROM`.
    from: String,
    /// How messages call it.
    shown: String,
    columns: Vec<Column>,
    pub(crate) rows: Option<u64>,
    pub(crate) bytes: Option<u64>,
}

struct Column {
    name: String,
    kind: Type,
    modifier: i32,
    is_nullable: bool,
}

/// What is selected of a relation.
pub(crate) struct Selection {
    pub(crate) schema: SchemaRef,
    pub(crate) cells: Vec<Box<dyn Cells>>,
    /// What stands behind `SELECT`.
    pub(crate) list: String,
}

/// Learns the columns of a relation, and keeps others from changing them until the session ends.
pub(crate) async fn shape_of(session: &Session, relation: &Relation) -> Result<Shape> {
    if let Some(option) = relation.options().keys().next() {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("a relation of PostgreSQL has no options, so none is called `{option}`"),
        ));
    }
    let mut shape = if relation.is_statement() {
        statement(session, relation.text()).await?
    } else {
        table(session, relation.text()).await?
    };
    let mut names = BTreeSet::new();
    if let Some(twice) = shape.columns.iter().find(|column| !names.insert(&column.name)) {
        let message = format!("{} has two columns `{}`; name them with AS", shape.shown, twice.name);
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    for name in relation.left_out().iter().chain(relation.read_as_text()) {
        shape.column(name)?;
    }
    shape.columns.retain(|column| !relation.left_out().contains(&column.name));
    Ok(shape)
}

async fn table(session: &Session, name: &str) -> Result<Shape> {
    let entry = catalog::table(session, name).await?;
    let select = format!("SELECT * FROM {}", entry.name);
    let is_nullable = |name: &str| !entry.not_null.iter().any(|not_null| not_null == name);
    let columns = columns_of(session.client()?, &select, is_nullable).await;
    let columns = columns.map_err(|error| session.failure(error))?;
    let shown = format!("table `{}`", entry.name);
    Ok(Shape { from: entry.name, shown, columns, rows: entry.rows, bytes: entry.bytes })
}

async fn statement(session: &Session, text: &str) -> Result<Shape> {
    let text = text.trim_end_matches(|character: char| character == ';' || character.is_whitespace());
    let refused = |error| refused(session, "the statement", error);
    if text.contains('\0') {
        return Err(Error::new(ErrorCode::InvalidArgument, "the statement contains a zero byte"));
    }
    // Alone at first, so that it is one whole statement wherever its parentheses stand.
    let prepared = session.client()?.prepare(text).await.map_err(refused)?;
    if !prepared.params().is_empty() {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            "the statement has parameters, which nothing gives values",
        ));
    }
    if prepared.columns().is_empty() {
        return Err(Error::new(ErrorCode::InvalidArgument, "the statement gives no rows"));
    }
    let from = format!("({text}\n) AS statement");
    let columns =
        columns_of(session.client()?, &format!("SELECT * FROM {from}"), |_| true).await.map_err(refused)?;
    Ok(Shape { from, shown: "the statement".to_owned(), columns, rows: None, bytes: None })
}

async fn columns_of(
    client: &Client,
    select: &str,
    is_nullable: impl Fn(&str) -> bool,
) -> std::result::Result<Vec<Column>, tokio_postgres::Error> {
    let prepared = client.prepare(select).await?;
    let column = |column: &tokio_postgres::Column| Column {
        name: column.name().to_owned(),
        kind: column.type_().clone(),
        modifier: column.type_modifier(),
        is_nullable: is_nullable(column.name()),
    };
    Ok(prepared.columns().iter().map(column).collect())
}

impl Shape {
    /// The columns that are not left out, with their types.
    pub(crate) fn columns(&self) -> impl Iterator<Item = (&str, &Type)> {
        self.columns.iter().map(|column| (&*column.name, &column.kind))
    }

    /// What stands behind `FROM`.
    pub(crate) fn from(&self) -> &str {
        &self.from
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let hint = suggestion(name, self.columns.iter().map(|column| column.name.as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("{} has no column `{name}`{hint}", self.shown))
        })
    }

    /// The columns that are wanted of it, all by default.
    pub(crate) fn select(&self, relation: &Relation, wanted: Option<&[String]>) -> Result<Selection> {
        let columns: Vec<&Column> = match wanted {
            None => self.columns.iter().collect(),
            Some(names) => names.iter().map(|name| self.column(name)).collect::<Result<_>>()?,
        };
        let (mut fields, mut cells, mut list) = (Vec::new(), Vec::new(), String::new());
        for column in columns {
            let separator = if list.is_empty() { "" } else { ", " };
            let name = quoted(&column.name);
            let values = if relation.read_as_text().contains(&column.name) {
                let _ = write!(list, "{separator}{name}::pg_catalog.text AS {name}"); // a String takes everything
                cells::text()
            } else {
                let _ = write!(list, "{separator}{name}");
                cells_of(&column.kind, column.modifier).map_err(|why| self.unsupported(column, &why))?
            };
            fields.push(Field::new(&column.name, values.data_type(), column.is_nullable));
            cells.push(values);
        }
        Ok(Selection { schema: Arc::new(Schema::new(fields)), cells, list })
    }

    fn unsupported(&self, column: &Column, why: &str) -> Error {
        Error::new(
            ErrorCode::UnsupportedType,
            format!("column `{}` of {} {why}; read it as text or leave it out", column.name, self.shown),
        )
    }

    /// The statement that gives the selected columns of the wanted rows.
    pub(crate) async fn copy(&self, session: &Session, list: &str, fetch: &Fetch) -> Result<String> {
        let mut conditions = Vec::new();
        if let Some(condition) = fetch.wanted_condition() {
            self.check_condition(session, condition).await?;
            conditions.push(format!("({condition}\n)"));
        }
        if let Some(after) = fetch.from_position() {
            let column = self.column(&after.column)?;
            conditions.push(position::condition(&column.name, &column.kind, &after.value)?);
        }
        if let Some(keys) = fetch.wanted_keys() {
            let columns = keys.columns.iter().map(|name| self.column(name)).collect::<Result<Vec<_>>>()?;
            let columns: Vec<_> = columns.iter().map(|column| (column.name.as_str(), &column.kind)).collect();
            conditions.push(position::keys_condition(&columns, &keys.values)?);
        }
        let r#where = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        Ok(format!("COPY (SELECT {list} FROM {}{where}) TO STDOUT (FORMAT BINARY)", self.from))
    }

    /// Lets the server read a condition where a parenthesis that is closed and not opened is an error.
    async fn check_condition(&self, session: &Session, condition: &str) -> Result<()> {
        if condition.contains('\0') {
            return Err(Error::new(ErrorCode::InvalidArgument, "the condition contains a zero byte"));
        }
        let select =
            format!("SELECT CASE WHEN {condition}\n THEN true END FROM {} WHERE ({condition}\n)", self.from);
        let prepared = session.client()?.prepare(&select).await;
        let prepared =
            prepared.map_err(|error| refused(session, &format!("the condition `{condition}`"), error))?;
        if prepared.params().is_empty() {
            return Ok(());
        }
        let message = format!("the condition `{condition}` has parameters, which nothing gives values");
        Err(Error::new(ErrorCode::InvalidArgument, message))
    }
}

/// The error for a text that the server does not understand.
pub(crate) fn refused(session: &Session, what: &str, error: tokio_postgres::Error) -> Error {
    let is_missing = error.code().is_some_and(|state| state.code() == "42P01");
    match error.as_db_error() {
        Some(reported) if failures::is_of_text(&error) && !is_missing => Error::new(
            ErrorCode::InvalidArgument,
            format!("{}: {what} cannot be used: {}", session.place(), failures::text_of(reported)),
        ),
        _ => session.failure(error).context(what),
    }
}
