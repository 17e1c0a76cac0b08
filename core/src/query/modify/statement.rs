//! Recognises a statement that changes tables, and refuses what is not supported by its name.

use std::fmt::Display;
use std::sync::Arc;

use datafusion::sql::parser::Statement;
use datafusion::sql::planner::object_name_to_table_reference;
use datafusion::sql::sqlparser::ast::{
    self, AssignmentTarget, FromTable, Ident, ObjectName, ObjectType, TableFactor, TableObject,
    TableWithJoins,
};

use super::delete;
use super::insert;
use super::options;
use crate::query::catalog::{CATALOG, SCHEMA};
use crate::query::error::planning;
use crate::query::stack::Stack;
use crate::storage::{State, TableState};
use crate::types::error::{Error, ErrorCode, Result, suggestion};
use crate::types::mode::WriteMode;

/// A statement that changes tables, parsed.
pub(crate) struct ModifyingStatement {
    pub(in crate::query) action: Action,
    /// What DataFusion plans: the statement without the parts that only Pillion understands.
    pub(in crate::query) statement: Statement,
    pub(in crate::query) stack: Stack,
    pub(in crate::query) text: String,
}

/// What a statement does.
#[derive(Debug, PartialEq)]
pub(in crate::query) enum Action {
    /// `query` brings the rows of a table whose columns the statement declares.
    Create {
        name: String,
        unless_exists: bool,
        sort_by: Vec<String>,
        query: Option<Box<ast::Query>>,
    },
    Drop {
        name: String,
        if_exists: bool,
    },
    /// `columns`: those that the rows have, in their order.
    /// With `is_query` the statement that is planned is the query alone: DataFusion would give the types of the table's columns to
    /// every VALUES in it.
    Insert {
        table: u64,
        mode: WriteMode,
        skips_existing: bool,
        columns: Vec<String>,
        is_query: bool,
    },
    Update {
        table: u64,
    },
    Delete {
        table: u64,
    },
    Truncate {
        table: u64,
    },
}

impl ModifyingStatement {
    /// # Errors
    /// [`ErrorCode::Unsupported`] for what does not change tables, or is not supported;
    /// [`ErrorCode::TableNotFound`], [`ErrorCode::ColumnNotFound`], [`ErrorCode::NoPrimaryKey`],
    /// [`ErrorCode::InvalidSql`].
    pub(in crate::query) fn of(
        mut statement: Statement,
        stack: Stack,
        text: &str,
        state: &State,
    ) -> Result<Self> {
        let action = match &mut statement {
            Statement::Statement(inner) => {
                let action = action(inner, state)?;
                if let (Action::Insert { is_query: true, .. }, ast::Statement::Insert(insert)) =
                    (&action, inner.as_mut())
                    && let Some(query) = insert.source.take()
                {
                    **inner = ast::Statement::Query(query);
                }
                if let ast::Statement::Delete(delete) = inner.as_mut()
                    && let Some(query) = delete::by_alias(delete)?
                {
                    **inner = ast::Statement::Query(Box::new(query));
                }
                action
            }
            Statement::CopyTo(_) => {
                return Err(unsupported_but("COPY", "`pillion export` writes tables into files"));
            }
            Statement::CreateExternalTable(_) => {
                return Err(unsupported_but("CREATE EXTERNAL TABLE", "`pillion load` loads files"));
            }
            _ => return Err(reads_only()),
        };
        Ok(Self { action, statement, stack, text: text.to_owned() })
    }

    /// The table whose rows the statement changes, and whether it only adds rows.
    pub(crate) fn changes(&self) -> Option<(u64, bool)> {
        match self.action {
            Action::Update { table } | Action::Delete { table } | Action::Truncate { table } => {
                Some((table, false))
            }
            Action::Insert { table, mode, .. } => Some((table, mode == WriteMode::Append)),
            Action::Create { .. } | Action::Drop { .. } => None,
        }
    }

    /// The name of the table that the statement defines or drops.
    pub(crate) fn defines(&self) -> Option<&str> {
        match &self.action {
            Action::Create { name, .. } | Action::Drop { name, .. } => Some(name),
            Action::Insert { .. }
            | Action::Update { .. }
            | Action::Delete { .. }
            | Action::Truncate { .. } => None,
        }
    }

    /// The table whose rows decide what the statement changes, if there is one: nobody else may change it from the reading of
    /// these rows until the commit.
    pub(crate) fn reads_and_changes(&self) -> Option<u64> {
        match self.action {
            Action::Update { table }
            | Action::Delete { table }
            | Action::Truncate { table }
            | Action::Insert { table, skips_existing: true, .. }
            | Action::Insert { table, mode: WriteMode::Upsert | WriteMode::Replace, .. } => Some(table),
            Action::Insert { .. } | Action::Create { .. } | Action::Drop { .. } => None,
        }
    }
}

fn action(statement: &mut ast::Statement, state: &State) -> Result<Action> {
    use ast::Statement as S;
    match statement {
        S::Insert(insert) => {
            let TableObject::TableName(name) = &insert.table else {
                return Err(unsupported("INSERT into anything but a table"));
            };
            let table = table(state, name)?;
            let (mode, skips_existing) = insert::take_mode(insert, &table.shape)?;
            let columns = if insert.columns.is_empty() {
                table.shape.schema.fields().iter().map(|field| field.name().clone()).collect()
            } else {
                insert.columns.iter().map(last_name).collect::<Result<_>>()?
            };
            let is_query = insert::is_query(insert)?;
            Ok(Action::Insert { table: table.shape.id, mode, skips_existing, columns, is_query })
        }
        S::Update(update) => {
            let table = target(state, &update.table, "UPDATE")?;
            name_assigned(table, &mut update.assignments)?;
            Ok(Action::Update { table: table.shape.id })
        }
        S::Delete(delete) => {
            let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
            let [from] = from.as_slice() else {
                return Err(unsupported("DELETE from several tables"));
            };
            let table = target(state, from, "DELETE")?;
            if delete.selection.is_none() && delete.limit.is_none() && is_plain(delete) {
                return Ok(Action::Truncate { table: table.shape.id });
            }
            need_key(table)?;
            Ok(Action::Delete { table: table.shape.id })
        }
        S::Truncate(truncate) => {
            let [target] = truncate.table_names.as_slice() else {
                return Err(unsupported("TRUNCATE of several tables"));
            };
            let is_plain = truncate.partitions.is_none()
                && truncate.identity.is_none()
                && truncate.cascade.is_none()
                && truncate.on_cluster.is_none()
                && !truncate.if_exists
                && !target.only;
            if !is_plain {
                return Err(unsupported("TRUNCATE with options"));
            }
            Ok(Action::Truncate { table: table(state, &target.name)?.shape.id })
        }
        S::CreateTable(create) => {
            let name = name_of(&create.name)?;
            let sort_by = options::take_sort(create)?;
            if create.or_replace {
                return Err(unsupported_but(
                    "CREATE OR REPLACE TABLE",
                    "drop the table first, or replace its rows with INSERT OVERWRITE",
                ));
            }
            if name.is_empty() {
                return Err(Error::new(ErrorCode::InvalidArgument, "a table needs a name"));
            }
            options::refuse_others(create)?;
            let query = if create.columns.is_empty() { None } else { create.query.take() };
            Ok(Action::Create { name, unless_exists: create.if_not_exists, sort_by, query })
        }
        S::Drop {
            object_type: ObjectType::Table,
            if_exists,
            names,
            cascade,
            purge,
            temporary,
            table,
            ..
        } => {
            if *cascade || *purge || *temporary || table.is_some() {
                return Err(unsupported("DROP TABLE with options"));
            }
            let [name] = names.as_slice() else {
                return Err(unsupported("DROP of several tables"));
            };
            Ok(Action::Drop { name: name_of(name)?, if_exists: *if_exists })
        }
        S::Drop { object_type, .. } => Err(unsupported(format!("DROP {object_type}"))),
        S::AlterTable(_) => Err(unsupported_but(
            "ALTER TABLE",
            "make a table with other columns with CREATE TABLE … AS SELECT",
        )),
        S::CreateView(_) => Err(unsupported("CREATE VIEW")),
        S::CreateIndex(_) => Err(unsupported_but("CREATE INDEX", "the primary key is indexed")),
        S::Merge(_) => {
            Err(unsupported_but("MERGE", "INSERT … ON CONFLICT DO UPDATE replaces rows by their keys"))
        }
        S::Copy { .. } => {
            Err(unsupported_but("COPY", "`pillion load` and `pillion export` read and write files"))
        }
        S::StartTransaction { .. } | S::Commit { .. } | S::Rollback { .. } => Err(unsupported_but(
            "a transaction in SQL",
            "each statement is one commit; `Cache::transaction` makes several changes in one",
        )),
        _ => Err(reads_only()),
    }
}

/// Whether a DELETE has no clause that DataFusion refuses.
pub(super) fn is_plain(delete: &ast::Delete) -> bool {
    delete.tables.is_empty()
        && delete.using.is_none()
        && delete.returning.is_none()
        && delete.output.is_none()
        && delete.order_by.is_empty()
}

/// The one table that a statement changes.
fn target<'a>(state: &'a State, from: &TableWithJoins, what: &str) -> Result<&'a Arc<TableState>> {
    if !from.joins.is_empty() {
        return Err(unsupported(format!("{what} with a join")));
    }
    let TableFactor::Table { name, .. } = &from.relation else {
        return Err(unsupported(format!("{what} of anything but a table")));
    };
    table(state, name)
}

/// Gives the assigned columns their names in lower case, unless they are quoted, which DataFusion leaves out.
///
/// # Errors
/// If a column of the key is assigned: the row would be another one.
fn name_assigned(table: &TableState, assignments: &mut [ast::Assignment]) -> Result<()> {
    need_key(table)?;
    let mut seen = Vec::new();
    for assignment in assignments {
        let AssignmentTarget::ColumnName(name) = &mut assignment.target else {
            return Err(unsupported("an assignment of several columns at once"));
        };
        if name.0.len() != 1 {
            return Err(unsupported(format!("SET {name}, a name of several parts,")));
        }
        let column = last_name(name)?;
        *name = ObjectName::from(Ident::with_quote('"', &column));
        let fields = table.shape.schema.fields();
        if table.shape.schema.index_of(&column).is_err() {
            let hint = suggestion(&column, fields.iter().map(|field| field.name().as_str()));
            return Err(Error::new(
                ErrorCode::ColumnNotFound,
                format!("table `{}` has no column `{column}`{hint}", table.shape.name),
            ));
        }
        if table.shape.rules.primary_key.contains(&column) {
            return Err(unsupported_but(
                format!("an UPDATE of `{column}`, which is in the primary key"),
                "delete the row and insert it with its new key",
            ));
        }
        if seen.contains(&column) {
            return Err(Error::new(ErrorCode::InvalidSql, format!("`{column}` is assigned twice")));
        }
        seen.push(column);
    }
    Ok(())
}

/// # Errors
/// [`ErrorCode::NoPrimaryKey`]: rows are found again by their keys.
fn need_key(table: &TableState) -> Result<()> {
    if table.shape.primary_key.is_empty() {
        return Err(Error::new(
            ErrorCode::NoPrimaryKey,
            format!(
                "table `{}` has no primary key, so its rows cannot be changed one by one; DELETE without WHERE and INSERT \
                 OVERWRITE change all of them",
                table.shape.name
            ),
        ));
    }
    Ok(())
}

/// A table that exists.
fn table<'a>(state: &'a State, name: &ObjectName) -> Result<&'a Arc<TableState>> {
    state.table(&name_of(name)?)
}

/// The name of a table of the cache.
pub(super) fn name_of(name: &ObjectName) -> Result<String> {
    let reference = object_name_to_table_reference(name.clone(), true).map_err(planning)?;
    if reference.catalog().is_some_and(|catalog| catalog != CATALOG)
        || reference.schema().is_some_and(|schema| schema != SCHEMA)
    {
        return Err(Error::new(
            ErrorCode::TableNotFound,
            format!(
                "tables are in the schema `{SCHEMA}` of the catalog `{CATALOG}`, and `{reference}` is not"
            ),
        ));
    }
    Ok(reference.table().to_owned())
}

/// The last part of a name, as DataFusion reads it.
pub(super) fn last_name(name: &ObjectName) -> Result<String> {
    let last = name.0.last().and_then(|part| part.as_ident());
    let last = last.ok_or_else(|| Error::new(ErrorCode::InvalidSql, format!("`{name}` is not a column")))?;
    Ok(normal(last))
}

/// An identifier as DataFusion reads it: in lower case, unless it is quoted.
pub(super) fn normal(ident: &Ident) -> String {
    match ident.quote_style {
        Some(_) => ident.value.clone(),
        None => ident.value.to_ascii_lowercase(),
    }
}

pub(super) fn unsupported(what: impl Display) -> Error {
    Error::new(ErrorCode::Unsupported, format!("{what} is not supported"))
}

/// As [`unsupported`], with what to do instead.
fn unsupported_but(what: impl Display, instead: &str) -> Error {
    Error::new(ErrorCode::Unsupported, format!("{what} is not supported; {instead}"))
}

fn reads_only() -> Error {
    Error::new(
        ErrorCode::Unsupported,
        "this is not a statement that changes tables: INSERT, UPDATE, DELETE, TRUNCATE, CREATE TABLE, DROP TABLE; \
         queries are run with `sql`",
    )
}
