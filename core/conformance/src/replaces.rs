//! Replacing all rows of a table.

use arrow::datatypes::DataType;
use pillion::{ErrorCode, Input, TableDefinition};

use crate::model::{assert_names, assert_numbered, batch, numbered, numbered_schema, refused, vals};
use crate::{Outcome, Session};

/// The new rows are there, and the old ones are not.
pub fn rows_are_replaced(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..100))?;
    session.append("t", numbered([100]))?;
    session.replace("t", numbered([50, 200]))?;
    let table = session.table("t")?;
    assert_numbered(&table, [50, 200]);
    assert!(table.get(0)?.is_none());
    assert!(table.get(100)?.is_none());
    session.reopen();
    assert_numbered(&session.table("t")?, [50, 200]);
    Ok(())
}

/// The new rows may have the keys of the old ones.
pub fn the_same_keys_may_come_again(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    for _ in 0..5 {
        session.replace("t", numbered((0..10).rev()))?;
        assert_numbered(&session.table("t")?, 0..10);
    }
    Ok(())
}

/// A table may be emptied, and filled again.
pub fn a_table_may_be_emptied(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    session.replace("t", Input::batches(numbered_schema(), []))?;
    let table = session.table("t")?;
    assert_numbered(&table, []);
    assert!(table.get(1)?.is_none());
    session.reopen();
    assert_numbered(&session.table("t")?, []);
    session.replace("t", numbered([1]))?;
    session.append("t", numbered([2]))?;
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}

/// A replacement that fails leaves the old rows, and the next one works.
pub fn a_failed_replacement_changes_nothing(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let before = session.table("t")?.info()?;
    let wrong_type = batch(&[("id", DataType::Int32, vals![4]), ("name", DataType::Utf8, vals!["x"])]);
    let null_key =
        batch(&[("id", DataType::Int64, vals![None::<i64>]), ("name", DataType::Utf8, vals!["x"])]);
    let failures = [
        (numbered([7, 8, 7]), ErrorCode::DuplicateKey, "id=7"),
        (wrong_type, ErrorCode::SchemaMismatch, "`id`"),
        (numbered([4]).project(&[0])?, ErrorCode::SchemaMismatch, "`name`"),
        (null_key, ErrorCode::NullKey, "`id`"),
    ];
    for (rows, code, name) in failures {
        assert_names(&refused(session.replace("t", rows), code), &[name]);
        let after = session.table("t")?.info()?;
        assert_eq!((after.version, after.segments, after.freshness), (before.version, 1, before.freshness));
        assert_numbered(&session.table("t")?, [1, 2]);
    }
    session.replace("t", numbered([7, 8]))?;
    assert_numbered(&session.table("t")?, [7, 8]);
    Ok(())
}

/// Other tables are not touched.
pub fn other_tables_stay(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("a", "id", numbered([1]))?;
    session.define("b", TableDefinition::new(numbered([1])))?;
    session.replace("a", numbered([2]))?;
    assert_numbered(&session.table("b")?, [1]);
    session.replace("b", numbered([3, 2]))?;
    assert_numbered(&session.table("a")?, [2]);
    assert_numbered(&session.table("b")?, [3, 2]);
    Ok(())
}
