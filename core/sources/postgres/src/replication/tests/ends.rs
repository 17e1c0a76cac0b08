//! Streams that are cut off.

use pillion::{Error, ErrorCode};

use super::support::proxy::{Fate, Proxy};
use super::*;

async fn failure(stream: &mut ChangeStream) -> Error {
    loop {
        if let Err(error) = stream.next().await {
            return error;
        }
    }
}

#[test]
fn a_connection_that_is_cut_fails_the_stream() {
    let Some(server) = server() else { return };
    run(async {
        let (connection, created) = create(&options(&server)).await;
        drop(connection);
        server.psql("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n");
        for limit in [1, 100, 400, 1_000, 3_000, 100_000] {
            let proxy = Proxy::start(server.port(), Fate::CutAfter(limit));
            let options = options_at(&server, proxy.port());
            let error = match start(&options, created.consistent).await {
                Ok(Started::Stream(mut stream)) => failure(&mut stream).await,
                Ok(Started::Lost(why)) => panic!("{why}"),
                Err(error) => error,
            };
            assert_eq!(error.code(), ErrorCode::SourceUnavailable, "after {limit} bytes: {error:?}");
            drop(proxy);
            server.wait_for("SELECT active FROM pg_replication_slots", "f");
        }
    });
}

#[test]
fn a_silent_server_is_left() {
    let Some(server) = server() else { return };
    run(async {
        let (connection, created) = create(&options(&server)).await;
        drop(connection);
        server.psql("INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series(1, 5000) n");
        let proxy = Proxy::start(server.port(), Fate::HangAfter(100_000));
        let mut stream = stream(&options_at(&server, proxy.port()), created.consistent)
            .await
            .silence_max(Duration::from_millis(200));
        let error = failure(&mut stream).await;
        assert_eq!(error.code(), ErrorCode::SourceUnavailable);
        assert!(error.message().contains("not even when it is asked"), "{error}");
    });
}

#[test]
fn a_server_with_nothing_to_say_answers_when_it_is_asked() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        let mut stream = stream(&options, created.consistent).await.silence_max(Duration::from_millis(200));
        let mut answers = 0;
        while answers < 5 {
            if let Received::UpTo { .. } = stream.next().await.unwrap() {
                answers += 1;
            }
        }
    });
}

#[test]
fn a_server_that_stops_ends_the_stream() {
    let Some(mut server) = server() else { return };
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        let mut stream = stream(&options, created.consistent).await;
        server.stop();
        assert_eq!(failure(&mut stream).await.code(), ErrorCode::SourceUnavailable);
        let error = Connection::open(options).await.err().unwrap();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    });
}

#[test]
fn a_server_that_shuts_down_waits_for_what_is_acknowledged() {
    let Some(server) = server() else { return };
    run(async {
        let options = options(&server);
        let (connection, created) = create(&options).await;
        drop(connection);
        let (mut stream, mut decoder) = (stream(&options, created.consistent).await, Decoder::new());
        server.psql("INSERT INTO t VALUES (1)");
        let (_, end) = transaction(&mut stream, &mut decoder).await;
        stream.acknowledge(end);
        // A fast shutdown.
        let _ = std::process::Command::new("kill").args(["-INT", &server.process_id().to_string()]).status();
        let error = loop {
            match stream.next().await {
                Ok(Received::UpTo { end, .. }) => stream.acknowledge(end),
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(error.message().contains("the server ends the stream of changes"), "{error}");
    });
}
