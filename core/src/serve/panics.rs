//! What a panic of each thread of a server costs.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use pillion_ipc::{Client, Flags, Frame};

use super::planted::PanicPlace;
use super::{Server, ServerOptions};
use crate::types::error::ErrorCode;
use crate::wire::message::{Empty, ErrorMessage, Hello, Pin};
use crate::wire::{Call, Source, decode, encode, version};
use crate::{Cache, TableDefinition};

/// A server that panics at one place.
struct Served {
    server: Server,
    socket: PathBuf,
    cache: Cache,
    _dir: tempfile::TempDir,
}

fn serve(place: PanicPlace, options: impl FnOnce(ServerOptions) -> ServerOptions) -> Served {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let socket = dir.path().join(format!("{place:?}"));
    let server = cache.serve(options(ServerOptions::new(&socket))).unwrap();
    Served { server, socket, cache, _dir: dir }
}

impl Served {
    fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.socket).unwrap()
    }
}

fn call(client: &Client, call: Call, body: &[u8]) -> Frame {
    client.call(call as u16, body, None).unwrap()
}

fn greet(client: &Client) {
    let hello = Hello { protocol: version::NEWEST, client: "test".to_owned(), seen: None, tiers: false };
    assert_eq!(call(client, Call::Hello, &encode(&hello).unwrap()).flags, Flags::default());
}

/// Checks that nothing more comes from the other end.
fn is_closed(mut stream: &UnixStream) {
    // A reset also means closed.
    assert_eq!(stream.read(&mut [0; 16]).unwrap_or_default(), 0);
}

#[test]
fn a_panic_of_a_call_is_the_error_of_that_call() {
    let served = serve(PanicPlace::Answer, |options| options);
    let client = Client::new(served.connect()).unwrap();
    greet(&client);
    let bodies = [
        (Call::SourcePosition, encode(&Source { source: "s".to_owned() }).unwrap()),
        (Call::GetRow, vec![0; 16]),
        (Call::Sync, encode(&Empty {}).unwrap()),
    ];
    for _ in 0..3 {
        for (panics, body) in &bodies {
            let answer = call(&client, *panics, body);
            assert!(answer.flags.contains(Flags::ERROR), "{panics:?}");
            let error = decode::<ErrorMessage>(&answer.body).unwrap().into_error();
            assert_eq!(error.code(), ErrorCode::Internal, "{panics:?}: {error}");
        }
        let answer = call(&client, Call::Version, &encode(&Pin { snapshot: None }).unwrap());
        assert_eq!(answer.flags, Flags::default(), "the connection goes on");
    }
    assert_eq!(served.server.failure(), None);
}

#[test]
fn a_panic_where_requests_are_read_ends_that_connection_only() {
    let served = serve(PanicPlace::Request, |options| options);
    let (first, second) = (served.connect(), served.connect());
    let client = Client::new(first.try_clone().unwrap()).unwrap();
    assert!(client.call(Call::Hello as u16, &[], None).is_err());
    is_closed(&first);
    // No thread still waits to read, and everything that the connection held is released.
    drop(first);
    assert!(Client::new(second.try_clone().unwrap()).unwrap().call(Call::Hello as u16, &[], None).is_err());
    assert_eq!(served.server.failure(), None);
    served.server.stop();
}

#[test]
fn a_panic_where_a_connection_is_begun_costs_that_connection() {
    let served = serve(PanicPlace::Begin, |options| options);
    for _ in 0..3 {
        is_closed(&served.connect());
    }
    assert_eq!(served.server.failure(), None, "others are still accepted");
    served.server.stop();
}

#[test]
fn panics_while_clients_are_refused_keep_no_place() {
    // More clients than there are places.
    let served = serve(PanicPlace::Refusal, |options| options.connections_max(0));
    for _ in 0..40 {
        is_closed(&served.connect());
    }
    assert_eq!(served.server.failure(), None);
    served.server.stop();
}

#[test]
fn a_panic_where_clients_are_accepted_is_told_and_the_cache_goes_on() {
    let served = serve(PanicPlace::Accept, |options| options);
    is_closed(&served.connect());
    while served.server.failure().is_none() {
        std::thread::yield_now();
    }
    assert!(served.server.failure().unwrap().contains("panicked"));
    assert!(served.cache.define_table("t", TableDefinition::new(Vec::new())).is_err());
    assert_eq!(served.cache.status().unwrap().poisoned, None);
    served.server.stop();
}
