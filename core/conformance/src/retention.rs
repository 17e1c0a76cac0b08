//! Rows that are removed when they are too old.

use std::time::{Duration, SystemTime};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, TimeUnit};
use pillion::{ErrorCode, Retention, TableDefinition, Value};

use crate::model::{batch, refused, rows_of};
use crate::{Outcome, Session};

const HOUR: Duration = Duration::from_secs(3600);

/// Rows of an `id` and a time that is some hours ago, or unknown.
fn events(hours: impl IntoIterator<Item = (i64, Option<i64>)>) -> RecordBatch {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
    let now = i64::try_from(now).unwrap();
    let (ids, times): (Vec<Value>, Vec<Value>) = hours
        .into_iter()
        .map(|(id, hours)| {
            let value = hours.map(|hours| now - hours * 3_600_000);
            let unit = TimeUnit::Millisecond;
            (Value::Int(id), value.map_or(Value::Null, |value| Value::Timestamp { value, unit }))
        })
        .unzip();
    let time = DataType::Timestamp(TimeUnit::Millisecond, None);
    batch(&[("id", DataType::Int64, ids), ("at", time, times)])
}

fn ids(session: &mut Session<'_>, name: &str) -> Result<Vec<i64>, pillion::Error> {
    let table = session.table(name)?;
    let rows = rows_of(&table.scan()?.concat()?);
    let mut ids: Vec<i64> = rows
        .iter()
        .map(|row| match row[0] {
            Value::Int(id) => id,
            ref other => panic!("{other:?} is not an id"),
        })
        .collect();
    ids.sort_unstable();
    assert_eq!(table.info()?.rows, ids.len() as u64);
    Ok(ids)
}

/// Old rows are removed from the log and from segments; newer rows, and rows of unknown age, stay.
pub fn old_rows_go(session: &mut Session<'_>) -> Outcome {
    let first = || events([(0, Some(30)), (1, Some(1)), (2, None), (3, Some(25))]);
    session.define("keyed", TableDefinition::new(first()).primary_key(["id"]).retain("at", 24 * HOUR))?;
    session.define("keyless", TableDefinition::new(first()).retain("at", 24 * HOUR))?;
    session.define("all", TableDefinition::new(first()))?;
    for name in ["keyed", "keyless", "all"] {
        session.append(name, events([(4, Some(48)), (5, Some(2)), (6, Some(-2))]))?;
    }
    session.compact()?;
    for name in ["keyed", "keyless"] {
        assert_eq!(ids(session, name)?, [1, 2, 5, 6], "{name}");
    }
    assert_eq!(ids(session, "all")?, [0, 1, 2, 3, 4, 5, 6]);
    assert!(session.table("keyed")?.get(3)?.is_none());
    session.reopen();
    for name in ["keyed", "keyless"] {
        assert_eq!(ids(session, name)?, [1, 2, 5, 6], "{name}");
        assert_eq!(session.table(name)?.info()?.rules.retention, Some(Retention::new("at", 24 * HOUR)));
        session.append(name, events([(7, Some(100)), (8, Some(3))]))?;
    }
    session.compact()?;
    session.compact()?;
    for name in ["keyed", "keyless"] {
        assert_eq!(ids(session, name)?, [1, 2, 5, 6, 8], "{name}");
    }
    Ok(())
}

/// Thousands of rows are removed, more than one commit removes, and their files get smaller.
pub fn many_old_rows_go(session: &mut Session<'_>) -> Outcome {
    let rows = || events((0..50_000).map(|id| (id, Some(if id % 10 == 0 { 1 } else { 90 }))));
    session.define("keyed", TableDefinition::new(rows()).primary_key(["id"]).retain("at", HOUR * 48))?;
    session.define("keyless", TableDefinition::new(rows()).retain("at", HOUR * 48))?;
    let before = session.table("keyed")?.info()?.bytes;
    session.compact()?;
    for name in ["keyed", "keyless"] {
        assert!(ids(session, name)?.into_iter().eq((0..50_000).step_by(10)), "{name}");
    }
    assert!(session.table("keyed")?.info()?.bytes < before / 2);
    Ok(())
}

/// The changes of a table with a primary key include the removed rows; without a key, nothing names them.
pub fn subscribers_are_told(session: &mut Session<'_>) -> Outcome {
    let definition = TableDefinition::new(events([(1, Some(30)), (2, Some(1))])).primary_key(["id"]);
    let table = session.define("t", definition.retain("at", 24 * HOUR))?;
    let freshness = table.info()?.freshness;
    let since = session.cache().version()?;
    session.compact()?;
    let changes = rows_of(&session.table("t")?.changes(since)?.concat()?);
    assert_eq!(changes.len(), 1, "{changes:?}");
    assert_eq!((&changes[0][0], &changes[0][2]), (&Value::Str("delete".to_owned()), &Value::Int(1)));
    assert_eq!(session.table("t")?.info()?.freshness, freshness, "it is no news of the source");
    let keyless = TableDefinition::new(events([(1, Some(30)), (2, Some(1))]));
    session.define("keyless", keyless.retain("at", 24 * HOUR))?;
    let since = session.cache().version()?;
    session.compact()?;
    assert_eq!(ids(session, "keyless")?, [2]);
    assert_eq!(session.table("keyless")?.changes(since)?.concat()?.num_rows(), 0);
    Ok(())
}

/// Only existing columns of times can tell the age of a row.
pub fn what_tells_no_age_is_refused(session: &mut Session<'_>) -> Outcome {
    let definition = || TableDefinition::new(events([(1, Some(1))])).primary_key(["id"]);
    refused(session.define("t", definition().retain("id", HOUR)), ErrorCode::UnsupportedType);
    refused(session.define("t", definition().retain("when", HOUR)), ErrorCode::ColumnNotFound);
    session.define("t", definition().retain("at", HOUR))?;
    refused(session.define("t", definition().retain("at", 2 * HOUR)), ErrorCode::TableExists);
    refused(session.define("t", definition()), ErrorCode::TableExists);
    Ok(())
}
