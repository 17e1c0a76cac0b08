//! Finds the rows of a sorted batch that its filters may want, so that a small range does not read all of it.

use std::cmp::Ordering;
use std::ops::Range;

use arrow::array::{ArrayRef, make_comparator};
use arrow::datatypes::DataType;
use datafusion::common::ScalarValue;
use datafusion::error::Result;
use datafusion::logical_expr::expr::{Between, InList};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator};

use super::error::external;
use crate::storage::{ORDER, Segment, TableShape};

/// What the filters of a scan say about the leading columns of the order by which every segment is sorted.
#[derive(Debug)]
pub(super) struct SortedBounds {
    columns: Vec<ColumnBounds>,
}

/// Bounds of a column; rows must satisfy all of them.
#[derive(Debug)]
struct ColumnBounds {
    column: usize,
    bounds: Vec<Bound>,
}

#[derive(Debug)]
struct Bound {
    /// A lower bound excludes the rows before it, an upper bound the rows after it.
    is_lower: bool,
    /// Whether a row with exactly this value is within.
    inclusive: bool,
    /// One value of the column's type.
    value: ArrayRef,
}

impl SortedBounds {
    /// Reads bounds from `filters`, all of which must hold.
    pub(super) fn new(shape: &TableShape, filters: &[Expr]) -> Self {
        let mut columns = Vec::new();
        for &column in &shape.sort_by {
            let field = shape.schema.field(column);
            if !is_ordered(field.data_type()) {
                break;
            }
            let mut found = FoundLimits {
                name: field.name(),
                data_type: field.data_type(),
                limits: Vec::new(),
                one_value: false,
            };
            filters.iter().for_each(|filter| found.read(filter));
            let bounds: Vec<_> = found.limits.iter().filter_map(Limit::to_bound).collect();
            if bounds.is_empty() {
                break;
            }
            columns.push(ColumnBounds { column, bounds });
            // The next column is sorted only among rows with one value of this column.
            if !found.one_value {
                break;
            }
        }
        Self { columns }
    }

    /// The rows of a batch that may be within all bounds, and perhaps some more; all rows if bounds cannot be
    /// evaluated.
    pub(super) fn rows(&self, segment: &Segment, batch: usize) -> Range<usize> {
        self.find(segment, batch).unwrap_or_else(|_| 0..segment.batch_rows(batch))
    }

    fn find(&self, segment: &Segment, batch: usize) -> Result<Range<usize>> {
        let mut rows = 0..segment.batch_rows(batch);
        for ColumnBounds { column, bounds } in &self.columns {
            for bound in bounds {
                // Values may be read only from verified pages, and the search below verifies them row by row.
                let Some(first) = rows.clone().next() else { return Ok(rows) };
                let array = segment.cell(batch, *column, first).map_err(external)?;
                let compare = make_comparator(array, bound.value.as_ref(), ORDER)?;
                // Rows for which this holds come before all others.
                let is_before = |row: usize| -> Result<bool> {
                    segment.cell(batch, *column, row).map_err(external)?;
                    Ok(match compare(row, 0) {
                        Ordering::Less => true,
                        Ordering::Equal => bound.is_lower != bound.inclusive,
                        Ordering::Greater => false,
                    })
                };
                let split = partition_point(rows.clone(), is_before)?;
                rows = if bound.is_lower { split..rows.end } else { rows.start..split };
            }
        }
        Ok(rows)
    }
}

/// The first row for which `is_before` does not hold.
fn partition_point(rows: Range<usize>, is_before: impl Fn(usize) -> Result<bool>) -> Result<usize> {
    let (mut low, mut high) = (rows.start, rows.end);
    // Most batches of a wide range lie entirely within it.
    if rows.is_empty() || !is_before(low)? {
        return Ok(low);
    }
    if is_before(high - 1)? {
        return Ok(high);
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if is_before(middle)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(low)
}

/// Whether rows are stored in the order in which SQL compares values of this type, and equal values have equal bits:
/// numbers by their value, text and bytes bytewise. Floats are excluded, as SQL takes the two zeros for one value.
/// For intervals and nested types this is not certain, so they are excluded too.
pub(super) fn is_ordered(data_type: &DataType) -> bool {
    use DataType as T;
    match data_type {
        T::Boolean | T::Utf8 | T::LargeUtf8 | T::Utf8View => true,
        T::Binary | T::LargeBinary | T::BinaryView | T::FixedSizeBinary(_) => true,
        T::Interval(_) => false,
        other => other.is_primitive() && !other.is_floating(),
    }
}

/// One end of a range.
struct Limit {
    is_lower: bool,
    inclusive: bool,
    value: ScalarValue,
}

impl Limit {
    fn to_bound(&self) -> Option<Bound> {
        let value = self.value.to_array().ok()?;
        Some(Bound { is_lower: self.is_lower, inclusive: self.inclusive, value })
    }
}

/// What filters say about a column.
struct FoundLimits<'a> {
    name: &'a str,
    data_type: &'a DataType,
    limits: Vec<Limit>,
    /// Whether at most one stored value is within the limits.
    one_value: bool,
}

impl FoundLimits<'_> {
    fn read(&mut self, filter: &Expr) {
        match filter {
            Expr::BinaryExpr(BinaryExpr { left, op: Operator::And, right }) => {
                self.read(left);
                self.read(right);
            }
            Expr::BinaryExpr(BinaryExpr { left, op, right }) => match (left.as_ref(), right.as_ref()) {
                (column, Expr::Literal(value, _)) if self.is_column(column) => self.compared(*op, value),
                (Expr::Literal(value, _), column) if self.is_column(column) => {
                    if let Some(op) = op.swap() {
                        self.compared(op, value);
                    }
                }
                _ => {}
            },
            Expr::Between(Between { expr, negated: false, low, high }) if self.is_column(expr) => {
                if let Expr::Literal(value, _) = low.as_ref() {
                    self.compared(Operator::GtEq, value);
                }
                if let Expr::Literal(value, _) = high.as_ref() {
                    self.compared(Operator::LtEq, value);
                }
            }
            Expr::InList(InList { expr, list, negated: false }) if self.is_column(expr) => {
                if let [Expr::Literal(value, _)] = list.as_slice() {
                    self.compared(Operator::Eq, value);
                }
            }
            _ => {}
        }
    }

    fn is_column(&self, expr: &Expr) -> bool {
        matches!(expr, Expr::Column(column) if column.name == self.name)
    }

    fn compared(&mut self, op: Operator, value: &ScalarValue) {
        if value.is_null() || &value.data_type() != self.data_type {
            return;
        }
        let inclusive = matches!(op, Operator::Eq | Operator::GtEq | Operator::LtEq);
        if matches!(op, Operator::Eq | Operator::Gt | Operator::GtEq) {
            self.limits.push(Limit { is_lower: true, inclusive, value: value.clone() });
        }
        if matches!(op, Operator::Eq | Operator::Lt | Operator::LtEq) {
            self.limits.push(Limit { is_lower: false, inclusive, value: value.clone() });
        }
        self.one_value |= op == Operator::Eq;
    }
}
