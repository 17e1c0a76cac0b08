//! Rows that replace those with the same keys.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use arrow::datatypes::DataType;
use pillion::{ErrorCode, Table, TableDefinition, Value};

use crate::model::{
    assert_names, assert_rows, assert_rows_in_any_order, batch, collect, name_of, numbered, refused, vals,
};
use crate::random::Random;
use crate::{Outcome, Session};

/// Rows of an `id` and a `name`, as [`numbered`] makes them, with other names.
pub(crate) fn named(rows: impl IntoIterator<Item = (i64, String)>) -> RecordBatch {
    let (ids, names): (Vec<Value>, Vec<Value>) =
        rows.into_iter().map(|(id, name)| (Value::Int(id), Value::Str(name))).unzip();
    let found = batch(&[("id", DataType::Int64, ids), ("name", DataType::Utf8, names)]);
    RecordBatch::try_new(crate::model::numbered_schema(), found.columns().to_vec()).unwrap()
}

/// Fails unless a table holds exactly these rows, by scan and by key, and does not have some other keys.
#[track_caller]
pub(crate) fn assert_named(table: &Table, rows: &BTreeMap<i64, String>) {
    let expected: Vec<Vec<Value>> = rows.iter().map(|(id, name)| vals![*id, name.clone()]).collect();
    assert_eq!(table.info().unwrap().rows, rows.len() as u64, "rows that the table says it has");
    assert_rows_in_any_order(&collect(table.scan()), &expected);
    let (from, to) = match (rows.first_key_value(), rows.last_key_value()) {
        (Some((from, _)), Some((to, _))) => (from - 3, to + 3),
        _ => (0, 10),
    };
    let ids: Vec<i64> = (from..=to).collect();
    let found = table.get_many(&ids).unwrap();
    for (id, row) in ids.iter().zip(found) {
        let name = row.map(|row| row.get::<String>("name").unwrap());
        assert_eq!(name.as_ref(), rows.get(id), "key {id}");
    }
}

fn names(ids: impl IntoIterator<Item = i64>) -> BTreeMap<i64, String> {
    ids.into_iter().map(|id| (id, name_of(id))).collect()
}

/// New keys are added, and rows with existing keys are replaced: in a segment, in the log, and again.
pub fn rows_are_added_and_replaced(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    let mut expected = names(0..10);
    for round in 0..3 {
        let changed = (5 * round..5 * round + 8).map(|id| (id, format!("{id} in round {round}")));
        session.upsert("t", named(changed.clone()))?;
        expected.extend(changed);
        assert_named(&session.table("t")?, &expected);
    }
    session.compact()?;
    assert_named(&session.table("t")?, &expected);
    session.upsert("t", named([(7, "once more".to_owned())]))?;
    expected.insert(7, "once more".to_owned());
    assert_named(&session.table("t")?, &expected);
    session.reopen();
    assert_named(&session.table("t")?, &expected);
    Ok(())
}

/// How many commits of [`many_small_commits`] lie between two snapshots.
const SNAPSHOT_INTERVAL: i64 = 100;

/// More small commits than a reader joins at a time, with a large one among them. Every version has its rows, whatever
/// was read before, and however many of them were replaced and deleted since.
pub fn many_small_commits(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([]))?;
    let table = session.writer().table("t")?;
    let (mut expected, mut versions) = (BTreeMap::new(), Vec::new());
    for commit in 0..1_300 {
        let id = commit * 37 % 800;
        let name = format!("{id} by {commit}");
        session.upsert("t", named([(id, name.clone())]))?;
        expected.insert(id, name);
        if commit % 7 == 0 {
            table.delete(commit * 11 % 800)?;
            expected.remove(&(commit * 11 % 800));
        }
        if commit == 600 {
            session.append("t", numbered(1_000..6_000))?;
            expected.extend(names(1_000..6_000));
        }
        if commit % SNAPSHOT_INTERVAL == 0 {
            let cache = session.cache();
            // Every second one is read only after more commits.
            if commit % (2 * SNAPSHOT_INTERVAL) == 0 {
                assert_named(&cache.table("t")?, &expected);
            }
            versions.push((cache.snapshot()?, expected.clone()));
        }
    }
    assert_named(&session.table("t")?, &expected);
    let ids: Vec<Vec<Value>> = expected.keys().map(|id| vals![*id]).collect();
    assert_rows_in_any_order(&collect(session.table("t")?.scan_columns(["id"])), &ids);
    for (snapshot, expected) in versions {
        let rows: Vec<Vec<Value>> = expected.into_iter().map(|(id, name)| vals![id, name]).collect();
        assert_rows_in_any_order(&collect(snapshot.table("t")?.scan()), &rows);
    }
    Ok(())
}

/// Of rows with the same key the last counts, in small and in large upserts.
pub fn the_last_of_equal_keys_counts(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    session.upsert("t", named([(1, "a".into()), (0, "b".into()), (1, "c".into()), (1, "d".into())]))?;
    let mut expected = BTreeMap::from([(0, "b".to_owned()), (1, "d".to_owned())]);
    assert_named(&session.table("t")?, &expected);
    let many = (0..100_000).map(|row| (row % 300, format!("row {row}")));
    session.upsert("t", named(many.clone()))?;
    expected.extend(many);
    assert_named(&session.table("t")?, &expected);
    Ok(())
}

/// An upsert that is large enough to be written into files replaces rows wherever they are, and its rows are replaced
/// in turn.
pub fn many_rows_at_once(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..2_000))?;
    session.upsert("t", named((1_000..3_000).map(|id| (id, "logged".to_owned()))))?;
    session.upsert("t", named((500..80_000).map(|id| (id, "many".to_owned()))))?;
    session.upsert("t", named((40_000..40_010).map(|id| (id, "few".to_owned()))))?;
    for _ in 0..2 {
        let table = session.table("t")?;
        assert_eq!(table.info()?.rows, 80_000);
        assert_eq!(collect(table.scan()).num_rows(), 80_000);
        for (id, name) in [
            (0, Some("row 0")),
            (499, Some("row 499")),
            (500, Some("many")),
            (2_500, Some("many")),
            (39_999, Some("many")),
            (40_000, Some("few")),
            (79_999, Some("many")),
            (80_000, None),
        ] {
            let row = table.get(id)?;
            assert_eq!(row.as_ref().map(|row| row.get("name")).transpose()?, name, "{id}");
        }
        session.compact()?;
    }
    Ok(())
}

/// A table that is ordered by other columns than its key takes upserts of few and of many rows.
pub fn another_order(session: &mut Session<'_>) -> Outcome {
    let definition = TableDefinition::new(numbered(0..100)).primary_key(["id"]).sort_by(["name"]);
    session.define("t", definition)?;
    let mut expected = names(0..100);
    for (from, to) in [(50, 60), (90, 50_000), (10, 20)] {
        let rows = (from..to).map(|id| (id, format!("{} after {from}", id % 7)));
        session.upsert("t", named(rows.clone()))?;
        expected.extend(rows);
        assert_named(&session.table("t")?, &expected);
        session.compact()?;
        assert_named(&session.table("t")?, &expected);
    }
    Ok(())
}

/// Keys of several columns are replaced only as a whole.
pub fn composite_keys(session: &mut Session<'_>) -> Outcome {
    let rows = |rows: &[(&str, i64, i64)]| {
        let texts = rows.iter().map(|row| Value::from(row.0)).collect();
        let numbers = rows.iter().map(|row| Value::Int(row.1)).collect();
        let values = rows.iter().map(|row| Value::Int(row.2)).collect();
        batch(&[
            ("text", DataType::Utf8, texts),
            ("number", DataType::Int64, numbers),
            ("value", DataType::Int64, values),
        ])
    };
    let first = rows(&[("a", 1, 1), ("a", 2, 2), ("b", 1, 3)]);
    session.define("t", TableDefinition::new(first).primary_key(["text", "number"]))?;
    session.upsert("t", rows(&[("a", 2, 20), ("b", 2, 40), ("", 1, 50)]))?;
    session.writer().table("t")?.delete(("b", 1))?;
    for _ in 0..2 {
        let table = session.table("t")?;
        let expected = [vals!["a", 1, 1], vals!["a", 2, 20], vals!["b", 2, 40], vals!["", 1, 50]];
        assert_rows_in_any_order(&collect(table.scan()), &expected);
        assert_eq!(table.get(("a", 2))?.expect("it is there").get::<i64>("value")?, 20);
        assert!(table.get(("b", 1))?.is_none());
        session.compact()?;
    }
    Ok(())
}

/// Columns of every type are read from the log as they are from a segment.
pub fn every_type_is_logged(session: &mut Session<'_>) -> Outcome {
    for name in
        ["boolean", "utf8", "utf8_view", "binary_view", "decimal128", "list", "structure", "map", "null"]
    {
        let all = crate::columns::identified(&crate::samples::column(name).array);
        session.define(name, TableDefinition::new(all.slice(0, 1)).primary_key(["id"]))?;
        session.upsert(name, all.clone())?;
        for _ in 0..2 {
            let table = session.table(name)?;
            assert_eq!(collect(table.scan()).num_rows(), all.num_rows());
            for row in 0..all.num_rows() {
                let found = table.get(row as i64)?.unwrap_or_else(|| panic!("{name}: no row {row}"));
                assert_eq!(found.to_batch()?.columns(), all.slice(row, 1).columns(), "{name}, row {row}");
            }
            session.compact()?;
        }
    }
    Ok(())
}

/// Rows that do not fit are refused, and leave the table unchanged.
pub fn what_does_not_fit_is_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    session.define("keyless", TableDefinition::new(numbered(0..3)))?;
    refused(session.upsert("keyless", numbered([1])), ErrorCode::NoPrimaryKey);
    let wrong_type = batch(&[("id", DataType::Int32, vals![4]), ("name", DataType::Utf8, vals!["x"])]);
    assert_names(&refused(session.upsert("t", wrong_type), ErrorCode::SchemaMismatch), &["`id`"]);
    let null_key =
        batch(&[("id", DataType::Int64, vals![1, None::<i64>]), ("name", DataType::Utf8, vals!["x", "y"])]);
    assert_names(&refused(session.upsert("t", null_key), ErrorCode::NullKey), &["row 2", "`id`"]);
    assert_named(&session.table("t")?, &names(0..3));
    assert_eq!(session.table("keyless")?.info()?.rows, 3);
    Ok(())
}

/// A snapshot keeps rows that were replaced or deleted since, even when rows are moved.
pub fn a_snapshot_keeps_what_was_replaced(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..20))?;
    session.upsert("t", named([(3, "three".into()), (30, "thirty".into())]))?;
    let mut expected = names(0..20);
    expected.extend([(3, "three".to_owned()), (30, "thirty".to_owned())]);
    let snapshot = session.cache().snapshot()?;
    let check = |when: &str| -> Outcome {
        let table = snapshot.table("t")?;
        let rows: Vec<_> = expected.iter().map(|(id, name)| vals![*id, name.clone()]).collect();
        assert_rows_in_any_order(&collect(table.scan()), &rows);
        assert_eq!(table.get(3)?.expect(when).get::<String>("name")?, "three");
        assert!(table.get(100)?.is_none() && table.get(5)?.is_some());
        assert_eq!(table.info().rows, 21);
        Ok(())
    };
    session.upsert("t", named((2..6).map(|id| (id, "later".to_owned()))))?;
    check("replaced")?;
    session.writer().table("t")?.delete_many(&[3, 5, 30])?;
    session.upsert("t", named([(100, "new".to_owned())]))?;
    check("deleted")?;
    session.compact()?;
    check("moved")?;
    session.writer().table("t")?.truncate()?;
    session.compact()?;
    check("emptied")?;
    assert_named(&session.table("t")?, &BTreeMap::new());
    Ok(())
}

/// Random upserts, deletes and moves give the same rows as a map with the same changes.
pub fn many_changes_in_a_row(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..100))?;
    let (mut model, mut random) = (names(0..100), Random(7));
    for step in 0..120 {
        let ids: Vec<i64> = (0..1 + random.below(20)).map(|_| random.below(200) as i64).collect();
        if random.one_in(3) {
            session.writer().table("t")?.delete_many(&ids)?;
            ids.iter().for_each(|id| drop(model.remove(id)));
        } else {
            let rows: Vec<_> = ids.iter().map(|&id| (id, format!("{id} at {step}"))).collect();
            session.upsert("t", named(rows.clone()))?;
            model.extend(rows);
        }
        match step % 40 {
            13 | 26 => session.compact()?,
            39 => session.reopen(),
            _ => {}
        }
        if step % 5 == 0 {
            assert_named(&session.table("t")?, &model);
        }
    }
    assert_named(&session.table("t")?, &model);
    Ok(())
}

/// Queries see what lookups see, whatever was replaced and deleted.
pub fn queries_see_the_same(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..1_000))?;
    session.upsert("t", named((900..1_100).map(|id| (id, "new".to_owned()))))?;
    session.writer().table("t")?.delete_many(&(0..100).collect::<Vec<i64>>())?;
    session.writer().table("t")?.delete_many(&[1_099])?;
    for _ in 0..2 {
        for (text, expected) in [
            ("SELECT count(*) FROM t", vec![vals![999]]),
            ("SELECT min(id), max(id), count(name) FROM t", vec![vals![100, 1_098, 999]]),
            ("SELECT count(*) FROM t WHERE name = 'new'", vec![vals![199]]),
            ("SELECT name FROM t WHERE id = 950", vec![vals!["new"]]),
            ("SELECT name FROM t WHERE id = 50", vec![]),
            ("SELECT name FROM t WHERE id IN (99, 100, 901)", vec![vals!["row 100"], vals!["new"]]),
            (
                "SELECT id FROM t WHERE id BETWEEN 98 AND 102 ORDER BY id",
                vec![vals![100], vals![101], vals![102]],
            ),
            ("SELECT id FROM t ORDER BY id LIMIT 2", vec![vals![100], vals![101]]),
            ("SELECT id FROM t ORDER BY id DESC LIMIT 2", vec![vals![1_098], vals![1_097]]),
            ("SELECT count(*) FROM (SELECT * FROM t LIMIT 5)", vec![vals![5]]),
            ("SELECT count(*) FROM t a JOIN t b ON a.id = b.id", vec![vals![999]]),
        ] {
            let found = session.sql(text, &[])?;
            if text.contains("IN (") {
                assert_rows_in_any_order(&found, &expected);
            } else {
                assert_rows(&found, &expected);
            }
        }
        let prepared = session.cache().prepare("SELECT name FROM t WHERE id = $1")?;
        session.upsert("t", named([(500, "fresh".to_owned())]))?;
        session.cache();
        let found = prepared.execute(&[Value::Int(500)])?.concat()?;
        assert_rows(&found, &[vals!["fresh"]]);
        session.compact()?;
    }
    Ok(())
}
