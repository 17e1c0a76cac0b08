//! DataFusion's functions, with bounds where their values may be larger than their arguments.
//!
//! Each such function is wrapped. The wrapper computes what the function would make before it makes it, and counts
//! what it made in the memory of queries until that is dropped.

mod bounded;
mod bounds;
mod collected;
mod held;
mod operator;
mod planner;
mod types;

use std::sync::Arc;

use datafusion::error::Result;
use datafusion::execution::memory_pool::MemoryPool;
use datafusion::execution::{SessionState, SessionStateBuilder, SessionStateDefaults};
use datafusion::logical_expr::{AggregateUDF, LogicalPlan, ScalarUDF};

use self::bounded::Bounded;
use self::bounds::Bound;
use self::collected::Collected;
use self::operator::JoinTexts;
use self::planner::Planner;
pub(super) use self::types::check_type;

/// Which functions are bounded, and how.
const BOUNDED: &[(&str, Bound)] = &[
    ("arrow_cast", Bound::Type),
    ("arrow_try_cast", Bound::Type),
    ("concat", Bound::Sum),
    ("concat_ws", Bound::Separated),
    ("levenshtein", Bound::Distance),
    ("lpad", Bound::Pad),
    ("named_struct", Bound::Type),
    ("overlay", Bound::Sum),
    ("regexp_count", Bound::Search),
    ("regexp_instr", Bound::Search),
    ("regexp_like", Bound::Search),
    ("regexp_match", Bound::Groups),
    ("regexp_replace", Bound::RegexReplace),
    ("repeat", Bound::Repeat),
    ("replace", Bound::Replace),
    ("rpad", Bound::Pad),
    ("struct", Bound::Type),
    ("to_char", Bound::Format),
    ("translate", Bound::Translate),
];

/// Aggregates whose values are as large as everything that they were given.
const COLLECTED: [&str; 2] = ["array_agg", "string_agg"];

/// Replaces functions of DataFusion by bounded ones.
pub(super) fn with_bounds(builder: SessionStateBuilder, pool: &Arc<dyn MemoryPool>) -> SessionStateBuilder {
    let functions: Vec<_> = SessionStateDefaults::default_scalar_functions()
        .into_iter()
        .map(|function| match BOUNDED.iter().find(|(name, _)| *name == function.name()) {
            Some((_, bound)) => {
                Arc::new(ScalarUDF::new_from_impl(Bounded::new(function.inner(), *bound, pool)))
            }
            None => function,
        })
        .collect();
    let find = |name: &str| functions.iter().find(|function| function.name() == name).cloned();
    let mut planners = SessionStateDefaults::default_expr_planners();
    if let (Some(overlay), Some(unnamed_struct), Some(named_struct)) =
        (find("overlay"), find("struct"), find("named_struct"))
    {
        planners.insert(0, Arc::new(Planner { overlay, unnamed_struct, named_struct }));
    }
    let aggregates = SessionStateDefaults::default_aggregate_functions().into_iter();
    let aggregates = aggregates.map(|aggregate| match COLLECTED.contains(&aggregate.name()) {
        true => Arc::new(AggregateUDF::new_from_impl(Collected::new(aggregate.inner(), pool))),
        false => aggregate,
    });
    builder
        .with_expr_planners(planners)
        .with_scalar_functions(functions)
        .with_aggregate_functions(aggregates.collect())
}

/// Replaces each `||` by a bounded function.
pub(super) fn bind_operators(session: &SessionState, plan: LogicalPlan) -> Result<LogicalPlan> {
    let function = Bounded::new(&JoinTexts::shared(), Bound::Sum, &session.runtime_env().memory_pool);
    operator::bind(plan, &Arc::new(ScalarUDF::new_from_impl(function)))
}

#[cfg(test)]
mod tests;
