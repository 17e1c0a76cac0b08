//! The statement that fetches a relation, and the columns that it gives.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use pillion::source::{Fetch, Relation};
use pillion::{Error, ErrorCode, Result};
use rusqlite::types::Value as Bound;
use rusqlite::{Row, Statement};

use crate::catalog;
use crate::failures;
use crate::names::{quoted, suggestion};
use crate::position::Position;
use crate::relation_options::RelationOptions;
use crate::session::Session;
use crate::types::{Affinity, Kind, affinity_of, kind_of};

/// A relation as its file has it.
pub(crate) struct Shape {
    /// What stands behind `FROM`.
    from: String,
    /// How messages call it.
    shown: String,
    columns: Vec<Column>,
    row_name: RowName,
    /// Whether its rows may change although the file does not.
    pub(crate) is_changing: bool,
    pub(crate) rows: Option<u64>,
}

struct Column {
    name: String,
    /// What SQLite reads it by.
    expression: String,
    kind: std::result::Result<Kind, String>,
    affinity: Affinity,
    is_nullable: bool,
}

/// By what messages name a row.
enum RowName {
    Rowid(&'static str),
    Key(Vec<String>),
    Number,
}

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

/// Learns the columns of a relation.
pub(crate) fn shape_of(session: &Session, relation: &Relation) -> Result<Shape> {
    let options = RelationOptions::of(relation)?;
    let mut shape = if relation.is_statement() {
        statement(session, relation.text())?
    } else {
        table(session, relation.text())?
    };
    if let Some(name) = &options.rowid {
        shape.add_rowid(name)?;
    }
    let mut names = BTreeSet::new();
    // SQLite does not tell names by the case of their letters.
    if let Some(twice) = shape.columns.iter().find(|column| !names.insert(column.name.to_ascii_lowercase())) {
        let message = format!("{} has two columns `{}`; name them with AS", shape.shown, twice.name);
        return Err(Error::new(ErrorCode::InvalidArgument, message));
    }
    let typed = options.types.iter().map(|(name, _)| name);
    for name in relation.left_out().iter().chain(relation.read_as_text()).chain(typed) {
        shape.column(name)?;
    }
    shape.columns.retain(|column| !relation.left_out().contains(&column.name));
    for column in &mut shape.columns {
        if relation.read_as_text().contains(&column.name) {
            column.kind = Ok(Kind::Shown);
        } else if let Some(declared) = options.type_of(&column.name) {
            column.kind = kind_of(declared);
        }
    }
    Ok(shape)
}

fn table(session: &Session, name: &str) -> Result<Shape> {
    let entry = catalog::find(session, name)?;
    let shown = format!("{} `{}`", if entry.is_view { "view" } else { "table" }, entry.name);
    if entry.is_view {
        session.allow_quoted_texts()?;
    }
    let from = entry.from();
    // Asking for a table looks at all views.
    session.seen().take_changing();
    let select = session.connection().prepare(&format!("SELECT * FROM {from}"));
    let select = select.map_err(|error| failures::of_text(session.shown(), &shown, error))?;
    let columns = columns_of(&select, |name| !entry.not_null.contains(name));
    let row_name = match entry.rowid {
        Some(alias) => RowName::Rowid(alias),
        None if entry.key.is_empty() => RowName::Number,
        None => RowName::Key(entry.key),
    };
    // A table's own columns are computed of its rows and nothing else.
    let is_changing = session.seen().take_changing() && entry.is_view;
    Ok(Shape { from, shown, columns, row_name, is_changing, rows: entry.rows })
}

fn statement(session: &Session, text: &str) -> Result<Shape> {
    let text = text.trim_end_matches(|character: char| character == ';' || character.is_whitespace());
    let shown = "the statement".to_owned();
    let refused = |error| failures::of_text(session.shown(), &shown, error);
    let wrong = |why: &str| Error::new(ErrorCode::InvalidArgument, format!("the statement {why}"));
    session.seen().take_changing();
    // Alone at first, so that it is one whole statement wherever its parentheses stand.
    let alone = session.connection().prepare(text).map_err(refused)?;
    if alone.parameter_count() > 0 {
        return Err(wrong("has parameters, which nothing gives values"));
    }
    if alone.column_count() == 0 || alone.is_explain() != 0 {
        return Err(wrong("gives no rows"));
    }
    let from = format!("({text}\n) AS statement");
    // Two columns of one name have others inside of parentheses, so those of the statement alone are compared.
    let columns = columns_of(&alone, |_| true);
    drop(session.connection().prepare(&format!("SELECT * FROM {from}")).map_err(refused)?);
    let is_changing = session.seen().take_changing();
    Ok(Shape { from, shown, columns, row_name: RowName::Number, is_changing, rows: None })
}

fn columns_of(statement: &Statement<'_>, is_nullable: impl Fn(&str) -> bool) -> Vec<Column> {
    let column = |column: rusqlite::Column<'_>| {
        let declared = column.decl_type().unwrap_or_default();
        Column {
            name: column.name().to_owned(),
            expression: quoted(column.name()),
            kind: kind_of(declared),
            affinity: affinity_of(declared),
            is_nullable: is_nullable(column.name()),
        }
    };
    statement.columns().map(column).collect()
}

impl Shape {
    fn add_rowid(&mut self, name: &str) -> Result<()> {
        let RowName::Rowid(alias) = self.row_name else {
            let message = format!("{} has no rowid, so the option `rowid` cannot name one", self.shown);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        };
        if self.columns.iter().any(|column| column.name.eq_ignore_ascii_case(name)) {
            let message =
                format!("{} has a column `{name}`: give the option `rowid` another name", self.shown);
            return Err(Error::new(ErrorCode::InvalidArgument, message));
        }
        let column = Column {
            name: name.to_owned(),
            expression: alias.to_owned(),
            kind: Ok(Kind::Integer),
            affinity: Affinity::Numeric,
            is_nullable: false,
        };
        self.columns.insert(0, column);
        Ok(())
    }

    fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let hint = suggestion(name, self.columns.iter().map(|column| column.name.as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("{} has no column `{name}`{hint}", self.shown))
        })
    }

    fn kind(&self, column: &Column) -> Result<Kind> {
        column.kind.clone().map_err(|why| {
            let message = format!(
                "column `{0}` of {1} {why}: say in the option `types` what it is, as in `{0}=INTEGER`, \
                 read it as text or leave it out",
                column.name, self.shown
            );
            Error::new(ErrorCode::UnsupportedType, message)
        })
    }

    /// The columns that are wanted, all by default.
    fn wanted(&self, names: Option<&[String]>) -> Result<Vec<&Column>> {
        match names {
            None => Ok(self.columns.iter().collect()),
            Some(names) => names.iter().map(|name| self.column(name)).collect(),
        }
    }

    /// The columns as they are fetched.
    pub(crate) fn schema(&self, names: Option<&[String]>) -> Result<SchemaRef> {
        let field = |column: &&Column| {
            let kind = self.kind(column)?;
            Ok(Field::new(&column.name, kind.data_type(), column.is_nullable))
        };
        let fields = self.wanted(names)?.iter().map(field).collect::<Result<Vec<_>>>()?;
        Ok(Arc::new(Schema::new(fields)))
    }

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
