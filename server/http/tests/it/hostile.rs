//! Clients that are broken or mean harm: each gets an answer or is cut, and nobody else notices.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use pillion::ConnectionEvent;
use pillion_http::{HttpOptions, Users};

use crate::support::{PATIENCE, Served, everything, listen, read_all, soon, token};

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn malformed_requests_are_refused() {
    let served = Served::open();
    let status = |request: &[u8]| {
        let answer = served.raw(request);
        answer.get(..12).unwrap_or_default().to_owned()
    };
    let long = |len: usize| "x".repeat(len);
    for (request, expected) in [
        ("garbage\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /v1/tables HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nA b\r\n\r\n".to_owned(), "HTTP/1.1 400"),
        ("GET /v1/tables HTTP/1.0\r\nHost: localhost\r\n\r\n".to_owned(), "HTTP/1.0 505"),
        // No answer that a client of HTTP/2 would understand.
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), ""),
        (format!("GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nA: {}\r\n\r\n", long(40_000)), "HTTP/1.1 431"),
        (
            format!("GET /v1/tables HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(100)),
            "HTTP/1.1 431",
        ),
        (format!("GET /{} HTTP/1.1\r\nHost: localhost\r\n\r\n", long(100_000)), "HTTP/1.1 4"),
        (
            "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx".to_owned(),
            "HTTP/1.1 400",
        ),
        (
            "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n".to_owned(),
            "HTTP/1.1 400",
        ),
        (
            "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: -1\r\n\r\n".to_owned(),
            "HTTP/1.1 400",
        ),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}\u{0}\r\n\r\n".to_owned(), "HTTP/1.1 400"),
    ] {
        let found = status(request.as_bytes());
        let shown: String = request.chars().take(60).collect();
        let is_expected = if expected.is_empty() { found.is_empty() } else { found.starts_with(expected) };
        assert!(is_expected, "{shown}: {found}");
    }
    assert_eq!(served.get("/v1/tables/items/1").status, 200);
}

#[test]
fn statements_that_are_long_or_deep_are_answered() {
    let served = Served::open();
    let long = format!("SELECT '{}' AS x", "x".repeat(1 << 20));
    let reply = served.sql(&long, "text/csv");
    assert!(matches!(reply.status, 200 | 400 | 413), "{}", reply.status);
    for deep in [
        format!("SELECT {}1{}", "(".repeat(20_000), ")".repeat(20_000)),
        format!("SELECT 1{}", " + 1".repeat(200_000)),
        "(".repeat(1 << 20),
        format!("{{\"statement\":{}", "[".repeat(100_000)),
    ] {
        let reply = served.sql(&deep, "*/*");
        assert!(matches!(reply.status, 200 | 400 | 413 | 503), "{}", reply.status);
        let json = [("content-type", "application/json")];
        let reply = served.send("POST", "/v1/sql", &json, deep);
        assert_eq!(reply.status, 400);
    }
    let nested = format!("{{\"statement\":\"SELECT $1\",\"params\":[{}]}}", "[".repeat(50_000));
    assert_eq!(served.send("POST", "/v1/sql", &[("content-type", "application/json")], nested).status, 400);
}

#[test]
fn slow_heads_are_cut_and_idle_connections_stay() {
    let served = Served::limited(|options| options.head_timeout(Duration::from_millis(300)));
    let mut silent = served.connect();
    let mut dripping = served.connect();
    dripping.write_all(b"GET /v1/tab").unwrap();
    let mut kept = served.connect();
    kept.write_all(b"GET /v1/tables/items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut idle = [0; 1];
    Read::read_exact(&mut kept, &mut idle).unwrap();
    assert!(read_all(&mut silent).starts_with("HTTP/1.1 408"));
    for byte in b"les HTTP/1.1\r\nHost: localhost\r\nA: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" {
        if dripping.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!read_all(&mut dripping).contains("200 OK"));
    // The one that had an answer is there after that time, and takes another request.
    kept.write_all(b"GET /v1/tables/items/2 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .unwrap();
    assert!(read_all(&mut kept).contains("with \\\"quotes\\\""));
}

/// A request whose answer is longer than any buffer.
fn long_query() -> String {
    let statement = "SELECT a.text FROM many a CROSS JOIN (SELECT id FROM many LIMIT 100) b";
    format!(
        "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{statement}",
        statement.len()
    )
}

/// A connection that asked for a long answer, of which the first byte came.
fn busy(served: &Served) -> TcpStream {
    let mut stream = served.connect();
    stream.write_all(long_query().as_bytes()).unwrap();
    stream.read_exact(&mut [0]).unwrap();
    stream
}

fn connections(served: &Served) -> usize {
    served.server.as_ref().unwrap().connections()
}

#[test]
fn who_does_not_read_is_cut_and_the_query_ends() {
    let served = Served::limited(|options| {
        options.head_timeout(Duration::from_millis(500)).requests_max(2).requests_waiting_max(1)
    });
    served.define_many();
    let stuck = busy(&served);
    assert_eq!(connections(&served), 1, "it is there");
    soon("its place is free again", || connections(&served) == 0);
    // The same where the client is gone.
    let gone = busy(&served);
    assert_eq!(connections(&served), 1);
    drop(gone);
    soon("its connection is gone", || connections(&served) == 0);
    for _ in 0..5 {
        assert_eq!(served.get("/v1/tables/items/1").status, 200);
    }
    drop(stuck);
}

#[test]
fn what_is_too_much_is_refused_at_once() {
    // One address has three quarters of the connections, and all of these are busy.
    let served = Served::limited(|options| options.connections_max(8));
    served.define_many();
    let held: Vec<TcpStream> = (0..6).map(|_| busy(&served)).collect();
    let refused = read_all(&mut served.connect());
    assert!(refused.starts_with("HTTP/1.1 429") && refused.contains("retry-after: 1"), "{refused}");
    assert_eq!(*served.recorded.connections.lock(), [ConnectionEvent::Refused]);
    drop(held);
    soon("there is room again", || connections(&served) == 0);
    assert_eq!(served.get("/v1/tables/items/1").status, 200);

    // One place for requests, which an answer that is not read holds.
    let served = Served::limited(|options| {
        options.requests_max(1).requests_waiting_max(1).request_timeout(Duration::from_millis(300))
    });
    served.define_many();
    let holding = busy(&served);
    let waiting = served.get("/v1/tables/items/1");
    waiting.problem(503, "Busy", "no place for requests");
    assert_eq!(waiting.header("retry-after"), "1");
    std::thread::scope(|scope| {
        let replies: Vec<_> = (0..6).map(|_| scope.spawn(|| served.get("/v1/tables/items/1"))).collect();
        let statuses: Vec<u16> = replies.into_iter().map(|reply| reply.join().unwrap().status).collect();
        assert!(statuses.contains(&429) && statuses.contains(&503), "{statuses:?}");
    });
    drop(holding);
    soon("the place is free again", || served.get("/v1/tables/items/1").status == 200);
}

#[test]
fn strangers_and_idle_clients_keep_nobody_out() {
    let hour = Duration::from_secs(3600);
    let options = HttpOptions::new(listen()).connections_max(8).idle_timeout(hour).head_timeout(hour);
    let served = Served::with(options, &[("reader", everything())], None);
    // Each would stay for an hour.
    for request in [
        "GET /v1/tables HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /v1/tables HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        "GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\n\r\n",
    ] {
        let answer = served.raw(request.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4") && answer.contains("connection: close"), "{answer}");
    }
    soon("none of them is left", || connections(&served) == 0);
    // Some say nothing, and others are idle after an answer.
    let silent: Vec<TcpStream> = (0..3).map(|_| served.connect()).collect();
    let bearer = format!("Bearer {}", token("reader"));
    let asked =
        format!("GET /v1/tables/items/1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: {bearer}\r\n\r\n");
    let ask = |mut stream: TcpStream| {
        stream.write_all(asked.as_bytes()).unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).unwrap();
        assert_eq!(&status, b"HTTP/1.1 200");
        stream
    };
    let idle: Vec<TcpStream> = (0..3).map(|_| ask(served.connect())).collect();
    soon("all that one address may have are there", || connections(&served) == 6);
    // Others are let in all the same, and those give way that were idle for the longest time.
    let others: Vec<TcpStream> = (0..3).map(|_| ask(served.connect())).collect();
    for mut stream in silent {
        assert_eq!(read_all(&mut stream), "", "it gave way");
    }
    assert_eq!(connections(&served), 6);
    drop((idle, others));
}

#[test]
fn idle_connections_end_in_their_time_also_if_that_is_short() {
    let served = Served::limited(|options| {
        options.head_timeout(Duration::from_secs(3600)).idle_timeout(Duration::from_millis(200))
    });
    let answer = served.raw(b"GET /v1/tables/items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.contains("plain"), "{answer}");
}

#[test]
fn an_answer_whose_next_rows_do_not_come_breaks_off() {
    let served = Served::limited(|options| options.request_timeout(Duration::from_secs(2)));
    served.define_many();
    // The first rows are there at once, and the last ones never.
    let stalling = "SELECT text FROM many UNION ALL SELECT a.text FROM many a CROSS JOIN many b WHERE a.text || b.text = 'x'";
    let reply = served.sql(stalling, "application/x-ndjson");
    assert_eq!((reply.status, reply.is_whole), (200, false), "{} bytes", reply.body.len());
    assert!(!reply.body.is_empty());
    soon("its call is told with its reason", || {
        let calls = served.recorded.calls.lock();
        calls.contains(&("http", pillion::Operation::Sql, Some(pillion::ErrorCode::Timeout)))
    });
}

#[test]
fn wide_rows_come_in_parts_of_moderate_length() {
    let served = Served::open();
    served.define_many();
    for accept in
        ["application/json", "application/x-ndjson", "text/csv", "application/vnd.apache.arrow.stream"]
    {
        let statement = "SELECT repeat('x', 100000) AS wide FROM many LIMIT 200";
        let answer = served.raw(
            format!(
                "POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Type: text/plain\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{statement}",
                statement.len()
            )
            .as_bytes(),
        );
        assert!(answer.len() > 200 * 100_000, "{accept}: {}", answer.len());
        let (_, mut rest) = answer.split_once("\r\n\r\n").unwrap();
        let mut longest = 0;
        while let Some((len, after)) = rest.split_once("\r\n") {
            let len = usize::from_str_radix(len, 16).unwrap();
            longest = longest.max(len);
            // Not all bytes of Arrow are text, so they may be more here than there.
            match after.get(len + 2..) {
                Some(next) if accept != "application/vnd.apache.arrow.stream" => rest = next,
                _ => break,
            }
        }
        assert!((1..512 << 10).contains(&longest), "{accept}: a part of {longest} bytes");
    }
}

#[test]
fn a_query_that_takes_too_long_is_given_up() {
    let served = Served::limited(|options| options.request_timeout(Duration::from_millis(500)));
    served.define_many();
    let endless = "SELECT count(*) FROM many a CROSS JOIN many b WHERE a.text || b.text = 'x'";
    let reply = served.sql(endless, "*/*");
    reply.problem(504, "Timeout", "given up");
    assert_eq!(served.get("/v1/tables/items/1").status, 200);
}

#[test]
fn a_flood_leaves_nothing_behind() {
    let served =
        Served::with(HttpOptions::new(listen()).connections_max(64), &[("reader", everything())], None);
    let bearer = format!("Bearer {}", token("reader"));
    let get = || served.send("GET", "/v1/tables/items/1", &[("authorization", &bearer)], "").status;
    assert_eq!(get(), 200);
    soon("no connection is left", || served.server.as_ref().unwrap().connections() == 0);
    let before = descriptors();
    for round in 0..10 {
        let streams: Vec<TcpStream> =
            (0..60).filter_map(|_| TcpStream::connect(served.address()).ok()).collect();
        for (number, mut stream) in streams.into_iter().enumerate() {
            let junk: &[u8] = match (round + number) % 5 {
                0 => b"",
                1 => b"GET / HTTP/1.1\r\n",
                2 => b"GET /v1/tables HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer wrong\r\n\r\n",
                3 => b"POST /v1/tables/items/rows?mode=append HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n",
                _ => b"\xff\xfe\x00\r\n\r\n",
            };
            let _ = stream.write_all(junk);
        }
    }
    soon("all connections are gone", || served.server.as_ref().unwrap().connections() == 0);
    assert_eq!(get(), 200);
    soon("all descriptors are back", || descriptors() <= before);
}

#[test]
fn requests_under_way_are_answered_when_the_door_closes() {
    let mut served = Served::open();
    served.define_many();
    let mut reading = served.connect();
    reading
        .write_all(b"POST /v1/sql HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\nContent-Length: 18\r\n\r\nSELECT * FROM many")
        .unwrap();
    let mut byte = [0; 1];
    Read::read_exact(&mut reading, &mut byte).unwrap();
    let (server, address) = (served.server.take().unwrap(), reading.peer_addr().unwrap());
    server.begin_to_stop();
    let rest = std::thread::spawn(move || read_all(&mut reading));
    server.stop(PATIENCE);
    let rest = rest.join().unwrap();
    assert!(
        rest.ends_with("]\n\r\n0\r\n\r\n"),
        "the answer is whole: …{}",
        &rest[rest.len().saturating_sub(40)..]
    );
    assert!(TcpStream::connect(address).is_err(), "and nobody listens any more");
}

#[test]
fn a_unix_socket_admits_its_users_only() {
    use std::os::unix::fs::MetadataExt;
    use std::os::unix::net::UnixStream;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("http.sock");
    let own = dir.path().metadata().unwrap().uid();
    let others = Users { uids: vec![own + 1], gids: Vec::new() };
    let options = HttpOptions::new(pillion_http::Listen::Unix(path.clone())).users(others);
    let served = Served::with(options, &[], Some(everything()));
    let ask = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.write_all(b"GET /v1/tables/items/1 HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n");
        read_all(&mut stream)
    };
    let refused = ask();
    assert!(refused.is_empty() || refused.starts_with("HTTP/1.1 403"), "{refused}");
    assert_eq!(*served.recorded.connections.lock(), [ConnectionEvent::Denied]);
    assert_eq!(served.access.denials().so_far(), 1);
    let server = served.server.as_ref().unwrap();
    server.set_users(Users { uids: vec![own], gids: Vec::new() });
    assert!(ask().contains("plain"), "it is admitted once it is named");
}

#[test]
fn a_unix_socket_is_a_door_too() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run/http.sock");
    for _ in 0..2 {
        // The second time over the socket that a process left behind; the first time there is no folder for it.
        drop(std::os::unix::net::UnixListener::bind(&path));
        let options = HttpOptions::new(pillion_http::Listen::Unix(path.clone())).socket_mode(0o600);
        pillion_http::HttpServer::check(&options).unwrap();
        let served = Served::with(options.clone(), &[], Some(everything()));
        let taken = pillion_http::HttpServer::check(&options).unwrap_err();
        assert!(taken.to_string().contains("another process listens on"), "{taken}");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let mut stream = UnixStream::connect(&path).unwrap();
        stream
            .write_all(b"GET /v1/tables/items/1 HTTP/1.1\r\nHost: whatever\r\nConnection: close\r\n\r\n")
            .unwrap();
        assert!(read_all(&mut stream).contains("plain"));
        served.server.unwrap().stop(PATIENCE);
        assert!(!path.exists(), "the socket is removed");
    }
}
