//! From a statement that changes tables to the rows that it brings.

use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Fields, Schema};
use datafusion::common::{Column, Constraint, ScalarValue};
use datafusion::logical_expr::{
    CreateMemoryTable, DdlStatement, Expr, LogicalPlan, LogicalPlanBuilder, cast,
};

use datafusion::sql::parser::Statement;
use datafusion::sql::sqlparser::ast;

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
            let is_declared = match &statement {
                Statement::Statement(statement) => match statement.as_ref() {
                    ast::Statement::CreateTable(create) => !create.columns.is_empty(),
                    _ => false,
                },
                _ => false,
            };
            let defined = match &action {
                Action::Create { name, .. } => Some(name.as_str()),
                _ => None,
            };
            let plan = watch::planning(|| plan_of(&session, state, &text, statement, defined))?;
            let rows = |plan: LogicalPlan| self.rows(state, plan, stack, (parameters, readable));
            match (action, plan) {
                (Action::Create { name, unless_exists, sort_by, query }, LogicalPlan::Ddl(ddl)) => {
                    let DdlStatement::CreateMemoryTable(create) = ddl else { return Err(not_planned()) };
                    let primary_key = primary_key(&create)?;
                    let declared = create.input.schema().clone();
                    let input = match query {
                        None => create.input,
                        Some(query) => {
                            let query = Statement::Statement(Box::new(ast::Statement::Query(query)));
                            let plan =
                                watch::planning(|| plan_of(&session, state, &text, query, Some(&name)))?;
                            let columns: Vec<String> =
                                declared.fields().iter().map(|field| field.name().clone()).collect();
                            Arc::new(fitted(plan, declared.fields(), &columns)?)
                        }
                    };
                    // What a query says of nulls holds for its rows, and not for those that come later.
                    let may_be_null = |index: usize| !is_declared || declared.field(index).is_nullable();
                    let rows = rows(plain_texts(input)?)?;
                    let fields = rows.schema().fields().iter().enumerate().map(|(index, field)| {
                        let is_key = primary_key.contains(field.name());
                        field.as_ref().clone().with_nullable(may_be_null(index) && !is_key)
                    });
                    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
                    let rules = TableRules { primary_key, sort_by, ..TableRules::default() };
                    Ok(Modification::Create { name, unless_exists, rules, schema, rows })
                }
                (Action::Insert { table, mode, skips_existing, columns, is_query: true }, plan) => {
                    let held = state.tables.get(&table).ok_or_else(not_planned)?;
                    let rows = rows(fitted(plan, held.shape.schema.fields(), &columns)?)?;
                    Ok(Modification::Rows { table, mode, skips_existing, rows })
                }
                (Action::Insert { table, mode, skips_existing, columns, .. }, LogicalPlan::Dml(dml)) => {
                    let rows = rows(Arc::unwrap_or_clone(dml.input));
                    let rows = rows.map_err(|error| name_null(error, &columns))?;
                    Ok(Modification::Rows { table, mode, skips_existing, rows })
                }
                (Action::Update { table }, LogicalPlan::Dml(dml)) => {
                    let rows = rows(Arc::unwrap_or_clone(dml.input))?;
                    let mode = crate::types::mode::WriteMode::Upsert;
                    Ok(Modification::Rows { table, mode, skips_existing: false, rows })
                }
                (Action::Delete { table }, plan) => {
                    let held = state.tables.get(&table).ok_or_else(not_planned)?;
                    let deleted = match plan {
                        LogicalPlan::Dml(dml) => Arc::unwrap_or_clone(dml.input),
                        query => query,
                    };
                    let keys = keys(deleted, &held.shape.rules.primary_key)?;
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

/// The rows of a query as those of a table: `columns` are the columns of the table that the query's columns are for, in their
/// order; all others are null.
fn fitted(plan: LogicalPlan, fields: &Fields, columns: &[String]) -> Result<LogicalPlan> {
    let invalid = |message: String| Error::new(ErrorCode::InvalidSql, message);
    let schema = plan.schema().clone();
    let (given, wanted) = (schema.fields().len(), columns.len());
    if given != wanted {
        return Err(invalid(format!("the query has {given} columns, and the statement names {wanted}")));
    }
    for (index, column) in columns.iter().enumerate() {
        if columns.iter().take(index).any(|other| other == column) {
            return Err(invalid(format!("`{column}` is named twice")));
        }
        if fields.find(column).is_none() {
            return Err(Error::new(ErrorCode::ColumnNotFound, format!("the table has no column `{column}`")));
        }
    }
    // By numbers, because names of a query's columns may repeat.
    let numbered = schema.iter().enumerate().map(|(index, (qualifier, field))| {
        Expr::Column(Column::from((qualifier, field))).alias(format!("column {index}"))
    });
    let numbered = LogicalPlanBuilder::from(plan).project(numbered.collect::<Vec<_>>());
    let exprs = fields.iter().map(|field| {
        let given = match columns.iter().position(|column| column == field.name()) {
            Some(index) => Expr::Column(Column::new_unqualified(format!("column {index}"))),
            None => Expr::Literal(ScalarValue::Null, None),
        };
        cast(given, field.data_type().clone()).alias(field.name())
    });
    let exprs: Vec<Expr> = exprs.collect();
    numbered.and_then(|plan| plan.project(exprs)).and_then(LogicalPlanBuilder::build).map_err(planning)
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
