//! Conditions by which the kernel chooses files.

use std::sync::Arc;

use arrow::datatypes::DataType;
use delta_kernel::{Expression, Predicate, PredicateRef};
use pillion::source::{ColumnRanges, ValueRange};

use crate::position::{Position, literal};
use crate::table::Table;

/// A predicate that is true of each row that is wanted; `None` if nothing can be said. Files without such rows are not read.
pub(crate) fn predicate(
    table: &Table,
    position: Option<&Position>,
    ranges: &[ColumnRanges],
) -> Option<PredicateRef> {
    let stored = |ranges: &ColumnRanges| match table.columns.stored(&ranges.column) {
        // Texts have another order than what they show.
        Ok((data_type, false)) => of_column(ranges, &data_type),
        _ => None,
    };
    let all: Vec<Predicate> =
        position.and_then(Position::predicate).into_iter().chain(ranges.iter().filter_map(stored)).collect();
    (!all.is_empty()).then(|| Arc::new(Predicate::and_from(all)))
}

/// `None` if the kernel cannot compare an end of a range, so that every row may be wanted.
fn of_column(ranges: &ColumnRanges, data_type: &DataType) -> Option<Predicate> {
    let column = || Expression::column([ranges.column.clone()]);
    let of_range = |range: &ValueRange| {
        let end = |value| Some(Expression::literal(literal(data_type, value)?));
        let low = range.low.as_ref().and_then(end).map(|low| Predicate::ge(column(), low));
        let high = range.high.as_ref().and_then(end).map(|high| Predicate::le(column(), high));
        match (low, high) {
            (Some(low), Some(high)) => Some(Predicate::and(low, high)),
            (one, other) => one.or(other),
        }
    };
    let ranges: Vec<Predicate> = ranges.ranges.iter().map(of_range).collect::<Option<_>>()?;
    (!ranges.is_empty()).then(|| Predicate::or_from(ranges))
}

#[cfg(test)]
mod tests {
    use pillion::Value;

    use super::*;

    #[test]
    fn an_end_that_is_not_comparable_is_left_open() {
        let of = |data_type: &DataType, ends: &[(Option<Value>, Option<Value>)]| {
            let range = |(low, high): &(Option<Value>, Option<Value>)| ValueRange {
                low: low.clone(),
                high: high.clone(),
            };
            let ranges = ColumnRanges { column: "c".to_owned(), ranges: ends.iter().map(range).collect() };
            of_column(&ranges, data_type).map(|predicate| predicate.to_string())
        };
        let one = || Some(Value::Int(1));
        let both = of(&DataType::Int32, &[(one(), Some(Value::Int(2)))]).unwrap();
        assert!(both.contains('1') && both.contains('2'), "{both}");
        let large = of(&DataType::Int32, &[(one(), Some(Value::Int(i64::MAX)))]).unwrap();
        assert!(large.contains('1') && !large.contains("AND"), "{large}");
        assert_eq!(of(&DataType::Int32, &[(one(), None), (None, Some(Value::from("x")))]), None);
        assert_eq!(of(&DataType::Float64, &[(one(), None)]), None);
        assert_eq!(of(&DataType::Int32, &[]), None);
    }
}
