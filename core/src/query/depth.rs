//! How deep the plan of a parsed statement may become.

use std::collections::HashMap;
use std::ops::ControlFlow;

use datafusion::sql::parser::{CopyToSource, Statement};
use datafusion::sql::sqlparser::ast::{
    BinaryOperator, Expr, Query, Select, SetExpr, TableFactor, Visit, Visitor,
};

/// Depth of a statement, never less than that of its plan: the optimiser joins all conditions of a query into one, puts
/// the expressions of a query in place of the columns of another, and a chain of queries or tables is a plan as deep
/// as the chain is long. A named query is planned anew at each of its uses.
#[derive(Debug, Default)]
pub(super) struct Depth {
    /// Operators on the longest path through expressions, from query to query, with every AND and OR of a query.
    pub(super) expressions: usize,
    /// Queries, tables, set operations and pipes.
    pub(super) steps: usize,
    /// Joins of tables.
    pub(super) joins: usize,
    /// Queries inside expressions inside each other.
    pub(super) subqueries: usize,
    /// The queries that are being visited, outermost first.
    open: Vec<OpenQuery>,
    /// Queries by the names that WITH gives them. A name that is given twice stands for the worst of both.
    named: HashMap<String, Cost>,
    /// Names of queries that are still to be visited, by their addresses.
    names: HashMap<*const Query, String>,
}

/// What a query adds to the query that reads it.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    depth: usize,
    steps: usize,
    joins: usize,
}

#[derive(Debug, Default)]
struct OpenQuery {
    /// Operators around what is being visited, and the most that were.
    around: usize,
    deepest: usize,
    /// AND and OR.
    junctions: usize,
    /// All of this query and of those that it reads; the depth is that of the deepest that it reads.
    cost: Cost,
}

impl Depth {
    pub(super) fn of(mut statement: &Statement) -> Self {
        let mut depth = Self { open: vec![OpenQuery::default()], ..Self::default() };
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
        Self { expressions: whole.depth, steps: depth.steps.max(whole.steps), joins: whole.joins, ..depth }
    }

    /// Adds to the query that is being visited, and to what the text itself says, used or not.
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
        }
    }
}

impl OpenQuery {
    fn cost(&self) -> Cost {
        Cost { depth: self.deepest + self.junctions + self.cost.depth, ..self.cost }
    }
}

impl Cost {
    fn worst(self, other: Self) -> Self {
        Self {
            depth: self.depth.max(other.depth),
            steps: self.steps.max(other.steps),
            joins: self.joins.max(other.joins),
        }
    }
}

impl Visitor for Depth {
    type Break = ();

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<()> {
        self.open.push(OpenQuery::default());
        let inside = self.open.iter().filter(|query| query.around > 0).count();
        self.subqueries = self.subqueries.max(inside);
        // A union of many is as deep as it is long, and is not visited query by query.
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
            }
            None => self.read(cost),
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<()> {
        let tables: usize = select.from.iter().map(|table| 1 + table.joins.len()).sum();
        self.add(0, tables.saturating_sub(1));
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
            && let Some(&cost) = self.named.get(&part.value.to_lowercase())
        {
            self.read(cost);
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_expr(&mut self, expr: &Expr) -> ControlFlow<()> {
        if let Some(query) = self.open.last_mut() {
            let (operators, junctions) = weight(expr);
            query.around += operators;
            query.junctions += junctions;
            query.deepest = query.deepest.max(query.around);
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

/// How many operators on a path an expression stands for, and how many AND and OR.
fn weight(expr: &Expr) -> (usize, usize) {
    match expr {
        Expr::BinaryOp { op: BinaryOperator::And | BinaryOperator::Or, .. } => (0, 1),
        Expr::Between { .. } => (1, 1),
        // Branches may become conditions.
        Expr::Case { conditions, .. } => (1 + conditions.len(), 0),
        Expr::CompoundFieldAccess { access_chain, .. } => (1 + access_chain.len(), 0),
        Expr::CompoundIdentifier(parts) => (parts.len(), 0),
        Expr::JsonAccess { path, .. } => (1 + path.path.len(), 0),
        _ => (1, 0),
    }
}
