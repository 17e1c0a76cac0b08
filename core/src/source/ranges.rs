//! Between which values of a column all wanted rows are.

use crate::types::value::Value;

/// A column, and the ranges that have the values of all wanted rows. A row with a null in the column is not wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct ColumnRanges {
    /// The name of the column.
    pub column: String,
    /// Ascending; at least one, and each has at least one end.
    pub ranges: Vec<ValueRange>,
}

/// Values from one to another, both included. Texts are compared by their bytes. Timestamps and decimals are in the unit and at the
/// scale of their column.
#[derive(Clone, Debug, PartialEq)]
pub struct ValueRange {
    /// The lowest value; `None` for all below the highest.
    pub low: Option<Value>,
    /// The highest value; `None` for all above the lowest.
    pub high: Option<Value>,
}
