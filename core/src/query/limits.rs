//! How large a statement may be, and how much stack it takes to plan.
//!
//! Planning recurses over a statement, and a stack that overflows ends the process. So every statement is measured
//! before it is planned: what is beyond a limit is refused, and what is within runs on a stack of the size it needs.

use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::dialect_from_str;
use datafusion::sql::sqlparser::parser::ParserError;
use datafusion::sql::sqlparser::tokenizer::Tokenizer;

use super::depth::Depth;
use super::error::planning;
use super::stack::Stack;
use super::stream::contain;
use super::tokens::Tokens;
use crate::api::error::{Error, ErrorCode, Result};
use crate::storage::State;

/// Longest text of a statement, in bytes.
const TEXT_MAX: usize = 1 << 20;
/// Most operators and keywords; values in lists are not counted.
const OPERATORS_MAX: usize = 20_000;
/// Deepest nesting of brackets, and longest row of keywords.
const NESTING_MAX: usize = 100;
/// Most square brackets in each other: the parser tries each in two ways, so that each doubles its time.
const ARRAYS_MAX: usize = 10;
/// Deepest that expressions may become: operators in a row, and conditions joined by AND and OR.
const DEPTH_MAX: usize = 1000;
/// Most queries, tables and set operations, those of a named query at each of its uses.
const STEPS_MAX: usize = 800;
/// Most joins, counted like steps: the time of planning grows with their third power.
const JOINS_MAX: usize = 100;
/// Deepest nesting of subqueries in expressions: each level doubles the time of planning.
const SUBQUERIES_MAX: usize = 10;

/// Most expressions, values and columns, those of a named query at each of its uses: each is planned anew.
const SIZE_MAX: usize = 1_000_000;
/// Most pairs of columns of one query, summed over all queries: the time of planning grows with the second power of the
/// columns of a query. One query has at most about 7,000.
const WIDTH_MAX: usize = 50_000_000;

/// Columns of what is none of the cache's tables: functions and the information schema.
const FEW_COLUMNS: usize = 20;

/// Stack that parsing takes for a nested bracket: the largest frames are those of a subquery.
const STACK_PER_BRACKET: usize = 64 << 10;
/// Stack that dropping what was parsed takes for an operator.
const STACK_PER_OPERATOR: usize = 2 << 10;
/// Stack that planning takes for a level. Without optimisation, where frames are largest, 8 KiB were seen to be enough
/// and 4 KiB not.
const STACK_PER_LEVEL: usize = 32 << 10;

/// Stack that the largest statement takes.
pub(super) const STACK_MAX: usize = (DEPTH_MAX + STEPS_MAX + NESTING_MAX) * STACK_PER_LEVEL;

/// Parses a statement; says how much stack everything takes that is done with it.
///
/// # Errors
/// [`ErrorCode::InvalidSql`] for what cannot be parsed and for what is beyond a limit.
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
    // What is refused is dropped here too, on the same stack.
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

/// Number of columns of a table; of what is none of the cache's tables, few.
fn columns_of(state: &State, table: &str) -> usize {
    state.table(table).map_or(FEW_COLUMNS, |table| table.shape.schema.fields().len())
}

fn refuse_beyond(limit: usize, found: usize, what: &str) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidSql,
        format!(
            "the statement has {found} {what}, and at most {limit} are planned; \
             name many values in one IN list, put them into a table and join it, \
             or split the statement"
        ),
    ))
}
