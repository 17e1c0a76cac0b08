//! What the recorder of the cache is told of requests.

use pillion::{ErrorCode, Operation};

use crate::support::{Served, everything, listen, soon};

#[test]
fn each_request_is_one_call_of_the_door() {
    let served = Served::open();
    served.get("/v1/tables/items/1").json();
    served.get("/v1/tables/items/99").problem(404, "RowNotFound", "");
    served.sql("SELECT * FROM items", "text/csv");
    served.sql("SELECT nothing FROM items", "*/*").problem(400, "ColumnNotFound", "");
    served.send("DELETE", "/v1/tables/items/1", &[], "").json();
    let lines = [("content-type", "application/x-ndjson")];
    served.send("POST", "/v1/tables/items/rows?mode=append", &lines, "{\"id\":6}\n").json();
    served.get("/v1/tables").json();
    served.get("/v1/nothing").problem(404, "UnknownAddress", "");
    let told = [
        (Operation::Get, None),
        (Operation::Get, None),
        (Operation::Sql, None),
        (Operation::Sql, Some(ErrorCode::ColumnNotFound)),
        (Operation::Write, None),
        (Operation::Upload, None),
        (Operation::Catalog, None),
        (Operation::Session, Some(ErrorCode::InvalidArgument)),
    ];
    let expected: Vec<_> = told.into_iter().map(|(operation, error)| ("http", operation, error)).collect();
    // The last bytes of an answer are out before its call is told.
    soon("all are told", || served.recorded.calls.lock().len() >= expected.len());
    assert_eq!(*served.recorded.calls.lock(), expected, "and none as a call of a handle");
    assert_eq!(*served.recorded.lookups.lock(), (1, 1));
    let (asked, answered) = *served.recorded.bytes.lock();
    assert_eq!(
        asked,
        ("SELECT * FROM items".len() + "SELECT nothing FROM items".len() + "{\"id\":6}\n".len()) as u64
    );
    assert!(answered > 1000, "{answered}");
    served.cache.table("items").unwrap().get(2).unwrap();
    assert_eq!(served.recorded.calls.lock().last().unwrap().0, "handle", "others are told as before");
}

#[test]
fn refusals_count_as_such() {
    let options = pillion_http::HttpOptions::new(listen()).requests_max(1).requests_waiting_max(0);
    let served = Served::with(options, &[("it", everything())], None);
    served.get("/v1/tables").problem(401, "Unauthorized", "");
    soon("it is told", || !served.recorded.calls.lock().is_empty());
    let call = ("http", Operation::Catalog, Some(ErrorCode::PermissionDenied));
    assert_eq!(*served.recorded.calls.lock(), [call]);
}
