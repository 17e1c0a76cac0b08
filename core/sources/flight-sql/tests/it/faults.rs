//! Servers and networks that fail.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use pillion::ErrorCode;
use pillion::source::{Call, Relation, Source};
use pillion_flight_sql::FlightSql;

use crate::support::peer::{Ends, Manners, Peer};
use crate::support::proxy::Proxy;
use crate::support::{all, call, numbers, options, table};

fn source(peer: &Peer) -> FlightSql {
    FlightSql::from_url(&peer.url()).unwrap()
}

fn many() -> Vec<RecordBatch> {
    (0..100).map(|number| numbers(number * 8000, 8000)).collect()
}

fn with(manners: Manners) -> Peer {
    Peer::start(Manners { parts: vec![many()], ..manners })
}

#[test]
fn a_place_without_a_server_is_named() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for (url, why) in [
        (format!("grpc://{nobody}"), "refused"),
        ("grpc://no-such-host.invalid:1".to_owned(), "no-such-host.invalid"),
        ("grpc+unix:///no/such/socket".to_owned(), "/no/such/socket"),
    ] {
        let source = FlightSql::from_url(&url).unwrap();
        let error = source.relations(&call()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", silent.local_addr().unwrap());
    let impatient = options(&url).user("reader", "s3cret").connect_timeout(Duration::from_millis(50));
    let error = impatient.build().unwrap().relations(&call()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable);
    assert!(error.message().contains("did not accept a connection and a login"), "{error}");
    let silent = FlightSql::from_url(&url).unwrap();
    let error = silent.relations(&Call::within(Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Timeout);
    assert!(error.message().starts_with(&format!("Flight SQL at {}", &url[7..])), "{error}");

    let peer = with(Manners { is_silent: true, ..Manners::default() });
    let (source, call) = (source(&peer), Call::new());
    let of_thread = call.clone();
    let waiting = std::thread::spawn(move || {
        source.describe(&Relation::statement("SELECT 1"), &of_thread).unwrap_err().code()
    });
    peer.wait_for("SELECT * FROM (SELECT 1");
    call.cancel();
    assert_eq!(waiting.join().unwrap(), ErrorCode::Cancelled);
}

#[test]
fn rows_that_stop_to_come_end_with_the_call_and_the_server_is_told() {
    for cancels in [true, false] {
        let peer = with(Manners { ends: Ends::Hanging, ..Manners::default() });
        let call = Call::new();
        let mut fetched = source(&peer).fetch(&table("rows"), &call).unwrap();
        assert_eq!(fetched.next().unwrap().unwrap().num_rows(), 8000);
        let ending = call.clone();
        let waiting =
            std::thread::spawn(move || (fetched.next().unwrap().unwrap_err(), fetched.next().is_none()));
        if cancels {
            ending.cancel();
        } else {
            ending.time_out("no row for 30 s");
        }
        let (error, is_over) = waiting.join().unwrap();
        assert_eq!(error.code(), if cancels { ErrorCode::Cancelled } else { ErrorCode::Timeout }, "{error}");
        assert!(is_over);
        peer.wait_for("CancelFlightInfo");
    }
}

#[test]
fn rows_that_nobody_wants_are_not_fetched() {
    let peer = with(Manners::default());
    let mut fetched = source(&peer).fetch(&table("rows"), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    drop(fetched);
    peer.wait_for("CancelFlightInfo");
    // A fetch to its end cancels nothing.
    let peer = with(Manners::default());
    assert_eq!(all(&source(&peer), &table("rows")).unwrap().num_rows(), 800_000);
    assert!(!peer.log().iter().any(|line| line.contains("Cancel")), "{:#?}", peer.log());
}

#[test]
fn a_server_that_breaks_off_is_told() {
    let peer = with(Manners { ends: Ends::Failing, ..Manners::default() });
    let error = all(&source(&peer), &table("rows")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable);
    assert!(error.message().contains("the disk is gone"), "{error}");
}

#[test]
fn a_network_that_fails_is_told_and_memory_is_bounded() {
    let peer = with(Manners::default());
    let whole: usize = many().iter().map(RecordBatch::get_array_memory_size).sum();
    let proxy = Proxy::new(peer.address());
    let source = FlightSql::from_url(&format!("grpc://{}", proxy.address())).unwrap();
    let mut fetched = source.fetch(&table("rows"), &call()).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    // The server waits until rows are taken.
    let received = usize::try_from(proxy.received()).unwrap();
    assert!(received < whole / 2, "{received} of {whole} bytes");
    proxy.cut_after(100_000);
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    assert!(fetched.next().is_none());
    for cut in [1, 50, 500, 3_000] {
        proxy.cut_after(cut);
        let error = all(&source, &table("rows")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "after {cut} bytes: {error}");
    }
    proxy.mend();
    let call = Call::new();
    let mut fetched = source.fetch(&table("rows"), &call).unwrap();
    assert!(fetched.next().unwrap().is_ok());
    proxy.hang();
    let waiting = std::thread::spawn(move || fetched.find_map(Result::err));
    call.cancel();
    assert_eq!(waiting.join().unwrap().unwrap().code(), ErrorCode::Cancelled);
}

#[test]
fn other_columns_than_announced_are_refused() {
    let other = |id, text: &str| {
        Schema::new(vec![Field::new("id", id, true), Field::new(text, DataType::Utf8, true)])
    };
    for (announces, why) in [
        (other(DataType::Int32, "text"), "`id` is Int32 in the place of Int64"),
        (other(DataType::Int64, "txt"), "`txt` in the place of `text`"),
        (Schema::new(vec![Field::new("id", DataType::Int64, true)]), "1 columns in the place of 2"),
    ] {
        let peer = with(Manners { announces: Some(announces), ..Manners::default() });
        let error = all(&source(&peer), &table("rows")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    // The second part has other columns than the first one, which were announced.
    let texts: Vec<_> = vec!["a"];
    let changed = RecordBatch::try_from_iter([
        ("id", Arc::new(StringArray::from(texts.clone())) as Arc<dyn arrow::array::Array>),
        ("text", Arc::new(StringArray::from(texts)) as Arc<dyn arrow::array::Array>),
    ]);
    let parts = vec![vec![numbers(0, 3)], vec![changed.unwrap()]];
    let peer = Peer::start(Manners { parts, ..Manners::default() });
    let mut fetched = source(&peer).fetch(&table("rows"), &call()).unwrap();
    let error = fetched.find_map(Result::err).unwrap();
    assert!(matches!(error.code(), ErrorCode::SourceInvalid | ErrorCode::SourceUnavailable), "{error}");
}

#[test]
fn a_null_where_none_was_announced_is_refused() {
    let schema = Schema::new(vec![Field::new("id", DataType::Int64, true)]);
    let ids = Int64Array::from(vec![Some(1), None]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(ids)]).unwrap();
    let never = Schema::new(vec![Field::new("id", DataType::Int64, false)]);
    let first = RecordBatch::try_new(Arc::new(never), vec![Arc::new(Int64Array::from(vec![0]))]).unwrap();
    let peer = Peer::start(Manners { parts: vec![vec![first], vec![batch]], ..Manners::default() });
    let mut fetched = source(&peer).fetch(&table("rows"), &call()).unwrap();
    let error = fetched.find_map(Result::err).unwrap();
    assert_eq!(error.code(), ErrorCode::SourceInvalid, "{error}");
    assert!(error.message().contains("id"), "{error}");
}

#[test]
fn a_message_may_be_large_and_has_a_limit() {
    let texts = StringArray::from_iter_values((0..20).map(|number| format!("{number}").repeat(1 << 20)));
    let len = texts.value_data().len();
    assert!(len > 20 << 20);
    let batch =
        RecordBatch::try_from_iter([("text", Arc::new(texts) as Arc<dyn arrow::array::Array>)]).unwrap();
    let peer = Peer::of(batch.clone());
    assert_eq!(all(&source(&peer), &table("rows")).unwrap().column(0), batch.column(0));
    let strict = options(&peer.url()).message_bytes_max(8 << 20).build().unwrap();
    let error = all(&strict, &table("rows")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::TooLarge, "{error}");
    assert!(error.message().contains("`message_bytes_max`"), "{error}");
}

/// The one who calls, and the one who drops the last handle, may be a thread of an async runtime.
#[test]
fn a_thread_of_a_runtime_may_call() {
    let peer = Peer::of(numbers(0, 3));
    let source = source(&peer);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let found = runtime.block_on(async move { all(&source, &table("rows")) });
    assert_eq!(found.unwrap(), numbers(0, 3));
}
