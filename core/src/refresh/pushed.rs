//! What of the condition of a working set a source may decide, so that it need not send all rows.
//!
//! A source compares values in its own way. So it is only asked what cannot leave out a row that the condition keeps here: comparisons of
//! whole numbers, dates, timestamps and truth values, which all engines order alike, with bounds that are widened to what the source
//! can express. Each part of the condition that says more counts as true.

use arrow::datatypes::{DataType, Schema};
use chrono::{DateTime, Datelike, NaiveDate, TimeDelta};

use crate::coverage::{Comparison, Predicate};
use crate::types::units::per_second;
use crate::types::value::Value;

/// A condition in the words of PostgreSQL that is true of each row of which `predicate` is. `None` if nothing can be said.
pub(super) fn postgresql(predicate: &Predicate, schema: &Schema) -> Option<String> {
    Writer { schema }.condition(predicate, false)
}

struct Writer<'a> {
    schema: &'a Schema,
}

impl Writer<'_> {
    /// `None` stands for true.
    fn condition(&self, predicate: &Predicate, negated: bool) -> Option<String> {
        match predicate {
            Predicate::Not(inner) => self.condition(inner, !negated),
            Predicate::And(parts) if negated => self.any(parts, negated),
            Predicate::And(parts) => self.all(parts, negated),
            Predicate::Or(parts) if negated => self.all(parts, negated),
            Predicate::Or(parts) => self.any(parts, negated),
            Predicate::Compare { column, operator, value } => {
                let operator = if negated { operator.opposite() } else { *operator };
                self.compared(column, operator, value)
            }
            Predicate::In { column, values } if !negated && !values.is_empty() => {
                let equal = values.iter().map(|value| self.compared(column, Comparison::Equal, value));
                Some(format!("({})", equal.collect::<Option<Vec<_>>>()?.join(" OR ")))
            }
            // A source may have values that are null here.
            _ => None,
        }
    }

    fn all(&self, parts: &[Predicate], negated: bool) -> Option<String> {
        let parts: Vec<_> = parts.iter().filter_map(|part| self.condition(part, negated)).collect();
        (!parts.is_empty()).then(|| format!("({})", parts.join(" AND ")))
    }

    fn any(&self, parts: &[Predicate], negated: bool) -> Option<String> {
        let parts = parts.iter().map(|part| self.condition(part, negated)).collect::<Option<Vec<_>>>()?;
        (!parts.is_empty()).then(|| format!("({})", parts.join(" OR ")))
    }

    fn compared(&self, column: &str, operator: Comparison, value: &Value) -> Option<String> {
        let data_type = self.schema.field_with_name(column).ok()?.data_type();
        let (low, high) = bounds(data_type, value)?;
        let name = format!("\"{}\"", column.replace('"', "\"\""));
        Some(match operator {
            Comparison::Less | Comparison::LessOrEqual => format!("{name} <= {high}"),
            Comparison::Greater | Comparison::GreaterOrEqual => format!("{name} >= {low}"),
            Comparison::Equal if low == high => format!("{name} = {low}"),
            Comparison::Equal => format!("({name} >= {low} AND {name} <= {high})"),
            Comparison::NotEqual => return None,
        })
    }
}

/// Literals at or below a value and at or above it, the nearest that columns of a type can have.
fn bounds(data_type: &DataType, value: &Value) -> Option<(String, String)> {
    let same = |literal: String| Some((literal.clone(), literal));
    match (data_type, value) {
        (DataType::Int16 | DataType::Int32 | DataType::Int64, Value::Int(value)) => {
            same(format!("({value})"))
        }
        (DataType::Boolean, Value::Bool(value)) => same(value.to_string()),
        (DataType::Date32, Value::Date(days)) => same(date(i64::from(*days))?),
        (DataType::Date32, Value::Timestamp { value, unit }) => {
            let per_day = i128::from(86_400 * per_second(*unit));
            let (first, last) = around(i128::from(*value), per_day, 1)?;
            Some((date(first)?, date(last)?))
        }
        (DataType::Timestamp(_, zone), Value::Timestamp { value, unit }) => {
            let (first, last) = around(i128::from(*value), per_second(*unit).into(), 1_000_000)?;
            Some((moment(first, zone.is_some())?, moment(last, zone.is_some())?))
        }
        (DataType::Timestamp(_, None), Value::Date(days)) => {
            same(moment(i64::from(*days).checked_mul(86_400_000_000)?, false)?)
        }
        _ => None,
    }
}

/// The whole numbers around `value * to / from`.
fn around(value: i128, from: i128, to: i128) -> Option<(i64, i64)> {
    let scaled = value.checked_mul(to)?;
    let first = scaled.div_euclid(from);
    let last = if scaled.rem_euclid(from) == 0 { first } else { first + 1 };
    Some((i64::try_from(first).ok()?, i64::try_from(last).ok()?))
}

/// Years of four digits, which everybody writes alike.
fn is_common(year: i32) -> bool {
    (1..=9999).contains(&year)
}

fn date(days: i64) -> Option<String> {
    let date = NaiveDate::default().checked_add_signed(TimeDelta::try_days(days)?)?;
    is_common(date.year()).then(|| format!("DATE '{date}'"))
}

fn moment(microseconds: i64, has_zone: bool) -> Option<String> {
    let moment = DateTime::from_timestamp_micros(microseconds)?.naive_utc();
    let text = moment.format("%Y-%m-%d %H:%M:%S%.6f");
    is_common(moment.year()).then(|| match has_zone {
        true => format!("TIMESTAMPTZ '{text}+00'"),
        false => format!("TIMESTAMP '{text}'"),
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, TimeUnit};

    use super::*;

    #[test]
    fn a_source_is_asked_for_no_less_than_is_kept() {
        let schema = Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("at", DataType::Timestamp(TimeUnit::Microsecond, None), true),
            Field::new("zoned", DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true),
            Field::new("day", DataType::Date32, true),
            Field::new("na\"me", DataType::Utf8, true),
        ]);
        let compared =
            |column: &str, operator, value| Predicate::Compare { column: column.to_owned(), operator, value };
        let text = compared("na\"me", Comparison::Equal, Value::from("x"));
        let nanoseconds = |value| Value::Timestamp { value, unit: TimeUnit::Nanosecond };
        let early = compared("at", Comparison::Less, nanoseconds(1_500));
        let written = |predicate: &Predicate| postgresql(predicate, &schema);
        assert_eq!(written(&text), None);
        assert_eq!(written(&early).unwrap(), "\"at\" <= TIMESTAMP '1970-01-01 00:00:00.000002'");
        let late = compared("zoned", Comparison::Greater, nanoseconds(-1));
        assert_eq!(written(&late).unwrap(), "\"zoned\" >= TIMESTAMPTZ '1969-12-31 23:59:59.999999+00'");
        let both = Predicate::And(vec![text.clone(), early.clone()]);
        assert_eq!(written(&both), written(&early).map(|early| format!("({early})")));
        assert_eq!(written(&Predicate::Or(vec![text.clone(), early.clone()])), None);
        // A row for which the text is null satisfies neither, and is kept by nobody.
        assert_eq!(written(&both.negate()), None);
        let not_early = Predicate::Or(vec![text, early]).negate();
        assert_eq!(written(&not_early).unwrap(), "(\"at\" >= TIMESTAMP '1970-01-01 00:00:00.000001')");
        let day = compared("day", Comparison::Equal, nanoseconds(5));
        assert_eq!(written(&day).unwrap(), "(\"day\" >= DATE '1970-01-01' AND \"day\" <= DATE '1970-01-02')");
        let listed = Predicate::In { column: "id".to_owned(), values: vec![Value::Int(-1), Value::Int(2)] };
        assert_eq!(written(&listed).unwrap(), "(\"id\" = (-1) OR \"id\" = (2))");
        assert_eq!(written(&listed.negate()), None);
        assert_eq!(
            written(&compared(
                "at",
                Comparison::Less,
                Value::Timestamp { value: i64::MAX, unit: TimeUnit::Second }
            )),
            None
        );
        assert_eq!(written(&Predicate::IsNull { column: "id".to_owned() }), None);
    }
}
