//! Clients that misbehave: others notice nothing, and nothing is left of them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, Int64Array, NullArray, RecordBatch};
use arrow_flight::encode::FlightDataEncoderBuilder;
use arrow_flight::sql::{
    ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetTables, CommandPreparedStatementQuery,
    CommandStatementIngest, CommandStatementQuery, ProstMessageExt, TicketStatementQuery,
};
use arrow_flight::{FlightData, FlightDescriptor, Ticket};
use futures::{TryStreamExt, stream};
use pillion_flight::FlightOptions;
use prost::Message;
use tonic::Code;
use tonic::transport::Endpoint;

use crate::support::{Client, PATIENCE, Served, everything, listen, soon};

/// What a client of HTTP/2 begins with.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// A frame of settings without any.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

fn query(text: &str) -> Vec<u8> {
    CommandStatementQuery { query: text.to_owned(), transaction_id: None }.as_any().encode_to_vec()
}

/// Numbers without a pattern, the same at each run.
fn random(seed: u64) -> impl FnMut() -> u64 {
    let mut state = seed | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    }
}

#[test]
fn damaged_commands_and_tickets_are_refused() {
    let served = Served::open();
    let mut client = served.client();
    let any = |url: &str, value: &[u8]| {
        Any { type_url: url.to_owned(), value: value.to_vec().into() }.encode_to_vec()
    };
    let sql = "type.googleapis.com/arrow.flight.protocol.sql.";
    for bytes in [
        Vec::new(),
        b"SELECT 1".to_vec(),
        vec![0xff; 100],
        any(&format!("{sql}CommandStatementQuery"), b"\xff\xff\xff"),
        any(&format!("{sql}TicketStatementQuery"), b""),
        any(&format!("{sql}Nonsense"), b""),
        any("nonsense", b""),
        TicketStatementQuery { statement_handle: vec![0; 16].into() }.as_any().encode_to_vec(),
        TicketStatementQuery { statement_handle: vec![0; 1 << 20].into() }.as_any().encode_to_vec(),
    ] {
        for error in [client.info_of(bytes.clone()).unwrap_err(), client.get(bytes.clone()).unwrap_err()] {
            let code = error.code();
            assert!(
                matches!(code, Code::InvalidArgument | Code::Unimplemented | Code::NotFound),
                "{bytes:?}: {error}"
            );
        }
    }
    for name in ["CreatePreparedStatement", "ClosePreparedStatement", "CancelFlightInfo", "CancelQuery"] {
        for body in [Vec::new(), vec![0xff; 9], query("SELECT 1"), vec![7; 100_000]] {
            let code = client.act(name, body).unwrap_err().code();
            assert!(matches!(code, Code::InvalidArgument | Code::NotFound), "{name}: {code:?}");
        }
    }
    // Bytes of a good command that are changed at random.
    let mut random = random(7);
    let good = CommandGetTables { table_name_filter_pattern: Some("a%".into()), ..Default::default() };
    for good in [good.as_any().encode_to_vec(), query("SELECT count(*) FROM items")] {
        for _ in 0..300 {
            let mut bytes = good.clone();
            let at = usize::try_from(random()).unwrap_or(usize::MAX) % bytes.len();
            bytes[at] = u8::try_from(random() % 256).unwrap();
            if random().is_multiple_of(4) {
                bytes.truncate(at);
            }
            for error in [client.info_of(bytes.clone()).err(), client.get(bytes.clone()).err()] {
                assert!(error.as_ref().is_none_or(|it| it.code() != Code::Internal), "{bytes:?}: {error:?}");
            }
        }
    }
    assert_eq!(client.sql("SELECT 1").unwrap().rows().num_rows(), 1);
}

#[test]
fn damaged_rows_are_refused() {
    let served = Served::open();
    let mut client = served.client();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("id", ids)]).unwrap();
    let command = CommandStatementIngest {
        table: "made".to_owned(),
        table_definition_options: Some(arrow_flight::sql::TableDefinitionOptions {
            if_not_exist: 1,
            if_exists: 2,
        }),
        ..Default::default()
    };
    let descriptor = FlightDescriptor::new_cmd(command.as_any().encode_to_vec());
    let encoder = FlightDataEncoderBuilder::new().with_flight_descriptor(Some(descriptor));
    let encoder = encoder.build(stream::iter([Ok(batch)]));
    let good: Vec<FlightData> = client.runtime.block_on(encoder.try_collect()).unwrap();
    let mut random = random(3);
    let mut refused = 0;
    for _ in 0..300 {
        let mut messages = good.clone();
        let message = &mut messages[usize::from(!random().is_multiple_of(3))];
        let is_of_body = random().is_multiple_of(3) && !message.data_body.is_empty();
        let part = if is_of_body { &mut message.data_body } else { &mut message.data_header };
        let mut bytes = part.to_vec();
        let at = usize::try_from(random()).unwrap_or(usize::MAX) % bytes.len();
        bytes[at] = u8::try_from(random() % 256).unwrap();
        if random().is_multiple_of(5) {
            bytes.truncate(at);
        }
        *part = bytes.into();
        if let Err(error) = client.put_raw(messages) {
            assert!(!matches!(error.code(), Code::Internal | Code::Unknown), "{error}");
            refused += 1;
        }
    }
    assert!(refused > 50, "{refused} were refused");
    // Rows without bytes, and no descriptor.
    let nulls: ArrayRef = Arc::new(NullArray::new(1 << 30));
    let nulls = RecordBatch::try_from_iter_with_nullable([("n", nulls, true)]).unwrap();
    assert_eq!(client.put(&command, vec![nulls]).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.put_raw(vec![FlightData::new()]).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.put_raw(Vec::new()).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(client.sql("SELECT 1").unwrap().rows().num_rows(), 1);
}

#[test]
fn statements_and_parameters_have_limits() {
    let served = Served::limited(|options| options.request_bytes_max(1 << 20));
    let mut client = served.client();
    let long = client.info_of(query(&format!("SELECT '{}'", "x".repeat(2 << 20)))).unwrap_err();
    assert!(matches!(long.code(), Code::OutOfRange | Code::ResourceExhausted), "{long}");
    let text = format!("SELECT {}1", "1 + ".repeat(200_000));
    let deep = client.info_of(query(&text)).unwrap_err();
    assert_eq!(deep.code(), Code::InvalidArgument, "{deep}");
    assert!(deep.message().len() < 3000);
    let request =
        ActionCreatePreparedStatementRequest { query: "SELECT $1".to_owned(), transaction_id: None };
    let results = client.act("CreatePreparedStatement", request.as_any().encode_to_vec()).unwrap();
    let prepared: ActionCreatePreparedStatementResult =
        Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap();
    let command =
        CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
    let many = |rows: i64| -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        RecordBatch::try_from_iter([("1", ids)]).unwrap()
    };
    let batches = (0..20).map(|_| many(10_000)).collect();
    assert_eq!(client.put(&command, batches).unwrap_err().code(), Code::ResourceExhausted);
    client.put(&command, vec![many(10)]).unwrap();
}

#[test]
fn too_many_calls_are_refused_at_once_and_no_token_takes_all_places() {
    let served = Served::limited(|options| options.requests_max(4).requests_waiting_max(1));
    served.define_many();
    let mut client = served.client();
    let mut streams = Vec::new();
    for _ in 0..3 {
        let info = client.info_of(query("SELECT * FROM many")).unwrap();
        let request = client.request(info.endpoint[0].ticket.clone().unwrap());
        let mut stream = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
        client.runtime.block_on(stream.message()).unwrap().unwrap();
        streams.push(stream);
    }
    // One may wait; others are refused at once.
    let asks = (0..3).map(|_| {
        let mut inner = client.inner.clone();
        let request = client.request(FlightDescriptor::new_cmd(query("SELECT 1")));
        client.runtime.spawn(async move { inner.get_flight_info(request).await.map(drop) })
    });
    let asks: Vec<_> = asks.collect();
    soon("two are answered", || asks.iter().filter(|ask| ask.is_finished()).count() == 2);
    drop(streams);
    let answers = asks.into_iter().map(|ask| client.runtime.block_on(ask).unwrap());
    let (answered, refused): (Vec<_>, Vec<_>) = answers.partition(Result::is_ok);
    assert_eq!((answered.len(), refused.len()), (1, 2));
    for refused in refused {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
    }
}

#[test]
fn a_flood_of_calls_that_are_broken_off_holds_nobody_up() {
    let served = Served::open();
    served.define_many();
    let other = served.client();
    let flood = served.client();
    for _ in 0..500 {
        let mut inner = flood.inner.clone();
        let request = flood.request(FlightDescriptor::new_cmd(query("SELECT count(*) FROM many a, many b")));
        flood.runtime.block_on(async {
            let _ = tokio::time::timeout(Duration::from_micros(200), inner.get_flight_info(request)).await;
        });
    }
    let mut other = other;
    assert_eq!(other.sql("SELECT 1").unwrap().rows().num_rows(), 1);
    drop(flood);
    soon("its connection is gone", || served.server.as_ref().unwrap().connections() == 1);
}

#[test]
fn strangers_and_those_who_say_nothing_are_closed() {
    let served = Served::limited(|options| options.idle_timeout(Duration::from_millis(500)));
    let connect = || {
        let stream = TcpStream::connect(served.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    let closes = |mut stream: TcpStream, what: &str| {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.len() < 1000, "{what}: {} bytes", rest.len());
    };
    for (what, bytes) in [
        ("HTTP/1.1", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec()),
        ("noise", vec![0x16; 1000]),
        ("half a preface", PREFACE[..10].to_vec()),
        ("nothing", Vec::new()),
        ("only settings", [PREFACE, SETTINGS].concat()),
        // A frame that is longer than was agreed on.
        ("a long frame", [PREFACE, SETTINGS, &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]].concat()),
        // Headers that are no headers.
        ("bad headers", [PREFACE, SETTINGS, &[0, 0, 3, 1, 5, 0, 0, 0, 1, 0xff, 0xff, 0xff]].concat()),
    ] {
        let mut stream = connect();
        stream.write_all(&bytes).unwrap();
        closes(stream, what);
    }
    // Headers that go on without an end.
    let mut stream = connect();
    stream.write_all(&[PREFACE, SETTINGS, &[0, 0, 1, 1, 0, 0, 0, 0, 1, 0x82]].concat()).unwrap();
    let continuation = [&[0, 0x20, 0, 9, 0, 0, 0, 0, 1][..], &[0x40; 0x2000]].concat();
    let mut sent = 0;
    while stream.write_all(&continuation).is_ok() && sent < 10_000 {
        sent += 1;
    }
    assert!(sent < 10_000, "it is cut");
    drop(stream);
    soon("all of them are gone", || served.server.as_ref().unwrap().connections() == 0);
    assert_eq!(served.client().sql("SELECT 1").unwrap().rows().num_rows(), 1);
}

#[test]
fn connections_have_a_limit_and_idle_ones_give_way() {
    let served = Served::limited(|options| options.connections_max(4));
    let mut clients: Vec<Client> = (0..3).map(|_| served.client()).collect();
    for client in &mut clients {
        client.sql("SELECT 1").unwrap();
    }
    let mut newcomer = served.client();
    assert_eq!(newcomer.sql("SELECT 1").unwrap().rows().num_rows(), 1, "the oldest gives way");
    assert!(served.server.as_ref().unwrap().connections() <= 4);
}

#[test]
fn web_pages_are_refused() {
    let served = Served::open();
    let mut client = served.client();
    let mut request = client.request(FlightDescriptor::new_cmd(query("SELECT 1")));
    request.metadata_mut().insert("origin", "http://evil.example".parse().unwrap());
    let error = client.runtime.block_on(client.inner.get_flight_info(request)).unwrap_err();
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
}

#[test]
fn a_door_closes_while_its_clients_are_there() {
    let mut served = Served::open();
    served.define_many();
    let mut client = served.client();
    client.sql("SELECT 1").unwrap();
    let info = client.info_of(query("SELECT * FROM many")).unwrap();
    let request = client.request(info.endpoint[0].ticket.clone().unwrap());
    let mut stream = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
    client.runtime.block_on(stream.message()).unwrap().unwrap();
    let server = served.server.take().unwrap();
    server.begin_to_stop();
    // The answer under way is sent to its end.
    let rest = client.runtime.block_on(async {
        let mut messages = 0;
        while stream.message().await.unwrap().is_some() {
            messages += 1;
        }
        messages
    });
    assert!(rest > 20, "{rest} messages");
    server.stop(PATIENCE);
}

#[test]
fn a_client_without_room_for_answers_gives_up_its_places_and_its_connection() {
    let limit = |options: FlightOptions| {
        options.requests_max(4).requests_waiting_max(0).read_timeout(Duration::from_millis(500))
    };
    let served = Served::limited(limit);
    served.define_many();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address())).unwrap();
    let channel = runtime.block_on(endpoint.initial_stream_window_size(0).connect()).unwrap();
    let frozen = Client::over(runtime, channel, None);
    let mut answers = Vec::new();
    for text in ["SELECT * FROM many", "SELECT * FROM many", "SELECT 1"] {
        let (mut inner, request) = (frozen.inner.clone(), frozen.request(Ticket::new(query(text))));
        answers.push(frozen.runtime.block_on(inner.do_get(request)).unwrap());
    }
    let mut other = served.client();
    let begun = Instant::now();
    while let Err(error) = other.sql("SELECT 1") {
        assert_eq!(error.code(), Code::ResourceExhausted, "{error}");
        assert!(begun.elapsed() < PATIENCE, "its places are not free");
        std::thread::sleep(Duration::from_millis(20));
    }
    soon("its connection is closed", || served.server.as_ref().unwrap().connections() == 1);
    drop(answers);
}

#[test]
fn statements_that_are_kept_have_a_limit_in_bytes() {
    let served = Served::limited(|options| options.request_bytes_max(1 << 20).statements_max(64));
    let mut client = served.client();
    let prepare = |client: &mut Client| {
        let request =
            ActionCreatePreparedStatementRequest { query: "SELECT $1".to_owned(), transaction_id: None };
        let results = client.act("CreatePreparedStatement", request.as_any().encode_to_vec()).unwrap();
        let prepared: ActionCreatePreparedStatementResult =
            Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap();
        prepared.prepared_statement_handle
    };
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..120_000));
    let rows = RecordBatch::try_from_iter([("1", ids)]).unwrap();
    let mut bound = Vec::new();
    let refused = loop {
        let prepared_statement_handle = prepare(&mut client);
        let command =
            CommandPreparedStatementQuery { prepared_statement_handle: prepared_statement_handle.clone() };
        match client.put(&command, vec![rows.clone()]) {
            Ok(_) => bound.push(prepared_statement_handle),
            Err(error) => break error,
        }
        assert!(bound.len() < 30, "each of them takes a megabyte");
    };
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(bound.len() > 8, "{} were bound", bound.len());
    // Room that is given back is there for others.
    for _ in 0..2 {
        let prepared_statement_handle = bound.pop().unwrap();
        let close = ActionClosePreparedStatementRequest { prepared_statement_handle };
        client.act("ClosePreparedStatement", close.as_any().encode_to_vec()).unwrap();
    }
    let command = CommandPreparedStatementQuery { prepared_statement_handle: prepare(&mut client) };
    client.put(&command, vec![rows]).unwrap();
}

#[test]
fn strangers_are_told_nothing_and_sent_away() {
    let served = Served::with(FlightOptions::new(listen()), &[("all", everything())], None);
    let mut stranger = served.client();
    for _ in 0..32 {
        let error = stranger.info_of(query("SELECT 1")).unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated);
        assert!(!error.metadata().contains_key("pillion-version"), "{error:?}");
    }
    soon("its connection is closed", || served.server.as_ref().unwrap().connections() == 0);
}
