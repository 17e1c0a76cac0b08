//! Who may change the rows of a table.

use pillion::{ErrorCode, TableDefinition, WritePolicy};

use crate::model::{assert_numbered, numbered, refused};
use crate::{Outcome, Session};

/// In an append-only table, appended rows stay as they are, whoever writes.
pub fn append_only(session: &mut Session<'_>) -> Outcome {
    let definition = TableDefinition::new(numbered(0..3)).primary_key(["id"]);
    session.define("t", definition.write_policy(WritePolicy::AppendOnly))?;
    session.append("t", numbered([3]))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    refused(table.upsert(numbered([1])), ErrorCode::WriteNotAllowed);
    refused(table.delete(1), ErrorCode::WriteNotAllowed);
    refused(table.invalidate(&[1]), ErrorCode::WriteNotAllowed);
    refused(table.replace(numbered([1])), ErrorCode::WriteNotAllowed);
    refused(table.truncate(), ErrorCode::WriteNotAllowed);
    let with_position = writer.transaction().truncate(&table).source_position("s", "1");
    refused(with_position.commit(), ErrorCode::WriteNotAllowed);
    let mixed = writer.transaction().append(&table, numbered([4])).delete(&table, &[0])?;
    refused(mixed.commit(), ErrorCode::WriteNotAllowed);
    assert_numbered(&session.table("t")?, 0..4);
    session.compact()?;
    session.reopen();
    assert_eq!(session.table("t")?.info()?.rules.write_policy, WritePolicy::AppendOnly);
    refused(session.writer().table("t")?.delete(1), ErrorCode::WriteNotAllowed);
    session.writer().drop_table("t")?;
    Ok(())
}

/// Only the transactions of its source change a table that the source feeds; others can only invalidate rows.
pub fn fed_by_a_source(session: &mut Session<'_>) -> Outcome {
    let policy = WritePolicy::Source("shop".to_owned());
    let definition = TableDefinition::new(numbered(0..5)).primary_key(["id"]);
    session.define("t", definition.write_policy(policy.clone()))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    refused(table.append(numbered([5])), ErrorCode::WriteNotAllowed);
    refused(table.upsert(numbered([1])), ErrorCode::WriteNotAllowed);
    refused(table.delete(1), ErrorCode::WriteNotAllowed);
    let of_another = writer.transaction().append(&table, numbered([5])).source_position("bank", "7");
    refused(of_another.commit(), ErrorCode::WriteNotAllowed);
    assert_numbered(&session.table("t")?, 0..5);
    let fed = writer.transaction().append(&table, numbered([5])).delete(&table, &[0])?;
    fed.source_position("shop", "8").commit()?;
    assert_numbered(&session.table("t")?, 1..6);
    let freshness = session.table("t")?.info()?.freshness;
    table.invalidate(&[2, 4, 9])?;
    assert_numbered(&session.table("t")?, [1, 3, 5]);
    assert_eq!(session.table("t")?.info()?.freshness, freshness, "it is no news of the source");
    session.reopen();
    let info = session.table("t")?.info()?;
    assert_eq!((info.rules.write_policy, info.rows), (policy, 3));
    // The source adds the invalidated rows again.
    let writer = session.writer();
    let table = writer.table("t")?;
    writer.transaction().upsert(&table, numbered([2])).source_position("shop", "9").commit()?;
    assert_numbered(&session.table("t")?, [1, 2, 3, 5]);
    Ok(())
}

/// If anyone may write, invalidating is deleting.
pub fn invalidated_rows_are_gone(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..5))?;
    session.append("t", numbered(5..8))?;
    let since = session.cache().version()?;
    session.writer().table("t")?.invalidate(&[1, 6])?;
    assert_numbered(&session.table("t")?, [0, 2, 3, 4, 5, 7]);
    assert_eq!(session.table("t")?.changes(since)?.concat()?.num_rows(), 2);
    session.define("keyless", TableDefinition::new(numbered(0..3)))?;
    refused(session.writer().table("keyless")?.invalidate(&[1]), ErrorCode::NoPrimaryKey);
    Ok(())
}

/// Defining a table again does not change its policy.
pub fn another_policy_is_refused(session: &mut Session<'_>) -> Outcome {
    let definition = || TableDefinition::new(numbered(0..3)).primary_key(["id"]);
    session.define("t", definition())?;
    session.define("t", definition().write_policy(WritePolicy::Anyone))?;
    let appended = session.define("t", definition().write_policy(WritePolicy::AppendOnly));
    let error = appended.unwrap_err();
    assert_eq!(error.code(), ErrorCode::TableExists);
    assert!(error.message().contains("append_only"), "{error}");
    refused(
        session.define("u", definition().write_policy(WritePolicy::Source(String::new()))),
        ErrorCode::InvalidArgument,
    );
    Ok(())
}
