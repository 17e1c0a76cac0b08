//! From text to a statement that can be planned within the limits.

use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::dialect_from_str;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use super::contain::contain;
use super::depth::Depth;
use super::error::planning;
use super::limits::{
    ARRAYS_MAX, DEPTH_MAX, JOINS_MAX, NESTING_MAX, OPERATORS_MAX, SIZE_MAX, STACK_PER_BRACKET,
    STACK_PER_LEVEL, STACK_PER_OPERATOR, STEPS_MAX, SUBQUERIES_MAX, TEXT_MAX, WIDTH_MAX, refuse_beyond,
};
use super::stack::Stack;
use super::tokens::Tokens;
use crate::storage::State;
use crate::types::error::{Error, ErrorCode, Result};

/// Assumed columns of anything that is not a table of the cache: functions and the information schema.
const FEW_COLUMNS: usize = 20;

/// Parses a statement, and says how much stack any further work on it takes.
///
/// # Errors
/// [`ErrorCode::InvalidSql`] for a text that cannot be parsed or is beyond a limit.
pub(super) fn parse(session: &SessionState, state: &State, text: &str) -> Result<(Statement, Stack)> {
    refuse_beyond(TEXT_MAX, text.len(), "bytes of text")?;
    let options = &session.config_options().sql_parser;
    let dialect = dialect_from_str(options.dialect).ok_or_else(|| Error::internal("no SQL dialect"))?;
    let invalid = |error: ParserError| Error::new(ErrorCode::InvalidSql, error.to_string());
    let tokens = Tokenizer::new(dialect.as_ref(), text).tokenize_with_location();
    let tokens = tokens.map_err(|error| invalid(error.into()))?;
    let counted = Tokens::count(tokens.iter().map(|token| &token.token));
    refuse_beyond(OPERATORS_MAX, counted.operators, "operators and keywords")?;
    refuse_beyond(NESTING_MAX, counted.nesting, "levels of brackets")?;
    refuse_beyond(ARRAYS_MAX, counted.arrays, "levels of square brackets")?;
    let needed = counted.nesting * STACK_PER_BRACKET + counted.operators * STACK_PER_OPERATOR;
    // A refused statement is dropped here too, on the same stack.
    let parsed = contain(|| {
        Stack::of(needed).run(|| {
            let parser = DFParserBuilder::new(tokens)
                .with_dialect(dialect.as_ref())
                .with_recursion_limit(options.recursion_limit.get())
                .build();
            let parsed = parser.and_then(|mut parser| parser.parse_statements());
            let mut statements = parsed.map_err(|error| match error {
                DataFusionError::SQL(error, _) if matches!(*error, ParserError::RecursionLimitExceeded) => {
                    Error::new(
                        ErrorCode::InvalidSql,
                        format!(
                            "the statement nests deeper than the {} levels that are parsed",
                            options.recursion_limit
                        ),
                    )
                }
                error => planning(error),
            })?;
            let statement = statements.pop_front();
            let statement =
                statement.ok_or_else(|| Error::new(ErrorCode::InvalidSql, "the text holds no statement"))?;
            if !statements.is_empty() {
                return Err(Error::new(ErrorCode::Unsupported, "only one statement at a time is supported"));
            }
            let columns = |table: &str| columns_of(state, table);
            let depth = Depth::of(&statement, &columns);
            refuse_beyond(DEPTH_MAX, depth.expressions, "operators that depend on each other")?;
            refuse_beyond(
                STEPS_MAX,
                depth.steps,
                "queries, tables and set operations, named queries counted at each use",
            )?;
            refuse_beyond(JOINS_MAX, depth.joins, "joins, named queries counted at each use")?;
            refuse_beyond(SUBQUERIES_MAX, depth.subqueries, "subqueries in each other's expressions")?;
            refuse_beyond(
                SIZE_MAX,
                depth.size,
                "expressions and columns, those of named queries at each use",
            )?;
            refuse_beyond(
                WIDTH_MAX,
                depth.widths,
                "pairs of columns of one query, those of named queries counted at each use",
            )?;
            let levels = depth.expressions + depth.steps + counted.nesting;
            Ok((statement, Stack::of(levels * STACK_PER_LEVEL)))
        })
    });
    parsed?
}

/// Number of columns of a table; few for anything that is not a table of the cache.
fn columns_of(state: &State, table: &str) -> usize {
    state.table(table).map_or(FEW_COLUMNS, |table| table.shape.schema.fields().len())
}
