//! Rows that a reader of the files does not hold, through the sidecar: it knows the sources.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::Schema;

use super::Backend;
use crate::answer::row::Row;
use crate::blocking::scope::CallScope;
use crate::coverage::{Feeder, Fetching, KEYS_AT_ONCE, Upstream, Wanted};
use crate::source::Keys;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::key::Key;

/// How long the sidecar may send nothing. It gives sources up itself, and earlier.
const SILENCE: Duration = Duration::from_secs(600);

/// Asks the sidecar at the other end of a socket.
#[derive(Debug)]
pub(super) struct ThroughSidecar {
    sidecar: Arc<dyn Backend>,
}

impl ThroughSidecar {
    pub(super) fn new(sidecar: Arc<dyn Backend>) -> Self {
        Self { sidecar }
    }
}

impl Upstream for ThroughSidecar {
    fn fetch(&self, wanted: &[Arc<Wanted>]) -> Vec<Result<Fetching>> {
        let fetches = wanted.iter().map(|wanted| {
            let (sidecar, wanted) = (self.sidecar.clone(), wanted.clone());
            let silent = format!(
                "table `{}` needs {} of its source, and the sidecar has sent nothing for {SILENCE:?}",
                wanted.table.name, wanted.described
            );
            let work = move |feeder: &Feeder| {
                // Whoever drops the rows gives the call up that fetches them.
                let scope = CallScope::default();
                let of_hook = scope.clone();
                let _given_up = feeder.call().on_cancel(move || of_hook.cancel());
                // The sidecar asks its sources within the same bounds.
                scope.run(|| wanted.bounds.run(|| fetch(sidecar.as_ref(), &wanted, feeder)))
            };
            Fetching::start(SILENCE, silent, work)
        });
        fetches.collect()
    }
}

fn fetch(sidecar: &dyn Backend, wanted: &Wanted, feeder: &Feeder) -> Result<()> {
    match wanted.keys.as_ref().filter(|keys| is_primary(keys, wanted)) {
        // The rows of a scan are of one moment: none comes from the sidecar while others come from the source.
        Some(keys) if is_scan(wanted) && keys.values.len() > 1 => {
            let bounds = wanted.bounds.authoritative();
            bounds.run(|| fetch_keys(sidecar, wanted, keys, feeder))
        }
        Some(keys) => fetch_keys(sidecar, wanted, keys, feeder),
        None => fetch_all(sidecar, wanted, feeder),
    }
}

/// Whether a query wants the rows, and no lookup.
#[cfg(feature = "sql")]
fn is_scan(wanted: &Wanted) -> bool {
    wanted.condition.is_some()
}

#[cfg(not(feature = "sql"))]
fn is_scan(_: &Wanted) -> bool {
    false
}

/// Whether keys are those by which the table looks rows up.
fn is_primary(keys: &Keys, wanted: &Wanted) -> bool {
    let table = &wanted.table;
    let names = table.primary_key.iter().map(|&column| table.schema.field(column).name());
    names.eq(keys.columns.iter())
}

fn fetch_keys(sidecar: &dyn Backend, wanted: &Wanted, keys: &Keys, feeder: &Feeder) -> Result<()> {
    let began = SystemTime::now();
    for values in keys.values.chunks(KEYS_AT_ONCE) {
        feeder.call().check()?;
        let mut values = values.iter().map(|key| key as &dyn Key);
        let found = sidecar.get_many(wanted.table.id, &mut values)?;
        let rows: Vec<&Row> = found.iter().flatten().collect();
        // A row that the sidecar holds itself may be older than this call, and so may what its source has.
        let oldest = rows.iter().filter_map(|row| row.freshness()).map(|freshness| freshness.as_of).min();
        let as_of = oldest.map_or(began, |oldest| oldest.min(began));
        wanted.check_age(as_of, began)?;
        feeder.begin(as_of);
        if !rows.is_empty() {
            feeder.send(conformed(&Row::gather(&rows)?, wanted)?)?;
        }
    }
    feeder.begin(began);
    Ok(())
}

fn fetch_all(sidecar: &dyn Backend, wanted: &Wanted, feeder: &Feeder) -> Result<()> {
    let began = SystemTime::now();
    let batches = asked(sidecar, wanted)?;
    let canceller = batches.canceller();
    let _given_up = feeder.call().on_cancel(move || canceller.cancel());
    // A statement names its tables, and a name may be that of another one by now. One that was dropped does not come back.
    if sidecar.table(&wanted.table.name)?.id != wanted.table.id {
        return Err(Error::new(
            ErrorCode::TableNotFound,
            format!("table `{}` was dropped: look it up again", wanted.table.name),
        ));
    }
    if !batches.certificate().is_complete() {
        return Err(Error::new(
            ErrorCode::NotCovered,
            format!("the sidecar has only some {} of table `{}`", wanted.described, wanted.table.name),
        ));
    }
    let as_of = batches.freshness().map_or(began, |freshness| freshness.as_of.min(began));
    wanted.check_age(as_of, began)?;
    feeder.begin(as_of);
    for batch in batches {
        feeder.send(conformed(&batch?, wanted)?)?;
    }
    Ok(())
}

/// The columns that are wanted, in words of SQL.
fn columns(wanted: &Wanted) -> Vec<String> {
    let schema = &wanted.table.schema;
    let names = wanted.columns.iter().map(|&column| schema.field(column).name().clone());
    names.collect()
}

#[cfg(feature = "sql")]
fn asked(sidecar: &dyn Backend, wanted: &Wanted) -> Result<crate::answer::batches::Batches> {
    let table = &wanted.table;
    let mut parameters = Vec::new();
    let condition = wanted.condition.as_ref();
    let condition =
        condition.and_then(|condition| words::condition(condition, &table.schema, &mut parameters));
    let Some(condition) = condition else {
        return sidecar.scan(table.id, Some(&columns(wanted)));
    };
    let names = columns(wanted);
    let list = match names.as_slice() {
        // Rows without columns are counted all the same.
        [] => "1".to_owned(),
        names => names.iter().map(|name| words::quoted(name)).collect::<Vec<_>>().join(", "),
    };
    let text = format!("SELECT {list} FROM {} WHERE {condition}", words::quoted(&table.name));
    sidecar.sql(&text, &parameters)
}

#[cfg(not(feature = "sql"))]
fn asked(sidecar: &dyn Backend, wanted: &Wanted) -> Result<crate::answer::batches::Batches> {
    sidecar.scan(wanted.table.id, Some(&columns(wanted)))
}

/// Rows as the table has them, with the wanted columns only.
fn conformed(batch: &RecordBatch, wanted: &Wanted) -> Result<RecordBatch> {
    let schema = &wanted.table.schema;
    let fields: Vec<_> =
        wanted.columns.iter().filter_map(|&column| schema.fields().get(column).cloned()).collect();
    let columns = fields.iter().map(|field| batch.column_by_name(field.name()).cloned());
    let wrong = || {
        Error::new(
            ErrorCode::SchemaMismatch,
            format!("table `{}` has other columns at the sidecar: look it up again", wanted.table.name),
        )
    };
    let columns = columns.collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options)
        .map_err(|error| wrong().with_source(error))
}

/// Conditions in the words of the sidecar. A part that is not written counts as true: whoever asked applies the condition again.
#[cfg(feature = "sql")]
mod words {
    use arrow::datatypes::{DataType, Schema};

    use crate::coverage::{Comparison, Predicate};
    use crate::types::value::Value;

    pub(super) fn quoted(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// A condition that is true of each row of which `predicate` is. `None` stands for true.
    pub(super) fn condition(
        predicate: &Predicate,
        schema: &Schema,
        parameters: &mut Vec<Value>,
    ) -> Option<String> {
        Writer { schema, parameters }.condition(predicate, false)
    }

    struct Writer<'a> {
        schema: &'a Schema,
        parameters: &'a mut Vec<Value>,
    }

    impl Writer<'_> {
        fn condition(&mut self, predicate: &Predicate, negated: bool) -> Option<String> {
            match predicate {
                Predicate::Not(inner) => self.condition(inner, !negated),
                Predicate::And(parts) | Predicate::Or(parts)
                    if matches!(predicate, Predicate::And(_)) != negated =>
                {
                    let parts: Vec<_> =
                        parts.iter().filter_map(|part| self.condition(part, negated)).collect();
                    (!parts.is_empty()).then(|| format!("({})", parts.join(" AND ")))
                }
                Predicate::And(parts) | Predicate::Or(parts) => {
                    let before = self.parameters.len();
                    let written: Option<Vec<_>> =
                        parts.iter().map(|part| self.condition(part, negated)).collect();
                    match written {
                        Some(parts) if !parts.is_empty() => Some(format!("({})", parts.join(" OR "))),
                        // Without parameters of what was not written.
                        _ => {
                            self.parameters.truncate(before);
                            None
                        }
                    }
                }
                Predicate::Compare { column, operator, value } => {
                    let operator = if negated { operator.opposite() } else { *operator };
                    // Whether a NaN is above all numbers is for whoever asked to say.
                    self.compared(column, operator, value)
                }
                Predicate::In { column, values } if !negated && !values.is_empty() => {
                    let before = self.parameters.len();
                    let places: Option<Vec<_>> =
                        values.iter().map(|value| self.parameter(column, value)).collect();
                    if places.is_none() {
                        self.parameters.truncate(before);
                    }
                    Some(format!("{} IN ({})", quoted(column), places?.join(", ")))
                }
                Predicate::IsNull { column } => {
                    let not = if negated { "NOT " } else { "" };
                    Some(format!("{} IS {not}NULL", quoted(column)))
                }
                _ => None,
            }
        }

        fn compared(&mut self, column: &str, operator: Comparison, value: &Value) -> Option<String> {
            let place = self.parameter(column, value)?;
            Some(format!("{} {operator} {place}", quoted(column)))
        }

        /// A value to compare a column with.
        fn parameter(&mut self, column: &str, value: &Value) -> Option<String> {
            let data_type = self.schema.field_with_name(column).ok()?.data_type();
            if !is_exact(data_type, value) {
                return None;
            }
            self.parameters.push(value.clone());
            Some(format!("${}", self.parameters.len()))
        }
    }

    /// Whether a parameter for a column of a type takes a value as it is.
    fn is_exact(data_type: &DataType, value: &Value) -> bool {
        use DataType as T;
        let within = |low: i64, high: i64| matches!(value, Value::Int(value) if (low..=high).contains(value));
        match data_type {
            T::Int8 => within(i8::MIN.into(), i8::MAX.into()),
            T::Int16 => within(i16::MIN.into(), i16::MAX.into()),
            T::Int32 => within(i32::MIN.into(), i32::MAX.into()),
            T::Int64 => within(i64::MIN, i64::MAX),
            T::Boolean => matches!(value, Value::Bool(_)),
            T::Utf8 | T::LargeUtf8 | T::Utf8View => matches!(value, Value::Str(_)),
            T::Date32 => matches!(value, Value::Date(_)),
            T::Timestamp(of, _) => matches!(value, Value::Timestamp { unit, .. } if unit == of),
            _ => false,
        }
    }

    #[cfg(test)]
    mod tests {
        use arrow::datatypes::Field;

        use super::*;

        fn written(predicate: &Predicate) -> (Option<String>, Vec<Value>) {
            let schema = Schema::new(vec![
                Field::new("id", DataType::Int32, false),
                Field::new("na\"me", DataType::Utf8, true),
                Field::new("share", DataType::Float64, true),
            ]);
            let mut parameters = Vec::new();
            let condition = condition(predicate, &schema, &mut parameters);
            (condition, parameters)
        }

        fn compared(column: &str, operator: Comparison, value: Value) -> Predicate {
            Predicate::Compare { column: column.to_owned(), operator, value }
        }

        #[test]
        fn conditions_are_written_with_parameters_and_leave_no_row_out() {
            let id = compared("id", Comparison::Less, Value::Int(7));
            let name = compared("na\"me", Comparison::Equal, Value::from("x"));
            let share = compared("share", Comparison::Equal, Value::Float(0.5));
            let far = compared("id", Comparison::Greater, Value::Int(1 << 40));
            let both = Predicate::And(vec![id.clone(), share.clone(), name.clone()]);
            assert_eq!(
                written(&both),
                (
                    Some("(\"id\" < $1 AND \"na\"\"me\" = $2)".to_owned()),
                    vec![Value::Int(7), Value::from("x")]
                )
            );
            assert_eq!(written(&Predicate::Or(vec![id.clone(), share.clone()])), (None, Vec::new()));
            assert_eq!(written(&far), (None, Vec::new()));
            let neither = Predicate::Or(vec![id.clone(), name]).negate();
            assert_eq!(written(&neither).0.unwrap(), "(\"id\" >= $1 AND \"na\"\"me\" <> $2)");
            // One that is not understood is true whichever way it is asked.
            assert_eq!(written(&Predicate::And(vec![id, share]).negate()), (None, Vec::new()));
            assert_eq!(written(&Predicate::Unknown.negate()), (None, Vec::new()));
            let values = |values: &[i64]| values.iter().copied().map(Value::Int).collect();
            let one_of = |of: &[i64]| Predicate::In { column: "id".to_owned(), values: values(of) };
            assert_eq!(written(&one_of(&[1, 2])), (Some("\"id\" IN ($1, $2)".to_owned()), values(&[1, 2])));
            assert_eq!(written(&one_of(&[1, 1 << 40])), (None, Vec::new()));
            let null = Predicate::IsNull { column: "id".to_owned() }.negate();
            assert_eq!(written(&null).0.unwrap(), "\"id\" IS NOT NULL");
        }
    }
}
