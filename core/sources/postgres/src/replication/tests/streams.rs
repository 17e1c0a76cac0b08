//! What comes on a stream, and what the server learns of it.

use std::pin::pin;

use futures::future::{Either, select};

use super::*;

/// Waits until the server answers a query with "t", while a stream is kept alive and not read.
async fn wait_beside(stream: &mut ChangeStream, server: Server, query: String) -> Server {
    let waiting = tokio::task::spawn_blocking(move || {
        server.wait_for(&query, "t");
        server
    });
    match select(pin!(stream.keep_alive()), waiting).await {
        Either::Left((error, _)) => panic!("{error}"),
        Either::Right((server, _)) => server.unwrap(),
    }
}

#[test]
fn a_snapshot_and_its_stream_have_every_transaction_once() {
    let Some(server) = server() else { return };
    server.psql("INSERT INTO t VALUES (1, 'before')");
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        server.psql("INSERT INTO t VALUES (2, 'after')");
        let seen = server.psql(&format!(
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SET TRANSACTION SNAPSHOT '{}'; SELECT v FROM t; COMMIT;",
            created.snapshot
        ));
        assert_eq!(seen, "before");
        drop(connection);
        let (mut stream, mut decoder) = (stream(&options, created.consistent).await, Decoder::new());
        let (changes, _) = transaction(&mut stream, &mut decoder).await;
        // In binary form: four bytes of a number, and a text.
        assert!(changes.last().unwrap().ends_with(r"(b'\x00\x00\x00\x02', b'after')"), "{changes:?}");
    });
}

#[test]
fn what_is_acknowledged_is_forgotten_and_the_rest_comes_again() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        let mut ends = Vec::new();
        {
            let (mut stream, mut decoder) = (stream(&options, created.consistent).await, Decoder::new());
            for id in 1..=3 {
                server.psql(&format!("INSERT INTO t VALUES ({id})"));
                ends.push(transaction(&mut stream, &mut decoder).await.1);
            }
            stream.acknowledge(ends[0]);
            stream.acknowledge(created.consistent); // never goes back
            let confirmed = format!("SELECT confirmed_flush_lsn = '{}' FROM pg_replication_slots", ends[0]);
            let server = wait_beside(&mut stream, server, confirmed).await;
            server.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots");
            assert!(ends.is_sorted());
            let error = loop {
                if let Err(error) = stream.next().await {
                    break error;
                }
            };
            assert_eq!(error.code(), pillion::ErrorCode::SourceUnavailable, "{error}");
            server.wait_for("SELECT active FROM pg_replication_slots", "f");
            let (mut again, mut decoder) = (self::stream(&options, ends[0]).await, Decoder::new());
            for end in &ends[1..] {
                assert_eq!(transaction(&mut again, &mut decoder).await.1, *end);
            }
        }
    });
}

#[test]
fn an_idle_table_does_not_hold_the_log() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        let mut stream = stream(&options, created.consistent).await;
        server.psql("INSERT INTO other SELECT generate_series(1, 1000)");
        let written = lsn(&server, "SELECT pg_current_wal_lsn()");
        let end = up_to(&mut stream, |end| end >= written).await;
        stream.acknowledge(end);
        let confirmed = format!("SELECT confirmed_flush_lsn >= '{written}' FROM pg_replication_slots");
        wait_beside(&mut stream, server, confirmed).await;
    });
}

#[test]
fn large_transactions_come_whole() {
    let Some(server) = server_with(&["logical_decoding_work_mem=64kB"]) else { return };
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION p FOR TABLE t;");
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        server.psql("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n");
        let (mut stream, mut decoder) = (stream(&options, created.consistent).await, Decoder::new());
        let (changes, end) = transaction(&mut stream, &mut decoder).await;
        assert_eq!(changes.iter().filter(|change| change.starts_with("insert")).count(), 20_000);
        assert_eq!(changes.iter().filter(|change| change.starts_with("begin")).count(), 1);
        assert!(end > created.consistent);
    });
}
