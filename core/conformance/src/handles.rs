//! Handles that are held while the cache changes.

use pillion::{ErrorCode, TableDefinition};

use crate::model::{assert_numbered, collect, numbered, refused};
use crate::{Outcome, Session};

/// A table handle reads the version that is newest at the call.
pub fn a_table_follows_the_newest_version(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    session.append("t", numbered([2]))?;
    session.cache();
    assert_numbered(&table, [1, 2]);
    session.replace("t", numbered([3]))?;
    session.cache();
    assert_numbered(&table, [3]);
    assert!(table.get(1)?.is_none());
    Ok(())
}

/// A cache handle sees tables that are defined and dropped later.
pub fn a_cache_follows_the_newest_version(session: &mut Session<'_>) -> Outcome {
    let cache = session.held();
    assert!(cache.tables()?.is_empty());
    session.define_keyed("t", "id", numbered([1]))?;
    assert_numbered(&cache.table("t")?, [1]);
    let version = session.writer().drop_table("t")?;
    session.cache();
    refused(cache.table("t"), ErrorCode::TableNotFound);
    assert_eq!(cache.version()?, version);
    Ok(())
}

/// A handle of a dropped table fails, even when another table has its name now.
pub fn a_handle_of_a_dropped_table_fails(session: &mut Session<'_>) -> Outcome {
    let table = session.define_keyed("t", "id", numbered([1]))?;
    session.writer().drop_table("t")?;
    session.cache();
    refused(table.get(1), ErrorCode::TableNotFound);
    refused(table.scan(), ErrorCode::TableNotFound);
    refused(table.info(), ErrorCode::TableNotFound);
    session.define_keyed("t", "id", numbered([1]))?;
    refused(table.get(1), ErrorCode::TableNotFound);
    refused(table.get_many(&[1]), ErrorCode::TableNotFound);
    refused(table.scan_columns(["id"]), ErrorCode::TableNotFound);
    assert_eq!(table.name(), "t");
    Ok(())
}

/// A scan continues over the rows that it began with.
pub fn a_scan_keeps_its_version(session: &mut Session<'_>) -> Outcome {
    let table = session.define("t", TableDefinition::new(vec![numbered(0..10)]))?;
    let scan = table.scan()?;
    let version = scan.version();
    session.replace("t", numbered([99]))?;
    session.writer().drop_table("t")?;
    session.cache();
    assert_eq!(scan.version(), version);
    assert_eq!(scan.concat()?, numbered(0..10));
    Ok(())
}

/// Clones of a handle are the same cache.
pub fn clones_are_the_same_cache(session: &mut Session<'_>) -> Outcome {
    let cache = session.held();
    let clone = cache.clone();
    session.define_keyed("t", "id", numbered([1]))?;
    let table = clone.table("t")?;
    let elsewhere = std::thread::scope(|scope| {
        let table = table.clone();
        scope.spawn(move || collect(table.scan())).join().expect("no panic")
    });
    assert_eq!(elsewhere, numbered([1]));
    assert_eq!(clone.version()?, session.writer().version()?);
    assert_eq!(clone.version()?, cache.version()?);
    Ok(())
}

/// A closed cache can still be read and refuses to write; closing it again is not an error.
pub fn a_closed_cache_reads_on(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let writer = session.writer();
    let table = writer.table("t")?;
    writer.close()?;
    writer.close()?;
    assert_numbered(&table, [1]);
    assert_numbered(&session.table("t")?, [1]);
    refused(table.append(numbered([2])), ErrorCode::Closed);
    refused(table.replace(numbered([2])), ErrorCode::Closed);
    refused(writer.drop_table("t"), ErrorCode::Closed);
    refused(writer.define_table("u", TableDefinition::new(numbered([1]))), ErrorCode::Closed);
    refused(writer.sync(), ErrorCode::Closed);
    session.reopen();
    assert_numbered(&session.table("t")?, [1]);
    session.append("t", numbered([2]))?;
    assert_numbered(&session.table("t")?, [1, 2]);
    Ok(())
}
