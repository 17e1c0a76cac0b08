//! Who may use a server: users that are not named are told so, and so is the one connection too many.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use pillion::{Cache, ErrorCode, ErrorKind, Server, ServerOptions};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// A server of an empty cache.
struct Served {
    dir: TempDir,
    _cache: Cache,
    server: Server,
}

impl Served {
    fn new(options: impl FnOnce(ServerOptions) -> ServerOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        let server = cache.serve(options(ServerOptions::new(dir.path().join("sock")))).unwrap();
        Self { dir, _cache: cache, server }
    }

    fn connect(&self) -> pillion::Result<Cache> {
        Cache::connect(self.dir.path().join("sock"), PATIENCE)
    }
}

fn me() -> (u32, u32) {
    use std::os::unix::fs::MetadataExt;
    // A file that this process makes has its user and its group.
    let found = tempfile::tempdir().unwrap().path().metadata().unwrap();
    (found.uid(), found.gid())
}

#[test]
fn who_is_not_named_is_told_and_counted() {
    let (uid, gid) = me();
    let served = Served::new(|options| options.allow_uids([uid + 1]).allow_gids([gid + 1]));
    for denied in 1..=3 {
        let error = served.connect().unwrap_err();
        assert_eq!(error.code(), ErrorCode::PermissionDenied, "{error:?}");
        assert_eq!(error.kind(), ErrorKind::Request);
        assert!(error.message().contains(&format!("user {uid}")), "{error}");
        assert_eq!(served.server.denied(), denied);
    }
    assert_eq!(served.server.connections(), 0);
}

#[test]
fn a_user_or_a_group_that_is_named_is_let_in() {
    let (uid, gid) = me();
    for served in [
        Served::new(|options| options),
        Served::new(|options| options.allow_uids([uid])),
        Served::new(|options| options.allow_uids([uid + 1]).allow_gids([gid])),
    ] {
        served.connect().unwrap().version().unwrap();
        assert_eq!(served.server.denied(), 0);
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let served = Served::new(|options| options.connections_max(1));
    let first = served.connect().unwrap();
    let error = served.connect().unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooMany, "{error:?}");
    first.version().unwrap();
}

/// How many clients can connect, and the error that the next one gets.
fn most(served: &Served) -> (usize, String) {
    let mut clients = Vec::new();
    loop {
        match served.connect() {
            Ok(client) => clients.push(client),
            Err(error) => {
                assert_eq!(error.code(), ErrorCode::TooMany, "{error:?}");
                return (clients.len(), error.message().to_owned());
            }
        }
    }
}

#[test]
fn one_user_does_not_get_all_connections() {
    let user = format!("user {}", me().0);
    for (set, limit) in [(None, 6), (Some(2), 2)] {
        let served = Served::new(|options| match set {
            Some(connections) => options.connections_max(8).connections_per_user(connections),
            None => options.connections_max(8),
        });
        let (connected, said) = most(&served);
        assert_eq!((connected, said.contains(&user)), (limit, true), "{said}");
    }
    let served = Served::new(|options| options.connections_max(3).connections_per_user(9));
    let (connected, said) = most(&served);
    assert_eq!((connected, said.contains("the sidecar has")), (3, true), "{said}");
    while served.server.connections() > 0 {
        std::thread::yield_now();
    }
    assert_eq!(most(&served).0, 3, "those that went left their places");
}

/// A client that says nothing, so that it is not told whether it is refused.
fn silent(served: &Served) -> UnixStream {
    UnixStream::connect(served.dir.path().join("sock")).unwrap()
}

/// Refused clients that say nothing keep nobody out.
#[test]
fn silent_clients_that_are_refused_hold_no_others_up() {
    let served = Served::new(|options| options.connections_max(1));
    let first = served.connect().unwrap();
    let refused: Vec<_> = (0..100).map(|_| silent(&served)).collect();
    first.version().unwrap();
    // Clients are accepted one after another: once this one is sent away, all before it have been refused.
    assert_eq!(silent(&served).read(&mut [0; 16]).unwrap_or_default(), 0);
    drop(first);
    while served.server.connections() > 0 {
        std::thread::yield_now();
    }
    served.connect().unwrap().version().unwrap();
    served.server.stop();
    drop(refused);
}

/// Refused clients that say nothing do not keep a server from its end.
#[test]
fn silent_clients_that_are_refused_do_not_delay_a_stop() {
    let (uid, _) = me();
    let served = Served::new(|options| options.allow_uids([uid + 1]));
    let silent: Vec<_> = (0..100).map(|_| silent(&served)).collect();
    while served.server.denied() < 100 {
        std::thread::yield_now();
    }
    let Served { server, .. } = served;
    server.stop();
    drop(silent);
}

/// To stop, the server does not need its path.
#[test]
fn a_server_whose_socket_was_removed_stops() {
    let served = Served::new(|options| options);
    std::fs::remove_file(served.dir.path().join("sock")).unwrap();
    served.server.stop();
}
