//! Snapshots: one version, whatever happens to the cache.

use std::collections::BTreeSet;

use pillion::{ErrorCode, Snapshot, TableDefinition};

use crate::model::{assert_rows, collect, name_of, numbered, refused, row_values, vals};
use crate::{Outcome, Session};

/// Fails unless a snapshot has the table `t` with exactly the rows 1 and 2.
fn assert_one_and_two(snapshot: &Snapshot) -> Outcome {
    let table = snapshot.table("t")?;
    assert_eq!(collect(table.scan()), numbered([1, 2]));
    assert_eq!(row_values(&table.get(2)?.expect("it is there")), vals![2, name_of(2)]);
    assert!(table.get(3)?.is_none());
    assert_eq!(table.get_many(&[3, 1])?.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
    assert_eq!(table.info().rows, 2);
    assert_eq!(table.info().version, snapshot.version()?);
    Ok(())
}

/// Appends are not seen.
pub fn appends_are_not_seen(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let snapshot = session.cache().snapshot()?;
    for id in 3..20 {
        session.append("t", numbered([id]))?;
    }
    assert_one_and_two(&snapshot)?;
    assert!(session.cache().snapshot()?.table("t")?.get(3)?.is_some());
    Ok(())
}

/// Replacements are not seen.
pub fn replacements_are_not_seen(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let snapshot = session.cache().snapshot()?;
    for _ in 0..3 {
        session.replace("t", numbered([3]))?;
    }
    assert_one_and_two(&snapshot)?;
    assert!(session.cache().snapshot()?.table("t")?.get(1)?.is_none());
    Ok(())
}

/// A dropped table is still in the snapshot, even when another table has its name.
pub fn dropped_tables_are_still_there(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let snapshot = session.cache().snapshot()?;
    session.writer().drop_table("t")?;
    assert_one_and_two(&snapshot)?;
    session.define_keyed("t", "name", numbered([7]))?;
    assert_one_and_two(&snapshot)?;
    assert_eq!(snapshot.tables()?[0].rules.primary_key, ["id"]);
    Ok(())
}

/// Tables that are defined later are not in the snapshot.
pub fn later_tables_are_not_there(session: &mut Session<'_>) -> Outcome {
    let snapshot = session.cache().snapshot()?;
    session.define_keyed("t", "id", numbered([1, 2]))?;
    assert!(snapshot.tables()?.is_empty());
    refused(snapshot.table("t"), ErrorCode::TableNotFound);
    assert_one_and_two(&session.cache().snapshot()?)
}

/// Several snapshots hold several versions at a time, and clones hold the same.
pub fn several_versions_are_held(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    let mut snapshots = vec![session.cache().snapshot()?];
    for id in 1..12 {
        session.append("t", numbered([id]))?;
        snapshots.push(session.cache().snapshot()?.clone());
    }
    for (last, snapshot) in (0..12).zip(&snapshots) {
        let table = snapshot.table("t")?;
        assert_eq!(table.info().rows, u64::try_from(last)? + 1);
        for id in 0..12 {
            assert_eq!(table.get(id)?.is_some(), id <= last, "{id} at {last}");
        }
        assert_eq!(snapshot.version()?.includes(snapshots[0].version()?), Some(true));
        assert_eq!(snapshots[0].version()?.includes(snapshot.version()?), Some(last == 0));
    }
    Ok(())
}

/// A snapshot can be read after the cache was closed.
pub fn a_snapshot_outlives_closing(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1, 2]))?;
    let snapshot = session.cache().snapshot()?;
    // Read once, so that its files are mapped.
    assert_one_and_two(&snapshot)?;
    session.writer().close()?;
    assert_one_and_two(&snapshot)?;
    Ok(())
}

/// Information about tables in a snapshot is that of its version.
pub fn descriptions_are_of_the_version(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let snapshot = session.cache().snapshot()?;
    let version = session.writer().version()?;
    session.append("t", numbered([2]))?;
    let tables = snapshot.tables()?;
    assert_eq!((tables.len(), tables[0].rows, tables[0].version), (1, 1, version));
    assert_eq!(snapshot.version()?, version);
    assert_eq!(snapshot.table("t")?.scan()?.version(), version);
    assert_eq!(snapshot.table("t")?.get(1)?.expect("it is there").version(), version);
    Ok(())
}

/// Queries of a snapshot see its version in all tables.
pub fn queries_are_of_the_version(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("a", "id", numbered([1]))?;
    session.define("b", TableDefinition::new(numbered([1])))?;
    let snapshot = session.cache().snapshot()?;
    session.append("a", numbered([2]))?;
    session.replace("b", numbered([2, 3]))?;
    session.define("c", TableDefinition::new(numbered([1])))?;
    let text =
        "SELECT (SELECT count(*) FROM a) AS x, (SELECT count(*) FROM b) AS y, (SELECT max(id) FROM b) AS z";
    let answer = snapshot.sql(text, &[])?;
    assert_eq!(answer.version(), snapshot.version()?);
    assert_rows(&answer.concat()?, &[vals![1, 1, 1]]);
    assert_rows(&session.sql(text, &[])?, &[vals![2, 2, 3]]);
    refused(snapshot.sql("SELECT * FROM c", &[]), ErrorCode::TableNotFound);
    session.writer().drop_table("a")?;
    assert_rows(
        &snapshot.sql("SELECT name FROM a WHERE id = $1", &vals![1])?.concat()?,
        &[vals![name_of(1)]],
    );
    Ok(())
}

/// Counts and sums over many small commits are those of the version, even if rows were replaced and deleted since.
pub fn queries_of_many_small_commits(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([]))?;
    let table = session.writer().table("t")?;
    let (mut expected, mut versions) = (BTreeSet::new(), Vec::new());
    for commit in 0..1_100 {
        session.upsert("t", numbered([commit * 37 % 900]))?;
        expected.insert(commit * 37 % 900);
        if commit % 5 == 4 {
            table.delete(commit * 11 % 900)?;
            expected.remove(&(commit * 11 % 900));
        }
        if commit % 250 == 0 {
            versions.push((session.cache().snapshot()?, expected.clone()));
        }
    }
    versions.push((session.cache().snapshot()?, expected));
    for (snapshot, expected) in versions {
        let (count, sum) = (i64::try_from(expected.len())?, expected.iter().sum::<i64>());
        assert_rows(&snapshot.sql("SELECT count(*) FROM t", &[])?.concat()?, &[vals![count]]);
        let text = "SELECT count(*), sum(id), count(DISTINCT name) FROM t WHERE id >= 0";
        assert_rows(&snapshot.sql(text, &[])?.concat()?, &[vals![count, sum, count]]);
    }
    Ok(())
}
