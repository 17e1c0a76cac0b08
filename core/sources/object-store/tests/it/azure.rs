//! Files on an Azure Blob server.

use pillion::ErrorCode;
use pillion::source::Relation;
use pillion_object_store::{ObjectStoreSource, Secret};

use crate::suite;
use crate::support::azure::{KEY, Server};
use crate::support::files::{numbers, parquet};
use crate::support::{columns, failure, rows, shown};

/// One server for all: starting one takes seconds.
#[test]
fn files_on_azure() {
    let Some(server) = Server::start() else { return };
    let at = |url: &str| ObjectStoreSource::new(server.bare(url).secret("access_key", KEY)).unwrap();
    let put = |path: &str, bytes: Vec<u8>| server.put(&format!("suite/{path}"), bytes);
    assert!(suite::run(at("az://files/suite"), &put) > 10);

    server.put("flights/year=2013/a.parquet", parquet(&numbers(0, 2), 1));
    server.put("flights/year=2014/a b%20.parquet", parquet(&numbers(5, 1), 1));
    let source = at("az://files");
    let found = rows(&source, &Relation::table("flights/"));
    assert_eq!(columns(&found), "id Int64, text Utf8, year Int64");
    assert_eq!(shown(&found), ["0,text 0,2013", "1,text 1,2013", "5,text 5,2014"]);
    server.put("large.parquet", parquet(&numbers(0, 500_000), 200_000));
    assert_eq!(rows(&source, &Relation::table("large.parquet")), numbers(0, 500_000));

    let relation = Relation::table("flights/**");
    let error = failure(&at("az://no-such-container"), &relation);
    assert_eq!(error.code(), ErrorCode::SourceNotFound, "{error}");
    // A key that is replaced takes effect without a new source.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key");
    let wrong = "d3Jvbmcga2V5IG9mIHRoZSB0ZXN0";
    std::fs::write(&file, wrong).unwrap();
    let rotated = server.bare("az://files").secret("access_key", Secret::File(file.clone()));
    let source = ObjectStoreSource::new(rotated).unwrap();
    let error = failure(&source, &relation);
    assert_eq!(error.code(), ErrorCode::SourceRefused, "{error}");
    let shown = format!("{error:?} {error:#} {source:?}");
    assert!(!shown.contains(wrong) && !shown.contains(KEY), "{shown}");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    assert_eq!(rows(&source, &relation).num_rows(), 3);
}
