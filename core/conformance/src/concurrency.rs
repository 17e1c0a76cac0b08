//! Reads beside writes: every read sees whole commits, all of one version.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::AsArray;
use arrow::array::RecordBatch;
use arrow::array::types::Int64Type;
use arrow::datatypes::DataType;
use pillion::{Cache, TableDefinition, Value};

use crate::model::{batch, collect, name_of, numbered};
use crate::{Outcome, Session};

const COMMITS: i64 = 20;
pub(crate) const ROWS: i64 = 20;

/// Rows of one round: every row carries the number of the round.
pub(crate) fn round(round: i64) -> RecordBatch {
    batch(&[
        ("id", DataType::Int64, (0..ROWS).map(Value::Int).collect()),
        ("round", DataType::Int64, vec![Value::Int(round); usize::try_from(ROWS).unwrap()]),
    ])
}

/// Runs `write` once for every commit while two threads run `read` again and again, and at least once after the
/// last commit.
pub(crate) fn beside(
    cache: &Cache,
    mut write: impl FnMut(i64) -> pillion::Result<()>,
    read: impl Fn(&Cache) -> pillion::Result<()> + Sync,
) -> Outcome {
    let done = AtomicBool::new(false);
    let readers = std::thread::scope(|scope| {
        let reader = || -> pillion::Result<()> {
            loop {
                let last = done.load(Ordering::Acquire);
                read(cache)?;
                if last {
                    return Ok(());
                }
            }
        };
        let threads = [scope.spawn(reader), scope.spawn(reader)];
        let written = (1..=COMMITS).try_for_each(&mut write);
        done.store(true, Ordering::Release);
        let joined: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        let read = joined.into_iter().collect::<pillion::Result<()>>();
        written.and(read)
    });
    Ok(readers?)
}

/// Lookups of many keys, scans and snapshots beside replacements: all rows are of one round.
pub fn reads_beside_replacements(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", round(0))?;
    let keys: Vec<i64> = (0..ROWS).collect();
    let writer = session.writer().table("t")?;
    let cache = session.held();
    let rounds_are_one = |rounds: &[i64]| {
        assert_eq!(rounds.len(), keys.len());
        assert!(rounds.iter().all(|round| *round == rounds[0]), "{rounds:?}");
    };
    beside(
        &cache,
        |number| writer.replace(round(number)).map(drop),
        |cache| {
            let table = cache.table("t")?;
            let rows = table.get_many(&keys)?;
            let found: Vec<i64> =
                rows.iter().flatten().map(|row| row.get("round")).collect::<pillion::Result<_>>()?;
            rounds_are_one(&found);
            rounds_are_one(collect(table.scan()).column(1).as_primitive::<Int64Type>().values());
            let snapshot = cache.snapshot()?.table("t")?;
            let (first, last) = (snapshot.get(0)?, snapshot.get(ROWS - 1)?);
            let of = |row: Option<pillion::Row>| row.expect("it is there").get::<i64>("round");
            assert_eq!(of(first)?, of(last)?);
            Ok(())
        },
    )
}

/// A reader never goes back to an older version.
pub fn versions_never_go_back(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", round(0))?;
    let writer = session.writer().table("t")?;
    let cache = session.held();
    beside(
        &cache,
        |number| writer.replace(round(number)).map(drop),
        |cache| {
            let table = cache.table("t")?;
            let first = table.get(0)?.expect("it is there");
            let second = table.get(ROWS - 1)?.expect("it is there");
            assert_eq!(second.version().includes(first.version()), Some(true));
            assert!(second.get::<i64>("round")? >= first.get::<i64>("round")?);
            Ok(())
        },
    )
}

/// A query reads all its tables at one version: rows are appended to one table and then to the other.
pub fn a_query_reads_one_version(session: &mut Session<'_>) -> Outcome {
    for name in ["first", "second"] {
        session.define(name, TableDefinition::new(round(0)))?;
    }
    let writers = [session.writer().table("first")?, session.writer().table("second")?];
    let cache = session.held();
    beside(
        &cache,
        |number| writers.iter().try_for_each(|writer| writer.append(round(number)).map(drop)),
        |cache| {
            let text = "SELECT (SELECT count(*) FROM first) AS a, (SELECT count(*) FROM second) AS b, \
                        (SELECT max(round) FROM first) AS c, (SELECT max(round) FROM second) AS d";
            let answer = cache.sql(text, &[])?.concat()?;
            let number = |column: usize| answer.column(column).as_primitive::<Int64Type>().value(0);
            let (ahead, behind) = (number(0), number(1));
            assert!(ahead == behind || ahead == behind + ROWS, "{ahead} rows and {behind} rows");
            assert_eq!((number(2) + 1) * ROWS, ahead);
            assert_eq!((number(3) + 1) * ROWS, behind);
            Ok(())
        },
    )
}

/// A prepared query beside replacements: all rows are of one round, and rounds never go back.
pub fn prepared_queries_beside_replacements(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", round(0))?;
    let writer = session.writer().table("t")?;
    let cache = session.held();
    let prepared = cache.prepare("SELECT min(round), max(round), count(*) FROM t WHERE id >= $1")?;
    beside(
        &cache,
        |number| writer.replace(round(number)).map(drop),
        |_| {
            let answer = prepared.execute(&[Value::Int(0)])?.concat()?;
            let number = |column: usize| answer.column(column).as_primitive::<Int64Type>().value(0);
            assert_eq!((number(0), number(2)), (number(1), ROWS));
            Ok(())
        },
    )
}

/// Threads that read a cache for the first time together: all find every row.
pub fn first_reads_together(session: &mut Session<'_>) -> Outcome {
    const KEYS: i64 = 20_000;
    session.define_keyed("t", "id", numbered(0..KEYS))?;
    session.append("t", numbered(KEYS..KEYS + 1_000))?;
    session.reopen();
    let table = session.table("t")?;
    std::thread::scope(|scope| {
        let read = |first: i64| {
            let table = table.clone();
            scope.spawn(move || {
                for id in (first..KEYS + 1_000).step_by(101) {
                    let row = table.get(id).unwrap().unwrap_or_else(|| panic!("{id} is there"));
                    assert_eq!(row.get::<&str>("name").unwrap(), name_of(id));
                }
                assert_eq!(collect(table.scan()).num_rows(), usize::try_from(KEYS + 1_000).unwrap());
            })
        };
        let threads = [read(0), read(1), read(50), read(100)];
        threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    });
    Ok(())
}
