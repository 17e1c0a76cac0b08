//! Which statements give the same answer for as long as their tables are the same

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::DefaultTableSource;
use datafusion::logical_expr::expr::WindowFunctionDefinition;
use datafusion::logical_expr::{Expr, LogicalPlan, Volatility};

use super::Reads;
use crate::query::provider::CacheTable;
use crate::storage::State;

/// The tables that a plan reads, which was not optimised yet; `None` if its answer depends on anything else: the time, chance, or
/// what is known of tables.
/// Answers from working sets are not kept.
///
/// # Errors
/// Those of walking the plan.
pub(in crate::query) fn reads(plan: &LogicalPlan, state: &State) -> Result<Option<Reads>> {
    let mut reads = Some(Reads::new());
    plan.apply_with_subqueries(|node| {
        if !is_query(node) {
            reads = None;
        } else if let LogicalPlan::TableScan(scan) = node {
            let source = scan.source.downcast_ref::<DefaultTableSource>();
            let table = source.and_then(|source| source.table_provider.downcast_ref::<CacheTable>());
            let table = table.and_then(|table| state.tables.get_key_value(&table.id()));
            // Which rows a working set covers is not a part of the table, so that a table that did not change may cover others.
            let table = table.filter(|(_, table)| table.shape.rules.working_set.is_none());
            match (table, &mut reads) {
                (Some((&id, table)), Some(reads)) if reads.iter().all(|(other, _)| *other != id) => {
                    reads.push((id, Arc::downgrade(table)));
                }
                (Some(_), _) => {}
                (None, _) => reads = None,
            }
        }
        node.apply_expressions(|expression| {
            expression.apply(|part| {
                if !is_immutable(part) {
                    reads = None;
                }
                Ok(going_on(reads.is_some()))
            })
        })?;
        Ok(going_on(reads.is_some()))
    })?;
    Ok(reads)
}

fn going_on(is_repeatable: bool) -> TreeNodeRecursion {
    if is_repeatable { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop }
}

/// Whether a node computes rows, and does not describe anything or change it. What is not known does not.
fn is_query(node: &LogicalPlan) -> bool {
    match node {
        LogicalPlan::Projection(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Window(_)
        | LogicalPlan::Aggregate(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Join(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Union(_)
        | LogicalPlan::TableScan(_)
        | LogicalPlan::EmptyRelation(_)
        | LogicalPlan::Subquery(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Values(_)
        | LogicalPlan::Distinct(_)
        | LogicalPlan::Unnest(_) => true,
        // Its steps read a table that is not one of the cache.
        LogicalPlan::RecursiveQuery(_)
        | LogicalPlan::Statement(_)
        | LogicalPlan::Explain(_)
        | LogicalPlan::Analyze(_)
        | LogicalPlan::Extension(_)
        | LogicalPlan::Dml(_)
        | LogicalPlan::Ddl(_)
        | LogicalPlan::Copy(_)
        | LogicalPlan::DescribeTable(_) => false,
    }
}

/// Whether the value of an expression depends on its arguments only.
fn is_immutable(expression: &Expr) -> bool {
    let volatility = match expression {
        Expr::ScalarFunction(call) => call.func.signature().volatility,
        Expr::AggregateFunction(call) => call.func.signature().volatility,
        Expr::WindowFunction(call) => match &call.fun {
            WindowFunctionDefinition::AggregateUDF(function) => function.signature().volatility,
            WindowFunctionDefinition::WindowUDF(function) => function.signature().volatility,
        },
        Expr::HigherOrderFunction(_) | Expr::ScalarVariable(..) => return false,
        _ => return true,
    };
    volatility == Volatility::Immutable
}
