//! Further conditions on the rows of keys.
//!
//! Only comparisons of a column with a value are understood, and tests for null: none of them can fail for a row, so it does
//! not matter which are evaluated first, or for which rows.

use arrow::array::{Array, ArrayRef, BooleanArray, Datum, RecordBatch};
use arrow::compute::kernels::cmp;
use arrow::compute::{and, cast, filter_record_batch, is_not_null, is_null};
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::value::{Computed, Given, is_text, keeps_values};
use crate::storage::TableShape;

/// Most conditions of a statement, so that a row costs little.
const CONDITIONS_MAX: usize = 16;

/// Columns of the rows of keys that satisfy some conditions.
#[derive(Debug)]
pub(super) struct Work {
    /// The columns of the table that are read: those of the answer, and then those of the conditions.
    pub(super) columns: Vec<usize>,
    /// The same.
    pub(super) read: SchemaRef,
    conditions: Vec<Condition>,
    /// How many of the columns are those of the answer.
    wanted: usize,
}

#[derive(Debug)]
enum Condition {
    Null { at: usize, is_null: bool },
    Compared { at: usize, as_type: Option<DataType>, operator: Operator, value: Computed },
}

impl Work {
    /// These columns of rows, as far as they satisfy the conditions. `None` unless all conditions are understood.
    pub(super) fn new<'e>(
        shape: &TableShape,
        mut columns: Vec<usize>,
        conditions: &[&'e Expr],
        mut value: impl FnMut(&'e Expr) -> Option<Computed>,
    ) -> Option<Self> {
        if conditions.len() > CONDITIONS_MAX {
            return None;
        }
        let wanted = columns.len();
        let mut understood = Vec::with_capacity(conditions.len());
        for condition in conditions {
            let mut place = |column: usize| {
                columns.push(column);
                columns.len() - 1
            };
            understood.push(match condition {
                Expr::IsNull(of) => Condition::Null { at: place(column(shape, of)?), is_null: true },
                Expr::IsNotNull(of) => Condition::Null { at: place(column(shape, of)?), is_null: false },
                Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
                    let (of, operator, given) = match compared(shape, left) {
                        Some(of) => (of, *op, right),
                        None => (compared(shape, right)?, op.swap()?, left),
                    };
                    let (column, as_type) = of;
                    let value = value(given)?;
                    let of_column =
                        as_type.as_ref().unwrap_or_else(|| shape.schema.field(column).data_type());
                    let is_compared = kernel(operator).is_some() && value.data_type == *of_column;
                    is_compared.then_some(Condition::Compared {
                        at: place(column),
                        as_type,
                        operator,
                        value,
                    })?
                }
                _ => return None,
            });
        }
        let read = shape.schema.project(&columns).ok()?.into();
        Some(Self { columns, read, conditions: understood, wanted })
    }

    /// The values of a run. `None` if the ordinary path has to say what is wrong with one.
    pub(super) fn values(&self, given: Given<'_>) -> Option<Vec<ScalarValue>> {
        let value_of = |condition: &Condition| match condition {
            Condition::Null { .. } => Some(ScalarValue::Null),
            // Of a null DataFusion knows that no row is wanted.
            Condition::Compared { value, .. } => value.scalar(given).filter(|value| !value.is_null()),
        };
        self.conditions.iter().map(value_of).collect()
    }

    /// The rows that satisfy all conditions with these values, as columns of the answer.
    pub(super) fn of_rows(
        &self,
        rows: &RecordBatch,
        answer: &SchemaRef,
        values: &[ScalarValue],
    ) -> Option<RecordBatch> {
        let mut passes: Option<BooleanArray> = None;
        for (condition, value) in self.conditions.iter().zip(values) {
            let these = condition.passes(rows, value)?;
            passes = Some(match passes {
                None => these,
                Some(passes) => and(&passes, &these).ok()?,
            });
        }
        let rows = match passes {
            None => rows.clone(),
            Some(passes) => filter_record_batch(rows, &passes).ok()?,
        };
        RecordBatch::try_new(answer.clone(), rows.columns().get(..self.wanted)?.to_vec()).ok()
    }
}

impl Condition {
    /// Which rows satisfy it. A comparison with null is no reason to keep a row, and none to stop.
    fn passes(&self, rows: &RecordBatch, value: &ScalarValue) -> Option<BooleanArray> {
        match self {
            Self::Null { at, is_null: true } => is_null(rows.columns().get(*at)?).ok(),
            Self::Null { at, is_null: false } => is_not_null(rows.columns().get(*at)?).ok(),
            Self::Compared { at, as_type, operator, .. } => {
                let column = rows.columns().get(*at)?;
                let column: ArrayRef = match as_type {
                    Some(as_type) => cast(column, as_type).ok()?,
                    None => column.clone(),
                };
                let passes = kernel(*operator)?(&column, &value.to_scalar().ok()?).ok()?;
                let no_nulls = passes.nulls().map(|nulls| BooleanArray::new(nulls.inner().clone(), None));
                match no_nulls {
                    None => Some(passes),
                    Some(known) => and(&BooleanArray::new(passes.values().clone(), None), &known).ok(),
                }
            }
        }
    }
}

type Kernel = fn(&dyn Datum, &dyn Datum) -> Result<BooleanArray, arrow::error::ArrowError>;

fn kernel(operator: Operator) -> Option<Kernel> {
    Some(match operator {
        Operator::Eq => cmp::eq,
        Operator::NotEq => cmp::neq,
        Operator::Lt => cmp::lt,
        Operator::LtEq => cmp::lt_eq,
        Operator::Gt => cmp::gt,
        Operator::GtEq => cmp::gt_eq,
        _ => return None,
    })
}

fn column(shape: &TableShape, expr: &Expr) -> Option<usize> {
    match expr {
        Expr::Column(column) => shape.schema.index_of(&column.name).ok(),
        _ => None,
    }
}

/// The column that a side of a comparison is, and the type that it is cast to; such a cast keeps every value.
fn compared(shape: &TableShape, expr: &Expr) -> Option<(usize, Option<DataType>)> {
    let (column, as_type) = match expr {
        Expr::Cast(cast) => (column(shape, &cast.expr)?, Some(cast.field.data_type())),
        expr => (column(shape, expr)?, None),
    };
    let of_column = shape.schema.field(column).data_type();
    let is_kept = as_type.is_none_or(|as_type| keeps_values(of_column, as_type));
    (is_kept && is_ordered(of_column)).then(|| (column, as_type.cloned()))
}

/// Whether Arrow compares values as SQL does: floats have two zeros, and what holds other values has nulls within.
fn is_ordered(data_type: &DataType) -> bool {
    use DataType as T;
    let is_scalar = is_text(data_type)
        || data_type.is_integer()
        || data_type.is_decimal()
        || data_type.is_temporal()
        || matches!(data_type, T::Boolean | T::Binary | T::LargeBinary | T::BinaryView);
    is_scalar && !matches!(data_type, T::Interval(_))
}
