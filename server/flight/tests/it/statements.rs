//! Queries, prepared statements, and parameters in both ways in which clients bind them.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Date32Array, Decimal128Array, Float64Array, Int32Array, Int64Array, LargeStringArray,
    ListArray, NullArray, RecordBatch, StringArray, StringViewArray, TimestampMillisecondArray, UInt8Array,
};
use arrow::datatypes::{DataType, Int32Type, Schema};
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandPreparedStatementQuery, CommandStatementQuery,
    DoPutPreparedStatementResult, ProstMessageExt,
};
use arrow_flight::{FlightDescriptor, IpcMessage, SchemaResult};
use bytes::Bytes;
use futures::TryStreamExt;
use prost::Message;
use tonic::Code;

use crate::support::{Client, Served, flights, items, ticket};

/// Prepares a statement.
fn prepare(client: &mut Client, text: &str) -> ActionCreatePreparedStatementResult {
    let request = ActionCreatePreparedStatementRequest { query: text.to_owned(), transaction_id: None };
    let results = client.act("CreatePreparedStatement", request.as_any().encode_to_vec()).unwrap();
    Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap()
}

fn handle(prepared: &ActionCreatePreparedStatementResult) -> CommandPreparedStatementQuery {
    let prepared_statement_handle = prepared.prepared_statement_handle.clone();
    CommandPreparedStatementQuery { prepared_statement_handle }
}

fn decoded(schema: &Bytes) -> Schema {
    IpcMessage(schema.clone()).try_into().unwrap()
}

/// One row of parameters.
fn row(columns: Vec<ArrayRef>) -> RecordBatch {
    let named = columns.into_iter().enumerate().map(|(index, column)| (format!("{}", index + 1), column));
    RecordBatch::try_from_iter_with_nullable(named.map(|(name, column)| (name, column, true))).unwrap()
}

#[test]
fn a_query_answers_with_all_types_and_says_what_it_is() {
    let served = Served::open();
    let mut client = served.client();
    let answer = client.sql("SELECT * FROM items ORDER BY id").unwrap();
    let expected = items();
    assert_eq!(*answer.schema, *expected.schema());
    assert_eq!(format!("{:?}", answer.rows()), format!("{expected:?}"));
    let stops = client.sql("SELECT * FROM flights ORDER BY time_hour").unwrap();
    assert_eq!(stops.rows(), flights());
    let version = served.cache.version().unwrap().to_string();
    assert_eq!(answer.header("pillion-version"), Some(version.as_str()));
    assert_eq!(
        (answer.header("pillion-tier"), answer.header("pillion-way")),
        (Some("local"), Some("embedded"))
    );
    assert_eq!(answer.header("pillion-extent"), Some("complete"));
    assert!(answer.header("pillion-age").unwrap().parse::<f64>().unwrap() >= 0.0);
    assert!(answer.header("pillion-as-of").unwrap().ends_with('Z'));
    // The same with the answer that is announced, and with the columns of the rows.
    let command = CommandStatementQuery { query: "SELECT 1 AS one".to_owned(), transaction_id: None };
    let info = client.info(&command).unwrap();
    let said = String::from_utf8(info.app_metadata.to_vec()).unwrap();
    assert!(
        said.contains(&format!("\"version\":\"{version}\"")) && said.contains("\"tier\":\"local\""),
        "{said}"
    );
    assert_eq!((info.total_records, info.total_bytes), (-1, -1));
    assert!(info.endpoint[0].location.is_empty() && info.endpoint[0].expiration_time.is_none());
    assert_eq!(client.get(ticket(&info)).unwrap().rows().num_rows(), 1);
    let request = client.request(FlightDescriptor::new_cmd(command.as_any().encode_to_vec()));
    let schema: SchemaResult =
        client.runtime.block_on(client.inner.get_schema(request)).unwrap().into_inner();
    assert_eq!(decoded(&schema.schema).field(0).name(), "one");
}

#[test]
fn an_answer_without_rows_has_its_columns() {
    let served = Served::open();
    let mut client = served.client();
    let answer = client.sql("SELECT id, name FROM items WHERE id > 100").unwrap();
    assert_eq!((answer.schema.fields().len(), answer.rows().num_rows()), (2, 0));
    let values = client.sql("SELECT arrow_cast('a', 'Dictionary(Int32, Utf8)') AS d, NULL AS n").unwrap();
    assert_eq!(*values.schema.field(0).data_type(), DataType::Utf8, "dictionaries are decoded");
    assert_eq!(values.texts(0), ["a"]);
    let prepared = prepare(&mut client, "SELECT arrow_cast('a', 'Dictionary(Int32, Utf8)') AS d");
    assert_eq!(*decoded(&prepared.dataset_schema).field(0).data_type(), DataType::Utf8, "as they are sent");
}

#[test]
fn a_ticket_is_used_once() {
    let served = Served::open();
    let mut client = served.client();
    let command = CommandStatementQuery { query: "SELECT 1".to_owned(), transaction_id: None };
    let info = client.info(&command).unwrap();
    client.get(ticket(&info)).unwrap();
    assert_eq!(client.get(ticket(&info)).unwrap_err().code(), Code::NotFound);
    // A statement may be a ticket of its own.
    let straight = client.get(command.as_any().encode_to_vec()).unwrap();
    assert_eq!(straight.rows().num_rows(), 1);
}

#[test]
fn errors_have_the_code_of_the_cache() {
    let served = Served::open();
    let mut client = served.client();
    for (text, code, number) in [
        ("SELECT * FROM itms", Code::NotFound, "101"),
        ("SELEC 1", Code::InvalidArgument, "110"),
        ("SELECT $1", Code::InvalidArgument, "111"),
        ("SELECT 1; SELECT 2", Code::Unimplemented, "113"),
        ("", Code::InvalidArgument, "110"),
    ] {
        let error = client.sql(text).unwrap_err();
        assert_eq!(error.code(), code, "{text}: {error}");
        assert_eq!(error.metadata().get("pillion-code").unwrap(), number, "{text}: {error}");
        assert_eq!(error.metadata().get("pillion-kind").unwrap(), "request");
        assert!(error.metadata().contains_key("pillion-version"), "{error:?}");
    }
    // What fails while rows are sent ends the stream with an error.
    let late = client.sql("SELECT 1 / (id - 3) FROM items").unwrap_err();
    assert_eq!(
        (late.code(), late.metadata().get("pillion-code").unwrap().to_str().unwrap()),
        (Code::InvalidArgument, "115")
    );
}

#[test]
fn parameters_are_bound_in_both_ways() {
    let served = Served::open();
    let mut client = served.client();
    let prepared = prepare(&mut client, "SELECT id, name FROM items WHERE id = $1");
    assert_eq!(decoded(&prepared.dataset_schema).fields().len(), 2);
    let takes = decoded(&prepared.parameter_schema);
    assert_eq!((takes.field(0).name().as_str(), takes.field(0).data_type()), ("$1", &DataType::Int64));
    let command = handle(&prepared);
    // Bound, and run by the old handle.
    let id = |id: i64| vec![row(vec![Arc::new(Int64Array::from(vec![id]))])];
    let bound = client.put(&command, id(2)).unwrap();
    assert_eq!(client.ask(&command).unwrap().texts(0), ["2"]);
    // Bound again, and run by the handle that is returned.
    let bound = DoPutPreparedStatementResult::decode(&*bound.app_metadata).unwrap();
    let returned = bound.prepared_statement_handle.unwrap();
    client.put(&command, id(4)).unwrap();
    let returned = CommandPreparedStatementQuery { prepared_statement_handle: returned };
    assert_eq!(client.ask(&returned).unwrap().texts(1), ["two\nlines"]);
    // Run straight by a ticket.
    assert_eq!(client.get(command.as_any().encode_to_vec()).unwrap().texts(0), ["4"]);
    // Null finds nothing, and is no error.
    client.put(&command, vec![row(vec![Arc::new(Int64Array::from(vec![None]))])]).unwrap();
    assert_eq!(client.ask(&command).unwrap().rows().num_rows(), 0);
    // Several rows run it several times, at one version.
    let ids = Int64Array::from(vec![5, 1, 100, 3]);
    client.put(&command, vec![row(vec![Arc::new(ids)])]).unwrap();
    assert_eq!(client.ask(&command).unwrap().texts(0), ["5", "1", "3"]);
    let none = client.put(&command, vec![row(vec![Arc::new(Int64Array::from(Vec::<i64>::new()))])]);
    none.unwrap();
    assert_eq!(client.ask(&command).unwrap_err().code(), Code::InvalidArgument);
    // Once closed, it is gone.
    let close =
        ActionClosePreparedStatementRequest { prepared_statement_handle: prepared.prepared_statement_handle };
    let close = close.as_any().encode_to_vec();
    client.act("ClosePreparedStatement", close.clone()).unwrap();
    assert_eq!(client.ask(&command).unwrap_err().code(), Code::NotFound);
    assert_eq!(client.act("ClosePreparedStatement", close).unwrap_err().code(), Code::NotFound);
}

#[test]
fn parameters_of_all_types_are_taken() {
    let served = Served::open();
    let mut client = served.client();
    let dictionary: arrow::array::DictionaryArray<Int32Type> = vec!["plain"].into_iter().collect();
    let day = Date32Array::from(vec![15_706]);
    let moment = TimestampMillisecondArray::from(vec![0]).with_timezone("UTC");
    let exact = Decimal128Array::from(vec![1230]).with_precision_and_scale(10, 3).unwrap();
    let cases: Vec<(&str, ArrayRef, &str)> = vec![
        ("id = $1", Arc::new(Int32Array::from(vec![1])), "1"),
        ("id = $1", Arc::new(UInt8Array::from(vec![1])), "1"),
        ("name = $1", Arc::new(StringArray::from(vec!["plain"])), "1"),
        ("name = $1", Arc::new(LargeStringArray::from(vec!["plain"])), "1"),
        ("name = $1", Arc::new(StringViewArray::from(vec!["plain"])), "1"),
        ("name = $1", Arc::new(dictionary), "1"),
        ("price = $1", Arc::new(Float64Array::from(vec![0.5])), "1"),
        ("exact = $1", Arc::new(exact), "1"),
        ("day = $1", Arc::new(day), "1"),
        ("day = $1", Arc::new(StringArray::from(vec!["2013-01-01"])), "1"),
        ("sold = $1", Arc::new(moment), "3"),
        ("id = $1", Arc::new(NullArray::new(1)), ""),
    ];
    for (condition, column, expected) in cases {
        let of = column.data_type().clone();
        let prepared = prepare(&mut client, &format!("SELECT id FROM items WHERE {condition}"));
        client.put(&handle(&prepared), vec![row(vec![column])]).unwrap();
        assert_eq!(client.ask(&handle(&prepared)).unwrap().texts(0).join(","), expected, "{condition}: {of}");
    }
    let list: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>([Some(vec![Some(1)])]));
    let prepared = prepare(&mut client, "SELECT $1");
    client.put(&handle(&prepared), vec![row(vec![list])]).unwrap();
    let error = client.ask(&handle(&prepared)).unwrap_err();
    assert_eq!(error.metadata().get("pillion-code").unwrap(), "111", "{error}");
    // As many as it takes.
    let prepared = prepare(&mut client, "SELECT id FROM items WHERE id = ? AND name = ?");
    let two = row(vec![Arc::new(Int64Array::from(vec![1])), Arc::new(StringArray::from(vec!["plain"]))]);
    client.put(&handle(&prepared), vec![two]).unwrap();
    assert_eq!(client.ask(&handle(&prepared)).unwrap().texts(0), ["1"], "question marks are parameters");
    client.put(&handle(&prepared), vec![row(vec![Arc::new(Int64Array::from(vec![1]))])]).unwrap();
    assert_eq!(client.ask(&handle(&prepared)).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn the_client_of_the_library_prepares_and_binds() {
    let served = Served::open();
    let client = served.client();
    client.runtime.block_on(async {
        let mut library = client.library();
        let mut prepared =
            library.prepare("SELECT name FROM items WHERE id = $1".to_owned(), None).await.unwrap();
        assert_eq!(prepared.parameter_schema().unwrap().fields().len(), 1);
        prepared.set_parameters(row(vec![Arc::new(Int64Array::from(vec![1]))])).unwrap();
        let info = prepared.execute().await.unwrap();
        let rows = library.do_get(info.endpoint[0].ticket.clone().unwrap()).await.unwrap();
        let rows: Vec<RecordBatch> = rows.try_collect().await.unwrap();
        assert_eq!(rows.iter().map(RecordBatch::num_rows).sum::<usize>(), 1);
        prepared.close().await.unwrap();
        let info = library.execute("SELECT count(*) FROM items".to_owned(), None).await.unwrap();
        assert_eq!(info.endpoint.len(), 1);
        assert!(library.begin_transaction().await.is_err(), "there are no transactions");
    });
}
