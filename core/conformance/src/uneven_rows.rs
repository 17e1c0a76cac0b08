//! Rows of very different lengths, for which an average length says nothing.

use std::collections::BTreeMap;

use pillion::{Input, Table};

use crate::model::numbered;
use crate::upserts::named;
use crate::{Outcome, Session};

/// Bytes of a long text.
const LONG: usize = 1 << 20;
/// Bytes of a text that is longer than what is sent at a time.
const LONGER: usize = 11 << 20;

/// Short rows beside long ones, and one that is even longer.
fn uneven(first: i64) -> BTreeMap<i64, String> {
    let len = |row: i64| match row {
        1000..1020 => LONG,
        1500 => LONGER,
        _ => 3,
    };
    // Every row has a text of its own, so that none can be mistaken for another.
    (0..2020).map(|row| (first + row, format!("{}{}", first + row, "x".repeat(len(row))))).collect()
}

/// Fails unless the table holds exactly these rows, by scan and by key. Its message does not print megabytes that
/// differ.
#[track_caller]
fn assert_holds(table: &Table, expected: &BTreeMap<i64, String>) {
    let mut found = BTreeMap::new();
    for batch in table.scan().unwrap() {
        let batch = batch.unwrap();
        let rows = crate::model::rows_of(&batch);
        found.extend(rows.into_iter().map(|row| match &row[..] {
            [pillion::Value::Int(id), pillion::Value::Str(name)] => (*id, name.clone()),
            _ => panic!("a row of another kind"),
        }));
    }
    assert!(found == *expected, "{} rows and not {}, or others", found.len(), expected.len());
    let ids: Vec<i64> = expected.keys().copied().chain([-1]).collect();
    let rows = table.get_many(&ids).unwrap();
    assert_eq!(rows.len(), ids.len());
    for (id, row) in ids.iter().zip(rows) {
        let name = row.map(|row| row.get::<String>("name").unwrap());
        assert!(name.as_ref() == expected.get(id), "key {id}");
    }
    for id in [1000, 1500] {
        let row = table.get(id).unwrap().map(|row| row.get::<String>("name").unwrap());
        assert!(row.as_ref() == expected.get(&id), "key {id}");
    }
}

/// Rows are added, in one batch and in several.
pub fn appended(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", named(uneven(0)))?;
    assert_holds(&session.table("t")?, &uneven(0));
    let (more, last) = (named(uneven(10_000)), named(uneven(20_000)));
    session.append("t", Input::batches(more.schema(), [more, last]))?;
    let mut expected = uneven(0);
    expected.extend(uneven(10_000));
    expected.extend(uneven(20_000));
    assert_holds(&session.table("t")?, &expected);
    Ok(())
}

/// Rows replace others by key.
pub fn upserted(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3000))?;
    session.upsert("t", named(uneven(500)))?;
    let mut expected: BTreeMap<i64, String> = (0..3000).map(|id| (id, format!("row {id}"))).collect();
    expected.extend(uneven(500));
    assert_holds(&session.table("t")?, &expected);
    Ok(())
}

/// Rows replace all rows.
pub fn replaced(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    session.replace("t", named(uneven(0)))?;
    assert_holds(&session.table("t")?, &uneven(0));
    Ok(())
}

/// Rows are written in a transaction.
pub fn committed(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    writer.transaction().replace(&table, named(uneven(0))).commit()?;
    writer.transaction().append(&table, named(uneven(10_000))).commit()?;
    writer.transaction().upsert(&table, named(uneven(2000))).commit()?;
    let mut expected = uneven(0);
    expected.extend(uneven(10_000));
    expected.extend(uneven(2000));
    assert_holds(&session.table("t")?, &expected);
    // Together with other changes, if they fit into one message.
    let long = |id: i64| named([(id, "x".repeat(LONG)), (id + 1, "y".to_owned())]);
    writer
        .transaction()
        .upsert(&table, long(5))
        .append(&table, long(50_000))
        .delete(&table, &[7])?
        .commit()?;
    expected.extend([5, 50_000].map(|id| (id, "x".repeat(LONG))));
    expected.extend([6, 50_001].map(|id| (id, "y".to_owned())));
    expected.remove(&7);
    assert_holds(&session.table("t")?, &expected);
    Ok(())
}
