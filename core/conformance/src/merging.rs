//! Many appends: rewriting segments to bound the number of files changes no row and no answer.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, TableDefinition, Value};

use crate::model::{
    assert_names, assert_numbered, assert_rows, assert_rows_in_any_order, batch, collect, compare, name_of,
    numbered, refused, rows_of, vals,
};
use crate::{Outcome, Session};

/// The number of segments that no table exceeds, however often rows are appended.
const SEGMENTS_MAX: usize = 8;
/// Appends that make several rounds of merging.
const APPENDS: i64 = 40;

/// A keyed table whose appends interleave: segments stay few, rows and lookups right.
pub fn interleaved_keys(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([-1]))?;
    for append in 0..APPENDS {
        session.append("t", numbered((0..5).map(|n| n * APPENDS + append)))?;
        let info = session.table("t")?.info()?;
        assert!(info.segments <= SEGMENTS_MAX, "{} segments after {append} appends", info.segments);
        assert_eq!(info.rows, u64::try_from(append * 5 + 6)?);
        if append % 3 == 0 {
            session.compact()?;
        }
    }
    assert_numbered(&session.table("t")?, -1..5 * APPENDS);
    assert!(session.table("t")?.get(5 * APPENDS)?.is_none());
    session.reopen();
    assert_numbered(&session.table("t")?, -1..5 * APPENDS);
    Ok(())
}

/// A table without an order keeps the order in which its rows were added.
pub fn arrival_order_is_kept(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(numbered([])))?;
    let mut expected = Vec::new();
    for append in 0..APPENDS {
        // Appends of many sizes, so that some are merged at once and others later.
        let ids: Vec<i64> = (0..=(append * 7 % 11)).map(|n| (append * 31 + n * 17) % 50).collect();
        session.append("t", numbered(ids.iter().copied()))?;
        expected.extend(ids);
        if append % 2 == 0 {
            session.compact()?;
        }
        let table = session.table("t")?;
        assert!(table.info()?.segments <= SEGMENTS_MAX);
        assert_numbered(&table, expected.iter().copied());
    }
    session.reopen();
    assert_numbered(&session.table("t")?, expected);
    Ok(())
}

/// Duplicates are refused before, during and after merging of segments, and leave the table unchanged.
pub fn duplicates_are_refused_throughout(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    for id in 1..20 {
        session.append("t", numbered([id]))?;
        if id % 3 == 0 {
            session.compact()?;
        }
        for old in [0, id / 2, id] {
            let error = refused(session.append("t", numbered([100 + id, old])), ErrorCode::DuplicateKey);
            assert_names(&error, &[&format!("id={old}")]);
        }
        assert_numbered(&session.table("t")?, 0..=id);
    }
    Ok(())
}

/// A table that is ordered by another column than its key is always complete, and in that order when it is one segment.
pub fn another_order_is_kept(session: &mut Session<'_>) -> Outcome {
    let rows = |append: i64| {
        let ids = (0..4).map(|n| Value::Int(append * 4 + n)).collect();
        let places = (0..4).map(|n| Value::Int((append * 13 + n * 29) % 97)).collect();
        batch(&[("id", DataType::Int64, ids), ("place", DataType::Int64, places)])
    };
    session.define("t", TableDefinition::new(rows(0)).primary_key(["id"]).sort_by(["place"]))?;
    for append in 1..APPENDS {
        session.append("t", rows(append))?;
        session.compact()?;
    }
    let table = session.table("t")?;
    for id in 0..4 * APPENDS {
        let row = table.get(id)?.unwrap_or_else(|| panic!("{id} is there"));
        assert_eq!(row.get::<i64>("place")?, (id / 4 * 13 + id % 4 * 29) % 97, "{id}");
    }
    let expected: Vec<Vec<Value>> =
        (0..4 * APPENDS).map(|id| vals![(id / 4 * 13 + id % 4 * 29) % 97, id]).collect();
    let found = collect(table.scan_columns(["place", "id"]));
    assert_rows_in_any_order(&found, &expected);
    let info = table.info()?;
    if info.segments == 1 && info.logged_rows == 0 {
        assert!(rows_of(&found).is_sorted_by(|a, b| compare(&a[0], &b[0]).is_le()));
    }
    Ok(())
}

/// Rows of every type survive rewriting.
pub fn every_type_is_written_again(session: &mut Session<'_>) -> Outcome {
    let names = [
        "null",
        "boolean",
        "float16",
        "utf8_view",
        "binary_view",
        "fixed_size_binary",
        "decimal256",
        "list",
        "structure",
        "map",
        "list_of_structure",
        "required_children",
        "interval_month_day_nano",
    ];
    for name in names {
        let all = crate::columns::identified(&crate::samples::column(name).array);
        let single = |row: usize| all.slice(row % all.num_rows(), 1);
        session.define(name, TableDefinition::new(single(0)))?;
        for append in 1..14 {
            session.append(name, single(append))?;
        }
        let table = session.table(name)?;
        assert!(table.info()?.segments <= SEGMENTS_MAX);
        let found = collect(table.scan());
        assert_eq!(found.num_rows(), 14);
        for row in 0..14 {
            assert_eq!(found.slice(row, 1), single(row), "{name}, row {row}");
        }
    }
    Ok(())
}

/// Queries see every row once, in order if they ask for it, whatever was merged.
pub fn queries_see_every_row_once(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    for append in 1..20_i64 {
        session.append("t", numbered([append * 7 % 20]))?;
        let found = session.sql("SELECT count(*), count(DISTINCT id), min(id), max(id) FROM t", &[])?;
        let ids = (0..=append).map(|n| n * 7 % 20);
        let expected = vals![append + 1, append + 1, 0, ids.clone().max().unwrap_or_default()];
        assert_rows(&found, &[expected]);
        let mut ids: Vec<i64> = ids.collect();
        ids.sort_unstable();
        let found = session.sql("SELECT id FROM t ORDER BY id", &[])?;
        assert_rows(&found, &ids.iter().map(|&id| vals![id]).collect::<Vec<_>>());
        let found = session.sql("SELECT id FROM t ORDER BY id DESC LIMIT 3", &[])?;
        assert_rows(&found, &ids.iter().rev().take(3).map(|&id| vals![id]).collect::<Vec<_>>());
        let found = session.sql("SELECT name FROM t WHERE id = $1", &vals![append * 7 % 20])?;
        assert_rows(&found, &[vals![name_of(append * 7 % 20)]]);
    }
    Ok(())
}
