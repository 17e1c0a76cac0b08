//! Versions and freshness.

use std::time::{Duration, SystemTime};

use pillion::{ErrorCode, Freshness, TableDefinition, Tier, Version};

use crate::model::{numbered, refused};
use crate::{Outcome, Session};

/// Every commit makes one new version, which its call returns.
pub fn every_commit_is_one_version(session: &mut Session<'_>) -> Outcome {
    let writer = session.writer();
    let start = writer.version()?;
    let after = |commits| Version { sequence: start.sequence + commits, ..start };
    writer.define_table("t", TableDefinition::new(numbered([1])))?;
    assert_eq!(writer.version()?, after(1));
    assert_eq!(session.append("t", numbered([2]))?, after(2));
    assert_eq!(session.replace("t", numbered([3]))?, after(3));
    assert_eq!(writer.drop_table("t")?, after(4));
    assert_eq!(session.cache().version()?, after(4));
    assert_eq!(session.cache().status()?.version, after(4));
    Ok(())
}

/// Reading and failing make no version.
pub fn reading_and_failing_make_no_version(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let version = session.writer().version()?;
    let table = session.table("t")?;
    table.get(1)?;
    table.scan()?.concat()?;
    session.cache().snapshot()?;
    refused(session.append("t", numbered([1])), ErrorCode::DuplicateKey);
    refused(session.writer().drop_table("u"), ErrorCode::TableNotFound);
    session.writer().sync()?;
    assert_eq!(session.writer().version()?, version);
    assert_eq!(session.cache().version()?, version);
    Ok(())
}

/// Of two versions of one incarnation the later includes the earlier; of two incarnations nothing is known.
pub fn a_later_version_includes_an_earlier(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let first = session.writer().version()?;
    let second = session.append("t", numbered([2]))?;
    assert_eq!(second.includes(first), Some(true));
    assert_eq!(first.includes(second), Some(false));
    assert_eq!(first.includes(first), Some(true));
    let other = session.another().writer().version()?;
    assert_ne!(other.incarnation, first.incarnation, "two caches have two incarnations");
    assert_eq!(second.includes(other), None);
    Ok(())
}

/// A clean close and a new opening change neither incarnation nor sequence, and counting continues.
pub fn versions_survive_a_clean_close(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([0]))?;
    for id in 1..5 {
        let before = session.writer().version()?;
        session.reopen();
        assert_eq!(session.writer().version()?, before);
        assert_eq!(session.cache().version()?, before);
        let after = session.append("t", numbered([id]))?;
        assert_eq!((after.incarnation, after.sequence), (before.incarnation, before.sequence + 1));
    }
    Ok(())
}

/// Answers say which version they saw.
pub fn answers_say_their_version(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let version = session.append("t", numbered([2]))?;
    let table = session.table("t")?;
    assert_eq!(table.get(2)?.expect("it is there").version(), version);
    let scan = table.scan()?;
    assert_eq!((scan.version(), scan.tier()), (version, Tier::Local));
    assert_eq!(table.info()?.version, version);
    assert!(session.cache().tables()?.iter().all(|table| table.version == version));
    Ok(())
}

/// Fails unless a moment is between two others.
#[track_caller]
fn assert_between(freshness: Option<Freshness>, earliest: SystemTime, latest: SystemTime) {
    let as_of = freshness.expect("something was loaded").as_of;
    assert!(earliest <= as_of && as_of <= latest, "{as_of:?} is not between {earliest:?} and {latest:?}");
}

/// The freshness of a table is within the last call that wrote to it, when that call began to read its rows.
pub fn freshness_is_within_the_call(session: &mut Session<'_>) -> Outcome {
    let clock = SystemTime::now;
    let mut bounds = (clock(), clock());
    session.writer().define_table("t", TableDefinition::new(numbered([1])).primary_key(["id"]))?;
    bounds.1 = clock();
    assert_between(session.table("t")?.info()?.freshness, bounds.0, bounds.1);
    bounds.0 = clock();
    session.append("t", numbered([2]))?;
    bounds.1 = clock();
    assert_between(session.table("t")?.info()?.freshness, bounds.0, bounds.1);
    bounds.0 = clock();
    // Reading these rows takes a while: the freshness is the moment at which the cache began to read them.
    let rows = std::iter::once_with(|| {
        std::thread::sleep(Duration::from_millis(30));
        numbered([3])
    });
    session.replace("t", pillion::Input::batches(crate::model::numbered_schema(), rows))?;
    assert_between(session.table("t")?.info()?.freshness, bounds.0, clock() - Duration::from_millis(30));
    Ok(())
}

/// Freshness survives a close, belongs to each table alone, and is part of every answer.
pub fn freshness_goes_with_the_table(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("old", "id", numbered([1]))?;
    let old = session.table("old")?.info()?.freshness;
    session.define_keyed("new", "id", numbered([1]))?;
    let new = session.table("new")?.info()?.freshness;
    assert!(old.expect("loaded").as_of < new.expect("loaded").as_of);
    for _ in 0..2 {
        let (old_table, new_table) = (session.table("old")?, session.table("new")?);
        assert_eq!(old_table.info()?.freshness, old);
        assert_eq!(new_table.info()?.freshness, new);
        assert_eq!(old_table.scan()?.freshness(), old);
        assert_eq!(new_table.get(1)?.expect("it is there").freshness(), new);
        session.reopen();
    }
    Ok(())
}

/// A query is as fresh as the oldest of the tables that it reads.
pub fn a_query_is_as_fresh_as_its_oldest_table(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("old", "id", numbered([1]))?;
    session.define_keyed("new", "id", numbered([1]))?;
    let cache = session.cache();
    let of = |name: &str| Ok::<_, pillion::Error>(cache.table(name)?.info()?.freshness);
    let (old, new) = (of("old")?, of("new")?);
    let freshness = |text: &str| Ok::<_, pillion::Error>(cache.sql(text, &[])?.freshness());
    assert_eq!(freshness("SELECT * FROM new")?, new);
    assert_eq!(freshness("SELECT * FROM new JOIN old USING (id)")?, old);
    assert_eq!(freshness("SELECT * FROM new WHERE id IN (SELECT id FROM old)")?, old);
    assert_eq!(freshness("SELECT 1")?, None);
    let answer = cache.sql("SELECT * FROM new", &[])?;
    assert_eq!((answer.version(), answer.tier()), (cache.version()?, Tier::Local));
    Ok(())
}

/// Age is the time since then, and never negative.
pub fn age_is_the_time_since(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered([1]))?;
    let freshness = session.table("t")?.info()?.freshness.expect("loaded");
    let bound = SystemTime::now().duration_since(freshness.as_of)?;
    assert!(freshness.age() >= bound);
    let future = Freshness { as_of: SystemTime::now() + Duration::from_secs(3600) };
    assert_eq!(future.age(), Duration::ZERO);
    assert_eq!(future.older(freshness), freshness);
    assert_eq!(freshness.older(future), freshness);
    Ok(())
}
