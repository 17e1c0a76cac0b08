//! What the recorder of the cache is told of calls.

use arrow_flight::sql::CommandGetTables;
use pillion::{ErrorCode, Operation};

use crate::support::{Served, soon};

#[test]
fn calls_are_told_with_their_errors_and_bytes() {
    let served = Served::open();
    let mut client = served.client();
    client.sql("SELECT * FROM items").unwrap();
    client.ask(&CommandGetTables::default()).unwrap();
    client.sql("SELECT * FROM itms").unwrap_err();
    client.sql("SELECT 1 / (id - 3) FROM items").unwrap_err();
    client.act("CloseSession", "").unwrap();
    let expected = [
        (Operation::Sql, None),
        (Operation::Sql, None),
        (Operation::Catalog, None),
        (Operation::Catalog, None),
        (Operation::Sql, Some(ErrorCode::TableNotFound)),
        (Operation::Sql, None),
        (Operation::Sql, Some(ErrorCode::Execution)),
        (Operation::Session, None),
    ];
    soon("all calls are told", || served.recorded.calls.lock().len() == expected.len());
    let calls = served.recorded.calls.lock().clone();
    assert_eq!(calls, expected.map(|(operation, error)| ("flight_sql", operation, error)));
    let (requests, answers) = *served.recorded.bytes.lock();
    assert!(requests > 300 && answers > 1000, "{requests} {answers}");
}
