//! The columns of a relation, and by what its rows are named.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::datatypes::{Field, Schema, SchemaRef};
use pillion::source::Relation;
use pillion::{Error, ErrorCode, Result};
use rusqlite::Statement;

use crate::catalog;
use crate::failures;
use crate::names::{quoted, suggestion};
use crate::relation_options::RelationOptions;
use crate::session::Session;
use crate::types::{Affinity, Kind, affinity_of, kind_of};

/// A relation as its file has it.
pub(crate) struct Shape {
    /// What stands behind `FROM`.
    pub(crate) from: String,
    /// How messages call it.
    pub(crate) shown: String,
    columns: Vec<Column>,
    pub(crate) row_name: RowName,
    /// Whether its rows may change although the file does not.
    pub(crate) is_changing: bool,
    pub(crate) rows: Option<u64>,
}

/// A column as its file has it.
pub(crate) struct Column {
    pub(crate) name: String,
    /// What SQLite reads it by.
    pub(crate) expression: String,
    kind: std::result::Result<Kind, String>,
    pub(crate) affinity: Affinity,
    is_nullable: bool,
}

/// By what messages name a row.
pub(crate) enum RowName {
    Rowid(&'static str),
    Key(Vec<String>),
    Number,
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

    pub(crate) fn column(&self, name: &str) -> Result<&Column> {
        self.columns.iter().find(|column| column.name == name).ok_or_else(|| {
            let hint = suggestion(name, self.columns.iter().map(|column| column.name.as_str()));
            Error::new(ErrorCode::ColumnNotFound, format!("{} has no column `{name}`{hint}", self.shown))
        })
    }

    pub(crate) fn kind(&self, column: &Column) -> Result<Kind> {
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
    pub(crate) fn wanted(&self, names: Option<&[String]>) -> Result<Vec<&Column>> {
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
}
