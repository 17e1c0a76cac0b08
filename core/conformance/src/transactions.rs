//! Several changes in one commit.

use std::collections::BTreeMap;

use pillion::{ErrorCode, TableDefinition};

use crate::model::{assert_numbered, numbered, refused};
use crate::upserts::{assert_named, named};
use crate::{Outcome, Session};

/// Changes of several tables are one version.
pub fn tables_change_together(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("a", "id", numbered(0..5))?;
    session.define_keyed("b", "id", numbered(0..5))?;
    session.define("keyless", TableDefinition::new(numbered([1])))?;
    let writer = session.writer();
    let (a, b, keyless) = (writer.table("a")?, writer.table("b")?, writer.table("keyless")?);
    let before = writer.version()?;
    let version = writer
        .transaction()
        .append(&a, numbered([7]))
        .delete(&b, &[0, 1])?
        .append(&keyless, numbered([2]))
        .upsert(&b, numbered([9]))
        .commit()?;
    assert_eq!(version.sequence, before.sequence + 1);
    for name in ["a", "b", "keyless"] {
        assert_eq!(session.table(name)?.info()?.version, version, "{name}");
    }
    assert_numbered(&session.table("a")?, [0, 1, 2, 3, 4, 7]);
    assert_numbered(&session.table("b")?, [2, 3, 4, 9]);
    assert_numbered(&session.table("keyless")?, [1, 2]);
    assert_eq!(writer.transaction().commit()?, version, "without changes there is no commit");
    Ok(())
}

/// If one change is refused, none is made.
pub fn all_or_nothing(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("a", "id", numbered(0..5))?;
    session.define_keyed("b", "id", numbered(0..5))?;
    let writer = session.writer();
    let (a, b) = (writer.table("a")?, writer.table("b")?);
    let refused_last = || writer.transaction().upsert(&a, numbered([8])).truncate(&a);
    refused(refused_last().append(&b, numbered([4])).commit(), ErrorCode::DuplicateKey);
    refused(refused_last().delete(&b, &["x"])?.commit(), ErrorCode::InvalidKey);
    refused(refused_last().append(&b, numbered([9]).project(&[0])?).commit(), ErrorCode::SchemaMismatch);
    // The changes before it in the same commit count.
    let twice = writer.transaction().append(&a, numbered([8])).append(&a, numbered([8]));
    refused(twice.commit(), ErrorCode::DuplicateKey);
    for name in ["a", "b"] {
        assert_numbered(&session.table(name)?, 0..5);
        assert!(session.table(name)?.get(8)?.is_none());
    }
    session.upsert("a", numbered([8]))?;
    assert_numbered(&session.table("a")?, [0, 1, 2, 3, 4, 8]);
    Ok(())
}

/// Changes apply in their order, each to the result of the one before.
pub fn changes_are_made_in_order(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..5))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    let one = |id: i64, name: &str| named([(id, name.to_owned())]);
    writer
        .transaction()
        .upsert(&table, one(1, "first"))
        .delete(&table, &[1, 2])?
        .append(&table, one(1, "second"))
        .upsert(&table, one(1, "third"))
        .upsert(&table, one(6, "six"))
        .delete(&table, &[6, 3])?
        .commit()?;
    let expected: BTreeMap<i64, String> =
        [(0, "row 0"), (1, "third"), (4, "row 4")].map(|(id, name)| (id, name.to_owned())).into();
    assert_named(&session.table("t")?, &expected);
    session.reopen();
    assert_named(&session.table("t")?, &expected);
    let writer = session.writer();
    let table = writer.table("t")?;
    writer
        .transaction()
        .upsert(&table, one(0, "gone"))
        .truncate(&table)
        .append(&table, one(4, "four"))
        .commit()?;
    let expected = BTreeMap::from([(4, "four".to_owned())]);
    assert_named(&session.table("t")?, &expected);
    session.reopen();
    assert_named(&session.table("t")?, &expected);
    Ok(())
}

/// A full refresh and the changes since are visible together.
pub fn a_replacement_with_upserts(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..5))?;
    session.upsert("t", named([(2, "old".to_owned())]))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    writer
        .transaction()
        .replace(&table, numbered(10..20))
        .upsert(&table, named([(12, "changed".to_owned()), (30, "new".to_owned())]))
        .delete(&table, &[13])?
        .source_position("source", b"42".as_slice())
        .commit()?;
    let mut expected: BTreeMap<i64, String> = (10..20).map(|id| (id, format!("row {id}"))).collect();
    expected.remove(&13);
    expected.extend([(12, "changed".to_owned()), (30, "new".to_owned())]);
    assert_named(&session.table("t")?, &expected);
    session.compact()?;
    assert_named(&session.table("t")?, &expected);
    session.reopen();
    assert_named(&session.table("t")?, &expected);
    assert_eq!(session.cache().source_position("source")?.as_deref(), Some(b"42".as_slice()));
    Ok(())
}

/// A position of a source stays together with the rows of its commit, through moves and reopenings, until it is
/// forgotten.
pub fn positions_of_sources_are_kept(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    assert_eq!(session.cache().source_position("one")?, None);
    for id in 1..4_u8 {
        let writer = session.writer();
        let table = writer.table("t")?;
        let change = writer.transaction().upsert(&table, numbered([i64::from(id)]));
        change.source_position("one", [id, 0, 255]).source_position("other", [id]).commit()?;
        assert_eq!(session.cache().source_position("one")?, Some(vec![id, 0, 255]));
        session.compact()?;
    }
    session.reopen();
    assert_eq!(session.cache().source_position("one")?, Some(vec![3, 0, 255]));
    session.writer().transaction().source_position("one", []).commit()?;
    assert_eq!(session.cache().source_position("one")?, None);
    session.reopen();
    assert_eq!(session.cache().source_position("one")?, None);
    assert_eq!(session.cache().source_position("other")?, Some(vec![3]));
    assert_numbered(&session.table("t")?, 0..4);
    Ok(())
}
