//! Files on a real S3 server.

use std::time::{Duration, Instant};

use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_object_store::{Location, ObjectStoreSource, Secret};

use crate::suite;
use crate::support::files::{numbers, parquet};
use crate::support::proxy::Proxy;
use crate::support::s3::{KEY, SECRET, Server, bare, location};
use crate::support::{call, columns, failure, rows, shown};

const ROWS: usize = 2_000_000;

fn large_csv() -> Vec<u8> {
    let text: String = (0..ROWS).map(|number| format!("{number},text {number}\n")).collect();
    format!("id,text\n{text}").into_bytes()
}

/// One server for all: starting one takes seconds.
#[test]
fn files_on_s3() {
    let Some(server) = Server::start() else { return };
    a_bucket_is_a_source(&server);
    patterns_and_folders_are_read(&server);
    credentials_and_names_that_are_wrong_are_told_apart(&server);
    objects_that_are_replaced_are_refused(&server);
    memory_and_requests_are_bounded(&server);
    a_network_that_fails_is_told(&server);
}

fn a_bucket_is_a_source(server: &Server) {
    let below = ObjectStoreSource::new(location("s3://files/suite", server.address())).unwrap();
    let put = |path: &str, bytes: Vec<u8>| server.put(&format!("suite/{path}"), bytes);
    assert!(suite::run(below, &put) > 10);
}

fn patterns_and_folders_are_read(server: &Server) {
    server.put("flights/year=2013/a.parquet", parquet(&numbers(0, 2), 1));
    server.put("flights/year=2014/a b%20.parquet", parquet(&numbers(5, 1), 1));
    server.put("flights/_SUCCESS", "");
    server.put("flights.csv", "id\n1\n");
    let source = server.source();
    let found = rows(&source, &Relation::table("flights/"));
    assert_eq!(columns(&found), "id Int64, text Utf8, year Int64");
    assert_eq!(shown(&found), ["0,text 0,2013", "1,text 1,2013", "5,text 5,2014"]);
    let names = source.relations(&call()).unwrap();
    assert!(names.contains(&"flights/".to_owned()) && names.contains(&"flights.csv".to_owned()), "{names:?}");
    let large = parquet(&numbers(0, 500_000), 200_000);
    assert!(large.len() > 3 << 20);
    server.put("large.parquet", large);
    assert_eq!(rows(&source, &Relation::table("large.parquet")), numbers(0, 500_000));
}

fn credentials_and_names_that_are_wrong_are_told_apart(server: &Server) {
    let at = |location: Location| ObjectStoreSource::new(location).unwrap();
    let relation = Relation::table("flights.csv");
    let wrong = bare("s3://files", server.address())
        .secret("access_key_id", KEY)
        .secret("secret_access_key", "wr0ng");
    let error = failure(&at(wrong), &relation);
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    assert!(error.message().contains("s3://files/flights.csv"), "{error}");
    let error =
        failure(&at(bare("s3://files", server.address()).option("anonymous", "true")), &Relation::table("*"));
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    let error = failure(&at(location("s3://no-such-bucket", server.address())), &Relation::table("*.csv"));
    assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let source = at(location("s3://files", closed));
    let error = failure(&source, &relation);
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    let shown = format!("{error:?} {error:#} {source:?}");
    assert!(!shown.contains(SECRET) && !shown.contains(KEY), "{shown}");
    // A credential that is replaced takes effect without a new source.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "not yet").unwrap();
    let rotated = bare("s3://files", server.address())
        .secret("access_key_id", KEY)
        .secret("secret_access_key", Secret::File(file.clone()));
    let source = at(rotated);
    assert_eq!(failure(&source, &relation).code(), ErrorCode::SourceRefused);
    std::fs::write(&file, format!("{SECRET}\n")).unwrap();
    assert_eq!(rows(&source, &relation).num_rows(), 1);
    let unknown = location("s3://files", server.address()).option("regoin", "x");
    let error = ObjectStoreSource::new(unknown).unwrap_err();
    assert!(error.message().contains("did you mean `region`"), "{error}");
}

fn objects_that_are_replaced_are_refused(server: &Server) {
    let source = server.source();
    let put = |first: i64| {
        server.put("replaced/a.parquet", parquet(&numbers(first, 400_000), 50_000));
        server.put("replaced/b.csv", "id\n1\n");
    };
    for removed in [false, true] {
        put(0);
        let mut fetched = source.fetch(&Fetch::of(Relation::table("replaced/*")), &call()).unwrap();
        assert!(fetched.next().unwrap().is_ok());
        if removed {
            server.delete("replaced/a.parquet");
        } else {
            put(7);
        }
        let error = fetched.find_map(Result::err).expect("rows of two versions came");
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
        assert!(
            error.message().contains("replaced/a.parquet") && error.message().contains("replaced or removed"),
            "{error}"
        );
    }
    put(9);
    let found = rows(&source, &Relation::table("replaced/a.parquet"));
    assert_eq!(found, numbers(9, 400_000));
}

fn memory_and_requests_are_bounded(server: &Server) {
    let csv = large_csv();
    let len = csv.len() as u64;
    server.put("large.csv", csv);
    server.put("two.parquet", parquet(&numbers(0, 500_000), 500_000));
    let proxy = Proxy::new(server.address());
    let source = ObjectStoreSource::new(location("s3://files", proxy.address())).unwrap();
    // With all types given, only the header is read to describe it, and then only what is asked for and a little more.
    let relation = Relation::table("large.csv").option("types", "id=Int64,text=Utf8");
    let mut fetched = source.fetch(&Fetch::of(relation), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    assert!(proxy.received() < len / 2, "{} of {len} bytes", proxy.received());
    assert_eq!(fetched.map(|batch| batch.unwrap().num_rows()).sum::<usize>() + 8192, ROWS);
    // Columns that are not wanted are not read.
    let before = proxy.received();
    let fetch = Fetch::of(Relation::table("two.parquet")).columns(["id"]);
    let fetched = source.fetch(&fetch, &call()).unwrap();
    assert_eq!(fetched.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 500_000);
    let only_ids = proxy.received() - before;
    drop(rows(&source, &Relation::table("two.parquet")));
    let both = proxy.received() - before - only_ids;
    assert!(only_ids < both / 2 + (256 << 10), "{only_ids} and {both} bytes");
}

fn a_network_that_fails_is_told(server: &Server) {
    let proxy = Proxy::new(server.address());
    let source = ObjectStoreSource::new(location("s3://files", proxy.address())).unwrap();
    let relation = Relation::table("large.csv").option("types", "id=Int64,text=Utf8");
    let mut fetched = source.fetch(&Fetch::of(relation.clone()), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    proxy.cut_after(100_000);
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(!format!("{error:?}").contains(SECRET));
    proxy.mend();
    let cancelled = Call::new();
    let mut fetched = source.fetch(&Fetch::of(relation), &cancelled).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    proxy.hang();
    let begun = Instant::now();
    let thread = std::thread::spawn(move || fetched.find_map(Result::err));
    std::thread::park_timeout(Duration::from_millis(300));
    cancelled.cancel();
    assert_eq!(thread.join().unwrap().unwrap().code(), ErrorCode::Cancelled);
    assert!(begun.elapsed() < Duration::from_secs(10));
}
