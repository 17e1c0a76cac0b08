//! Recognises filters that name primary keys outright.

use std::collections::HashSet;

use datafusion::common::ScalarValue;
use datafusion::logical_expr::expr::InList;
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use crate::storage::TableShape;
use crate::storage::key::{self, KeyBytes};
use crate::types::cell::value_at;
use crate::types::value::Value;

/// A filter with more keys than this is left to a scan.
pub(super) const KEYS_MAX: usize = 1000;

/// The encoded keys, each once, that satisfy all `filters`. These must have `column = value` or `column IN (values)`
/// for every key column; `None` if they do not, or if a value cannot be a key.
pub(super) fn find_keys(shape: &TableShape, filters: &[Expr]) -> Option<Vec<KeyBytes>> {
    if shape.primary_key.is_empty() {
        return None;
    }
    encode(&alternatives(shape, &shape.primary_key, filters)?)
}

/// Values, each combination once, that some columns together must have in rows that satisfy all `filters`, if these name them as
/// [`find_keys`] needs it.
pub(super) fn values_of_columns(
    shape: &TableShape,
    columns: &[usize],
    filters: &[Expr],
) -> Option<Vec<Vec<Value>>> {
    let mut rows = vec![Vec::new()];
    for values in alternatives(shape, columns, filters)? {
        let mut longer = Vec::with_capacity(rows.len() * values.len());
        // A null equals nothing.
        for value in values.iter().filter(|value| !value.is_null()) {
            let array = value.to_array().ok()?;
            let value = value_at(array.as_ref(), 0).ok()?.into_owned();
            longer.extend(rows.iter().map(|row| row.iter().cloned().chain([value.clone()]).collect()));
        }
        rows = longer;
    }
    Some(rows)
}

/// The values, each once, that filters allow for each of some columns, not more than [`KEYS_MAX`] combinations of them.
fn alternatives<'a>(
    shape: &TableShape,
    columns: &[usize],
    filters: &'a [Expr],
) -> Option<Vec<Vec<&'a ScalarValue>>> {
    let mut alternatives: Vec<Vec<&ScalarValue>> = Vec::new();
    for &column in columns {
        let field = shape.schema.field(column);
        // SQL decides when floats are equal, whereas a key is compared by its bits.
        if field.data_type().is_floating() {
            return None;
        }
        let named = filters.iter().filter_map(|filter| values_of(filter, field.name()));
        let mut typed =
            named.filter(|values| values.iter().all(|value| &value.data_type() == field.data_type()));
        let first = typed.next()?;
        let mut allowed = typed.fold(first, |allowed, values| {
            allowed.into_iter().filter(|value| values.contains(value)).collect()
        });
        let mut seen = HashSet::new();
        allowed.retain(|value| seen.insert(*value));
        alternatives.push(allowed);
    }
    if alternatives.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul)? > KEYS_MAX {
        return None;
    }
    Some(alternatives)
}

/// Every combination of values, one for each key column, encoded.
fn encode(alternatives: &[Vec<&ScalarValue>]) -> Option<Vec<KeyBytes>> {
    let mut keys = vec![KeyBytes::new()];
    for values in alternatives {
        let mut longer = Vec::with_capacity(keys.len() * values.len());
        // A null equals nothing.
        for value in values.iter().filter(|value| !value.is_null()) {
            let array = value.to_array().ok()?;
            for key in &keys {
                let mut key = key.clone();
                key::encode_cell(&mut key, array.as_ref(), 0).ok()?;
                longer.push(key);
            }
        }
        keys = longer;
    }
    keys.sort_unstable();
    keys.dedup();
    Some(keys)
}

/// The values that a filter allows for a column, if it says nothing else.
fn values_of<'a>(filter: &'a Expr, column: &str) -> Option<Vec<&'a ScalarValue>> {
    let is_column = |expr: &Expr| matches!(expr, Expr::Column(found) if found.name == column);
    match filter {
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) => {
            match (left.as_ref(), right.as_ref()) {
                (expr, Expr::Literal(value, _)) | (Expr::Literal(value, _), expr) if is_column(expr) => {
                    Some(vec![value])
                }
                _ => None,
            }
        }
        Expr::BinaryExpr(BinaryExpr { left, op: Operator::Or, right }) => {
            let mut values = values_of(left, column)?;
            values.extend(values_of(right, column)?);
            Some(values)
        }
        Expr::InList(InList { expr, list, negated: false }) if is_column(expr) => list
            .iter()
            .map(|value| match value {
                Expr::Literal(value, _) => Some(value),
                _ => None,
            })
            .collect(),
        _ => None,
    }
}
