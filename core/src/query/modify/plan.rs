//! From a statement that changes tables to the rows that it brings.

use std::sync::Arc;

use datafusion::arrow::datatypes::DataType;
use datafusion::common::{Column, Constraint};
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast,
};

use super::Modification;
use super::statement::{Action, ModifyingStatement, unsupported};
use crate::answer::batches::Batches;
use crate::query::engine::{Engine, Readable, plan_of, sized};
use crate::query::error::planning;
use crate::query::parse::parse;
use crate::query::stack::Stack;
use crate::query::watch;
use crate::storage::State;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::rules::TableRules;
use crate::types::value::Value;

impl Engine {
    /// Parses a statement that changes tables.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`], [`ErrorCode::Unsupported`], and those of the tables and columns that it names.
    pub(crate) fn modifying(&self, state: &Arc<State>, text: &str) -> Result<ModifyingStatement> {
        self.check_process()?;
        let session = self.session(state);
        let (statement, stack) = parse(&session, state, text)?;
        ModifyingStatement::of(statement, stack, text, state)
    }

    /// Plans a statement that changes tables, and starts the query that brings its rows.
    ///
    /// # Errors
    /// As [`query`](Self::query); [`ErrorCode::TableExists`].
    pub(crate) fn modification(
        &self,
        state: &Arc<State>,
        modifying: ModifyingStatement,
        parameters: &[Value],
        readable: &Readable,
    ) -> Result<Modification> {
        let ModifyingStatement { action, statement, stack, text } = modifying;
        match &action {
            Action::Truncate { table } => return Ok(Modification::Truncate { table: *table }),
            Action::Drop { name, if_exists: true } if !state.names.contains_key(name) => {
                return Ok(Modification::Nothing);
            }
            Action::Drop { name, .. } => {
                state.table(name)?;
                return Ok(Modification::Drop { name: name.clone() });
            }
            Action::Create { name, unless_exists, .. } if state.names.contains_key(name) => {
                return if *unless_exists {
                    Ok(Modification::Nothing)
                } else {
                    Err(Error::new(ErrorCode::TableExists, format!("there is a table `{name}` already")))
                };
            }
            _ => {}
        }
        stack.run(|| {
            let session = self.session(state);
            let defined = match &action {
                Action::Create { name, .. } => Some(name.as_str()),
                _ => None,
            };
            let plan = watch::planning(|| plan_of(&session, state, &text, statement, defined))?;
            let rows = |plan: LogicalPlan| self.rows(state, plan, stack, (parameters, readable));
            match (action, plan) {
                (Action::Create { name, unless_exists, sort_by }, LogicalPlan::Ddl(ddl)) => {
                    let DdlStatement::CreateMemoryTable(create) = ddl else { return Err(not_planned()) };
                    let primary_key = primary_key(&create)?;
                    let rules = TableRules { primary_key, sort_by, ..TableRules::default() };
                    let rows = rows(plain_texts(create.input)?)?;
                    Ok(Modification::Create { name, unless_exists, rules, rows })
                }
                (Action::Insert { table, mode, skips_existing, columns }, LogicalPlan::Dml(dml)) => {
                    let rows = rows(Arc::unwrap_or_clone(dml.input));
                    let rows = rows.map_err(|error| name_null(error, &columns))?;
                    Ok(Modification::Rows { table, mode, skips_existing, rows })
                }
                (Action::Update { table }, LogicalPlan::Dml(dml)) => {
                    let rows = rows(Arc::unwrap_or_clone(dml.input))?;
                    let mode = crate::types::mode::WriteMode::Upsert;
                    Ok(Modification::Rows { table, mode, skips_existing: false, rows })
                }
                (Action::Delete { table }, LogicalPlan::Dml(dml)) => {
                    let held = state.tables.get(&table).ok_or_else(not_planned)?;
                    let keys = keys(Arc::unwrap_or_clone(dml.input), &held.shape.rules.primary_key)?;
                    Ok(Modification::Delete { table, keys: rows(keys)? })
                }
                _ => Err(not_planned()),
            }
        })
    }

    /// Starts the query of a statement.
    fn rows(
        &self,
        state: &Arc<State>,
        plan: LogicalPlan,
        stack: Stack,
        given: (&[Value], &Readable),
    ) -> Result<Batches> {
        let session = self.session(state);
        let planned = watch::planning(|| {
            let (plan, size) = sized(&session, plan)?;
            self.physical(session, state, plan, size, given)
        });
        self.start(planned?, stack)
    }
}

/// Arrow calls the columns of VALUES `column1`, `column2`, … where it refuses a null: says which column of the table it is.
fn name_null(error: Error, columns: &[String]) -> Error {
    const REFUSED: &str = "' is declared as non-nullable but contains null values";
    let number = error.message().split_once("Column 'column").and_then(|(_, rest)| rest.split_once(REFUSED));
    let column = number.and_then(|(number, _)| columns.get(number.parse::<usize>().ok()?.checked_sub(1)?));
    match column {
        Some(column) => Error::new(
            ErrorCode::SchemaMismatch,
            format!("column `{column}` must not be null and the rows bring nulls"),
        ),
        None => error,
    }
}

fn not_planned() -> Error {
    Error::internal("the plan is not that of the statement")
}

/// The columns of the primary key that a statement declares.
fn primary_key(create: &CreateMemoryTable) -> Result<Vec<String>> {
    if let Some((column, _)) = create.column_defaults.first() {
        return Err(unsupported(format!("DEFAULT, here of `{column}`,")));
    }
    let mut primary_key = Vec::new();
    for constraint in create.constraints.iter() {
        match constraint {
            Constraint::PrimaryKey(columns) if primary_key.is_empty() => {
                let fields = create.input.schema().fields();
                primary_key
                    .extend(columns.iter().filter_map(|&column| Some(fields.get(column)?.name().clone())));
            }
            Constraint::PrimaryKey(_) => {
                return Err(Error::new(ErrorCode::InvalidSql, "a table has one primary key"));
            }
            Constraint::Unique(_) => return Err(unsupported("UNIQUE, except as the primary key,")),
        }
    }
    Ok(primary_key)
}

/// The same rows with texts and bytes as most programs write them: DataFusion makes views of the columns that SQL names.
fn plain_texts(plan: Arc<LogicalPlan>) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let plain = |data_type: &DataType| match data_type {
        DataType::Utf8View => Some(DataType::Utf8),
        DataType::BinaryView => Some(DataType::Binary),
        _ => None,
    };
    if !schema.fields().iter().any(|field| plain(field.data_type()).is_some()) {
        return Ok(Arc::unwrap_or_clone(plan));
    }
    let columns = schema.iter().map(|(qualifier, field)| {
        let column = Expr::Column(Column::from((qualifier, field)));
        match plain(field.data_type()) {
            Some(data_type) => cast(column, data_type).alias(field.name()),
            None => column,
        }
    });
    let builder = LogicalPlanBuilder::from(Arc::unwrap_or_clone(plan));
    builder.project(columns.collect::<Vec<_>>()).and_then(LogicalPlanBuilder::build).map_err(planning)
}

/// The keys of the rows of a plan.
fn keys(plan: LogicalPlan, primary_key: &[String]) -> Result<LogicalPlan> {
    let schema = plan.schema().clone();
    let columns = primary_key.iter().map(|name| {
        let found = schema.iter().find(|(_, field)| field.name() == name).ok_or_else(not_planned)?;
        Ok(Expr::Column(Column::from(found)))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    LogicalPlanBuilder::from(plan).project(columns).and_then(LogicalPlanBuilder::build).map_err(planning)
}
