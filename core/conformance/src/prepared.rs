//! Queries that are prepared once and run many times.

use std::time::Duration;

use arrow::array::{AsArray, types::TimestampNanosecondType};
use arrow::datatypes::DataType;
use pillion::{ErrorCode, TableDefinition, Value};

use crate::model::{assert_rows, batch, name_of, numbered, numbered_rows, refused, vals};
use crate::{Outcome, Session};

/// One run after another with different parameters.
pub fn runs_with_other_parameters(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..100))?;
    let cache = session.cache();
    let by_key = cache.prepare("SELECT name FROM t WHERE id = $1")?;
    let by_range = cache.prepare("SELECT id, name FROM t WHERE id >= $1 AND id < $2 ORDER BY id")?;
    assert_eq!((by_key.parameters(), by_range.parameters()), (1, 2));
    for id in [0, 50, 99, 7] {
        assert_rows(&by_key.execute(&vals![id])?.concat()?, &[vals![name_of(id)]]);
        assert_rows(&by_range.execute(&vals![id, id + 3])?.concat()?, &numbered_rows(id..(id + 3).min(100)));
    }
    assert_rows(&by_key.execute(&vals![100])?.concat()?, &[]);
    assert_rows(&by_key.execute(&[Value::Null])?.concat()?, &[]);
    let without = cache.prepare("SELECT count(*) FROM t")?;
    assert_eq!(without.parameters(), 0);
    assert_rows(&without.execute(&[])?.concat()?, &[vals![100]]);
    Ok(())
}

/// Several threads share a statement.
pub fn threads_share_a_statement(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..100))?;
    let prepared = session.cache().prepare("SELECT name FROM t WHERE id = $1")?;
    std::thread::scope(|scope| {
        let run = |from: i64| {
            let prepared = prepared.clone();
            scope.spawn(move || {
                for id in from..from + 10 {
                    let found = prepared.execute(&vals![id]).unwrap().concat().unwrap();
                    assert_rows(&found, &[vals![name_of(id)]]);
                }
            })
        };
        let threads = [run(0), run(20), run(40), run(60)];
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    Ok(())
}

/// A parameter of the wrong type is refused at the run and does not harm the statement.
pub fn a_refused_run_does_no_harm(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    let prepared = session.cache().prepare("SELECT name FROM t WHERE id = $1")?;
    refused(prepared.execute(&vals!["one"]), ErrorCode::InvalidParameter);
    refused(prepared.execute(&[]), ErrorCode::InvalidParameter);
    assert_rows(&prepared.execute(&vals![1])?.concat()?, &[vals![name_of(1)]]);
    Ok(())
}

/// A run through a snapshot reads the version of the snapshot.
pub fn a_run_at_a_snapshot(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    let cache = session.cache();
    let snapshot = cache.snapshot()?;
    let prepared = cache.prepare("SELECT count(*), max(id) FROM t WHERE id <> $1")?;
    session.append("t", numbered(3..10))?;
    let answer = prepared.execute_at(&snapshot, &vals![-1])?;
    assert_eq!(answer.version(), snapshot.version()?);
    assert_rows(&answer.concat()?, &[vals![3, 2]]);
    session.writer().drop_table("t")?;
    assert_rows(&prepared.execute_at(&snapshot, &vals![0])?.concat()?, &[vals![2, 2]]);
    Ok(())
}

/// A snapshot of another cache is refused.
pub fn a_snapshot_of_another_cache_is_refused(session: &mut Session<'_>) -> Outcome {
    let mut other = session.another();
    for session in [&mut *session, &mut other] {
        session.define_keyed("t", "id", numbered(0..3))?;
    }
    let prepared = session.cache().prepare("SELECT count(*) FROM t")?;
    let foreign = other.cache().snapshot()?;
    refused(prepared.execute_at(&foreign, &[]), ErrorCode::InvalidArgument);
    let own = session.cache().prepare("SELECT count(*) FROM t")?;
    assert_rows(&own.execute_at(&session.cache().snapshot()?, &[])?.concat()?, &[vals![3]]);
    Ok(())
}

/// The time of a run is the time of the run.
pub fn now_is_not_frozen(session: &mut Session<'_>) -> Outcome {
    let prepared = session.cache().prepare("SELECT now()")?;
    let now = || -> Result<i64, Box<dyn std::error::Error>> {
        let found = prepared.execute(&[])?.concat()?;
        Ok(found.column(0).as_primitive::<TimestampNanosecondType>().value(0))
    };
    let first = now()?;
    std::thread::sleep(Duration::from_millis(2));
    let second = now()?;
    assert!(second > first, "{first} and then {second}");
    Ok(())
}

/// Random numbers differ between runs.
pub fn random_is_not_frozen(session: &mut Session<'_>) -> Outcome {
    let prepared = session.cache().prepare("SELECT random()")?;
    let first = prepared.execute(&[])?.concat()?;
    assert_ne!(first, prepared.execute(&[])?.concat()?);
    Ok(())
}

/// A run sees that rows were added and removed since the statement was prepared.
pub fn a_run_sees_the_newest_rows(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    let cache = session.cache();
    let count = cache.prepare("SELECT count(*), min(id), max(id) FROM t")?;
    let lookup = cache.prepare("SELECT name FROM t WHERE id = $1")?;
    assert_rows(&count.execute(&[])?.concat()?, &[vals![3, 0, 2]]);
    assert_rows(&lookup.execute(&vals![7])?.concat()?, &[]);
    let version = session.append("t", numbered([7]))?;
    session.cache();
    let answer = count.execute(&[])?;
    assert_eq!(answer.version(), version);
    assert_rows(&answer.concat()?, &[vals![4, 0, 7]]);
    assert_rows(&lookup.execute(&vals![7])?.concat()?, &[vals![name_of(7)]]);
    session.replace("t", numbered([1]))?;
    session.cache();
    assert_rows(&count.execute(&[])?.concat()?, &[vals![1, 1, 1]]);
    assert_rows(&lookup.execute(&vals![7])?.concat()?, &[]);
    Ok(())
}

/// A run fails after its table was dropped, and works again when the table is defined anew, even with other columns.
pub fn a_redefined_table_is_found_again(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..3))?;
    let cache = session.cache();
    let all = cache.prepare("SELECT * FROM t WHERE id >= $1 ORDER BY id")?;
    assert_rows(&all.execute(&vals![2])?.concat()?, &numbered_rows([2]));
    session.writer().drop_table("t")?;
    session.cache();
    refused(all.execute(&vals![1]), ErrorCode::TableNotFound);
    let rows = batch(&[("extra", DataType::Boolean, vals![true]), ("id", DataType::Int32, vals![5])]);
    session.define_keyed("t", "id", rows)?;
    session.cache();
    assert_rows(&all.execute(&vals![1])?.concat()?, &[vals![true, 5]]);
    session.writer().drop_table("t")?;
    session.define("t", TableDefinition::new(batch(&[("other", DataType::Int64, vals![1])])))?;
    session.cache();
    refused(all.execute(&vals![1]), ErrorCode::ColumnNotFound);
    Ok(())
}

/// Statements about the cache itself also read the state at the run.
pub fn a_run_sees_the_newest_tables(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("first", "id", numbered(0..3))?;
    let text =
        "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' ORDER BY table_name";
    let prepared = session.cache().prepare(text)?;
    assert_rows(&prepared.execute(&[])?.concat()?, &[vals!["first"]]);
    session.define_keyed("second", "id", numbered(0..3))?;
    session.cache();
    assert_rows(&prepared.execute(&[])?.concat()?, &[vals!["first"], vals!["second"]]);
    Ok(())
}
