//! What clients see of a sidecar that ends, of the next one, and of what is none.

use std::io::{Read, Write};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use pillion::{Attach, Cache, ConnectOptions, ErrorCode, Input, ServerOptions};

use crate::support::serving::{PATIENCE, Serving, Settings, eventually};
use crate::support::{assert_ids, define, files, numbered, refused};

fn connect(socket: &Path) -> pillion::Result<Cache> {
    ConnectOptions::new().attach(Attach::Never).deadline(PATIENCE).connect(socket)
}

/// Clients that hold a connection wait for the next sidecar, and so do clients that connect.
#[test]
fn no_reader_is_told_of_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = Some(Serving::start(dir.path(), Settings::default()));
    let socket = dir.path().join("sock");
    let client = connect(&socket).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let reads = || {
            let mut reads = 0;
            while !over.load(Ordering::Relaxed) {
                client.version().unwrap();
                assert!(client.table("t").unwrap().get(7).unwrap().is_some());
                reads += 1;
            }
            reads
        };
        let connects = || {
            let mut connections = 0;
            while !over.load(Ordering::Relaxed) {
                connect(&socket).unwrap().version().unwrap();
                connections += 1;
            }
            connections
        };
        let threads = [scope.spawn(reads), scope.spawn(connects), scope.spawn(connects)];
        for _ in 0..20 {
            serving.take().unwrap().finish();
            serving = Some(Serving::start(dir.path(), Settings::default()));
        }
        over.store(true, Ordering::Relaxed);
        for thread in threads {
            assert!(thread.join().unwrap() > 0);
        }
    });
    drop(client);
    serving.unwrap().finish();
}

/// As happens to clients in the queue of a sidecar that ends.
#[test]
fn a_sidecar_that_goes_before_it_answers_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("sock");
    let ending = UnixListener::bind(&socket).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| connect(&socket));
        for _ in 0..3 {
            drop(ending.accept().unwrap());
        }
        drop(ending);
        let serving = Serving::start(dir.path(), Settings::default());
        let client = client.join().unwrap().unwrap();
        assert!(client.table("t").unwrap().get(7).unwrap().is_some());
        drop(client);
        serving.finish();
    });
}

/// Waiting would not help in any of these cases, so nobody waits.
#[test]
fn what_is_no_sidecar_is_said_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let long = dir.path().join("x".repeat(200));
    refused(connect(&long), ErrorCode::InvalidArgument, &["107 bytes", "shorter"]);
    let file = dir.path().join("notes.txt");
    files::write(&file, b"notes");
    refused(connect(&file), ErrorCode::InvalidArgument, &["notes.txt", "no socket"]);
    let socket = dir.path().join("other.sock");
    let other = UnixListener::bind(&socket).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut stream = other.accept().unwrap().0;
            // A server answers what it has read. If it closed before, the client would connect again.
            assert!(stream.read(&mut [0; 64]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        });
        refused(connect(&socket), ErrorCode::Unsupported, &["other.sock", "does not answer as a sidecar"]);
    });
}

/// The rest of its rows will not come, and another write on its connection waits for the table.
#[test]
fn a_server_that_stops_waits_for_no_upload() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let own = define(&cache, "t", 0..10).unwrap();
    let socket = dir.path().join("sock");
    let server = cache.serve(ServerOptions::new(&socket)).unwrap();
    let client = connect(&socket).unwrap();
    let (begun, has_begun) = channel();
    let (end, ends) = channel::<()>();
    std::thread::scope(|scope| {
        let table = client.table("t").unwrap();
        let uploads = scope.spawn(move || {
            // More rows than one message takes, so that this is an upload.
            let portion = |number: i64| numbered(100_000 * number..100_000 * (number + 1));
            let batches = (1..=4).map(move |number| {
                if number == 4 {
                    begun.send(()).unwrap();
                    let _ = ends.recv();
                }
                portion(number)
            });
            table.append(Input::batches(numbered([]).schema(), batches))
        });
        has_begun.recv_timeout(PATIENCE).unwrap();
        let waiting = client.table("t").unwrap();
        let sent = client.messages_sent();
        let waits = scope.spawn(move || waiting.append(numbered([10])));
        eventually(|| client.messages_sent() > sent, || "nothing was sent".to_owned());
        // If the server has not begun to work on it yet, the test passes all the same.
        std::thread::sleep(Duration::from_millis(200));
        let (stopped, has_stopped) = channel();
        scope.spawn(move || {
            server.stop();
            stopped.send(()).unwrap();
        });
        // Shorter than the time that the server waits for the rows of an upload.
        has_stopped.recv_timeout(Duration::from_secs(30)).unwrap();
        drop(end);
        uploads.join().unwrap().unwrap_err();
        match waits.join().unwrap().map_err(|error| error.code()) {
            Ok(_) => assert_ids(&own, 0..=10),
            Err(ErrorCode::Unavailable) => assert_ids(&own, 0..10),
            Err(other) => assert_eq!(other, ErrorCode::OutcomeUnknown),
        }
    });
}
