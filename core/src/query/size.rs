//! How large a plan may become.
//!
//! DataFusion moves conditions below the expressions that they refer to, and replaces each column by its expression.
//! If `x` is `y + y` in a query that reads another such query, a condition on `x` doubles at each of them. So before
//! a plan is rewritten, this file computes how large its conditions can become.

use std::collections::HashMap;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, JoinType, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Cast, Exists, InSubquery, SetComparison, TryCast};
use datafusion::logical_expr::{BinaryExpr, Distinct, Expr, LogicalPlan, Operator};

use super::functions::check_type;
use super::watch;
use crate::types::error::{Error, ErrorCode};
use crate::types::value::Value;

/// Most operators, columns and functions of a plan, with each condition at its largest possible size.
const OPERATORS_MAX: u64 = 200_000;
/// Most operators, columns, functions and values of lists together.
const VALUES_MAX: u64 = 1_000_000;
/// Plans up to this size are rewritten without checks at each step: they cannot become large.
const SMALL: u64 = 2_000;
/// Texts of at least this length count as long.
const LONG_TEXT: usize = 4 << 10;
/// Most bytes of long texts in a batch of rows.
const REPEATED_MAX: usize = 32 << 20;
/// In queries with no more columns than this, a column is found by looking at each.
const FEW_COLUMNS: usize = 32;

/// What is known about a plan before it is rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    operators: u64,
    values: u64,
    /// Bytes of long texts, which are repeated for each row of a batch.
    long_texts: usize,
    /// Whether a window may keep all its rows.
    keeps_rows: bool,
    /// Whether texts are joined with `||`.
    pub(super) joins_texts: bool,
}

impl Size {
    /// The size of a plan at its largest.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidSql`] for a plan that may become too large, or that has a type that is too large.
    pub(super) fn of(plan: &LogicalPlan) -> Result<Self> {
        let mut size = Self::default();
        size.visit(plan, 1)?;
        size.check()?;
        Ok(size)
    }

    /// Whether the plan cannot become large and keeps no rows that are not counted.
    pub(super) fn is_plain(&self) -> bool {
        self.operators.max(self.values) <= SMALL && !self.keeps_rows
    }

    /// Rows per batch, if long texts would take too much memory in batches of `most` rows.
    pub(super) fn batch_rows(&self, parameters: &[Value], most: usize) -> Option<usize> {
        let long = parameters.iter().map(|value| match value {
            Value::Str(text) if text.len() >= LONG_TEXT => text.len(),
            Value::Bytes(bytes) if bytes.len() >= LONG_TEXT => bytes.len(),
            _ => 0,
        });
        let long = long.fold(self.long_texts, usize::saturating_add);
        let rows = REPEATED_MAX.checked_div(long)?.max(1);
        (rows < most).then_some(rows)
    }

    /// Adds the expressions of a plan as they are.
    pub(super) fn add_whole(&mut self, plan: &LogicalPlan) -> Result<()> {
        plan.apply_with_subqueries(|node| {
            self.add_node(node)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    /// Adds the expressions of a node as they are.
    pub(super) fn add_node(&mut self, node: &LogicalPlan) -> Result<()> {
        self.operators += 1;
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                self.count(!matches!(part, Expr::Literal(..)), 1);
                Ok(TreeNodeRecursion::Continue)
            })
        })?;
        self.check()
    }

    /// Adds operators.
    pub(super) fn add(&mut self, operators: u64) -> Result<()> {
        self.count(true, operators);
        self.check()
    }

    fn count(&mut self, is_operator: bool, by: u64) {
        self.values = self.values.saturating_add(by);
        if is_operator {
            self.operators = self.operators.saturating_add(by);
        }
    }

    fn check(&self) -> Result<()> {
        if self.operators <= OPERATORS_MAX && self.values <= VALUES_MAX {
            return Ok(());
        }
        let message = format!(
            "the statement becomes larger than the {OPERATORS_MAX} operators and columns, or {VALUES_MAX} with \
             values of lists, that are planned: conditions are put together with the expressions that they are \
             about, again at each query that repeats a column; name an expression once, or put the rows between \
             into a table"
        );
        Err(watch::refuse(Error::new(ErrorCode::InvalidSql, message)))
    }

    /// `outer` is the size of the largest expression of the surrounding queries.
    fn visit(&mut self, plan: &LogicalPlan, outer: u64) -> Result<Columns> {
        let columns = match plan {
            LogicalPlan::Projection(node) => {
                let input = self.visit(&node.input, outer)?;
                let names = Names::new(node.input.schema());
                let sizes = node.expr.iter().map(|expr| self.expression(expr, &input, &names, outer));
                Columns { sizes: sizes.collect::<Result<_>>()?, tables: input.tables }
            }
            LogicalPlan::Filter(node) => {
                let input = self.visit(&node.input, outer)?;
                let names = Names::new(node.input.schema());
                self.condition(&node.predicate, &input, &names, outer)?;
                input
            }
            LogicalPlan::Join(node) => {
                let mut both = self.visit(&node.left, outer)?;
                let right = self.visit(&node.right, outer)?;
                let left = both.sizes.len();
                both.sizes.extend(right.sizes);
                both.tables = both.tables.saturating_add(right.tables);
                let schema = node.left.schema().join(node.right.schema());
                // A join that returns only one side may have the same names on both sides.
                let names = schema.as_ref().map_or_else(|_| Names::Unknown, Names::new);
                for expr in node.on.iter().flat_map(|(left, right)| [left, right]).chain(&node.filter) {
                    self.condition(expr, &both, &names, outer)?;
                }
                match node.join_type {
                    JoinType::LeftSemi | JoinType::LeftAnti | JoinType::LeftMark => both.sizes.truncate(left),
                    JoinType::RightSemi | JoinType::RightAnti | JoinType::RightMark => {
                        both.sizes.drain(..left);
                    }
                    _ => {}
                }
                both
            }
            LogicalPlan::Aggregate(node) => {
                let input = self.visit(&node.input, outer)?;
                let names = Names::new(node.input.schema());
                let mut sizes = Vec::with_capacity(plan.schema().fields().len());
                for expr in &node.group_expr {
                    sizes.push(self.expression(expr, &input, &names, outer)?);
                }
                if let [Expr::GroupingSet(sets)] = node.group_expr.as_slice() {
                    let largest = sizes.iter().copied().max().unwrap_or(1);
                    sizes = vec![largest; sets.distinct_expr().len()];
                }
                for expr in &node.aggr_expr {
                    self.expression(expr, &input, &names, outer)?;
                }
                // An aggregate's value is a new column, so it counts as small.
                Columns { sizes, tables: input.tables }
            }
            LogicalPlan::Union(node) => {
                let mut sizes = vec![0_u64; plan.schema().fields().len()];
                let mut tables = 0_u64;
                for input in &node.inputs {
                    let input = self.visit(input, outer)?;
                    tables = tables.saturating_add(input.tables);
                    for (sum, size) in sizes.iter_mut().zip(input.sizes) {
                        *sum = sum.saturating_add(size);
                    }
                }
                Columns { sizes, tables }
            }
            LogicalPlan::Distinct(Distinct::On(node)) => {
                let input = self.visit(&node.input, outer)?;
                let names = Names::new(node.input.schema());
                for expr in node.on_expr.iter().chain(node.sort_expr.iter().flatten().map(|sort| &sort.expr))
                {
                    self.expression(expr, &input, &names, outer)?;
                }
                let sizes = node.select_expr.iter().map(|expr| self.expression(expr, &input, &names, outer));
                Columns { sizes: sizes.collect::<Result<_>>()?, tables: input.tables }
            }
            LogicalPlan::SubqueryAlias(node) => self.visit(&node.input, outer)?,
            LogicalPlan::Window(_) => {
                self.keeps_rows = true;
                self.visit_other(plan, outer)?
            }
            _ => self.visit_other(plan, outer)?,
        };
        self.add(1 + plan.schema().fields().len() as u64)?;
        Ok(columns.of_width(plan.schema().fields().len()))
    }

    /// Visits a node that passes columns on, and at most adds some of its own.
    fn visit_other(&mut self, plan: &LogicalPlan, outer: u64) -> Result<Columns> {
        let mut all = Columns { sizes: Vec::new(), tables: 0 };
        for input in plan.inputs() {
            let input = self.visit(input, outer)?;
            all.tables = all.tables.saturating_add(input.tables);
            all.sizes.extend(input.sizes);
        }
        let largest = all.sizes.iter().copied().max().unwrap_or(1).max(outer);
        plan.apply_expressions(|expr| {
            self.expression(expr, &all, &Names::Unknown, largest)?;
            Ok(TreeNodeRecursion::Continue)
        })?;
        if plan.schema().fields().len() < all.sizes.len() {
            all.sizes = vec![largest; plan.schema().fields().len()];
        }
        all.tables = all.tables.max(1);
        Ok(all)
    }

    /// The optimiser may copy a condition to each table below.
    fn condition(&mut self, expr: &Expr, input: &Columns, names: &Names<'_>, outer: u64) -> Result<()> {
        let before = *self;
        let whole = self.expression(expr, input, names, outer)?;
        let values = self.values.saturating_sub(before.values);
        let operators = self.operators.saturating_sub(before.operators);
        self.values = self.values.saturating_add(values.saturating_mul(input.tables.saturating_sub(1)));
        self.add(operators.saturating_mul(input.tables.saturating_sub(1)).saturating_add(whole))
    }

    /// Counts an expression as it is; returns its size with its columns replaced by their expressions.
    fn expression(&mut self, expr: &Expr, input: &Columns, names: &Names<'_>, outer: u64) -> Result<u64> {
        let (mut whole, mut largest) = (0_u64, None);
        let mut largest = || *largest.get_or_insert_with(|| input.largest().max(outer));
        expr.apply(|part| {
            let mut size = 1;
            match part {
                Expr::Column(column) => {
                    let known = names.find(column).and_then(|index| input.sizes.get(index));
                    size = known.copied().unwrap_or_else(&mut largest);
                }
                Expr::OuterReferenceColumn(..) => size = outer,
                Expr::Literal(value, _) => {
                    size = 0;
                    self.count(false, 1);
                    self.long_texts = self.long_texts.saturating_add(long_text(value));
                }
                Expr::Cast(Cast { field, .. }) | Expr::TryCast(TryCast { field, .. }) => {
                    check_type(field.data_type())?;
                }
                Expr::BinaryExpr(BinaryExpr { op: Operator::StringConcat, .. }) => self.joins_texts = true,
                Expr::ScalarSubquery(subquery)
                | Expr::Exists(Exists { subquery, .. })
                | Expr::InSubquery(InSubquery { subquery, .. })
                | Expr::SetComparison(SetComparison { subquery, .. }) => {
                    let before = self.operators;
                    self.visit(&subquery.subquery, largest())?;
                    size = self.operators.saturating_sub(before);
                }
                _ => {}
            }
            if !matches!(part, Expr::Literal(..)) {
                self.add(1)?;
            }
            whole = whole.saturating_add(size);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(whole.max(1))
    }
}

/// The sizes of the expressions that the columns of a query stand for.
struct Columns {
    sizes: Vec<u64>,
    /// Tables that the query reads.
    tables: u64,
}

impl Columns {
    fn largest(&self) -> u64 {
        self.sizes.iter().copied().max().unwrap_or(1)
    }

    fn of_width(mut self, width: usize) -> Self {
        self.sizes.resize(width, 1);
        self.tables = self.tables.max(1);
        self
    }
}

/// Finds the columns of a query.
enum Names<'a> {
    Few(&'a DFSchema),
    /// By their names, which are all different.
    Many(HashMap<&'a str, usize>),
    Unknown,
}

impl<'a> Names<'a> {
    fn new(schema: &'a DFSchema) -> Self {
        if schema.fields().len() <= FEW_COLUMNS {
            return Self::Few(schema);
        }
        let mut names = HashMap::with_capacity(schema.fields().len());
        let mut is_unique = true;
        for (index, field) in schema.fields().iter().enumerate() {
            is_unique &= names.insert(field.name().as_str(), index).is_none();
        }
        if is_unique { Self::Many(names) } else { Self::Unknown }
    }

    /// The position of a column; `None` if it may be any column.
    fn find(&self, column: &Column) -> Option<usize> {
        match self {
            Self::Few(schema) => schema.maybe_index_of_column(column),
            Self::Many(names) => names.get(column.name.as_str()).copied(),
            Self::Unknown => None,
        }
    }
}

/// Bytes of a text if it is long, otherwise 0.
fn long_text(value: &ScalarValue) -> usize {
    let len = match value {
        ScalarValue::Utf8(Some(text)) | ScalarValue::LargeUtf8(Some(text)) => text.len(),
        ScalarValue::Utf8View(Some(text)) => text.len(),
        ScalarValue::Binary(Some(bytes)) | ScalarValue::LargeBinary(Some(bytes)) => bytes.len(),
        ScalarValue::BinaryView(Some(bytes)) => bytes.len(),
        _ => 0,
    };
    if len >= LONG_TEXT { len } else { 0 }
}
