//! The end of a fetch before its rows are over, and fetches of very many rows.

use std::time::{Duration, SystemTime};

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Source};
use pillion_mysql::MySql;

use crate::support::proxy::{Fate, Proxy};
use crate::support::rows::{all, patient, statement, table};
use crate::support::server::Server;

/// Rows of about 1 KiB each, which the server makes as they are wanted.
fn wide(rows: u64) -> Fetch {
    statement(&format!("SELECT CAST(seq AS SIGNED) AS n, repeat(md5(seq), 32) AS s FROM seq_1_to_{rows}"))
}

/// One that never gives a row.
fn endless() -> Fetch {
    statement("SELECT count(*) AS n FROM seq_1_to_1000000 a, seq_1_to_1000000 b")
}

fn through(server: &Server, proxy: &Proxy) -> MySql {
    MySql::from_url(&server.url_at(proxy.port(), "ssl-mode=disable")).unwrap()
}

#[test]
fn a_connection_that_is_cut_fails_the_fetch() {
    let Some(server) = Server::start() else { return };
    // Cut while connecting, in the catalogs, and at several places of the rows.
    for limit in [1, 100, 700, 3_000, 100_000, 1_000_000, 4_999_999] {
        let proxy = Proxy::start(server.port(), Fate::CutAfter(limit));
        let error = all(&through(&server, &proxy), &wide(100_000)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "after {limit} bytes: {error:?}");
    }
    server.wait_until_left_alone();
}

#[test]
fn a_server_that_stops_in_the_middle_fails_the_fetch() {
    let Some(mut server) = Server::start() else { return };
    let source = server.source();
    let mut fetched = source.fetch(&wide(10_000_000), &patient()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    server.stop();
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error:?}");
    assert!(fetched.next().is_none());
    assert_eq!(all(&source, &wide(1)).unwrap_err().code(), ErrorCode::SourceUnavailable);
}

#[test]
fn an_administrator_ends_a_session() {
    let Some(server) = Server::start() else { return };
    let mut fetched = server.source().fetch(&wide(10_000_000), &patient()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    let id = server.sql("SELECT id FROM information_schema.processlist WHERE user = 'reader'");
    server.sql(&format!("KILL {id}"));
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error:?}");
}

#[test]
fn a_network_that_hangs_is_left_when_the_call_ends() {
    let Some(server) = Server::start() else { return };
    for limit in [10, 1_000, 2_000_000] {
        let proxy = Proxy::start(server.port(), Fate::HangAfter(limit));
        let (source, call) = (through(&server, &proxy), Call::new());
        let of_thread = call.clone();
        let fetching = std::thread::Builder::new()
            .spawn(move || {
                let fetched = source.fetch(&wide(100_000), &of_thread);
                fetched.and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>()).unwrap_err()
            })
            .unwrap();
        while proxy.passed() < limit {
            std::thread::yield_now();
        }
        call.time_out("no row for a while");
        assert_eq!(fetching.join().unwrap().message(), "no row for a while", "after {limit} bytes");
    }
}

#[test]
fn a_cancelled_call_ends_the_statement_on_the_server() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let running =
        "SELECT count(*) FROM information_schema.processlist WHERE user = 'reader' AND command = 'Execute'";
    // Cancelled before the first row, by another thread, and by a deadline.
    let call = Call::new();
    let (of_thread, of_call) = (source.clone(), call.clone());
    let waiting = std::thread::Builder::new()
        .spawn(move || {
            let fetched = of_thread.fetch(&endless(), &of_call);
            fetched.and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>()).unwrap_err()
        })
        .unwrap();
    server.wait_for(running, "1");
    call.cancel();
    assert_eq!(waiting.join().unwrap().code(), ErrorCode::Cancelled);
    server.wait_until_left_alone();

    let call = Call::within(Duration::from_millis(300));
    let failed = source.fetch(&endless(), &call).and_then(|fetched| fetched.collect::<Result<Vec<_>, _>>());
    assert_eq!(failed.unwrap_err().code(), ErrorCode::Timeout);
    server.wait_until_left_alone();

    // In the middle of rows.
    let call = Call::new();
    let mut fetched = source.fetch(&wide(10_000_000), &call).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    call.time_out("no row for a while");
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!((error.code(), error.message()), (ErrorCode::Timeout, "no row for a while"));
    assert!(fetched.next().is_none());
    server.wait_until_left_alone();
}

#[test]
fn a_dropped_fetch_leaves_no_session() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let mut half_read = source.fetch(&wide(10_000_000), &patient()).unwrap();
    assert!(half_read.next().unwrap().is_ok());
    drop(half_read);
    drop(source.fetch(&wide(10_000_000), &patient()).unwrap());
    server.wait_until_left_alone();
    // Also when the source is gone before its rows are.
    let mut last = source.fetch(&wide(50_000), &patient()).unwrap();
    drop(source);
    assert_eq!(last.by_ref().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 50_000);
    drop(last);
    server.wait_until_left_alone();
    let half_read = server.source().fetch(&wide(10_000_000), &patient()).unwrap();
    drop(half_read);
    server.wait_until_left_alone();
}

#[test]
fn a_locked_table_is_waited_for_until_the_call_ends() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE TABLE t AS SELECT 1 AS id;");
    let locker = server.source();
    let mut client = server.sql_beside("LOCK TABLES t WRITE; SELECT sleep(600);");
    server
        .wait_for("SELECT count(*) FROM information_schema.processlist WHERE info LIKE 'SELECT sleep%'", "1");
    let call = Call::within(Duration::from_millis(300));
    let error = locker.fetch(&table("t"), &call).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    server.wait_until_left_alone();
    let _ = client.kill();
    let _ = client.wait();
}

#[test]
fn many_rows_need_little_memory() {
    let Some(server) = Server::start() else { return };
    let resident = || -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let before = resident();
    let (rows, mut sum, mut most) = (400_000, 0, 0);
    for batch in server.source().fetch(&wide(rows), &patient()).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.num_rows() <= 8192 && batch.get_array_memory_size() < 12 << 20);
        sum += batch.column(0).as_primitive::<Int64Type>().values().iter().sum::<i64>();
        most = most.max(resident());
    }
    assert_eq!(sum.unsigned_abs(), rows * (rows + 1) / 2);
    let grown = most.saturating_sub(before) / 1024;
    assert!(grown < 120, "{grown} MiB for 400 MiB of rows");
    // Rows that are large one by one are batches of one or two.
    let large = statement("SELECT seq, repeat('x', 20 << 20) AS s FROM seq_1_to_6");
    for batch in server.source().fetch(&large, &patient()).unwrap() {
        assert_eq!(batch.unwrap().num_rows(), 1);
    }
}

#[test]
fn a_server_waits_for_a_slow_reader() {
    let Some(server) = Server::start() else { return };
    let proxy = Proxy::start(server.port(), Fate::HangAfter(u64::MAX));
    let mut fetched = through(&server, &proxy).fetch(&wide(400_000), &patient()).unwrap();
    let first = fetched.next().unwrap().unwrap().num_rows();
    // The server waits for its client once nothing more fits into what lies between them.
    server.wait_for(
        "SELECT count(*) FROM information_schema.processlist WHERE user = 'reader' AND state = 'Writing to net'",
        "1",
    );
    assert!(proxy.passed() < 40 << 20, "{} bytes", proxy.passed());
    assert_eq!(first + fetched.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 400_000);
}

#[test]
fn rows_are_of_one_state_and_of_one_moment() {
    let Some(server) = Server::start() else { return };
    server.sql("CREATE TABLE t AS SELECT seq AS n, 0 AS v, repeat('x', 500) AS pad FROM seq_1_to_100000;");
    let source = server.source();
    let before = SystemTime::now();
    let mut fetched = source.fetch(&table("t").columns(["v", "pad"]), &patient()).unwrap();
    let moment = fetched.moment().unwrap();
    assert!(before <= moment && moment <= SystemTime::now());
    let first = fetched.next().unwrap().unwrap();
    server.sql("UPDATE t SET v = 1; DELETE FROM t WHERE n > 1000;");
    let batches: Vec<_> = std::iter::once(first).chain(fetched.map(Result::unwrap)).collect();
    assert_eq!(batches.iter().map(|batch| batch.num_rows()).sum::<usize>(), 100_000);
    assert!(batches.iter().all(|batch| {
        batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().iter().all(|v| *v == 0)
    }));
    assert_eq!(all(&source, &table("t")).unwrap().num_rows(), 1000);
}

#[test]
fn several_fetches_run_at_once() {
    let Some(server) = Server::start() else { return };
    let source = server.source();
    let threads: Vec<_> = (0..8_i64)
        .map(|thread| {
            let source = source.clone();
            let fetch = statement(&format!(
                "SELECT CAST(seq AS SIGNED) + {thread} AS n, md5(seq) AS s FROM seq_1_to_50000"
            ));
            std::thread::Builder::new().spawn(move || all(&source, &fetch).unwrap()).unwrap()
        })
        .collect();
    for (thread, handle) in threads.into_iter().enumerate() {
        let batch = handle.join().unwrap();
        let sum: i64 = batch.column(0).as_primitive::<Int64Type>().values().iter().sum();
        assert_eq!(sum, 50_000 * 50_001 / 2 + 50_000 * i64::try_from(thread).unwrap());
    }
    server.wait_until_left_alone();
}
