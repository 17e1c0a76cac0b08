//! Answers of many batches: read in part, dropped, moved between threads, polled by any executor.

use futures::StreamExt;
use futures::executor::block_on;
use pillion::{ErrorCode, Result, TableDefinition};

use arrow::array::types::Int64Type;
use arrow::array::{AsArray, RecordBatch};

use crate::model::{assert_numbered, assert_rows, numbered, refused, vals};
use crate::{Outcome, Session};

const ROWS: i64 = 70_000;

/// Rows in an answer far larger than anything that is read ahead.
const SQUARE: &str = "SELECT a.id AS x, b.id AS y FROM t a CROSS JOIN t b";

fn define(session: &mut Session<'_>) -> Outcome {
    session.define("t", TableDefinition::new(numbered(0..ROWS)))?;
    Ok(())
}

fn count(batches: impl IntoIterator<Item = Result<RecordBatch>>) -> Result<i64> {
    let rows = batches.into_iter().map(|batch| batch.map(|batch| batch.num_rows()));
    Ok(i64::try_from(rows.sum::<Result<usize>>()?).unwrap())
}

/// A scan that is dropped half-way, and one that is never read.
pub fn a_scan_dropped_half_way(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let table = session.table("t")?;
    for _ in 0..20 {
        let mut scan = table.scan()?;
        assert!(scan.next().expect("a batch")?.num_rows() > 0);
        drop(scan);
        drop(table.scan()?);
    }
    assert_eq!(count(table.scan()?)?, ROWS);
    Ok(())
}

/// A scan as a stream, on an executor that is not tokio's.
pub fn a_scan_as_a_stream(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let table = session.table("t")?;
    let stream = table.scan()?.into_stream();
    assert_eq!(stream.schema(), table.schema());
    assert_eq!(stream.version(), table.info()?.version);
    let batches: Vec<Result<RecordBatch>> = block_on(stream.collect());
    let mut next = 0;
    for batch in batches {
        let batch = batch?;
        let ids = batch.column(0).as_primitive::<Int64Type>().values();
        assert!(ids.iter().copied().eq(next..next + i64::try_from(ids.len())?));
        next += i64::try_from(ids.len())?;
    }
    assert_eq!(next, ROWS);
    Ok(())
}

/// An answer can be read on another thread than the one that asked for it, and stays ended once it has ended.
pub fn an_answer_moves_between_threads(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let mut scan = session.table("t")?.scan()?;
    let first = count(scan.next())?;
    let rest = std::thread::scope(|scope| {
        scope
            .spawn(move || {
                let rest = count(scan.by_ref());
                assert!(scan.next().is_none() && scan.next().is_none(), "the end is the end");
                rest
            })
            .join()
            .expect("no panic")
    })?;
    assert_eq!(first + rest, ROWS);
    Ok(())
}

/// A held batch stays unchanged when its table is replaced and dropped, and when the cache is opened again.
pub fn a_held_batch_stays_as_it_was(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..1000))?;
    let batches = session.table("t")?.scan()?.collect_all()?;
    session.replace("t", numbered([1]))?;
    session.writer().drop_table("t")?;
    session.reopen();
    let all = arrow::compute::concat_batches(&batches[0].schema(), &batches)?;
    assert_eq!(all, numbered(0..1000));
    Ok(())
}

/// A query whose answer is large, read whole: every row once.
pub fn a_large_answer(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    let mut seen = vec![false; usize::try_from(ROWS)?];
    for batch in cache.sql("SELECT id, name FROM t WHERE id % 7 <> 3", &[])? {
        for id in batch?.column(0).as_primitive::<Int64Type>().values() {
            assert!(!std::mem::replace(&mut seen[usize::try_from(*id)?], true), "{id} came twice");
        }
    }
    assert!((0..ROWS).zip(seen).all(|(id, seen)| seen == (id % 7 != 3)));
    Ok(())
}

/// Queries that are dropped half-way, unread, and while their threads are at work; the cache goes on.
pub fn queries_dropped_while_running(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    for _ in 0..2 {
        drop(cache.sql(SQUARE, &[])?);
        let mut answer = cache.sql(SQUARE, &[])?;
        assert!(answer.next().expect("a batch")?.num_rows() > 0);
        drop(answer);
        let mut sorted = cache.sql("SELECT id % 1000, count(*) FROM t GROUP BY id % 1000 ORDER BY 1", &[])?;
        assert!(sorted.next().expect("a batch")?.num_rows() > 0);
    }
    assert_rows(&session.sql("SELECT count(*) FROM t", &[])?, &[vals![ROWS]]);
    session.append("t", numbered([ROWS]))?;
    assert_rows(&session.sql("SELECT count(*) FROM t", &[])?, &[vals![ROWS + 1]]);
    Ok(())
}

/// A query as a stream, on an executor that is not tokio's.
pub fn a_query_as_a_stream(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    let stream = cache.sql("SELECT id FROM t ORDER BY id DESC", &[])?.into_stream();
    let batches: Vec<Result<RecordBatch>> = block_on(stream.collect());
    let mut next = ROWS;
    for batch in batches {
        for id in batch?.column(0).as_primitive::<Int64Type>().values() {
            next -= 1;
            assert_eq!(*id, next);
        }
    }
    assert_eq!(next, 0);
    Ok(())
}

/// Streams that are dropped half-way, unread, and while their task is at work; the cache goes on.
pub fn streams_dropped_while_running(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    for _ in 0..2 {
        drop(cache.sql(SQUARE, &[])?.into_stream());
        let mut stream = cache.sql(SQUARE, &[])?.into_stream();
        let first = block_on(stream.next()).expect("a batch")?;
        assert!(first.num_rows() > 0);
        drop(stream);
        // Polled once and then given up, as a cancelled task does.
        let mut given_up =
            cache.sql("SELECT id % 1000, count(*) FROM t GROUP BY id % 1000", &[])?.into_stream();
        let polled = block_on(futures::future::select(given_up.next(), futures::future::ready(())));
        drop(polled);
    }
    let counted: Vec<Result<RecordBatch>> =
        block_on(cache.sql("SELECT count(*) FROM t", &[])?.into_stream().collect());
    assert_rows(&counted.into_iter().next().expect("a batch")?, &[vals![ROWS]]);
    Ok(())
}

/// Several answers are read in turns.
pub fn several_answers_in_turns(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    let mut answers = vec![
        cache.sql("SELECT id FROM t ORDER BY id", &[])?,
        cache.sql("SELECT id FROM t ORDER BY id DESC", &[])?,
        cache.table("t")?.scan()?,
    ];
    let mut rows = [0; 3];
    while !answers.is_empty() {
        let mut open = Vec::new();
        for (number, mut answer) in answers.into_iter().enumerate() {
            if let Some(batch) = answer.next() {
                rows[number % 3] += batch?.num_rows();
                open.push(answer);
            }
        }
        answers = open;
    }
    assert_eq!(rows.iter().sum::<usize>(), 3 * usize::try_from(ROWS)?);
    Ok(())
}

/// An error ends an answer, as an iterator and as a stream.
pub fn an_error_ends_an_answer(session: &mut Session<'_>) -> Outcome {
    define(session)?;
    let cache = session.cache();
    let text = format!("SELECT 1 / ({} - id) FROM t", ROWS - 1);
    let mut answer = cache.sql(&text, &[])?;
    let error = answer.find_map(Result::err).expect("the last row divides by zero");
    assert_eq!(error.code(), ErrorCode::Execution);
    assert!(answer.next().is_none());
    let batches: Vec<Result<RecordBatch>> = block_on(cache.sql(&text, &[])?.into_stream().collect());
    let (last, earlier) = batches.split_last().expect("something");
    assert!(last.as_ref().is_err_and(|error| error.code() == ErrorCode::Execution));
    assert!(earlier.iter().all(Result::is_ok));
    refused(cache.sql(&text, &[])?.concat(), ErrorCode::Execution);
    Ok(())
}

/// A hundred answers are open at a time.
pub fn a_hundred_open_answers(session: &mut Session<'_>) -> Outcome {
    session.define_keyed("t", "id", numbered(0..100))?;
    let cache = session.cache();
    let answers: Vec<_> = (0..100)
        .map(|id| cache.sql("SELECT name FROM t WHERE id >= $1", &vals![id]))
        .collect::<Result<_>>()?;
    for (id, answer) in (0..100).zip(answers) {
        assert_eq!(count(answer)?, 100 - id);
    }
    assert_numbered(&session.table("t")?, 0..100);
    Ok(())
}
