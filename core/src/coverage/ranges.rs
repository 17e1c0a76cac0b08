//! What of a region a source can use to leave out rows early: between which values of each column it is.

use super::domain::{Domain, Kind};
use super::point::{Cut, Point};
use super::region::{Domains, Region};
use super::set::Set;
use crate::source::{ColumnRanges, ValueRange};
use crate::types::value::Value;

/// The most ranges of a column; more of them become one.
const RANGES_MAX: usize = 100;

impl Region {
    /// Ranges of columns that have all rows of the region, and perhaps others. Nothing of columns whose nulls or values of other kinds
    /// may be among them.
    pub(crate) fn ranges(&self, domains: &Domains<'_>) -> Vec<ColumnRanges> {
        let Some(first) = self.cases.first() else { return Vec::new() };
        let ranges = first.keys().filter_map(|column| {
            // A case without the column has all of its cells.
            let sets = self.cases.iter().map(|case| case.get(column).cloned()).collect::<Option<Vec<_>>>()?;
            let ranges = of_set(&Set::union(sets), &domains(column)?)?;
            Some(ColumnRanges { column: column.clone(), ranges })
        });
        ranges.collect()
    }
}

fn of_set(set: &Set, domain: &Domain) -> Option<Vec<ValueRange>> {
    if set.has_null() || set.has_nan() || set.intervals().is_empty() {
        return None;
    }
    let range = |(low, high): (&Cut, &Cut)| {
        let range = ValueRange { low: value(low, domain), high: value(high, domain) };
        (range.low.is_some() || range.high.is_some()).then_some(range)
    };
    let intervals = set.intervals();
    if intervals.len() <= RANGES_MAX {
        return intervals.iter().map(|(low, high)| range((low, high))).collect();
    }
    let ((low, _), (_, high)) = (intervals.first()?, intervals.last()?);
    Some(vec![range((low, high))?])
}

/// The value beside a cut, which the range then has too.
fn value(cut: &Cut, domain: &Domain) -> Option<Value> {
    let (Cut::Before(point) | Cut::After(point)) = cut else { return None };
    match (domain.kind, point) {
        (Kind::Int(..), Point::Int(number)) => match i64::try_from(*number) {
            Ok(number) => Some(Value::Int(number)),
            Err(_) => u64::try_from(*number).ok().map(Value::UInt),
        },
        (Kind::Decimal(scale), Point::Int(unscaled)) => Some(Value::Decimal { unscaled: *unscaled, scale }),
        (Kind::Date, Point::Int(days)) => i32::try_from(*days).ok().map(Value::Date),
        (Kind::Timestamp(unit, _), Point::Int(value)) => {
            i64::try_from(*value).ok().map(|value| Value::Timestamp { value, unit })
        }
        (Kind::Text, Point::Bytes(bytes)) => String::from_utf8(bytes.clone()).ok().map(Value::Str),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use arrow::datatypes::{DataType, Field};

    use super::*;

    fn shown(cases: &[&[(&str, Set)]]) -> Vec<String> {
        let case = |case: &&[(&str, Set)]| {
            case.iter().map(|(column, set)| ((*column).to_owned(), set.clone())).collect::<BTreeMap<_, _>>()
        };
        let region = Region { cases: cases.iter().map(case).collect() };
        let domains = |column: &str| {
            let data_type = match column {
                "id" => DataType::Int64,
                "name" => DataType::Utf8,
                _ => DataType::Float64,
            };
            Domain::of(&Field::new(column, data_type, true))
        };
        let end = |value: &Option<Value>| value.as_ref().map_or_else(String::new, ToString::to_string);
        let ranges = |of: &ColumnRanges| {
            let ranges = of.ranges.iter().map(|range| format!("{}..{}", end(&range.low), end(&range.high)));
            format!("{} {}", of.column, ranges.collect::<Vec<_>>().join(" "))
        };
        region.ranges(&domains).iter().map(ranges).collect()
    }

    #[test]
    fn ranges_have_all_rows_of_a_region() {
        let int = |number: i128| Point::Int(number);
        let text = |bytes: &[u8]| Point::Bytes(bytes.to_vec());
        let (low, high) =
            (Set::between(Cut::Min, Cut::After(int(3))), Set::between(Cut::After(int(7)), Cut::Max));
        let eu = Set::of_point(text(b"eu"));
        assert_eq!(shown(&[&[("id", low.clone()), ("name", eu.clone())]]), ["id ..3", "name eu..eu"]);
        assert_eq!(shown(&[&[("id", high.clone())], &[("id", low.clone())]]), ["id ..3 7.."]);
        assert!(
            shown(&[&[("id", low.clone())], &[("name", eu)]]).is_empty(),
            "each row may be of the other case"
        );
        assert!(shown(&[&[("id", low.with_null(true))]]).is_empty(), "a null may be wanted");
        let prefix = Set::between(Cut::Before(text(b"a")), Cut::Before(text(b"\xff")));
        assert_eq!(shown(&[&[("name", prefix)]]), ["name a.."], "an end that is not a text is left open");
        assert!(shown(&[&[("float", high)]]).is_empty());
        assert!(shown(&[&[]]).is_empty() && shown(&[]).is_empty());
        let many = Set::union((0..200).map(|number| Set::of_point(int(2 * number))).collect());
        assert_eq!(shown(&[&[("id", many)]]), ["id 0..398"]);
    }
}
