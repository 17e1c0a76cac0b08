//! Rows that are removed by their keys, or all at once.

use std::collections::BTreeMap;

use pillion::{ErrorCode, TableDefinition};

use crate::model::{assert_numbered, numbered, refused};
use crate::upserts::{assert_named, named};
use crate::{Outcome, Session};

/// Deleted rows are gone by scan and by key, from segments and from the log, and stay gone.
pub fn rows_are_deleted(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    session.append("t", numbered(10..15))?;
    let writer = session.writer().table("t")?;
    writer.delete(3)?;
    writer.delete_many(&[0, 9, 12])?;
    let left = [1, 2, 4, 5, 6, 7, 8, 10, 11, 13, 14];
    assert_numbered(&session.table("t")?, left);
    assert!(session.table("t")?.get(3)?.is_none());
    session.compact()?;
    assert_numbered(&session.table("t")?, left);
    session.reopen();
    assert_numbered(&session.table("t")?, left);
    assert!(session.table("t")?.get(12)?.is_none());
    Ok(())
}

/// Deleting a key that does not exist, or no longer exists, is not an error and changes nothing.
pub fn absent_keys_are_no_error(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let writer = session.writer().table("t")?;
    writer.delete_many(&[7, 1, 1, 7])?;
    writer.delete_many(&[1, 8])?;
    writer.delete_many::<i64>(&[])?;
    assert_numbered(&session.table("t")?, [2]);
    Ok(())
}

/// Deleted rows can be added again, by append and by upsert, and deleted again.
pub fn deleted_keys_can_come_again(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..4))?;
    for round in 0..3 {
        let writer = session.writer().table("t")?;
        writer.delete_many(&[1, 2])?;
        session.append("t", named([(1, format!("appended in {round}"))]))?;
        session.upsert("t", named([(2, format!("upserted in {round}"))]))?;
        let mut expected: BTreeMap<i64, String> = [(0, "row 0".to_owned()), (3, "row 3".to_owned())].into();
        expected.insert(1, format!("appended in {round}"));
        expected.insert(2, format!("upserted in {round}"));
        assert_named(&session.table("t")?, &expected);
        refused(session.append("t", numbered([1])), ErrorCode::DuplicateKey);
        if round == 1 {
            session.compact()?;
        }
    }
    Ok(())
}

/// Truncating removes all rows, including those in the log, and new rows can be added.
pub fn a_table_is_truncated(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..10))?;
    session.define("keyless", TableDefinition::new(numbered(0..10)))?;
    for name in ["t", "keyless"] {
        session.append(name, numbered(10..15))?;
        session.writer().table(name)?.truncate()?;
        assert_numbered(&session.table(name)?, []);
        session.append(name, numbered([3]))?;
        assert_numbered(&session.table(name)?, [3]);
        session.reopen();
        assert_numbered(&session.table(name)?, [3]);
    }
    assert!(session.table("t")?.get(4)?.is_none());
    Ok(())
}

/// Deletes need a primary key, and keys of its types.
pub fn what_does_not_fit_is_refused(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    session.define("keyless", TableDefinition::new(numbered(0..3)))?;
    refused(session.writer().table("keyless")?.delete(1), ErrorCode::NoPrimaryKey);
    let writer = session.writer().table("t")?;
    refused(writer.delete("one"), ErrorCode::InvalidKey);
    refused(writer.delete((1, 2)), ErrorCode::InvalidKey);
    refused(writer.delete_many(&[(1, "x")]), ErrorCode::InvalidKey);
    session.writer().drop_table("t")?;
    refused(writer.delete(1), ErrorCode::TableNotFound);
    refused(writer.truncate(), ErrorCode::TableNotFound);
    Ok(())
}
