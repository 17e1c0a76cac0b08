//! A DELETE whose table has another name in it, as a query.

use datafusion::sql::sqlparser::ast::{
    Delete, FromTable, LimitClause, Query, SetExpr, Statement, TableFactor,
};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::parser::Parser;

use super::statement::{is_plain, unsupported};
use crate::types::error::{Error, Result};

/// The query for the rows that a DELETE removes, if its table has another name in it: DataFusion does not know that name. `None`
/// if it has none, or other clauses, which DataFusion refuses.
///
/// # Errors
/// [`ErrorCode::Unsupported`](crate::ErrorCode::Unsupported) for other names of columns.
pub(super) fn by_alias(delete: &mut Delete) -> Result<Option<Query>> {
    let (FromTable::WithFromKeyword(from) | FromTable::WithoutKeyword(from)) = &delete.from;
    let [table] = from.as_slice() else { return Ok(None) };
    let TableFactor::Table { alias: Some(alias), .. } = &table.relation else { return Ok(None) };
    if !is_plain(delete) {
        return Ok(None);
    }
    if !alias.columns.is_empty() {
        return Err(unsupported("DELETE with other names of columns"));
    }
    let from = from.clone();
    let mut query = all_rows()?;
    let SetExpr::Select(select) = query.body.as_mut() else { return Err(not_parsed()) };
    select.from = from;
    select.selection = delete.selection.take();
    if let Some(limit) = delete.limit.take() {
        query.limit_clause =
            Some(LimitClause::LimitOffset { limit: Some(limit), offset: None, limit_by: Vec::new() });
    }
    Ok(Some(query))
}

/// A query for every column of tables that it does not name yet.
fn all_rows() -> Result<Query> {
    let parsed = Parser::parse_sql(&GenericDialect {}, "SELECT *").map_err(|_| not_parsed())?;
    match parsed.into_iter().next() {
        Some(Statement::Query(query)) => Ok(*query),
        _ => Err(not_parsed()),
    }
}

fn not_parsed() -> Error {
    Error::internal("a query for all rows is not parsed")
}
