//! Tables on a real S3 server.

use std::time::{Duration, Instant};

use pillion::ErrorCode;
use pillion::source::{Call, Fetch, Relation, Source};
use pillion_delta::{DeltaSource, Location, Secret};

use crate::suite;
use crate::support::lake::Lake;
use crate::support::proxy::Proxy;
use crate::support::s3::{KEY, SECRET, Server, bare, location};
use crate::support::{call, failure, rows, shown};

/// One server for all: starting one takes seconds.
#[test]
fn tables_on_s3() {
    let Some(lake) = Lake::new() else { return };
    let Some(server) = Server::start() else { return };
    let options = format!(
        r#"{{"AWS_ACCESS_KEY_ID": "{KEY}", "AWS_SECRET_ACCESS_KEY": "{SECRET}", "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": "http://{}", "AWS_ALLOW_HTTP": "true", "conditional_put": "etag"}}"#,
        server.address()
    );
    let lake = lake.at("s3://files/lake dir", options);
    let source = |url: &str| DeltaSource::new(location(url, server.address())).unwrap();
    assert!(suite::run(source("s3://files/lake dir"), &lake) > 10);
    lake.run(
        "write('odd', numbers(0, 3).append_column('r', pa.array(['a b', 'x/y', '50%'])), partition_by=['r'])",
    );
    let odd = rows(&source("s3://files"), &Relation::table("lake dir/odd"));
    assert_eq!(shown(&odd), shown(&lake.answer("odd")));
    assert!(source("s3://files/lake dir").relations(&call()).unwrap().contains(&"odd".to_owned()));
    what_is_wrong_is_told_apart(&server);
    a_network_that_fails_is_told(&server);
}

fn what_is_wrong_is_told_apart(server: &Server) {
    let at = |location: Location| DeltaSource::new(location).unwrap();
    let relation = Relation::table("lake dir/odd");
    let wrong = bare("s3://files", server.address())
        .secret("access_key_id", KEY)
        .secret("secret_access_key", Secret::Text("MsPw55 is wrong".to_owned()));
    let refused = failure(&at(wrong), &relation);
    assert_eq!(refused.code(), ErrorCode::SourceRefused, "{refused:?}");
    assert!(!format!("{refused:?} {refused:#}").contains("MsPw55"), "{refused:?}");
    let other = failure(&at(location("s3://no-such-bucket", server.address())), &relation);
    assert_eq!(other.code(), ErrorCode::SourceNotFound, "{other:?}");
    let unset = bare("s3://files", server.address())
        .secret("access_key_id", KEY)
        .secret("secret_access_key", Secret::Environment("PILLION_TEST_NOT_SET".to_owned()));
    assert_eq!(failure(&at(unset), &relation).code(), ErrorCode::SourceRefused);
}

fn a_network_that_fails_is_told(server: &Server) {
    let proxy = Proxy::new(server.address());
    let source = DeltaSource::new(location("s3://files/lake dir", proxy.address())).unwrap();
    let relation = Relation::table("large");
    let mut fetched = source.fetch(&Fetch::of(relation.clone()), &call()).unwrap();
    fetched.next().unwrap().unwrap();
    proxy.hang();
    let began = Instant::now();
    let limited = Call::within(Duration::from_millis(300));
    assert_eq!(source.mark(&relation, &limited).unwrap_err().code(), ErrorCode::Timeout);
    let cancelled = Call::new();
    let canceller = cancelled.clone();
    let thread = std::thread::spawn(move || {
        std::thread::park_timeout(Duration::from_millis(200));
        canceller.cancel();
    });
    let error = source.describe(&Relation::table("some"), &cancelled).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Cancelled);
    thread.join().unwrap();
    assert!(began.elapsed() < Duration::from_secs(60));
}
