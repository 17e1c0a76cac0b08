//! What a statement does with the rows of its keys, beside reading their columns: further conditions, and expressions.
//!
//! DataFusion computes both, over a batch of these rows. Behind the columns of the table the batch has a column for each
//! value that a run gives, so that the expressions are made once.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema};
use datafusion::execution::context::ExecutionProps;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, Operator};
use datafusion::physical_expr::{PhysicalExpr, create_physical_expr};

use super::value::{Computed, Given, Source};
use crate::storage::TableShape;

/// Most conditions and expressions of a statement, so that a row costs little.
const EXPRESSIONS_MAX: usize = 64;

/// Conditions and expressions over the rows of keys.
#[derive(Debug)]
pub(super) struct Work {
    /// The columns of the table that are read.
    pub(super) columns: Vec<usize>,
    /// The same.
    pub(super) read: SchemaRef,
    /// The columns that are read, and those of the values.
    input: SchemaRef,
    values: Vec<Computed>,
    conditions: Vec<Arc<dyn PhysicalExpr>>,
    expressions: Vec<Arc<dyn PhysicalExpr>>,
}

impl Work {
    /// The rows that satisfy all conditions, as columns of the answer. `None` if the ordinary path has to make it, or its
    /// error.
    pub(super) fn of_rows(
        &self,
        rows: &RecordBatch,
        answer: &SchemaRef,
        given: Given<'_>,
    ) -> Option<RecordBatch> {
        let mut rows = if self.values.is_empty() {
            rows.clone()
        } else {
            let mut columns = rows.columns().to_vec();
            for value in &self.values {
                // Whether a column can be null may depend on whether a parameter is.
                let scalar = value.scalar(given).filter(|scalar| !scalar.is_null())?;
                columns.push(scalar.to_array_of_size(rows.num_rows()).ok()?);
            }
            RecordBatch::try_new(self.input.clone(), columns).ok()?
        };
        for condition in &self.conditions {
            let passes = condition.evaluate(&rows).ok()?.into_array(rows.num_rows()).ok()?;
            rows = filter_record_batch(&rows, passes.as_boolean_opt()?).ok()?;
            if rows.num_rows() == 0 {
                break;
            }
        }
        let of_column = |expr: &Arc<dyn PhysicalExpr>| -> Option<ArrayRef> {
            expr.evaluate(&rows).ok()?.into_array(rows.num_rows()).ok()
        };
        let columns = self.expressions.iter().map(of_column).collect::<Option<Vec<_>>>()?;
        RecordBatch::try_new(answer.clone(), columns).ok()
    }
}

/// The values of a run that conditions and expressions need.
pub(super) struct Building<'a> {
    shape: &'a TableShape,
    columns: Vec<usize>,
    values: Vec<Computed>,
}

impl<'a> Building<'a> {
    pub(super) fn new(shape: &'a TableShape) -> Self {
        Self { shape, columns: Vec::new(), values: Vec::new() }
    }

    /// The expression over the columns of [`Work`]; `None` if it is not certain that it is computed as DataFusion would.
    /// `value` recognises values that are not the same in each run.
    pub(super) fn add(
        &mut self,
        expr: &Expr,
        mut value: impl FnMut(&Expr) -> Option<Computed>,
    ) -> Option<Expr> {
        let mut is_understood = true;
        expr.apply(|part| {
            is_understood &= self.understands(part);
            Ok(if is_understood { TreeNodeRecursion::Continue } else { TreeNodeRecursion::Stop })
        })
        .ok()?;
        if !is_understood {
            return None;
        }
        let added = expr.clone().transform_up(|part| {
            if let Expr::Column(column) = &part {
                return Ok(Transformed::yes(Expr::Column(Column::from_name(&column.name))));
            }
            match value(&part).filter(|value| !matches!(value.source, Source::Fixed(_))) {
                Some(value) => {
                    self.values.push(value);
                    let name = name_of_value(self.values.len() - 1);
                    Ok(Transformed::yes(Expr::Column(Column::from_name(name))))
                }
                None => Ok(Transformed::no(part)),
            }
        });
        Some(added.ok()?.data)
    }

    fn understands(&mut self, part: &Expr) -> bool {
        match part {
            Expr::Column(column) => match self.shape.schema.index_of(&column.name) {
                Ok(column) => {
                    if !self.columns.contains(&column) {
                        self.columns.push(column);
                    }
                    true
                }
                Err(_) => false,
            },
            Expr::BinaryExpr(binary) => matches!(
                binary.op,
                Operator::Eq
                    | Operator::NotEq
                    | Operator::Lt
                    | Operator::LtEq
                    | Operator::Gt
                    | Operator::GtEq
                    | Operator::And
                    | Operator::Or
                    | Operator::Plus
                    | Operator::Minus
                    | Operator::Multiply
                    | Operator::Divide
                    | Operator::Modulo
                    | Operator::IsDistinctFrom
                    | Operator::IsNotDistinctFrom
            ),
            Expr::Literal(..)
            | Expr::Placeholder(_)
            | Expr::Alias(_)
            | Expr::Not(_)
            | Expr::IsNull(_)
            | Expr::IsNotNull(_)
            | Expr::IsTrue(_)
            | Expr::IsFalse(_)
            | Expr::IsNotTrue(_)
            | Expr::IsNotFalse(_)
            | Expr::Negative(_)
            | Expr::Between(_)
            | Expr::Like(_)
            | Expr::Cast(_)
            | Expr::TryCast(_) => true,
            // Functions may differ from call to call, and lists of floats are searched by bits.
            _ => false,
        }
    }

    /// Puts everything together.
    pub(super) fn finish(self, conditions: &[Expr], expressions: &[Expr]) -> Option<Work> {
        let of_table = &self.shape.schema;
        if conditions.len() + expressions.len() > EXPRESSIONS_MAX.max(of_table.fields().len()) {
            return None;
        }
        let mut columns = self.columns;
        // A batch without columns would not know how many rows it has.
        if columns.is_empty() {
            columns.push(0);
        }
        let read: SchemaRef = Arc::new(of_table.project(&columns).ok()?);
        let mut fields: Vec<Field> = read.fields().iter().map(|field| field.as_ref().clone()).collect();
        for (number, value) in self.values.iter().enumerate() {
            fields.push(Field::new(name_of_value(number), value.data_type.clone(), true));
        }
        let input: SchemaRef = Arc::new(Schema::new(fields));
        let qualified = DFSchema::try_from(input.clone()).ok()?;
        let (props, context) = (ExecutionProps::new(), PhysicalPlanningContext::default());
        let physical = |exprs: &[Expr]| -> Option<Vec<Arc<dyn PhysicalExpr>>> {
            exprs.iter().map(|expr| create_physical_expr(expr, &qualified, &props, &context).ok()).collect()
        };
        let (conditions, expressions) = (physical(conditions)?, physical(expressions)?);
        let is_boolean = |condition: &Arc<dyn PhysicalExpr>| {
            condition.data_type(&input).is_ok_and(|data_type| data_type == DataType::Boolean)
        };
        if !conditions.iter().all(is_boolean) {
            return None;
        }
        Some(Work { columns, read, input, values: self.values, conditions, expressions })
    }
}

/// No column of a table is called so: the schema of a table that has one is refused.
fn name_of_value(number: usize) -> String {
    format!("\0value {number}")
}
