//! How deep the plan of a parsed statement may become.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SelectItem, SetExpr, TableFactor, Visit, Visitor,
};

/// Depth of a statement, never less than the depth of its plan. The optimiser joins all conditions of a query into
/// one, and replaces the columns of a query by the expressions that they stand for. A chain of queries or tables
/// becomes a plan as deep as the chain is long. A named query is planned anew at each of its uses.
#[derive(Default)]
pub(super) struct Depth<'a> {
    /// Operators on the longest path through expressions, from query to query, plus every AND and OR of these
    /// queries.
    pub(super) expressions: usize,
    /// Queries, tables, set operations and pipes.
    pub(super) steps: usize,
    /// Joins of tables.
    pub(super) joins: usize,
    /// Deepest nesting of queries inside expressions.
    pub(super) subqueries: usize,
    /// Expressions, values and columns.
    pub(super) size: usize,
    /// The squares of the numbers of columns of all queries, summed up.
    pub(super) widths: usize,
    /// Returns the number of columns of a table of the cache.
    columns: Option<&'a dyn Fn(&str) -> usize>,
    /// The queries that are being visited, outermost first.
    open: Vec<OpenQuery>,
    /// Queries by the names that WITH gives them. If a name is given twice, it stands for the worst of both.
    named: HashMap<String, Cost>,
    /// Names of the named queries that are still to be visited, by their addresses.
    names: HashMap<*const Query, String>,
}

/// What a query adds to the query that reads it.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    depth: usize,
    steps: usize,
    joins: usize,
    size: usize,
    widths: usize,
    /// Columns of the query.
    columns: usize,
}

#[derive(Debug, Default)]
struct OpenQuery {
    /// Columns of everything that the query reads; then the number of `*` in its list, and of other items.
    readable: usize,
    wildcards: usize,
    named: usize,
    /// Operators around the expression that is being visited, and the most that were.
    around: usize,
    deepest: usize,
    /// AND and OR in the query.
    junctions: usize,
    /// The cost of this query and of those that it reads. The depth is that of the deepest of those that it reads.
    cost: Cost,
}

impl<'a> Depth<'a> {
    pub(super) fn of(mut statement: &Statement, columns: &'a dyn Fn(&str) -> usize) -> Self {
        let open = vec![OpenQuery::default()];
        let mut depth = Self { open, columns: Some(columns), ..Self::default() };
        while let Statement::Explain(explain) = statement {
            depth.add(1, 0);
            statement = &explain.statement;
        }
        let _: ControlFlow<()> = match statement {
            Statement::Statement(statement) => statement.visit(&mut depth),
            Statement::CopyTo(copy) => match &copy.source {
                CopyToSource::Query(query) => query.visit(&mut depth),
                CopyToSource::Relation(_) => ControlFlow::Continue(()),
            },
            _ => ControlFlow::Continue(()),
        };
        let whole = depth.open.pop().map(|outermost| outermost.cost()).unwrap_or_default();
        Self {
            expressions: whole.depth,
            steps: depth.steps.max(whole.steps),
            joins: whole.joins,
            size: whole.size.max(depth.size),
            widths: whole.widths.max(depth.widths),
            ..depth
        }
    }

    /// Adds to the query that is being visited, and to the text as a whole, which counts even if nothing uses it.
    fn add(&mut self, steps: usize, joins: usize) {
        self.steps += steps;
        if let Some(query) = self.open.last_mut() {
            query.cost.steps = query.cost.steps.saturating_add(steps);
            query.cost.joins = query.cost.joins.saturating_add(joins);
        }
    }

    fn read(&mut self, cost: Cost) {
        if let Some(query) = self.open.last_mut() {
            query.cost.depth = query.cost.depth.max(cost.depth);
            query.cost.steps = query.cost.steps.saturating_add(cost.steps);
            query.cost.joins = query.cost.joins.saturating_add(cost.joins);
            query.cost.size = query.cost.size.saturating_add(cost.size);
            query.cost.widths = query.cost.widths.saturating_add(cost.widths);
            query.readable = query.readable.saturating_add(cost.columns);
        }
    }
}

impl OpenQuery {
    fn cost(&self) -> Cost {
        let columns = self.named.saturating_add(self.wildcards.saturating_mul(self.readable));
        let width = columns.max(self.readable);
        Cost {
            depth: self.deepest + self.junctions + self.cost.depth,
            size: self.cost.size.saturating_add(width),
            widths: self.cost.widths.saturating_add(width.saturating_mul(width)),
            columns: columns.max(self.cost.columns),
            ..self.cost
        }
    }
}

impl Cost {
    fn worst(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            steps: self.steps.max(other.steps),
            joins: self.joins.max(other.joins),
            size: self.size.max(other.size),
            widths: self.widths.max(other.widths),
            columns: self.columns.max(other.columns),
        }
    }
}

impl Visitor for Depth<'_> {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.open.push(OpenQuery::default());
        let inside = self.open.iter().filter(|query| query.around > 0).count();
        self.subqueries = self.subqueries.max(inside);
        // A union of many queries is as deep as it is long, and the visitor does not visit its parts one by one.
        let (mut unions, mut unseen) = (0, vec![query.body.as_ref()]);
        while let Some(body) = unseen.pop() {
            if let SetExpr::SetOperation { left, right, .. } = body {
                unions += 1;
                unseen.extend([left.as_ref(), right.as_ref()]);
            }
        }
        self.add(1 + unions + query.pipe_operators.len(), 0);
        for named in query.with.iter().flat_map(|with| &with.cte_tables) {
            self.names
                .insert(std::ptr::from_ref(named.query.as_ref()), named.alias.name.value.to_lowercase());
        }
        ControlFlow::Continue(())
    }

    fn post_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        let cost = self.open.pop().map(|query| query.cost()).unwrap_or_default();
        match self.names.remove(&std::ptr::from_ref(query)) {
            Some(name) => {
                let held = self.named.entry(name).or_default();
                *held = held.worst(cost);
                // A named query is planned even if nothing uses it.
                self.size = self.size.max(cost.size);
                self.widths = self.widths.max(cost.widths);
            }
            None => self.read(cost),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let tables: usize = select.from.iter().map(|table| 1 + table.joins.len()).sum();
        self.add(0, tables.saturating_sub(1));
        if let Some(query) = self.open.last_mut() {
            for item in &select.projection {
                match item {
                    SelectItem::Wildcard(_) | SelectItem::QualifiedWildcard(..) => query.wildcards += 1,
                    _ => query.named += 1,
                }
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, table: &TableFactor) -> ControlFlow<()> {
        let joins = match table {
            TableFactor::NestedJoin { table_with_joins, .. } => table_with_joins.joins.len(),
            _ => 0,
        };
        self.add(1, joins);
        if let TableFactor::Table { name, .. } = table
            && let Some(part) = name.0.last().and_then(|part| part.as_ident())
        {
            match (self.named.get(&part.value.to_lowercase()), self.columns) {
                (Some(&cost), _) => self.read(cost),
                (None, Some(columns)) => self.read(Cost { columns: columns(&part.value), ..Cost::default() }),
                (None, None) => {}
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(query) = self.open.last_mut() {
            let (operators, junctions) = weight(expr);
            query.around += operators;
            query.junctions += junctions;
            query.deepest = query.deepest.max(query.around);
            query.cost.size = query.cost.size.saturating_add(1);
        }
        ControlFlow::Continue(())
    }

    fn post_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(query) = self.open.last_mut() {
            query.around -= weight(expr).0;
        }
        ControlFlow::Continue(())
    }
}

/// How many operators an expression adds to a path, and how many AND and OR to its query.
fn weight(expr: &Expr) -> (usize, usize) {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => (0, 1),
        Expr::Between { .. } => (1, 1),
        // The optimiser may turn branches into conditions.
        Expr::Case { conditions, .. } => (1 + conditions.len(), 0),
        Expr::CompoundFieldAccess { access_chain, .. } => (1 + access_chain.len(), 0),
        Expr::CompoundIdentifier(parts) => (parts.len(), 0),
        Expr::JsonAccess { path, .. } => (1 + path.path.len(), 0),
        _ => (1, 0),
    }
}
