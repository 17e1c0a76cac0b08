//! The end of a fetch before its rows are over, and fetches of very many rows while others write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};

use crate::support::database::Database;
use crate::support::rows::{all, lines, patient, statement, table};

const TYPES: &str = "n=INTEGER,s=TEXT";

/// Rows of about 1 KiB each, which SQLite makes as they are wanted.
fn wide(rows: u64) -> Fetch {
    let text = format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT {rows}) SELECT n, printf('%1000d', n) AS s FROM n"
    );
    Fetch::of(Relation::statement(text).option("types", TYPES))
}

/// One that never gives a row.
fn endless() -> Fetch {
    statement(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT id FROM t WHERE id = (SELECT count(*) FROM n)",
    )
}

fn small() -> Database {
    Database::with("PRAGMA journal_mode = wal; CREATE TABLE t (id INTEGER); INSERT INTO t VALUES (1);")
}

#[test]
fn a_cancelled_call_ends_the_statement() {
    let database = small();
    let source = database.source();
    let call = Call::new();
    let (of_thread, of_call) = (source.clone(), call.clone());
    let waiting = std::thread::Builder::new()
        .spawn(move || {
            let fetched = of_thread.fetch(&endless(), &of_call);
            fetched.and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>()).unwrap_err()
        })
        .unwrap();
    while database.open_files() == 0 {
        std::thread::yield_now();
    }
    call.cancel();
    assert_eq!(waiting.join().unwrap().code(), ErrorCode::Cancelled);
    database.wait_until_left_alone();

    let call = Call::within(Duration::from_millis(300));
    let failed = source.fetch(&endless(), &call).and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>());
    assert_eq!(failed.unwrap_err().code(), ErrorCode::Timeout);
    database.wait_until_left_alone();

    // In the middle of rows.
    let call = Call::new();
    let mut fetched = source.fetch(&wide(10_000_000), &call).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    call.time_out("no row for a while");
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!((error.code(), error.message()), (ErrorCode::Timeout, "no row for a while"));
    assert!(fetched.next().is_none());
    database.wait_until_left_alone();
}

#[test]
fn a_dropped_fetch_leaves_no_connection() {
    let database = small();
    let source = database.source();
    let mut half_read = source.fetch(&wide(10_000_000), &patient()).unwrap();
    assert!(half_read.next().unwrap().is_ok());
    drop(half_read);
    drop(source.fetch(&endless(), &patient()).unwrap());
    database.wait_until_left_alone();
    // Also when the source is gone before its rows are.
    let last = source.fetch(&wide(50_000), &patient()).unwrap();
    drop(source);
    assert_eq!(last.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 50_000);
    database.wait_until_left_alone();
}

#[test]
fn many_rows_need_little_memory() {
    let database = small();
    let resident = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = resident();
    let (rows, mut sum, mut most) = (300_000, 0, 0);
    for batch in database.source().fetch(&wide(rows), &patient()).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= 8192 && batch.get_array_memory_size() < 12 << 20);
        sum += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        most = most.max(resident());
    }
    assert_eq!(sum.unsigned_abs(), rows * (rows + 1) / 2);
    let grown = most.saturating_sub(before) / 1024;
    assert!(grown < 100, "{grown} MiB for 300 MiB of rows");
    // Rows that are large one by one are batches of one.
    let large = "WITH RECURSIVE n(n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n LIMIT 4) SELECT n, zeroblob(20 << 20) AS s FROM n";
    let large = Fetch::of(Relation::statement(large).option("types", "n=INTEGER,s=BLOB"));
    let batches: Vec<usize> =
        database.source().fetch(&large, &patient()).unwrap().map(|batch| batch.unwrap().num_rows()).collect();
    assert_eq!(batches, [1; 4]);
}

#[test]
fn rows_are_of_one_state_and_of_one_moment() {
    let database = Database::with(
        "PRAGMA journal_mode = wal; CREATE TABLE t (n INTEGER PRIMARY KEY, v INTEGER, pad TEXT); WITH RECURSIVE n(n) AS \
         (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 50000) INSERT INTO t SELECT n, 0, printf('%500d', n) FROM n;",
    );
    let writer = database.connect();
    writer.execute_batch("UPDATE t SET v = 0 WHERE n = 1; INSERT INTO t VALUES (0, 0, '');").unwrap();
    let source = database.source();
    let before = SystemTime::now();
    let mut fetched = source.fetch(&table("t").columns(["v", "pad"]), &patient()).unwrap();
    let moment = fetched.moment().unwrap();
    assert!(before <= moment && moment <= SystemTime::now());
    let first = fetched.next().unwrap().unwrap();
    writer
        .execute_batch("UPDATE t SET v = 1; DELETE FROM t WHERE n > 1000; ALTER TABLE t ADD COLUMN w TEXT;")
        .unwrap();
    let batches: Vec<_> = std::iter::once(first).chain(fetched.map(Result::unwrap)).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 50_001);
    assert!(
        batches
            .iter()
            .all(|batch| { batch.column(0).as_primitive::<Int64Type>().values().iter().all(|v| *v == 0) })
    );
    assert_eq!(all(&source, &table("t")).unwrap().num_rows(), 1001);
}

/// Amounts move between accounts all the time; their sum is the same in every state.
#[test]
fn every_fetch_sees_whole_transactions_of_concurrent_writers() {
    for mode in ["wal", "delete"] {
        let database = Arc::new(Database::with(&format!(
            "PRAGMA journal_mode = {mode}; CREATE TABLE accounts (id INTEGER PRIMARY KEY, amount INTEGER, pad TEXT); \
             WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n LIMIT 3000) \
             INSERT INTO accounts SELECT n, 100, printf('%200d', n) FROM n;"
        )));
        // The file is open from the first fetch on.
        let application = database.connect();
        application.query_row("SELECT count(*) FROM accounts", [], |_| Ok(())).unwrap();
        let ends = Arc::new(AtomicBool::new(false));
        let writers: Vec<_> = (0..2_i64)
            .map(|writer| {
                let (database, ends) = (database.clone(), ends.clone());
                let write = move || {
                    let connection = database.connect();
                    connection
                        .execute_batch("PRAGMA synchronous = off; PRAGMA wal_autocheckpoint = 20;")
                        .unwrap();
                    let mut n = writer * 1000;
                    while !ends.load(Ordering::Relaxed) {
                        n += 7;
                        let (from, to) = (n % 3000 + 1, (n * 31) % 3000 + 1);
                        connection
                            .execute_batch(&format!(
                                "BEGIN IMMEDIATE; UPDATE accounts SET amount = amount - 1 WHERE id = {from}; \
                                 UPDATE accounts SET amount = amount + 1 WHERE id = {to}; COMMIT;"
                            ))
                            .unwrap();
                    }
                };
                std::thread::Builder::new().spawn(write).unwrap()
            })
            .collect();
        let source = database.source();
        for _ in 0..25 {
            let mut sum = 0;
            for batch in source.fetch(&table("accounts"), &patient()).unwrap() {
                sum += batch.unwrap().column(1).as_primitive::<Int64Type>().values().iter().sum::<i64>();
            }
            assert_eq!(sum, 300_000, "{mode}");
        }
        ends.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap();
        }
    }
}

#[test]
fn several_fetches_run_at_once() {
    let database = small();
    let source = database.source();
    let threads: Vec<_> = (0..8)
        .map(|_| {
            let source = source.clone();
            std::thread::Builder::new().spawn(move || all(&source, &wide(5_000)).unwrap()).unwrap()
        })
        .collect();
    for thread in threads {
        let batch = thread.join().unwrap();
        assert_eq!(
            batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>(),
            5_000 * 5_001 / 2
        );
    }
    assert_eq!(lines(&all(&source, &table("t")).unwrap()), ["1"]);
    database.wait_until_left_alone();
}
