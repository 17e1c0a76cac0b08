//! The statement that fetches a relation, and the columns that it gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use mysql_async::Statement;
use mysql_async::prelude::Queryable;
use mysql_common::named_params::ParsedNamedParams;
use pillion::source::{Fetch, Relation};
use pillion::{Error, ErrorCode, Result};

use crate::catalog;
use crate::decode::cells::Cells;
use crate::failures;
use crate::names::{TableName, quoted, suggestion};
use crate::position;
use crate::session::Session;
use crate::types::Kind;

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
    kind: Kind,
    is_nullable: bool,
}

/// What is selected of a relation.
pub(crate) struct Selection {
    pub(crate) schema: SchemaRef,
    pub(crate) cells: Vec<Box<dyn Cells>>,
    /// What stands behind `SELECT`.
    pub(crate) list: String,
}

/// Learns the columns of a relation.
pub(crate) async fn shape_of(session: &mut Session, relation: &Relation) -> Result<Shape> {
    if let Some(option) = relation.options().keys().next() {
        return Err(Error::new(
            ErrorCode::InvalidArgument,
            format!("a relation of MySQL has no options, so none is called `{option}`"),
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

async fn table(session: &mut Session, text: &str) -> Result<Shape> {
    let name = TableName::parse(text)?;
    let from = name.to_sql();
    let shown = format!("table `{text}`");
    let prepared = match prepare(session, &shown, &format!("SELECT * FROM {from}")).await {
        // The server names it in another way than it was asked for.
        Err(error) if error.code() == ErrorCode::SourceNotFound => {
            return Err(catalog::missing(session, &name).await?);
        }
        prepared => prepared?,
    };
    let entry = catalog::table(session, &name).await?;
    let columns = columns_of(&prepared, entry.is_strict);
    Ok(Shape { from, shown, columns, rows: entry.rows, bytes: entry.bytes })
}

async fn statement(session: &mut Session, text: &str) -> Result<Shape> {
    let text = text.trim_end_matches(|character: char| character == ';' || character.is_whitespace());
    // Alone at first, so that it is one whole statement wherever its parentheses stand.
    let prepared = prepare(session, "the statement", text).await?;
    if prepared.columns().is_empty() {
        return Err(Error::new(ErrorCode::InvalidArgument, "the statement gives no rows"));
    }
    let from = format!("({text}\n) AS statement");
    let prepared = prepare(session, "the statement", &format!("SELECT * FROM {from}")).await?;
    let columns = columns_of(&prepared, false);
    Ok(Shape { from, shown: "the statement".to_owned(), columns, rows: None, bytes: None })
}

fn columns_of(prepared: &Statement, is_strict: bool) -> Vec<Column> {
    let column = |column: &mysql_async::Column| Column {
        name: column.name_str().into_owned(),
        kind: Kind::of(column),
        is_nullable: !(is_strict && column.flags().contains(mysql_async::consts::ColumnFlags::NOT_NULL_FLAG)),
    };
    prepared.columns().iter().map(column).collect()
}

/// Lets the server read a text. `what` is how messages call it.
async fn prepare(session: &mut Session, what: &str, text: &str) -> Result<Statement> {
    let refused = |why: &str| Error::new(ErrorCode::InvalidArgument, format!("{what} {why}"));
    if text.contains('\0') {
        return Err(refused("contains a zero byte"));
    }
    // The client library would replace a name behind a colon, also where it wrongly believes that no text or comment is.
    if !ParsedNamedParams::parse(text.as_bytes()).is_ok_and(|parsed| parsed.params().is_empty()) {
        return Err(refused(
            "has parameters, or a colon and a name that look like one; nothing gives them values",
        ));
    }
    let place = session.place().clone();
    let prepared = session.conn()?.prep(text).await;
    let prepared = prepared.map_err(|error| failures::of_text(&place, what, error))?;
    if prepared.num_params() > 0 {
        return Err(refused("has parameters, which nothing gives values"));
    }
    Ok(prepared)
}

/// Lets the server begin to send the selected rows.
pub(crate) async fn execute(session: &mut Session, query: &str, schema: &Schema) -> Result<()> {
    let prepared = prepare(session, "the query of the rows", query).await?;
    let place = session.place().clone();
    let result = session.conn()?.exec_iter(&prepared, ()).await;
    let result = result.map_err(|error| failures::of_text(&place, "the query of the rows", error))?;
    // Nothing kept others from changing the columns since they were described.
    let is_announced = |(column, field): (&mysql_async::Column, &Arc<Field>)| {
        Kind::of(column).cells().is_ok_and(|cells| cells.data_type() == *field.data_type())
    };
    if result.columns_ref().iter().zip(schema.fields()).all(is_announced) {
        return Ok(());
    }
    let message = format!("{place}: the columns changed while they were read");
    Err(Error::new(ErrorCode::SourceUnavailable, message))
}

impl Shape {
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
        let (mut fields, mut cells, mut list) = (Vec::new(), Vec::new(), Vec::new());
        for column in columns {
            let name = quoted(&column.name);
            let values = if relation.read_as_text().contains(&column.name) {
                list.push(format!("{} AS {name}", column.kind.as_text(&column.name)));
                crate::decode::cells::text()
            } else {
                list.push(name);
                column.kind.cells().map_err(|why| self.unsupported(column, &why))?
            };
            fields.push(Field::new(&column.name, values.data_type(), column.is_nullable));
            cells.push(values);
        }
        // Without columns, rows are still counted.
        let list = if list.is_empty() { "1".to_owned() } else { list.join(", ") };
        Ok(Selection { schema: Arc::new(Schema::new(fields)), cells, list })
    }

    fn unsupported(&self, column: &Column, why: &str) -> Error {
        Error::new(
            ErrorCode::UnsupportedType,
            format!("column `{}` of {} {why}; read it as text or leave it out", column.name, self.shown),
        )
    }

    /// The statement that gives the selected columns of the wanted rows.
    pub(crate) async fn query(&self, session: &mut Session, list: &str, fetch: &Fetch) -> Result<String> {
        let mut conditions = Vec::new();
        if let Some(condition) = fetch.wanted_condition() {
            self.check_condition(session, condition).await?;
            conditions.push(format!("({condition}\n)"));
        }
        if let Some(after) = fetch.from_position() {
            let column = self.column(&after.column)?;
            conditions.push(position::condition(&column.name, &column.kind, &after.value)?);
        }
        let r#where = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        Ok(format!("SELECT {list} FROM {}{where}", self.from))
    }

    /// Lets the server read a condition where a parenthesis that is closed and not opened is an error.
    async fn check_condition(&self, session: &mut Session, condition: &str) -> Result<()> {
        let select =
            format!("SELECT CASE WHEN {condition}\n THEN 1 END FROM {} WHERE ({condition}\n)", self.from);
        prepare(session, &format!("the condition `{condition}`"), &select).await.map(drop)
    }
}
