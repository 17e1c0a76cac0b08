//! Slots that are made, and slots that do not go on.

use pillion::ErrorCode;

use super::*;

/// Why a stream after a position is lost.
async fn why_lost(options: &Arc<PostgresOptions>, after: Lsn) -> String {
    match start(options, after).await.unwrap() {
        Started::Lost(why) => why,
        Started::Stream(_) => panic!("the stream goes on"),
    }
}

#[test]
fn a_slot_that_waits_is_given_up_and_says_for_what() {
    let Some(server) = server() else { return };
    let mut writer = server.psql_beside("BEGIN; INSERT INTO t VALUES (1); SELECT pg_sleep(600);");
    server.wait_for("SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND backend_xid IS NOT NULL", "1");
    let process = server.psql("SELECT pid FROM pg_stat_activity WHERE backend_xid IS NOT NULL");
    run(async {
        let options = options(&server);
        let mut connection = Connection::open(options.clone()).await.unwrap();
        connection.prepare().await.unwrap();
        let limit = Duration::from_millis(500);
        let error = connection.create_slot(&slot_name(), limit, &options).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::Timeout);
        assert!(error.message().contains(&format!("process {process} of user postgres (psql)")), "{error}");
        // The server stops, although it would not notice by itself that the connection was closed.
        drop(connection);
        tokio::task::spawn_blocking(move || {
            server.wait_for("SELECT count(*) FROM pg_replication_slots", "0");
            server.wait_until_left_alone();
        })
        .await
        .unwrap();
    });
    let _ = writer.kill();
    let _ = writer.wait();
}

#[test]
fn a_slot_is_made_looked_at_and_dropped() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (mut connection, created) = create(&options).await;
        let again = Connection::open(options.clone())
            .await
            .unwrap()
            .create_slot(&slot_name(), Duration::from_secs(9), &options)
            .await;
        let again = again.unwrap_err();
        assert!(
            again.message().contains("`s` cannot be made") && again.message().contains("already exists"),
            "{again}"
        );
        let status = connection.slot(&slot_name()).await.unwrap().unwrap();
        assert_eq!(status.confirmed, Some(created.consistent));
        assert_eq!(
            (status.plugin.as_deref(), status.database.as_deref()),
            (Some("pgoutput"), Some("postgres"))
        );
        assert!(!status.is_lost);
        let streaming = stream(&options, created.consistent).await;
        // It is one client's at a time.
        let error = start(&options, created.consistent).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
        assert!(error.message().contains("is active for PID"), "{error}");
        assert_eq!(
            connection.drop_slot(&slot_name()).await.unwrap_err().code(),
            ErrorCode::SourceUnavailable
        );
        drop(streaming);
        server.psql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active");
        server.wait_for("SELECT active FROM pg_replication_slots", "f");
        connection.drop_slot(&slot_name()).await.unwrap();
        connection.drop_slot(&slot_name()).await.unwrap();
        assert_eq!(connection.slot(&slot_name()).await.unwrap(), None);
        let system = connection.system().await.unwrap();
        assert!(system.identifier > 0 && system.written >= created.consistent);
    });
}

#[test]
fn a_slot_that_lacks_changes_is_lost_for_a_reason() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (mut connection, created) = create(&options).await;
        let at = created.consistent;
        let other = Connection::open(options.clone()).await.unwrap();
        match other.start(&slot_name(), &publication(), 1, at).await.unwrap() {
            Started::Lost(why) => assert!(why.contains("is another one"), "{why}"),
            Started::Stream(_) => panic!("another server goes on"),
        }
        let why = why_lost(&options, Lsn(at.0 + (1 << 30))).await;
        assert!(why.contains("it lost transactions"), "{why}");
        server
            .psql("INSERT INTO t VALUES (1); SELECT pg_replication_slot_advance('s', pg_current_wal_lsn());");
        let why = why_lost(&options, at).await;
        assert!(why.contains("changes in between were acknowledged"), "{why}");
        connection.drop_slot(&slot_name()).await.unwrap();
        let why = why_lost(&options, at).await;
        assert!(why.contains("the replication slot `s` is gone"), "{why}");
    });
}

#[test]
fn a_slot_whose_log_was_removed_is_lost() {
    let Some(server) = server_with(&["max_slot_wal_keep_size=1MB", "min_wal_size=32MB", "max_wal_size=32MB"])
    else {
        return;
    };
    server.psql("CREATE TABLE t (id int PRIMARY KEY, v text); CREATE PUBLICATION p FOR TABLE t;");
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        for _ in 0..4 {
            server.psql("INSERT INTO t SELECT 1; DELETE FROM t; SELECT pg_switch_wal(); CHECKPOINT;");
        }
        let why = why_lost(&options, created.consistent).await;
        assert!(why.contains("the server removed log") && why.contains("max_slot_wal_keep_size"), "{why}");
    });
}

#[test]
fn what_is_missing_or_of_another_kind_is_said() {
    let Some(server) = server() else { return };
    server.psql("CREATE ROLE reader LOGIN PASSWORD 'known'");
    run(async {
        let options = options(&server);
        let (mut connection, created) = create(&options).await;
        server.psql("DROP PUBLICATION p");
        let error = start(&options, created.consistent).await.err().unwrap();
        assert_eq!(
            (error.code(), error.message().contains("no publication `p`")),
            (ErrorCode::SourceNotFound, true)
        );
        connection.drop_slot(&slot_name()).await.unwrap();
        server.psql("SELECT pg_create_logical_replication_slot('s', 'test_decoding') IS NULL");
        let error = start(&options, Lsn(0)).await.err().unwrap();
        assert!(error.message().contains("not one of `pgoutput`"), "{error}");
        // Without the attribute REPLICATION there is not even a session.
        let url = format!("postgresql://reader:known@127.0.0.1:{}/postgres", server.port());
        let reader = Arc::new(PostgresOptions::from_url(&url).unwrap());
        let error = Connection::open(reader).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    });
    let Some(server) =
        Server::start_with(|_| vec!["max_wal_senders=4".to_owned(), "wal_level=replica".to_owned()])
    else {
        return;
    };
    run(async {
        let options = options(&server);
        let mut connection = Connection::open(options.clone()).await.unwrap();
        let error = connection.create_slot(&slot_name(), Duration::from_secs(9), &options).await.unwrap_err();
        assert!(error.message().contains("only with `wal_level = logical`"), "{error}");
    });
}
