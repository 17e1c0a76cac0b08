//! Tokens and what they permit, cell by cell, on every call.

use std::io::Write;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::sql::{
    ActionCancelQueryRequest, ActionClosePreparedStatementRequest, ActionCreatePreparedStatementRequest,
    ActionCreatePreparedStatementResult, Any, CommandGetPrimaryKeys, CommandGetTables,
    CommandPreparedStatementQuery, CommandPreparedStatementUpdate, CommandStatementIngest,
    CommandStatementQuery, CommandStatementUpdate, ProstMessageExt, TableDefinitionOptions,
    TableExistsOption,
};
use arrow_flight::{CancelFlightInfoRequest, HandshakeRequest, IpcMessage, Ticket};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use futures::stream;
use pillion_access::{Permissions, Tables, TokenConfig};
use pillion_flight::FlightOptions;
use prost::Message;
use tonic::{Code, Status};

use crate::support::{Client, Served, everything, listen, soon, ticket, token};

fn only(set: impl FnOnce(&mut Permissions)) -> Permissions {
    let mut permissions = Permissions::default();
    set(&mut permissions);
    permissions
}

fn served() -> Served {
    let of_table = || Tables::of(["items"]);
    let tokens = [
        ("none", Permissions::default()),
        ("reader", only(|it| it.read = of_table())),
        ("writer", only(|it| it.write = of_table())),
        ("both", only(|it| (it.read, it.write) = (of_table(), of_table()))),
        ("refresher", only(|it| it.refresh = Tables::All)),
        ("admin", only(|it| it.administer = true)),
        ("all", everything()),
    ];
    Served::with(FlightOptions::new(listen()), &tokens, None)
}

fn query(text: &str) -> CommandStatementQuery {
    CommandStatementQuery { query: text.to_owned(), transaction_id: None }
}

fn prepare(client: &mut Client, text: &str) -> Result<ActionCreatePreparedStatementResult, Status> {
    let request = ActionCreatePreparedStatementRequest { query: text.to_owned(), transaction_id: None };
    let results = client.act("CreatePreparedStatement", request.as_any().encode_to_vec())?;
    Ok(Any::decode(&*results[0]).unwrap().unpack().unwrap().unwrap())
}

/// A call about a table.
type Call = fn(&mut Client, &str) -> Result<(), Status>;

/// The calls, with who may make them of the table `items` and of the other one: r(eader), w(riter), b(oth), (re)f(resher), a(dmin),
/// n(one). `all` always may.
const CALLS: &[(&str, Call, &str, &str)] = &[
    ("a query", |client, table| client.sql(&format!("SELECT 1 FROM {table}")).map(drop), "rb", ""),
    ("no table", |client, _| client.sql("SELECT 1").map(drop), "rb", "rb"),
    (
        "straight",
        |client, table| {
            client.get(query(&format!("SELECT 1 FROM {table}")).as_any().encode_to_vec()).map(drop)
        },
        "rb",
        "",
    ),
    (
        "prepared",
        |client, table| {
            let prepared = prepare(client, &format!("SELECT * FROM {table}"))?;
            let prepared_statement_handle = prepared.prepared_statement_handle;
            client.ask(&CommandPreparedStatementQuery { prepared_statement_handle }).map(drop)
        },
        "rb",
        "",
    ),
    (
        "keys",
        |client, table| {
            let table = table.to_owned();
            client.ask(&CommandGetPrimaryKeys { catalog: None, db_schema: None, table }).map(drop)
        },
        "rb",
        "",
    ),
    (
        "an update",
        |client, table| update(client, &format!("INSERT INTO {table} SELECT * FROM {table} LIMIT 0")),
        "b",
        "",
    ),
    ("a deletion", |client, table| update(client, &format!("DELETE FROM {table} WHERE 1 = 0")), "b", ""),
    ("a blind write", |client, table| update(client, &format!("TRUNCATE {table}")), "wb", ""),
    ("an update as a query", |client, table| client.sql(&format!("TRUNCATE {table}")).map(drop), "wb", ""),
    (
        "a prepared update",
        |client, table| {
            let prepared = prepare(client, &format!("TRUNCATE {table}"))?;
            let prepared_statement_handle = prepared.prepared_statement_handle;
            client.put(&CommandPreparedStatementUpdate { prepared_statement_handle }, Vec::new()).map(drop)
        },
        "wb",
        "",
    ),
    ("a new table", |client, _| update(client, "CREATE TABLE IF NOT EXISTS other (id BIGINT)"), "", ""),
    (
        "an upload",
        |client, table| {
            let options =
                TableDefinitionOptions { if_not_exist: 0, if_exists: TableExistsOption::Append.into() };
            let command = CommandStatementIngest {
                table_definition_options: Some(options),
                table: table.to_owned(),
                ..Default::default()
            };
            let rows = client_rows(table).slice(0, 0);
            client.put(&command, vec![rows]).map(drop)
        },
        "wb",
        "",
    ),
];

fn client_rows(table: &str) -> RecordBatch {
    if table == "items" { crate::support::items() } else { crate::support::flights() }
}

fn update(client: &mut Client, text: &str) -> Result<(), Status> {
    let command = CommandStatementUpdate { query: text.to_owned(), transaction_id: None };
    client.put(&command, Vec::new()).map(drop)
}

#[test]
fn every_call_asks_for_its_permission() {
    let names = [
        ("reader", 'r'),
        ("writer", 'w'),
        ("both", 'b'),
        ("refresher", 'f'),
        ("admin", 'a'),
        ("none", 'n'),
        ("all", '*'),
    ];
    let served = served();
    let mut cells = 0;
    for (name, letter) in names {
        let mut client = served.client_of(name);
        for (what, call, who, who_of_other) in CALLS {
            for (table, who) in [("items", who), ("flights", who_of_other)] {
                let done = call(&mut client, table);
                let may = letter == '*' || who.contains(letter);
                assert_eq!(done.is_ok(), may, "{name}: {what} of {table}: {done:?}");
                if let Err(error) = done {
                    let code = error.code();
                    assert!(
                        matches!(code, Code::PermissionDenied | Code::NotFound),
                        "{name}: {what}: {error}"
                    );
                    assert!(!error.message().contains("did you mean"), "{error}");
                }
                cells += 1;
            }
        }
    }
    assert_eq!(cells, 7 * 12 * 2);
    // Without a token, and with a wrong one.
    for authorization in [None, Some("Bearer wrong-token-0123456789".to_owned())] {
        let mut client = Client::connect(served.address(), authorization);
        for (what, call, ..) in CALLS {
            assert_eq!(call(&mut client, "items").unwrap_err().code(), Code::Unauthenticated, "{what}");
        }
        assert_eq!(client.act("CloseSession", "").unwrap_err().code(), Code::Unauthenticated);
        let tables = CommandGetTables::default().as_any().encode_to_vec();
        assert_eq!(client.get(tables).unwrap_err().code(), Code::Unauthenticated);
    }
    assert!(served.access.denials().so_far() > 50);
}

#[test]
fn nothing_shows_tables_that_may_not_be_read() {
    let served = served();
    let mut reader = served.client_of("reader");
    let listed = reader.ask(&CommandGetTables { include_schema: true, ..Default::default() }).unwrap();
    assert_eq!(listed.texts(2), ["items"]);
    let none = served.client_of("none").ask(&CommandGetTables::default()).unwrap();
    assert_eq!(none.rows().num_rows(), 0);
    for text in [
        "SELECT * FROM flights",
        "SELECT * FROM flight",
        "SELECT * FROM items WHERE id IN (SELECT flight FROM flights)",
        "DESCRIBE flights",
        "EXPLAIN SELECT * FROM flights",
    ] {
        let (asked, prepared) = (reader.sql(text).unwrap_err(), prepare(&mut reader, text).unwrap_err());
        for error in [asked, prepared] {
            assert!(
                !error.message().contains("carrier") && !error.message().contains("did you mean"),
                "{error}"
            );
        }
    }
    // Types of parameters and of answers are told of tables that may be read.
    let prepared = prepare(&mut reader, "SELECT name FROM items WHERE id = $1").unwrap();
    let limited = prepare(&mut reader, "SELECT name FROM items LIMIT $1").unwrap();
    assert!(!limited.dataset_schema.is_empty(), "drivers see that it is a query");
    let takes: arrow::datatypes::Schema = IpcMessage(prepared.parameter_schema).try_into().unwrap();
    assert_eq!(takes.field(0).data_type(), &arrow::datatypes::DataType::Int64);
    let command =
        CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
    let id: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    reader.put(&command, vec![RecordBatch::try_from_iter([("1", id)]).unwrap()]).unwrap();
    assert_eq!(reader.ask(&command).unwrap().texts(0), ["plain"]);
}

#[test]
fn what_one_token_asked_for_no_other_one_gets() {
    let served = served();
    let (mut owner, mut thief) = (served.client_of("all"), served.client_of("both"));
    let info = owner.info(&query("SELECT * FROM flights")).unwrap();
    let stolen = thief.get(ticket(&info)).unwrap_err();
    let never = thief.get(forged(&info)).unwrap_err();
    assert_eq!((stolen.code(), stolen.message()), (Code::NotFound, never.message()), "both look alike");
    let cancel = CancelFlightInfoRequest::new(info.clone()).encode_to_vec();
    assert_eq!(thief.act("CancelFlightInfo", cancel).unwrap_err().code(), Code::NotFound);
    let cancel = ActionCancelQueryRequest { info: info.encode_to_vec().into() };
    let cancel = thief.act("CancelQuery", cancel.as_any().encode_to_vec());
    assert_eq!(cancel.unwrap_err().code(), Code::NotFound);
    assert_eq!(owner.get(ticket(&info)).unwrap().rows().num_rows(), 2, "it is still there");

    let prepared = prepare(&mut owner, "SELECT * FROM flights").unwrap().prepared_statement_handle;
    let command = CommandPreparedStatementQuery { prepared_statement_handle: prepared.clone() };
    assert_eq!(thief.info(&command).unwrap_err().code(), Code::NotFound);
    assert_eq!(thief.put(&command, Vec::new()).unwrap_err().code(), Code::NotFound);
    let update = CommandPreparedStatementUpdate { prepared_statement_handle: prepared.clone() };
    assert_eq!(thief.put(&update, Vec::new()).unwrap_err().code(), Code::NotFound);
    let close = ActionClosePreparedStatementRequest { prepared_statement_handle: prepared };
    let close = close.as_any().encode_to_vec();
    assert_eq!(thief.act("ClosePreparedStatement", close).unwrap_err().code(), Code::NotFound);
    assert_eq!(owner.ask(&command).unwrap().rows().num_rows(), 2);
    assert!(served.access.denials().so_far() >= 6);
}

/// The ticket of an answer, with another name in it.
fn forged(info: &arrow_flight::FlightInfo) -> Vec<u8> {
    let mut bytes = ticket(info).to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    bytes
}

#[test]
fn permissions_that_change_hold_for_what_was_asked_before() {
    let served = served();
    let mut client = served.client_of("reader");
    let info = client.info(&query("SELECT * FROM items")).unwrap();
    let prepared = prepare(&mut client, "SELECT * FROM items").unwrap().prepared_statement_handle;
    let config = TokenConfig {
        name: "reader".to_owned(),
        file: served.dir.path().join("reader"),
        permissions: only(|it| it.read = Tables::of(["flights"])),
    };
    served.access.adjust([config], None).unwrap();
    assert_eq!(client.get(ticket(&info)).unwrap_err().code(), Code::Aborted);
    let command = CommandPreparedStatementQuery { prepared_statement_handle: prepared };
    assert_eq!(client.ask(&command).unwrap_err().code(), Code::NotFound);
    served.access.adjust([], None).unwrap();
    assert_eq!(client.sql("SELECT 1").unwrap_err().code(), Code::Unauthenticated);
}

#[test]
fn an_answer_ends_when_the_token_is_taken_back() {
    let served = served();
    served.define_many();
    let mut client = served.client_of("all");
    let prepared = prepare(&mut client, "SELECT * FROM many WHERE id >= $1").unwrap();
    let command =
        CommandPreparedStatementQuery { prepared_statement_handle: prepared.prepared_statement_handle };
    let from: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    client.put(&command, vec![RecordBatch::try_from_iter([("1", from)]).unwrap()]).unwrap();
    let request = client.request(Ticket::new(command.as_any().encode_to_vec()));
    let mut rows = client.runtime.block_on(client.inner.do_get(request)).unwrap().into_inner();
    client.runtime.block_on(rows.message()).unwrap().unwrap();
    served.access.adjust([], None).unwrap();
    let error = client.runtime.block_on(async {
        loop {
            match rows.message().await {
                Ok(Some(_)) => {}
                Ok(None) => panic!("its second run went on"),
                Err(error) => return error,
            }
        }
    });
    assert_eq!(error.code(), Code::PermissionDenied, "{error}");
}

#[test]
fn users_log_in_with_a_token_as_their_password() {
    let served = served();
    let login = |header: Option<String>, payload: Vec<u8>| {
        let mut client = Client::connect(served.address(), header);
        let handshake = HandshakeRequest { protocol_version: 0, payload: payload.into() };
        let request = client.request(stream::iter([handshake]));
        client.runtime.block_on(async {
            let mut response = client.inner.handshake(request).await?;
            let bearer = response.metadata().get("authorization").unwrap().to_str().unwrap().to_owned();
            let answer = response.get_mut().message().await?.unwrap();
            Ok::<_, Status>((bearer, answer.payload))
        })
    };
    let basic =
        |password: &str| Some(format!("Basic {}", BASE64_STANDARD.encode(format!("anyone:{password}"))));
    let (bearer, payload) = login(basic(&token("reader")), Vec::new()).unwrap();
    assert_eq!((bearer.clone(), payload), (format!("Bearer {}", token("reader")), token("reader").into()));
    assert!(Client::connect(served.address(), Some(bearer)).sql("SELECT 1").is_ok());
    assert!(Client::connect(served.address(), basic(&token("reader"))).sql("SELECT 1").is_ok());
    let in_payload = arrow_flight::BasicAuth { username: "anyone".to_owned(), password: token("reader") };
    for (header, payload) in [
        (basic("wrong-token-0123456789"), Vec::new()),
        (basic(""), Vec::new()),
        (Some("Basic !!!".to_owned()), Vec::new()),
        (None, Vec::new()),
        (None, b"\xff\xff".to_vec()),
        // Not in what strangers send: their calls would take places.
        (None, in_payload.encode_to_vec()),
        (None, arrow_flight::BasicAuth::default().encode_to_vec()),
    ] {
        let error = login(header, payload).unwrap_err();
        assert_eq!(error.code(), Code::Unauthenticated, "{error}");
    }
    let library = served.client();
    let mut library_client = library.library();
    let token = library.runtime.block_on(library_client.handshake("anyone", &token("all"))).unwrap();
    assert!(!token.is_empty());
    assert!(library.runtime.block_on(library_client.execute("SELECT 1".to_owned(), None)).is_ok());
}

#[test]
fn tokens_change_without_a_restart() {
    let served = served();
    let may = |name: &str| served.client_of(name).act("CloseSession", "").is_ok();
    assert_eq!((may("reader"), may("rotated")), (true, false));
    let new = served.dir.path().join("new");
    std::fs::File::create(&new).unwrap().write_all(token("rotated").as_bytes()).unwrap();
    std::fs::rename(new, served.dir.path().join("reader")).unwrap();
    soon("the new token is taken", || may("rotated"));
    assert!(!may("reader"));
}
