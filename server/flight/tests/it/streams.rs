//! Answers that are long: sent as they are read, ended when nobody wants them.

use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionCancelQueryResult, Any, CommandStatementQuery, ProstMessageExt,
};
use arrow_flight::{CancelFlightInfoRequest, CancelFlightInfoResult, CancelStatus, Ticket};
use prost::Message;
use tonic::Code;

use crate::support::{MANY_ROWS, PATIENCE, Served, soon, ticket};

fn query(text: &str) -> CommandStatementQuery {
    CommandStatementQuery { query: text.to_owned(), transaction_id: None }
}

#[test]
fn a_million_rows_come_in_messages_of_limited_size() {
    let served = Served::open();
    served.define_many();
    let mut client = served.client();
    let answer = client.sql("SELECT * FROM many").unwrap();
    assert_eq!(answer.batches.iter().map(RecordBatch::num_rows).sum::<usize>(), 1_000_000);
    assert!(answer.batches.len() > 20, "{} messages", answer.batches.len());
    let largest = answer.batches.iter().map(RecordBatch::get_array_memory_size).max().unwrap();
    assert!(largest < 4 << 20, "{largest} bytes in one message");
    let sum =
        client.sql(&format!("SELECT count(*), sum(id) = {} FROM many", MANY_ROWS * (MANY_ROWS - 1) / 2));
    assert_eq!(sum.unwrap().texts(1), ["true"]);
}

#[test]
fn an_answer_waits_for_its_client_and_ends_when_it_goes() {
    let served = Served::limited(|options| options.requests_max(4));
    served.define_many();
    let mut client = served.client();
    let info = client.info(&query("SELECT * FROM many")).unwrap();
    let request = client.request(Ticket::new(ticket(&info)));
    let mut stream = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
    client.runtime.block_on(stream.message()).unwrap().unwrap();
    // Nobody reads on: what was sent does not grow.
    let sent = || served.recorded.bytes.lock().1;
    let (mut before, mut after) = (u64::MAX, sent());
    while before != after {
        std::thread::sleep(Duration::from_millis(300));
        (before, after) = (after, sent());
    }
    assert!(after < 20 << 20, "{after} bytes were sent to a client that reads nothing");
    assert_eq!(served.recorded.calls.lock().len(), 1, "the call is not over");
    drop(stream);
    soon("the call is over", || served.recorded.calls.lock().len() == 2);
    // Its place is free again: as many as there are places.
    for _ in 0..8 {
        client.sql("SELECT 1").unwrap();
    }
}

#[test]
fn a_client_that_reads_nothing_for_too_long_is_left() {
    let served = Served::limited(|options| options.read_timeout(Duration::from_millis(300)));
    served.define_many();
    let mut client = served.client();
    let info = client.info(&query("SELECT * FROM many")).unwrap();
    let request = client.request(Ticket::new(ticket(&info)));
    let mut stream = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
    std::thread::sleep(Duration::from_secs(2));
    let error = client.runtime.block_on(async {
        loop {
            match stream.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("a part looks whole"),
                Err(error) => return error,
            }
        }
    });
    // The call or the whole connection ended.
    assert_ne!(error.code(), Code::Ok, "{error}");
}

#[test]
fn an_answer_is_cancelled_before_and_while_it_is_fetched() {
    let served = Served::open();
    served.define_many();
    let mut client = served.client();
    let info = client.info(&query("SELECT * FROM many")).unwrap();
    let cancel = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
    let results = client.act("CancelFlightInfo", cancel.clone()).unwrap();
    let result = CancelFlightInfoResult::decode(&*results[0]).unwrap();
    assert_eq!(result.status, i32::from(CancelStatus::Cancelled));
    assert_eq!(client.get(ticket(&info)).unwrap_err().code(), Code::NotFound);
    assert_eq!(client.act("CancelFlightInfo", cancel).unwrap_err().code(), Code::NotFound);

    let info = client.info(&query("SELECT a.id FROM many a, many b WHERE a.id + b.id < -1")).unwrap();
    let request = client.request(Ticket::new(ticket(&info)));
    let mut stream = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
    client.runtime.block_on(stream.message()).unwrap().expect("the columns");
    let begun = Instant::now();
    let cancel = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    let results = client.act("CancelQuery", cancel.as_any().encode_to_vec()).unwrap();
    let result: ActionCancelQueryResult = Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap();
    assert_eq!(result.result, i32::from(CancelStatus::Cancelled));
    let error = client.runtime.block_on(stream.message()).unwrap_err();
    assert_eq!((error.code(), begun.elapsed() < PATIENCE), (Code::Cancelled, true), "{error}");
}

#[test]
fn a_query_that_takes_too_long_ends_with_an_error() {
    let served = Served::limited(|options| options.request_timeout(Duration::from_millis(500)));
    served.define_many();
    let error = served.client().sql("SELECT a.id FROM many a, many b WHERE a.id + b.id < -1").unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
    assert!(error.message().contains("500ms"), "{error}");
}

#[test]
fn an_answer_that_nobody_fetches_goes_away() {
    let served =
        Served::limited(|options| options.statement_timeout(Duration::from_millis(500)).statements_max(4));
    let mut client = served.client();
    for _ in 0..3 {
        client.info(&query("SELECT 1")).unwrap();
    }
    let full = client.info(&query("SELECT 1")).unwrap_err();
    assert_eq!(full.code(), Code::ResourceExhausted, "{full}");
    let begun = Instant::now();
    while client.info(&query("SELECT 1")).is_err() {
        assert!(begun.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(50));
    }
}
