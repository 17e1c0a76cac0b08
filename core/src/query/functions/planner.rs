//! Syntax that stands for functions: DataFusion names its own, and not those that are registered.

use std::sync::Arc;

use datafusion::common::DFSchema;
use datafusion::error::Result;
use datafusion::logical_expr::planner::{ExprPlanner, PlannerResult, RawDictionaryExpr};
use datafusion::logical_expr::{Expr, ScalarUDF};

/// Plans `OVERLAY(…)`, `STRUCT(…)` and `{name: value}` as calls of registered functions.
#[derive(Debug)]
pub(super) struct Planner {
    pub(super) overlay: Arc<ScalarUDF>,
    pub(super) unnamed_struct: Arc<ScalarUDF>,
    pub(super) named_struct: Arc<ScalarUDF>,
}

impl ExprPlanner for Planner {
    fn plan_overlay(&self, args: Vec<Expr>) -> Result<PlannerResult<Vec<Expr>>> {
        Ok(PlannerResult::Planned(self.overlay.call(args)))
    }

    fn plan_struct_literal(&self, args: Vec<Expr>, is_named: bool) -> Result<PlannerResult<Vec<Expr>>> {
        let function = if is_named { &self.named_struct } else { &self.unnamed_struct };
        Ok(PlannerResult::Planned(function.call(args)))
    }

    fn plan_dictionary_literal(
        &self,
        expr: RawDictionaryExpr,
        _: &DFSchema,
    ) -> Result<PlannerResult<RawDictionaryExpr>> {
        let pairs = expr.keys.into_iter().zip(expr.values);
        Ok(PlannerResult::Planned(
            self.named_struct.call(pairs.flat_map(|(key, value)| [key, value]).collect()),
        ))
    }
}
