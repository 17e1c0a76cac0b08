//! Files on a server of Google Cloud Storage.

use pillion::ErrorCode;
use pillion::source::Relation;
use pillion_object_store::ObjectStoreSource;

use crate::suite;
use crate::support::files::{numbers, parquet};
use crate::support::google::Server;
use crate::support::{columns, failure, rows, shown};

/// One server for all.
#[test]
fn files_on_google_cloud_storage() {
    let Some(server) = Server::start() else { return };
    let at = |url: &str| ObjectStoreSource::new(server.location(url)).unwrap();
    let put = |path: &str, bytes: Vec<u8>| server.put(&format!("suite/{path}"), bytes);
    assert!(suite::run(at("gs://files/suite"), &put) > 10);

    server.put("flights/year=2013/a.parquet", parquet(&numbers(0, 2), 1));
    server.put("flights/year=2014/a b%20.parquet", parquet(&numbers(5, 1), 1));
    let source = at("gs://files");
    let found = rows(&source, &Relation::table("flights/"));
    assert_eq!(columns(&found), "id Int64, text Utf8, year Int64");
    assert_eq!(shown(&found), ["0,text 0,2013", "1,text 1,2013", "5,text 5,2014"]);
    server.put("large.parquet", parquet(&numbers(0, 500_000), 200_000));
    assert_eq!(rows(&source, &Relation::table("large.parquet")), numbers(0, 500_000));

    let error = failure(&source, &Relation::table("flights/year=2015/a.parquet"));
    assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    let key = "hidden key";
    let location = pillion_object_store::Location::new("gs://files").secret("service_account_key", key);
    let source = ObjectStoreSource::new(location).unwrap();
    let error = failure(&source, &Relation::table("flights/**"));
    let shown = format!("{error:?} {error:#} {source:?}");
    assert!(!shown.contains(key), "{shown}");
}
