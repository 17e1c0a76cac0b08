//! Statements that change tables.

use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow_flight::IpcMessage;
use arrow_flight::sql::{
    ActionCreatePreparedStatementRequest, ActionCreatePreparedStatementResult, Any,
    CommandPreparedStatementUpdate, CommandStatementQuery, CommandStatementUpdate, DoPutUpdateResult,
    ProstMessageExt,
};
use prost::Message;
use tonic::{Code, Status};

use crate::support::{Client, PATIENCE, Served, ticket};

fn update(client: &mut Client, text: &str) -> Result<i64, Status> {
    let command = CommandStatementUpdate { query: text.to_owned(), transaction_id: None };
    let result = client.put(&command, Vec::new())?;
    Ok(DoPutUpdateResult::decode(&*result.app_metadata).unwrap().record_count)
}

#[test]
fn statements_change_tables_and_count_rows() {
    let served = Served::open();
    let mut client = served.client();
    for (text, rows) in [
        ("CREATE TABLE fruits (id BIGINT, name VARCHAR, PRIMARY KEY (id))", 0),
        ("INSERT INTO fruits VALUES (1, 'apple'), (2, 'pear')", 2),
        ("UPDATE fruits SET name = 'plum' WHERE id = 2", 1),
        ("DELETE FROM fruits WHERE id = 1", 1),
        ("DELETE FROM fruits WHERE id = 1", 0),
    ] {
        assert_eq!(update(&mut client, text).unwrap(), rows, "{text}");
    }
    assert_eq!(client.sql("SELECT name FROM fruits").unwrap().texts(0), ["plum"]);
    for (text, code) in [
        ("INSERT INTO fruits VALUES (2, 'again')", Code::AlreadyExists),
        ("INSERT INTO fruit VALUES (2, 'again')", Code::NotFound),
        ("SELECT 1", Code::Unimplemented),
        ("BEGIN", Code::Unimplemented),
        ("ALTER TABLE fruits ADD COLUMN x INT", Code::Unimplemented),
    ] {
        assert_eq!(update(&mut client, text).unwrap_err().code(), code, "{text}");
    }
    let library =
        client.runtime.block_on(client.library().execute_update("DROP TABLE fruits".to_owned(), None));
    assert_eq!(library.unwrap(), 0);
    assert_eq!(client.sql("SELECT * FROM fruits").unwrap_err().code(), Code::NotFound);
}

#[test]
fn a_statement_that_is_sent_as_a_query_runs_once_when_it_is_fetched() {
    let served = Served::open();
    let mut client = served.client();
    let text = "DELETE FROM items WHERE id = 1";
    let command = CommandStatementQuery { query: text.to_owned(), transaction_id: None };
    let info = client.info(&command).unwrap();
    assert!(info.schema.is_empty(), "clients that need its columns fetch at once");
    assert_eq!(client.sql("SELECT count(*) FROM items").unwrap().texts(0), ["5"], "not yet");
    let answer = client.get(ticket(&info)).unwrap();
    assert_eq!((answer.schema.field(0).name().as_str(), answer.texts(0)), ("count", vec!["1".to_owned()]));
    assert!(answer.header("pillion-version").is_some() && answer.header("pillion-as-of").is_none());
    assert_eq!(client.get(ticket(&info)).unwrap_err().code(), Code::NotFound, "not again");
    assert_eq!(client.sql("SELECT count(*) FROM items").unwrap().texts(0), ["4"]);
}

#[test]
fn a_prepared_statement_runs_for_each_row_of_parameters() {
    let served = Served::open();
    let mut client = served.client();
    update(&mut client, "CREATE TABLE fruits (id BIGINT, name VARCHAR, PRIMARY KEY (id))").unwrap();
    let query = "INSERT INTO fruits VALUES (?, ?)".to_owned();
    let request = ActionCreatePreparedStatementRequest { query, transaction_id: None };
    let results = client.act("CreatePreparedStatement", request.as_any().encode_to_vec()).unwrap();
    let prepared: ActionCreatePreparedStatementResult =
        Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap();
    assert!(prepared.dataset_schema.is_empty(), "drivers see that it is no query");
    let takes: Schema = IpcMessage(prepared.parameter_schema).try_into().unwrap();
    assert_eq!(takes.fields().len(), 2, "drivers ask how many parameters there are");
    let command =
        CommandPreparedStatementUpdate { prepared_statement_handle: prepared.prepared_statement_handle };
    let rows = |ids: Vec<i64>, names: Vec<Option<&str>>| {
        let columns: [(&str, ArrayRef, bool); 2] =
            [("a", Arc::new(Int64Array::from(ids)), true), ("b", Arc::new(StringArray::from(names)), true)];
        vec![RecordBatch::try_from_iter_with_nullable(columns).unwrap()]
    };
    let mut put = |batches| {
        let result = client.put(&command, batches)?;
        Ok::<_, Status>(DoPutUpdateResult::decode(&*result.app_metadata).unwrap().record_count)
    };
    assert_eq!(put(rows(vec![1, 2, 3], vec![Some("a"), None, Some("c")])).unwrap(), 3);
    assert_eq!(put(rows(Vec::new(), Vec::new())).unwrap(), 0);
    let error = put(rows(vec![4, 1, 5], vec![None, None, None])).unwrap_err();
    assert_eq!(error.code(), Code::AlreadyExists);
    assert!(error.message().contains("row 2 of the parameters, after 1 that took effect"), "{error}");
    assert_eq!(
        client.sql("SELECT name FROM fruits ORDER BY id").unwrap().texts(0),
        ["a", "null", "c", "null"]
    );
}

#[test]
fn a_statement_that_takes_too_long_may_have_taken_effect_and_says_so() {
    let (short, long) = (Duration::from_millis(400), Duration::from_millis(1600));
    let served = Served::limited(|options| options.request_timeout(short).upload_timeout(long));
    served.define_many();
    let mut client = served.client();
    let text = "DELETE FROM items WHERE id IN (SELECT a.id FROM many a, many b WHERE a.id + b.id < -1)";
    // Put, and sent as a query, whose ticket shows only later that it changes tables.
    for error in [update(&mut client, text).unwrap_err(), client.sql(text).unwrap_err()] {
        assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
        assert_eq!(error.metadata().get("pillion-kind").unwrap(), "outcome_unknown", "{error}");
        assert!(error.message().contains("1.6s"), "{error}");
    }
    // It was given up, so that others get on.
    let left = || served.cache.sql("SELECT id FROM items", &[]).unwrap().concat().unwrap().num_rows();
    let begun = Instant::now();
    while left() != 4 {
        assert!(begun.elapsed() < PATIENCE, "the table is held");
        drop(update(&mut client, "DELETE FROM items WHERE id = 1"));
    }
}
