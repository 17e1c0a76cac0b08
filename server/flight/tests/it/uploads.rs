//! Rows that clients add to tables.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, LargeStringArray, RecordBatch, StringArray};
use arrow_flight::FlightDescriptor;
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    CommandStatementIngest, DoPutUpdateResult, ProstMessageExt, TableDefinitionOptions, TableExistsOption,
    TableNotExistOption,
};
use futures::{StreamExt, TryStreamExt, stream};
use prost::Message;
use tonic::{Code, Status};

use crate::support::{Client, Served, soon};

use TableExistsOption as Exists;
use TableNotExistOption as Missing;

fn command(table: &str, missing: Missing, exists: Exists) -> CommandStatementIngest {
    CommandStatementIngest {
        table_definition_options: Some(TableDefinitionOptions {
            if_not_exist: missing.into(),
            if_exists: exists.into(),
        }),
        table: table.to_owned(),
        schema: None,
        catalog: None,
        temporary: false,
        transaction_id: None,
        options: HashMap::new(),
    }
}

fn rows(ids: std::ops::Range<i64>) -> RecordBatch {
    let texts: ArrayRef = Arc::new(StringArray::from_iter_values(ids.clone().map(|id| format!("row {id}"))));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
    RecordBatch::try_from_iter([("id", ids), ("text", texts)]).unwrap()
}

fn ingest(
    client: &mut Client,
    command: &CommandStatementIngest,
    batches: Vec<RecordBatch>,
) -> Result<i64, Status> {
    let result = client.put(command, batches)?;
    Ok(DoPutUpdateResult::decode(&*result.app_metadata).unwrap().record_count)
}

fn count(client: &mut Client, table: &str) -> String {
    client.sql(&format!("SELECT count(*) FROM {table}")).unwrap().texts(0).join("")
}

#[test]
fn rows_are_added_in_every_mode() {
    let served = Served::open();
    let mut client = served.client();
    let mut put =
        |missing, exists, batch| ingest(&mut client, &command("made", missing, exists), vec![batch]);
    assert_eq!(put(Missing::Fail, Exists::Append, rows(0..3)).unwrap_err().code(), Code::NotFound);
    assert_eq!(put(Missing::Create, Exists::Fail, rows(0..3)).unwrap(), 3);
    assert_eq!(put(Missing::Create, Exists::Fail, rows(0..3)).unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(put(Missing::Fail, Exists::Append, rows(3..5)).unwrap(), 2);
    assert_eq!(put(Missing::Create, Exists::Append, rows(5..9)).unwrap(), 4);
    assert_eq!(count(&mut client, "made"), "9");
    let mut put =
        |missing, exists, batch| ingest(&mut client, &command("made", missing, exists), vec![batch]);
    assert_eq!(put(Missing::Create, Exists::Replace, rows(0..2)).unwrap(), 2);
    assert_eq!(count(&mut client, "made"), "2");
    // Texts of other lengths are texts; a table with a key keeps it.
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![7]));
    let large: ArrayRef = Arc::new(LargeStringArray::from(vec!["seven"]));
    let batch = RecordBatch::try_from_iter([("id", ids), ("text", large)]).unwrap();
    let append = command("made", Missing::Fail, Exists::Append);
    assert_eq!(ingest(&mut client, &append, vec![batch]).unwrap(), 1);
    client.sql("CREATE TABLE keyed (id BIGINT, text VARCHAR, PRIMARY KEY (id))").unwrap();
    let keyed = command("keyed", Missing::Fail, Exists::Append);
    assert_eq!(ingest(&mut client, &keyed, vec![rows(0..2), rows(2..4)]).unwrap(), 4);
    let again = ingest(&mut client, &keyed, vec![rows(4..6), rows(3..4)]).unwrap_err();
    assert_eq!(again.code(), Code::AlreadyExists, "{again}");
    assert_eq!(count(&mut client, "keyed"), "4", "all rows are one commit");
    let other = ingest(&mut client, &command("items", Missing::Fail, Exists::Append), vec![rows(0..1)]);
    assert_eq!(other.unwrap_err().code(), Code::InvalidArgument);
    let empty = ingest(&mut client, &append, vec![rows(0..0)]).unwrap();
    assert_eq!((empty, count(&mut client, "made").as_str()), (0, "3"));
    assert_eq!(ingest(&mut client, &append, Vec::new()).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn many_rows_are_one_commit_and_the_client_of_the_library_sends_them() {
    let served = Served::open();
    let client = served.client();
    let before = served.cache.version().unwrap().sequence;
    let sent = client.runtime.block_on(async {
        let mut library = client.library();
        let batches = stream::iter((0..100).map(|part| Ok(rows(part * 10_000..(part + 1) * 10_000))));
        library.execute_ingest(command("many", Missing::Create, Exists::Fail), batches).await
    });
    assert_eq!(sent.unwrap(), 1_000_000);
    assert_eq!(served.cache.version().unwrap().sequence, before + 1);
}

#[test]
fn an_upload_that_breaks_off_changes_nothing() {
    let served = Served::open();
    let mut client = served.client();
    ingest(&mut client, &command("made", Missing::Create, Exists::Fail), vec![rows(0..1)]).unwrap();
    let append = command("made", Missing::Fail, Exists::Append);
    let descriptor = FlightDescriptor::new_cmd(append.as_any().encode_to_vec());
    let encoder = FlightDataEncoderBuilder::new()
        .with_flight_descriptor(Some(descriptor))
        .build(stream::iter([Ok(rows(1..1000))]));
    let messages: Vec<_> = client.runtime.block_on(encoder.try_collect()).unwrap();
    // The client never says that this is all, and goes.
    let request = client.request(stream::iter(messages).chain(stream::pending()));
    let inner = &mut client.inner;
    let _ = client.runtime.block_on(async {
        tokio::time::timeout(std::time::Duration::from_millis(500), inner.do_put(request)).await.map(drop)
    });
    let calls = || served.recorded.calls.lock().len();
    soon("the call is over", || calls() >= 2);
    assert_eq!(count(&mut client, "made"), "1");
    let late = Served::limited(|options| options.client_timeout(std::time::Duration::from_millis(200)));
    let mut slow = late.client();
    let request = slow.request(stream::pending());
    let inner = &mut slow.inner;
    let error = slow.runtime.block_on(inner.do_put(request)).unwrap_err();
    assert_eq!(error.code(), Code::DeadlineExceeded, "{error}");
}

#[test]
fn an_upload_has_limits() {
    let served = Served::limited(|options| {
        options.upload_bytes_max(100_000).request_bytes_max(1 << 20).uploads_max(1)
    });
    let mut client = served.client();
    let make = command("made", Missing::Create, Exists::Fail);
    let error = ingest(&mut client, &make, vec![rows(0..100_000)]).unwrap_err();
    assert!(matches!(error.code(), Code::ResourceExhausted | Code::OutOfRange), "{error}");
    let error =
        ingest(&mut client, &make, (0..50).map(|part| rows(part * 1000..(part + 1) * 1000)).collect());
    assert_eq!(error.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(ingest(&mut client, &make, vec![rows(0..100)]).unwrap(), 100);
}
