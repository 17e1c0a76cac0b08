//! What was committed to a table after a version.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use pillion::{ErrorCode, TableDefinition, Value, Version};

use crate::model::{assert_rows, batch, numbered, refused, rows_of, vals};
use crate::random::Random;
use crate::upserts::{assert_named, named};
use crate::{Outcome, Session};

/// Applies changes to a model of rows with an `id` and a `name`.
fn follow(model: &mut BTreeMap<i64, String>, changes: &RecordBatch) {
    let mut last = 0;
    for row in rows_of(changes) {
        let [Value::Str(change), Value::UInt(sequence), id, name] = row.as_slice() else {
            panic!("a change has four columns: {row:?}")
        };
        assert!(*sequence >= last, "in the order of the commits");
        last = *sequence;
        match (change.as_str(), id, name) {
            ("upsert", Value::Int(id), Value::Str(name)) => drop(model.insert(*id, name.clone())),
            ("delete", Value::Int(id), Value::Null) => drop(model.remove(id)),
            ("truncate", Value::Null, Value::Null) => model.clear(),
            other => panic!("{other:?} is not a change"),
        }
    }
}

/// Applying the changes to the rows of a version gives the rows of the newest version, whatever the commits were.
pub fn changes_lead_to_the_newest_rows(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..50))?;
    session.define_keyed("other", "id", numbered(0..50))?;
    let mut random = Random(3);
    let mut since = session.cache().version()?;
    let mut model: BTreeMap<i64, String> = (0..50).map(|id| (id, format!("row {id}"))).collect();
    for step in 0..60 {
        let ids: Vec<i64> = (0..1 + random.below(10)).map(|_| random.below(80) as i64).collect();
        let rows = named(ids.iter().map(|&id| (id, format!("{id} at {step}"))));
        let writer = session.writer();
        let table = writer.table("t")?;
        match step % 20 {
            3 => drop(table.truncate()?),
            7 => drop(table.replace(numbered(
                ids.iter().map(|id| id + 100).collect::<std::collections::BTreeSet<_>>(),
            ))?),
            11 => drop(table.upsert(named((0..40_000).map(|id| (id % 90, format!("bulk {id}")))))?),
            _ if random.one_in(3) => drop(table.delete_many(&ids)?),
            _ => {
                let other = writer.table("other")?;
                writer
                    .transaction()
                    .upsert(&table, rows.clone())
                    .upsert(&other, rows)
                    .delete(&table, &ids[..1])?
                    .commit()?;
            }
        }
        if step == 25 {
            session.reopen();
        }
        if step % 4 == 0 {
            let changes = session.table("t")?.changes(since)?;
            let version = changes.version();
            follow(&mut model, &changes.concat()?);
            assert_named(&session.table("t")?, &model);
            since = version;
        }
        if step % 15 == 14 {
            session.compact()?;
        }
    }
    Ok(())
}

/// Without commits there are no changes, and commits to other tables do not count.
pub fn without_commits_there_are_no_changes(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let since = session.cache().version()?;
    assert_eq!(session.table("t")?.changes(since)?.concat()?.num_rows(), 0);
    session.define_keyed("other", "id", numbered([1]))?;
    session.upsert("other", numbered([1, 2]))?;
    session.cache();
    let changes = session.table("t")?.changes(since)?;
    assert_eq!((changes.version(), changes.schema().fields().len()), (session.cache().version()?, 4));
    assert_eq!(changes.concat()?.num_rows(), 0);
    Ok(())
}

/// A follower of a dropped table loses the old rows when it follows another table of the same name.
pub fn a_table_that_takes_the_place_of_another_begins_with_no_rows(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..5))?;
    let since = session.cache().version()?;
    let mut model: BTreeMap<i64, String> = (0..5).map(|id| (id, format!("row {id}"))).collect();
    session.writer().table("t")?.delete(0)?;
    session.writer().drop_table("t")?;
    session.define_keyed("t", "id", numbered(3..8))?;
    session.upsert("t", numbered([9]))?;
    session.cache();
    let changes = session.table("t")?.changes(since)?;
    let version = changes.version();
    let changes = changes.concat()?;
    let what: Vec<Value> = rows_of(&changes).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(what, [vals!["truncate"], std::iter::repeat_n(Value::from("upsert"), 6).collect()].concat());
    follow(&mut model, &changes);
    assert_named(&session.table("t")?, &model);
    // A follower that started after the table was defined gets no truncation.
    session.upsert("t", numbered([10]))?;
    session.cache();
    let what = rows_of(&session.table("t")?.changes(version)?.concat()?);
    assert_eq!(what.iter().map(|row| row[0].clone()).collect::<Vec<_>>(), vals!["upsert"]);
    // A subscription to the new table gets the truncation too.
    let mut subscription = session.table("t")?.subscribe(since);
    let first = subscription.next(Duration::ZERO)?.map(|changes| rows_of(&changes)[0][0].clone());
    assert_eq!(first, Some(Value::from("truncate")));
    // Also if the new table is empty.
    session.writer().drop_table("t")?;
    session.define_keyed("t", "id", numbered([]))?;
    session.cache();
    follow(&mut model, &session.table("t")?.changes(version)?.concat()?);
    assert!(model.is_empty());
    Ok(())
}

/// Deleted keys come with their columns, of whatever types.
pub fn deleted_keys_have_their_columns(session: &mut Session<'_>) -> Outcome {
    let rows = batch(&[
        ("value", DataType::Float64, vals![1.5, 2.5]),
        ("text", DataType::Utf8, vals!["a\0b", ""]),
        ("number", DataType::Int16, vals![-7, 8]),
    ]);
    session.define("t", TableDefinition::new(rows).primary_key(["number", "text"]))?;
    let since = session.cache().version()?;
    session.writer().table("t")?.delete_many(&[(-7, "a\0b"), (9, "absent")])?;
    session.cache();
    let changes = session.table("t")?.changes(since)?.concat()?;
    let sequence = since.sequence + 1;
    assert_rows(
        &changes,
        &[
            vals!["delete", sequence, None::<f64>, "a\0b", -7],
            vals!["delete", sequence, None::<f64>, "absent", 9],
        ],
    );
    Ok(())
}

/// The changes of a table without a key are its added rows.
pub fn a_keyless_table_tells_what_came(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(numbered([1])))?;
    let since = session.cache().version()?;
    session.append("t", numbered([1, 2]))?;
    session.writer().table("t")?.truncate()?;
    session.append("t", numbered([3]))?;
    session.cache();
    let changes = session.table("t")?.changes(since)?.concat()?;
    let what: Vec<Value> = rows_of(&changes).into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(what, vals!["upsert", "upsert", "truncate", "upsert"]);
    Ok(())
}

/// A version that is not one of the cache, or that the log has forgotten, is refused with advice.
pub fn forgotten_and_strange_versions_are_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let since = session.cache().version()?;
    let table = session.table("t")?;
    let strange = Version { incarnation: since.incarnation ^ 1, ..since };
    refused(table.changes(strange).and_then(|changes| changes.concat()), ErrorCode::WentBack);
    let ahead = Version { sequence: since.sequence + 1_000, ..since };
    refused(table.changes(ahead).and_then(|changes| changes.concat()), ErrorCode::WentBack);
    for id in 0..4 {
        session.upsert("t", numbered([id]))?;
        session.compact()?;
    }
    session.cache();
    refused(session.table("t")?.changes(since).and_then(|changes| changes.concat()), ErrorCode::HistoryGone);
    Ok(())
}

/// A subscription hands out commits as they come, and waits no longer than asked.
pub fn a_subscription_follows(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let since = session.cache().version()?;
    let mut subscription = session.table("t")?.subscribe(since);
    assert!(subscription.next(Duration::ZERO)?.is_none());
    let mut model = BTreeMap::from([(1, "row 1".to_owned())]);
    for id in 2..6 {
        session.upsert("t", numbered([id]))?;
        session.writer().table("t")?.delete(id - 1)?;
        let version = session.cache().version()?;
        let mut waited = 0;
        while subscription.version() != version {
            match subscription.next(Duration::from_millis(20))? {
                Some(changes) => follow(&mut model, &changes),
                None => waited += 1,
            }
            assert!(waited < 1_000, "{} is not followed to {version}", subscription.version());
        }
        assert_eq!(model.keys().copied().collect::<Vec<_>>(), [id]);
    }
    Ok(())
}
