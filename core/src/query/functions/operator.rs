//! The operator `||` as a function.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, FieldRef, Schema};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::logical_expr::binary::BinaryTypeCoercer;
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{
    BinaryExpr, ColumnarValue, Expr, LogicalPlan, Operator, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::expressions::{self, Column, Literal};

/// Joins two texts exactly as DataFusion's operator does, by calling it.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct JoinTexts {
    signature: Signature,
}

impl JoinTexts {
    pub(super) fn shared() -> Arc<dyn ScalarUDFImpl> {
        Arc::new(Self { signature: Signature::user_defined(Volatility::Immutable) })
    }
}

impl ScalarUDFImpl for JoinTexts {
    fn name(&self) -> &'static str {
        "||"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    /// The operator's name, so that an expression keeps its name without an alias: DataFusion does not find grouping
    /// sets below an alias.
    fn schema_name(&self, args: &[Expr]) -> Result<String> {
        let [left, right] = pair(args)?;
        Ok(format!("{} || {}", left.schema_name(), right.schema_name()))
    }

    fn is_strict(&self) -> bool {
        true
    }

    fn coerce_types(&self, types: &[DataType]) -> Result<Vec<DataType>> {
        let [left, right] = pair(types)?;
        let (left, right) = BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_input_types()?;
        Ok(vec![left, right])
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        let [left, right] = pair(types)?;
        BinaryTypeCoercer::new(left, &Operator::StringConcat, right).get_result_type()
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs<'_>) -> Result<FieldRef> {
        let types: Vec<DataType> = args.arg_fields.iter().map(|field| field.data_type().clone()).collect();
        let is_nullable = args.arg_fields.iter().any(|field| field.is_nullable());
        Ok(Arc::new(Field::new(self.name(), self.return_type(&types)?, is_nullable)))
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let rows = args.number_rows;
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        let mut operands: Vec<Arc<dyn PhysicalExpr>> = Vec::new();
        let is_constant = args.args.iter().all(|value| matches!(value, ColumnarValue::Scalar(_)));
        for value in args.args {
            match value {
                ColumnarValue::Scalar(value) => operands.push(Arc::new(Literal::new(value))),
                ColumnarValue::Array(array) => {
                    let name = columns.len().to_string();
                    operands.push(Arc::new(Column::new(&name, columns.len())));
                    fields.push(Field::new(name, array.data_type().clone(), true));
                    columns.push(array);
                }
            }
        }
        let [left, right] = pair(&operands)?;
        let operator = expressions::BinaryExpr::new(left.clone(), Operator::StringConcat, right.clone());
        let options =
            arrow::array::RecordBatchOptions::new().with_row_count(Some(if is_constant { 1 } else { rows }));
        operator.evaluate(&RecordBatch::try_new_with_options(
            Arc::new(Schema::new(fields)),
            columns,
            &options,
        )?)
    }
}

fn pair<T>(operands: &[T]) -> Result<[&T; 2]> {
    match operands {
        [left, right] => Ok([left, right]),
        _ => datafusion::common::plan_err!("`||` joins two texts"),
    }
}

/// Replaces each `||` by `function`; all columns keep their names.
pub(super) fn bind(plan: LogicalPlan, function: &Arc<ScalarUDF>) -> Result<LogicalPlan> {
    let bound = plan.transform_up_with_subqueries(|node| {
        let names = NamePreserver::new(&node);
        let rewritten = node.map_expressions(|expr| {
            let name = names.save(&expr);
            let rewritten = expr.transform_up(|expr| match expr {
                Expr::BinaryExpr(BinaryExpr { left, op: Operator::StringConcat, right }) => {
                    Ok(Transformed::yes(function.call(vec![*left, *right])))
                }
                other => Ok(Transformed::no(other)),
            })?;
            Ok(rewritten.update_data(|expr| name.restore(expr)))
        })?;
        // Schemas need not be computed anew: names and types stay the same.
        Ok(rewritten)
    })?;
    Ok(bound.data)
}
