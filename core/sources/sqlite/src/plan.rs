//! The statement that fetches rows of a relation.

use arrow::datatypes::SchemaRef;
use pillion::source::Fetch;
use pillion::{Error, ErrorCode, Result};
use rusqlite::Row;
use rusqlite::types::Value as Bound;

use crate::failures;
use crate::names::quoted;
use crate::position::Position;
use crate::session::Session;
use crate::shape::{RowName, Shape};
use crate::types::Kind;

/// A fetch as SQLite executes it.
pub(crate) struct Plan {
    pub(crate) schema: SchemaRef,
    /// What the values of each column of the schema are. Other columns of the statement follow.
    pub(crate) kinds: Vec<Kind>,
    /// From which position on rows are wanted, and which column of the statement shows theirs.
    pub(crate) position: Option<(usize, String, Position)>,
    pub(crate) sql: String,
    pub(crate) bounds: Vec<Bound>,
    /// Whether the condition may choose other rows although the file does not change.
    pub(crate) is_changing: bool,
    shown: String,
    row_name: RowName,
    /// The first column of the statement that names the row.
    named_at: usize,
}

impl Shape {
    /// The statement that gives the wanted columns of the wanted rows.
    pub(crate) fn plan(self, session: &Session, fetch: &Fetch) -> Result<Plan> {
        let schema = self.schema(fetch.wanted_columns())?;
        let wanted = self.wanted(fetch.wanted_columns())?;
        let kinds = wanted.iter().map(|column| self.kind(column)).collect::<Result<Vec<_>>>()?;
        let mut list: Vec<String> =
            wanted.iter().zip(&kinds).map(|(column, kind)| selected(&column.expression, *kind)).collect();
        let (mut conditions, mut bounds, mut position) = (Vec::new(), Vec::new(), None);
        if let Some(after) = fetch.from_position() {
            let column = self.column(&after.column)?;
            let kind = self.kind(column)?;
            let from = Position::new(&column.name, kind, &after.value)?;
            if let Some((condition, of_condition)) =
                from.condition(&column.expression, column.affinity, is_utf8(session)?)
            {
                conditions.push(condition);
                bounds = of_condition;
            }
            position = Some((list.len(), column.name.clone(), from));
            list.push(selected(&column.expression, kind));
        }
        let mut is_changing = false;
        if let Some(condition) = fetch.wanted_condition() {
            is_changing = self.check_condition(session, condition)?;
            conditions.push(format!("({condition}\n)"));
        }
        let named_at = list.len();
        match &self.row_name {
            RowName::Rowid(alias) => list.push((*alias).to_owned()),
            RowName::Key(columns) => list.extend(columns.iter().map(|column| quoted(column))),
            RowName::Number => {}
        }
        if list.is_empty() {
            list.push("NULL".to_owned()); // a statement has at least one column
        }
        let r#where = if conditions.is_empty() {
            String::new()
        } else {
            format!(" WHERE {}", conditions.join(" AND "))
        };
        let sql = format!("SELECT {} FROM {}{where}", list.join(", "), self.from);
        let (shown, row_name) = (self.shown, self.row_name);
        Ok(Plan { schema, kinds, position, sql, bounds, is_changing, shown, row_name, named_at })
    }

    /// Lets SQLite read a condition where a parenthesis that is closed and not opened is an error. Says whether it may choose other
    /// rows although no row changes.
    fn check_condition(&self, session: &Session, condition: &str) -> Result<bool> {
        session.seen().take_changing();
        let select =
            format!("SELECT CASE WHEN {condition}\n THEN 1 END FROM {} WHERE ({condition}\n)", self.from);
        let what = format!("the condition `{condition}`");
        let prepared = session.connection().prepare(&select);
        let prepared = prepared.map_err(|error| failures::of_text(session.shown(), &what, error))?;
        if prepared.parameter_count() > 0 {
            let message = format!("{what} has parameters, which nothing gives values");
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        Ok(session.seen().take_changing())
    }
}

/// What is selected for the values of a column.
fn selected(expression: &str, kind: Kind) -> String {
    match kind {
        Kind::Shown => format!("CAST({expression} AS TEXT)"),
        Kind::LooseText => {
            format!(
                "CASE typeof({expression}) WHEN 'blob' THEN {expression} ELSE CAST({expression} AS TEXT) END"
            )
        }
        _ => expression.to_owned(),
    }
}

/// Whether the file compares texts by bytes of UTF-8.
fn is_utf8(session: &Session) -> Result<bool> {
    let encoding = session.connection().query_row("PRAGMA encoding", [], |row| row.get::<_, String>(0));
    Ok(encoding.map_err(|error| failures::of_file(session.shown(), error))? == "UTF-8")
}

impl Plan {
    /// The error of a value that does not fit its column. `number` is that of the row in the fetch.
    pub(crate) fn unfit(&self, column: &str, row: &Row<'_>, number: u64, fault: &str) -> Error {
        let show = |index: usize| row.get_ref(index).map_or_else(|_| "?".to_owned(), shown);
        let of_row = match &self.row_name {
            RowName::Rowid(_) => format!("the row with rowid {}", show(self.named_at)),
            RowName::Key(columns) => {
                let parts = columns.iter().enumerate();
                let parts: Vec<String> =
                    parts.map(|(index, name)| format!("{name} = {}", show(self.named_at + index))).collect();
                format!("the row with {}", parts.join(", "))
            }
            RowName::Number => format!("row {number} of the fetch"),
        };
        let message = format!(
            "column `{column}` of {} in {of_row} {fault}; correct the value, read the column as text or leave it out",
            self.shown
        );
        Error::new(ErrorCode::SourceInvalid, message)
    }
}

/// A part of a key, for messages.
fn shown(value: rusqlite::types::ValueRef<'_>) -> String {
    use rusqlite::types::ValueRef;
    match value {
        ValueRef::Null => "null".to_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => number.to_string(),
        ValueRef::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
        ValueRef::Blob(bytes) => format!("a blob of {} bytes", bytes.len()),
    }
}
