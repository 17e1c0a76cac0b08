//! Rows in plain Rust, and comparisons of answers with them.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pillion::{Batches, Error, ErrorCode, Row, Table, Value};

use crate::arrays;

/// A list of values, from anything that converts to one.
macro_rules! vals {
    ($($value:expr),* $(,)?) => {
        Vec::<pillion::Value>::from([$(pillion::Value::from($value)),*])
    };
}
pub(crate) use vals;

/// A batch from columns of plain values; every column may be null.
pub(crate) fn batch(columns: &[(&str, DataType, Vec<Value>)]) -> RecordBatch {
    let fields: Vec<Field> =
        columns.iter().map(|(name, data_type, _)| Field::new(*name, data_type.clone(), true)).collect();
    let arrays = columns.iter().map(|(_, data_type, values)| arrays::array(data_type, values)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), arrays).unwrap()
}

/// Columns of [`numbered`].
pub(crate) fn numbered_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("name", DataType::Utf8, true),
    ]))
}

/// Rows of a number `id` and a text `name` made from it, the plainest table there is.
pub(crate) fn numbered(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
    let (ids, names): (Vec<Value>, Vec<Value>) =
        ids.into_iter().map(|id| (Value::Int(id), Value::Str(name_of(id)))).unzip();
    let columns = vec![arrays::array(&DataType::Int64, &ids), arrays::array(&DataType::Utf8, &names)];
    RecordBatch::try_new(numbered_schema(), columns).unwrap()
}

/// The name of a row of [`numbered`].
pub(crate) fn name_of(id: i64) -> String {
    format!("row {id}")
}

/// The rows that [`numbered`] makes.
pub(crate) fn numbered_rows(ids: impl IntoIterator<Item = i64>) -> Vec<Vec<Value>> {
    ids.into_iter().map(|id| vals![id, name_of(id)]).collect()
}

/// Fails unless a table holds exactly the rows of [`numbered`] with these ids, by scan, and by key if it has one. A
/// table without an order must have them in this order, a table of a single segment in its own order.
#[track_caller]
pub(crate) fn assert_numbered(table: &Table, ids: impl IntoIterator<Item = i64>) {
    let mut ids: Vec<i64> = ids.into_iter().collect();
    let info = table.info().unwrap();
    assert_eq!(info.rows, ids.len() as u64, "rows that the table says it has");
    let found = collect(table.scan());
    if info.rules.sort_by.is_empty() {
        assert_rows(&found, &numbered_rows(ids.iter().copied()));
    } else if info.rules.sort_by == ["id"] && info.segments == 1 && info.logged_rows == 0 {
        ids.sort_unstable();
        assert_rows(&found, &numbered_rows(ids.iter().copied()));
    } else {
        assert_rows_in_any_order(&found, &numbered_rows(ids.iter().copied()));
    }
    if info.rules.primary_key != ["id"] {
        return;
    }
    for id in ids {
        let row = table.get(id).unwrap().unwrap_or_else(|| panic!("no row has the key {id}"));
        assert_eq!(row.get::<i64>("id").unwrap(), id);
        assert_eq!(row.get::<&str>("name").unwrap(), name_of(id));
    }
}

/// All rows of an answer as one batch.
#[track_caller]
pub(crate) fn collect(answer: pillion::Result<Batches>) -> RecordBatch {
    answer.unwrap().concat().unwrap()
}

/// The rows of a batch.
pub(crate) fn rows_of(batch: &RecordBatch) -> Vec<Vec<Value>> {
    let columns: Vec<Vec<Value>> = batch.columns().iter().map(|array| arrays::values(array)).collect();
    (0..batch.num_rows()).map(|row| columns.iter().map(|column| column[row].clone()).collect()).collect()
}

/// All values of a row.
pub(crate) fn row_values(row: &Row) -> Vec<Value> {
    (0..row.schema().fields().len()).map(|column| row.value(column).unwrap()).collect()
}

/// Fails unless an answer has these rows in this order.
#[track_caller]
pub(crate) fn assert_rows(found: &RecordBatch, expected: &[Vec<Value>]) {
    assert_same_rows(&rows_of(found), expected);
}

/// Fails unless an answer has these rows in any order.
#[track_caller]
pub(crate) fn assert_rows_in_any_order(found: &RecordBatch, expected: &[Vec<Value>]) {
    let sorted = |mut rows: Vec<Vec<Value>>| {
        rows.sort_by(|a, b| compare_rows(a, b));
        rows
    };
    assert_same_rows(&sorted(rows_of(found)), &sorted(expected.to_vec()));
}

#[track_caller]
fn assert_same_rows(found: &[Vec<Value>], expected: &[Vec<Value>]) {
    assert_eq!(found.len(), expected.len(), "number of rows; found {:?}", &found[..found.len().min(5)]);
    for (number, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert_values(found, expected, &format!("row {number}"));
    }
}

/// Fails unless two lists of values are the same.
#[track_caller]
pub(crate) fn assert_values(found: &[Value], expected: &[Value], what: &str) {
    let equal = found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| same(a, b));
    assert!(equal, "{what}: found {found:?}, expected {expected:?}");
}

/// Whether two values are the same: numbers whatever their width, floats bit by bit.
pub(crate) fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Float(a), Value::Float(b)) => a.to_bits() == b.to_bits(),
        _ => a == b || integer(a).is_some_and(|a| integer(b) == Some(a)),
    }
}

/// The order of values of one column: nulls last, floats by IEEE totalOrder, text and bytes bytewise.
///
/// Decimals and timestamps of one column have one scale and one unit.
pub(crate) fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Null, _) | (_, Value::Null) => matches!(a, Value::Null).cmp(&matches!(b, Value::Null)),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Float(a), Value::Float(b)) => a.total_cmp(b),
        (Value::Str(a), Value::Str(b)) => a.as_bytes().cmp(b.as_bytes()),
        (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
        (Value::Decimal { unscaled: a, .. }, Value::Decimal { unscaled: b, .. }) => a.cmp(b),
        (Value::Date(a), Value::Date(b)) => a.cmp(b),
        (Value::Time(a), Value::Time(b)) => a.cmp(b),
        (Value::Timestamp { value: a, .. }, Value::Timestamp { value: b, .. }) => a.cmp(b),
        _ => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => panic!("{a} and {b} are not of one column"),
        },
    }
}

fn compare_rows(a: &[Value], b: &[Value]) -> Ordering {
    let parts = a.iter().zip(b).map(|(a, b)| compare(a, b));
    parts.fold(Ordering::Equal, Ordering::then)
}

fn integer(value: &Value) -> Option<i128> {
    match value {
        Value::Int(v) => Some((*v).into()),
        Value::UInt(v) => Some((*v).into()),
        _ => None,
    }
}

/// Fails unless a call was refused with this code; returns the error.
#[track_caller]
pub(crate) fn refused<T>(result: pillion::Result<T>, code: ErrorCode) -> Error {
    match result {
        Ok(_) => panic!("expected {code:?} and the call succeeded"),
        Err(error) => {
            assert_eq!(error.code(), code, "{error:?}");
            error
        }
    }
}

/// Fails unless the message of an error names all of `parts`.
#[track_caller]
pub(crate) fn assert_names(error: &Error, parts: &[&str]) {
    let text = format!("{error:#}");
    for part in parts {
        assert!(text.contains(part), "`{text}` does not name `{part}`");
    }
}
