//! Files of a server that knows nothing but HTTP.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_object_store::{Location, ObjectStoreSource, Secret};

use crate::support::files::{numbers, parquet};
use crate::support::http::FileServer;
use crate::support::proxy::Proxy;
use crate::support::{call, failure, rows, try_rows};

fn source(address: SocketAddr) -> ObjectStoreSource {
    ObjectStoreSource::new(Location::new(format!("http://{address}/data"))).unwrap()
}

/// Rows enough for a file that is not read at once.
fn large() -> Vec<u8> {
    let text: String = (0..600_000).map(|number| format!("{number},text {number}\n")).collect();
    format!("id,text\n{text}").into_bytes()
}

#[test]
fn files_are_read_by_name() {
    let server = FileServer::new();
    server.put("data/a.parquet", parquet(&numbers(0, 1000), 300), "1");
    server.put("data/b.csv", large(), "1");
    let source = source(server.address());
    assert_eq!(rows(&source, &Relation::table("a.parquet")), numbers(0, 1000));
    assert_eq!(rows(&source, &Relation::table("b.csv")), numbers(0, 600_000));
    assert!(server.requests().iter().any(|request| request.starts_with("GET /data/b.csv bytes=")));
    let error = failure(&source, &Relation::table("c.csv"));
    assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    let error = failure(&source, &Relation::table("*.csv"));
    assert_eq!(error.code(), ErrorCode::Unsupported, "{error}");
    assert!(error.message().contains("without wildcards"), "{error}");
    assert!(error.message().contains("405") && !error.message().contains("Error response"), "{error}");
    // Nobody takes bytes of one version for those of another.
    let mut fetched = source.fetch(&Fetch::of(Relation::table("b.csv")), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    server.put("data/b.csv", large(), "2");
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("replaced"), "{error}");
}

#[test]
fn a_server_without_ranges_gives_files_that_are_not_large() {
    let server = FileServer::new();
    server.give_whole_files();
    server.put("data/a.parquet", parquet(&numbers(0, 100_000), 10_000), "1");
    server.put("data/b.csv", large(), "1");
    let source = source(server.address());
    let error = failure(&source, &Relation::table("b.csv"));
    assert!(error.message().contains("ranges"), "{error}");
    assert_eq!(rows(&source, &Relation::table("a.parquet")).num_rows(), 100_000);
}

#[test]
fn a_password_is_needed_read_anew_and_never_shown() {
    let server = FileServer::new();
    server.put("data/a.csv", "id\n1\n", "1");
    // `us er` and `pa/ss`, in Base64.
    server.demand("Basic dXMgZXI6cGEvc3M=");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("password");
    let location = Location::new(format!("http://{}/data", server.address()))
        .option("user", "us er")
        .secret("password", Secret::File(file.clone()));
    let source = ObjectStoreSource::new(location).unwrap();
    assert_eq!(failure(&source, &Relation::table("a.csv")).code(), ErrorCode::SourceRefused);
    std::fs::write(&file, "wrong-one\n").unwrap();
    let error = failure(&source, &Relation::table("a.csv"));
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    assert!(!format!("{error:?} {source:?}").contains("wrong-one"));
    std::fs::write(&file, "pa/ss\n").unwrap();
    assert_eq!(rows(&source, &Relation::table("a.csv")).num_rows(), 1);
    let plain = Location::new("http://host/data").option("password", "hidden-word");
    assert!(!format!("{plain:?}").contains("hidden-word"));
    let in_url = Location::new(format!("http://us:hidden-word@{}/data", server.address()));
    let source = ObjectStoreSource::new(in_url).unwrap();
    let error = failure(&source, &Relation::table("a.csv"));
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    assert!(!format!("{error:?} {source:?}").contains("hidden-word"));
}

#[test]
fn a_server_that_says_nothing_is_waited_for_as_long_as_the_call_says() {
    let server = FileServer::new();
    server.put("data/b.csv", large(), "1");
    let proxy = Proxy::new(server.address());
    let source = source(proxy.address());
    let fetch = Fetch::of(Relation::table("b.csv"));
    // In the middle of a fetch.
    let limited = Call::within(Duration::from_secs(5));
    let mut fetched = source.fetch(&fetch, &limited).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    proxy.hang();
    assert_eq!(fetched.find_map(Result::err).unwrap().code(), ErrorCode::Timeout);
    // From the beginning, by a deadline and by hand.
    let begun = Instant::now();
    let error = source.describe(fetch.relation(), &Call::within(Duration::from_millis(200))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    let cancelled = Call::new();
    let of_thread = cancelled.clone();
    let thread = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(200));
        of_thread.cancel();
    });
    let error = source.describe(fetch.relation(), &cancelled).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Cancelled);
    thread.join().unwrap();
    // Far less than the client library waits.
    assert!(begun.elapsed() < Duration::from_secs(20));
    proxy.mend();
    assert_eq!(try_rows(&source, &fetch).unwrap().num_rows(), 600_000);
}

#[test]
fn a_connection_that_breaks_and_a_server_that_is_gone_are_unavailable() {
    let server = FileServer::new();
    server.put("data/b.csv", large(), "1");
    let proxy = Proxy::new(server.address());
    let source = source(proxy.address());
    let fetch = Fetch::of(Relation::table("b.csv"));
    let mut fetched = source.fetch(&fetch, &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    proxy.cut_after(1000);
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("b.csv"), "{error}");
    let address = proxy.address();
    drop(proxy);
    let error = failure(&self::source(address), &Relation::table("b.csv"));
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains(&address.to_string()), "{error}");
}

/// The name is in many words of an error, and no secret.
#[test]
fn a_short_user_name_does_not_change_what_errors_mean() {
    let server = FileServer::new();
    let proxy = Proxy::new(server.address());
    let location = Location::new(format!("http://u:hidden-word@{}/data", proxy.address()));
    let source = ObjectStoreSource::new(location).unwrap();
    drop(proxy);
    let error = source.relations(&call()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(error.message().contains("request") && !error.message().contains('…'), "{error}");
    assert!(!format!("{error:?} {source:?}").contains("hidden-word"));
}
