//! What of a filter bounds can answer.
//!
//! Zone maps know the smallest and the largest value of a column. They say something about an expression over the
//! column only if the expression never falls where the column rises. DataFusion takes bounds through any cast between
//! two types that are not text, and through a negation that overflows. For a timestamp cast to a time of day, or an
//! integer cast to a boolean, that loses rows. So this file must prove an expression monotone before bounds are used
//! for it.

use arrow::datatypes::{DataType, Schema};
use datafusion::logical_expr::expr::{Between, InList, Like};
use datafusion::logical_expr::{BinaryExpr, Cast, Expr, Operator, TryCast, and, binary_expr, or};

/// A condition that holds wherever `filter` holds, and that bounds can answer; `None` if there is none.
pub(super) fn weaken(filter: &Expr, schema: &Schema) -> Option<Expr> {
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
            match (weaken(left, schema), weaken(right, schema)) {
                (Some(left), Some(right)) => Some(and(left, right)),
                (one, other) => one.or(other),
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            Some(or(weaken(left, schema)?, weaken(right, schema)?))
        }
        Expr::BinaryExpr(BinaryExpr { left, op, right }) => {
            let (value, op, literal) = match (left.as_ref(), right.as_ref()) {
                (value, literal @ Expr::Literal(..)) => (value, *op, literal),
                (literal @ Expr::Literal(..), value) => (value, op.swap()?, literal),
                _ => return None,
            };
            if matches!(op, Operator::IsDistinctFrom | Operator::IsNotDistinctFrom) {
                // These operators find nulls too, and a cast may make nulls that bounds do not know.
                column_type(value, schema)?;
            } else if !is_comparison(op) {
                return None;
            }
            comparable(value, literal, schema)?;
            Some(binary_expr(value.clone(), op, literal.clone()))
        }
        Expr::Between(Between { expr, negated, low, high }) => {
            comparable(expr, low, schema)?;
            comparable(expr, high, schema)?;
            let compare = |op, bound: &Expr| binary_expr(expr.as_ref().clone(), op, bound.clone());
            Some(if *negated {
                or(compare(Operator::Lt, low), compare(Operator::Gt, high))
            } else {
                and(compare(Operator::GtEq, low), compare(Operator::LtEq, high))
            })
        }
        Expr::InList(InList { expr, list, .. }) => {
            list.iter().try_for_each(|literal| comparable(expr, literal, schema))?;
            Some(filter.clone())
        }
        Expr::Like(Like { expr, pattern, case_insensitive: false, escape_char: None, .. }) => {
            let data_type = column_type(expr, schema)?;
            is_text(data_type).then_some(())?;
            matches!(pattern.as_ref(), Expr::Literal(pattern, _) if &pattern.data_type() == data_type)
                .then(|| filter.clone())
        }
        Expr::IsNull(expr) | Expr::IsNotNull(expr) => column_type(expr, schema).map(|_| filter.clone()),
        Expr::Not(expr) => (column_type(expr, schema)? == &DataType::Boolean).then(|| filter.clone()),
        Expr::Column(_) => (column_type(filter, schema)? == &DataType::Boolean).then(|| filter.clone()),
        _ => None,
    }
}

fn is_comparison(op: Operator) -> bool {
    use Operator as O;
    matches!(op, O::Eq | O::NotEq | O::Lt | O::LtEq | O::Gt | O::GtEq)
}

/// Whether `value` rises with a column and has the type of `literal`.
fn comparable(value: &Expr, literal: &Expr, schema: &Schema) -> Option<()> {
    let Expr::Literal(literal, _) = literal else { return None };
    (rising_type(value, schema)? == &literal.data_type()).then_some(())
}

fn column_type<'a>(expr: &Expr, schema: &'a Schema) -> Option<&'a DataType> {
    let Expr::Column(column) = expr else { return None };
    schema.field_with_name(&column.name).ok().map(|field| field.data_type())
}

/// The type of an expression that never falls where its column rises.
fn rising_type<'a>(expr: &'a Expr, schema: &'a Schema) -> Option<&'a DataType> {
    match expr {
        Expr::Column(_) => column_type(expr, schema).filter(|data_type| is_ordered_by_bounds(data_type)),
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => {
            is_rising(rising_type(expr, schema)?, field.data_type()).then(|| field.data_type())
        }
        _ => None,
    }
}

/// Whether zone maps hold bounds of a type, and in the order in which SQL compares its values.
fn is_ordered_by_bounds(data_type: &DataType) -> bool {
    use DataType as T;
    let is_bytes = matches!(data_type, T::Binary | T::LargeBinary | T::BinaryView);
    let is_number = data_type.is_primitive() && !matches!(data_type, T::Interval(_));
    data_type == &T::Boolean || is_text(data_type) || is_bytes || is_number
}

fn is_text(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
}

/// Whether a cast keeps the order of all values: if one value is not above another, neither is its result. A value
/// that cannot be cast gives an error or null, for bounds as for rows; both leave nothing out.
fn is_rising(from: &DataType, to: &DataType) -> bool {
    use DataType as T;
    let is_decimal = |data_type: &T| matches!(data_type, T::Decimal128(..) | T::Decimal256(..));
    match (from, to) {
        (from, to) if from == to => true,
        (from, to) if from.is_integer() => to.is_integer() || to.is_floating() || is_decimal(to),
        (T::Float16, T::Float32 | T::Float64) | (T::Float32, T::Float64) => true,
        (T::Decimal128(_, from), T::Decimal128(_, to) | T::Decimal256(_, to))
        | (T::Decimal256(_, from), T::Decimal256(_, to)) => from <= to,
        (from, to) if is_text(from) => is_text(to),
        // A day becomes its midnight, in whatever unit; in a time zone that may break the order.
        (T::Date32, T::Date64 | T::Timestamp(_, None)) => true,
        // The moment stays the same. A coarser unit rounds all values down, or all towards zero.
        (T::Timestamp(_, from), T::Timestamp(_, to)) => from.is_some() == to.is_some(),
        // In a time zone, clocks may be set back over midnight.
        (T::Timestamp(_, None), T::Date32) => true,
        _ => false,
    }
}
