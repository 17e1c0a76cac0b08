//! The condition of a working set: from SQL to a predicate.

use std::sync::Arc;
use std::time::SystemTime;

use arrow::datatypes::SchemaRef;
use chrono::{DateTime, Utc};
use datafusion::common::DFSchema;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Expr, Volatility};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

use super::contain::contain;
use super::error::planning;
use super::filters::Converter;
use super::limits::{STACK_PER_LEVEL, refuse_beyond};
use super::stack::Stack;
use crate::coverage::Predicate;
use crate::types::error::{Error, ErrorCode, Result};

/// The longest condition, in bytes.
const CONDITION_LEN_MAX: usize = 4096;

/// A condition over the rows of a table, at a moment.
#[derive(Debug)]
pub(crate) struct Condition {
    pub(crate) predicate: Predicate,
    /// Whether it is another one at another moment.
    pub(crate) moves: bool,
}

impl Condition {
    /// Understands a condition in SQL over columns. `now()` and the like have the value of `now`.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] for what is not SQL, [`ErrorCode::ColumnNotFound`], and [`ErrorCode::Unsupported`] for what is SQL
    /// and not understood, which is named.
    pub(crate) fn parse(text: &str, schema: &SchemaRef, now: SystemTime) -> Result<Self> {
        refuse_beyond(CONDITION_LEN_MAX, text.len(), "bytes of condition")?;
        // A level takes four bytes or more: a value, an operator and the blanks between them.
        contain(|| Stack::of(text.len() / 4 * STACK_PER_LEVEL).run(|| parse(text, schema, now)))?
            .map_err(|error| error.context(format!("the condition `{text}`")))
    }
}

fn parse(text: &str, schema: &SchemaRef, now: SystemTime) -> Result<Condition> {
    let session = SessionStateBuilder::new().with_default_features().build();
    let columns = DFSchema::try_from(schema.as_ref().clone()).map_err(planning)?;
    let expr = session.create_logical_expr(text, &columns).map_err(planning)?;
    let is = |expr: &Expr, volatility: Volatility| matches!(expr, Expr::ScalarFunction(call) if call.func.signature().volatility == volatility);
    let mut moves = false;
    let mut is_random = false;
    let seen = expr.apply(|part| {
        moves |= is(part, Volatility::Stable);
        is_random |= is(part, Volatility::Volatile);
        Ok(TreeNodeRecursion::Continue)
    });
    seen.map_err(planning)?;
    if is_random {
        let message = "it is another one for each row: leave out random functions";
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(columns.clone()))
        .with_config_options(session.config_options().clone())
        .with_query_execution_start_time(Some(DateTime::<Utc>::from(now)))
        .build();
    let simplifier = ExprSimplifier::new(context);
    let expr =
        simplifier.coerce(expr, &columns).and_then(|expr| simplifier.simplify(expr)).map_err(planning)?;
    let converter = Converter::new(schema);
    let predicate = converter.predicate(&expr);
    match converter.unknown() {
        None => Ok(Condition { predicate, moves }),
        Some(part) => Err(Error::new(
            ErrorCode::Unsupported,
            format!(
                "`{part}` is not understood: write comparisons of columns with values, IN, BETWEEN, LIKE 'prefix%' and IS NULL, \
                 joined by AND, OR and NOT"
            ),
        )),
    }
}
