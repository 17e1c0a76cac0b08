//! Keeps plans right where DataFusion orders the two zeros in two ways.
//!
//! A sort of DataFusion 55 puts -0.0 before 0.0, as the totalOrder of IEEE 754 does, whereas its comparisons take
//! both for one number. A sort that keeps only its first rows (TopK) uses both: it compares rows with the last one
//! that it keeps, and so drops rows that belong before it. An aggregation that keeps only its first groups does the
//! same, and panics for NaN. `docs/design/0009-zeros-in-topk.md` has examples; a test here fails once DataFusion is
//! right by itself.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    DataType, Float16Type, Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Schema,
};
use datafusion::common::ScalarValue;
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::utils::normalize_float_zero_scalar;
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{BinaryExpr, ColumnarValue, Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::SimplifyExpressions;
use datafusion::optimizer::{ApplyOrder, Optimizer, OptimizerConfig, OptimizerRule};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::sorts::sort::SortExec;

/// DataFusion's rules for logical plans, and ours.
pub(super) fn logical_rules() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    with_rule(Optimizer::new().rules)
}

/// Rules for logical plans, and [`OneZero`] where literals are computed already and conditions are not compared yet.
pub(super) fn with_rule(
    mut rules: Vec<Arc<dyn OptimizerRule + Send + Sync>>,
) -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let simplify = rules.iter().position(|rule| rule.name() == SimplifyExpressions::new().name());
    rules.insert(simplify.map_or(0, |simplify| simplify + 1), Arc::new(OneZero));
    rules
}

/// Turns conditions on -0.0 into conditions on 0.0, which mean the same to a comparison. DataFusion's statistics
/// would otherwise find two different values that a column must both equal, and conclude that no row does.
#[derive(Debug)]
struct OneZero;

impl OptimizerRule for OneZero {
    fn name(&self) -> &'static str {
        "one_zero"
    }

    fn apply_order(&self) -> Option<ApplyOrder> {
        Some(ApplyOrder::TopDown)
    }

    fn rewrite(&self, plan: LogicalPlan, _: &dyn OptimizerConfig) -> Result<Transformed<LogicalPlan>> {
        // Plans nearly always have no zeros; then names need not be saved.
        let mut has_zeros = false;
        plan.apply_expressions(|expr| {
            has_zeros = expr.exists(|expr| Ok(other_zero(expr).is_some()))?;
            Ok(if has_zeros { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
        })?;
        if !has_zeros {
            return Ok(Transformed::no(plan));
        }
        let names = NamePreserver::new(&plan);
        plan.map_expressions(|expr| {
            let name = names.save(&expr);
            Ok(expr.transform_up(|expr| Ok(positive_zeros(expr)))?.update_data(|expr| name.restore(expr)))
        })
    }
}

fn positive_zeros(mut expr: Expr) -> Transformed<Expr> {
    let changed = match &mut expr {
        Expr::BinaryExpr(BinaryExpr { left, op, right }) if op.supports_propagation() => {
            [left, right].into_iter().filter_map(|side| positive_zero(side)).count() > 0
        }
        // A list is searched by bits, so it gets both zeros if it has one.
        Expr::InList(InList { list, .. }) => {
            let zeros: Vec<Expr> = list.iter().filter_map(other_zero).collect();
            let missing: Vec<Expr> = zeros.into_iter().filter(|zero| !list.contains(zero)).collect();
            let changed = !missing.is_empty();
            list.extend(missing);
            changed
        }
        Expr::Between(Between { low, high, .. }) => {
            [low, high].into_iter().filter_map(|bound| positive_zero(bound)).count() > 0
        }
        _ => false,
    };
    if changed { Transformed::yes(expr) } else { Transformed::no(expr) }
}

/// The zero with the other sign, if the literal is a zero.
fn other_zero(expr: &Expr) -> Option<Expr> {
    let Expr::Literal(value, metadata) = expr else { return None };
    let zero = match value {
        ScalarValue::Float16(Some(value)) if f32::from(*value) == 0.0 => ScalarValue::Float16(Some(-*value)),
        ScalarValue::Float32(Some(value)) if *value == 0.0 => ScalarValue::Float32(Some(-value)),
        ScalarValue::Float64(Some(value)) if *value == 0.0 => ScalarValue::Float64(Some(-value)),
        _ => return None,
    };
    Some(Expr::Literal(zero, metadata.clone()))
}

/// Turns a literal -0.0 into 0.0; `None` if it is not -0.0.
fn positive_zero(expr: &mut Expr) -> Option<()> {
    let Expr::Literal(value, _) = expr else { return None };
    let turned = normalize_float_zero_scalar(value.clone());
    // Scalars are compared by their bits.
    (turned != *value).then(|| *value = turned)
}

/// The operator in whose place `plan` keeps its first rows in one order of the zeros; `None` if it does. May be asked only
/// after DataFusion's rules, which check that the orders that sorts provide and require match.
pub(super) fn in_one_order(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    Ok(sorted_by_bits(plan)?.or_else(|| of_all_groups(plan)))
}

/// A sort that keeps its first rows, with floats sorted by their bits, so that everything it does has one order.
fn sorted_by_bits(plan: &Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>> {
    let Some(sort) = plan.downcast_ref::<SortExec>().filter(|sort| sort.fetch().is_some()) else {
        return Ok(None);
    };
    let schema = sort.input().schema();
    let mut has_floats = false;
    let by_bits = sort.expr().iter().map(|key| {
        if !key.expr.data_type(&schema)?.is_floating() {
            return Ok(key.clone());
        }
        has_floats = true;
        Ok(PhysicalSortExpr::new(Arc::new(TotalOrder { arg: key.expr.clone() }), key.options))
    });
    let by_bits = by_bits.collect::<Result<Vec<_>>>()?;
    let Some(by_bits) = LexOrdering::new(by_bits).filter(|_| has_floats) else { return Ok(None) };
    let sorted = SortExec::new(by_bits, sort.input().clone())
        .with_preserve_partitioning(sort.preserve_partitioning())
        .with_fetch(sort.fetch());
    Ok(Some(Arc::new(sorted)))
}

/// An aggregation with floats that keeps its first groups, without that limit. The sort above it has the limit too.
fn of_all_groups(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
    let aggregate = plan.downcast_ref::<AggregateExec>()?;
    // Without a direction, any groups will do.
    aggregate.limit_options()?.descending()?;
    let has_floats = aggregate.schema().fields().iter().any(|field| field.data_type().is_floating());
    has_floats.then(|| Arc::new(aggregate.with_new_limit_options(None)) as _)
}

/// The bits of a float as an integer; the integers have the totalOrder of the floats.
#[derive(Debug, Eq)]
struct TotalOrder {
    arg: Arc<dyn PhysicalExpr>,
}

// Written by hand, as the derived ones do not compile for `Arc<dyn …>`.
impl PartialEq for TotalOrder {
    fn eq(&self, other: &Self) -> bool {
        self.arg.eq(&other.arg)
    }
}

impl Hash for TotalOrder {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.arg.hash(state);
    }
}

impl fmt::Display for TotalOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "total_order({})", self.arg)
    }
}

impl PhysicalExpr for TotalOrder {
    fn data_type(&self, schema: &Schema) -> Result<DataType> {
        match self.arg.data_type(schema)? {
            DataType::Float16 => Ok(DataType::Int16),
            DataType::Float32 => Ok(DataType::Int32),
            DataType::Float64 => Ok(DataType::Int64),
            other => Err(no_float(&other)),
        }
    }

    fn nullable(&self, schema: &Schema) -> Result<bool> {
        self.arg.nullable(schema)
    }

    fn evaluate(&self, batch: &RecordBatch) -> Result<ColumnarValue> {
        let floats = self.arg.evaluate(batch)?.into_array(batch.num_rows())?;
        // For negative numbers all other bits are flipped too, as their order is reversed.
        let bits: ArrayRef = match floats.data_type() {
            DataType::Float16 => {
                Arc::new(floats.as_primitive::<Float16Type>().unary::<_, Int16Type>(|value| {
                    let bits = value.to_bits().cast_signed();
                    bits ^ ((bits >> 15) & i16::MAX)
                }))
            }
            DataType::Float32 => {
                Arc::new(floats.as_primitive::<Float32Type>().unary::<_, Int32Type>(|value| {
                    let bits = value.to_bits().cast_signed();
                    bits ^ ((bits >> 31) & i32::MAX)
                }))
            }
            DataType::Float64 => {
                Arc::new(floats.as_primitive::<Float64Type>().unary::<_, Int64Type>(|value| {
                    let bits = value.to_bits().cast_signed();
                    bits ^ ((bits >> 63) & i64::MAX)
                }))
            }
            other => return Err(no_float(other)),
        };
        Ok(ColumnarValue::Array(bits))
    }

    fn children(&self) -> Vec<&Arc<dyn PhysicalExpr>> {
        vec![&self.arg]
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn PhysicalExpr>> {
        let arg = children.pop().ok_or_else(|| DataFusionError::Internal("no argument".to_owned()))?;
        Ok(Arc::new(Self { arg }))
    }

    fn fmt_sql(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("total_order(")?;
        self.arg.fmt_sql(f)?;
        f.write_str(")")
    }
}

fn no_float(data_type: &DataType) -> DataFusionError {
    DataFusionError::Internal(format!("total_order of {data_type}"))
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;
    use arrow::datatypes::Field;
    use datafusion::datasource::MemTable;
    use datafusion::physical_expr::expressions::Column;
    use datafusion::prelude::{SessionConfig, SessionContext};

    use super::*;

    #[test]
    fn bits_are_in_the_order_of_floats() {
        let nan = f64::from_bits(0x7FF8_0000_0000_0001);
        let floats = [
            -nan,
            -f64::NAN,
            f64::NEG_INFINITY,
            f64::MIN,
            -1.5,
            -5e-324,
            -0.0,
            0.0,
            5e-324,
            2.0,
            f64::MAX,
            f64::INFINITY,
            f64::NAN,
            nan,
        ];
        for data_type in [DataType::Float16, DataType::Float32, DataType::Float64] {
            let mut sorted = floats.to_vec();
            sorted.sort_by(f64::total_cmp);
            let floats = arrow::compute::cast(&Float64Array::from(sorted), &data_type).unwrap();
            let schema = Arc::new(Schema::new(vec![Field::new("f", data_type, true)]));
            let batch = RecordBatch::try_new(schema, vec![floats]).unwrap();
            let bits = TotalOrder { arg: Arc::new(Column::new("f", 0)) }.evaluate(&batch).unwrap();
            let bits =
                arrow::compute::cast(&bits.into_array(batch.num_rows()).unwrap(), &DataType::Int64).unwrap();
            let bits = bits.as_primitive::<Int64Type>().values().to_vec();
            assert!(bits.is_sorted(), "{bits:?}");
        }
    }

    /// Fails once DataFusion's own TopK handles the zeros: then this file can go.
    #[test]
    fn datafusion_alone_still_takes_the_wrong_rows() {
        let floats: Vec<f64> = (0..8000).map(|row| if row % 2 == 0 { 0.0 } else { -0.0 }).collect();
        let numbers: Vec<f64> = (0..8000).map(f64::from).collect();
        let schema = Arc::new(Schema::new(vec![
            Field::new("f", DataType::Float64, false),
            Field::new("v", DataType::Float64, false),
        ]));
        let columns: Vec<ArrayRef> =
            vec![Arc::new(Float64Array::from(floats)), Arc::new(Float64Array::from(numbers))];
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let batches = (0..8).map(|part| rows.slice(part * 1000, 1000)).collect();
        let context = SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        context.register_table("t", Arc::new(MemTable::try_new(schema, vec![batches]).unwrap())).unwrap();
        let values = |text: &str| -> Vec<f64> {
            let batches = pollster::block_on(async { context.sql(text).await?.collect().await }).unwrap();
            batches
                .iter()
                .flat_map(|batch| batch.column(1).as_primitive::<Float64Type>().values().to_vec())
                .collect()
        };
        let sorted = values("SELECT f, v FROM t ORDER BY f, v");
        let first = values("SELECT f, v FROM t ORDER BY f, v OFFSET 3998 LIMIT 4");
        assert_ne!(first, sorted[3998..4002]);
    }
}
