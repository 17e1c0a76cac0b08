//! Changes as server-sent events, and going on where a stream broke off.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use pillion::TableDefinition;
use pillion_access::{Permissions, Tables, TokenConfig};
use pillion_http::HttpOptions;
use serde_json::Value;

use crate::support::{Served, items, listen, read_all, token};

/// The lines of a stream of events.
struct Events(BufReader<TcpStream>);

/// One event.
#[derive(Debug)]
struct Event {
    id: Option<String>,
    name: String,
    data: Value,
}

impl Events {
    fn follow(served: &Served, query: &str, headers: &str) -> Self {
        Self::of(served, "items", query, headers)
    }

    fn of(served: &Served, table: &str, query: &str, headers: &str) -> Self {
        let mut stream = served.connect();
        let head = format!(
            "GET /v1/tables/{table}/changes{query} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut events = Self(BufReader::new(stream));
        let head = events.head();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        assert!(head.to_lowercase().contains("content-type: text/event-stream"), "{head}");
        events
    }

    fn head(&mut self) -> String {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(self.0.read_line(&mut head).unwrap() > 0, "{head}");
        }
        head
    }

    /// The next event; lines that are framing of chunks, and comments, are left out.
    fn next(&mut self) -> Event {
        let mut event = Event { id: None, name: String::new(), data: Value::Null };
        loop {
            let mut line = String::new();
            assert!(self.0.read_line(&mut line).unwrap() > 0, "the stream ended after {event:?}");
            match line.trim_end().split_once(": ") {
                Some(("id", id)) => event.id = Some(id.to_owned()),
                Some(("event", name)) => name.clone_into(&mut event.name),
                Some(("data", data)) => {
                    event.data = serde_json::from_str(data).unwrap();
                    return event;
                }
                _ => {}
            }
        }
    }
}

fn one(id: usize) -> RecordBatch {
    items().slice(id - 1, 1)
}

#[test]
fn commits_are_told_and_followed_by_their_version() {
    let served = Served::open();
    let table = served.cache.table("items").unwrap();
    let mut events = Events::follow(&served, "", "");
    let begun = events.next();
    assert_eq!(
        (begun.name.as_str(), begun.id.clone()),
        ("version", Some(served.cache.version().unwrap().to_string()))
    );
    let version = table.upsert(one(3)).unwrap().to_string();
    let change = events.next();
    assert_eq!((change.name.as_str(), &change.id), ("changes", &None), "only a whole commit has an id");
    assert_eq!((&change.data[0]["_change"], &change.data[0]["id"]), (&"upsert".into(), &3.into()));
    let told = events.next();
    assert_eq!((told.name.as_str(), told.id.as_deref()), ("version", Some(version.as_str())));
    assert_eq!(told.data["version"], version);
    table.delete(3).unwrap();
    assert_eq!(events.next().data[0]["_change"], "delete");
    let last = events.next().id.unwrap();
    table.truncate().unwrap();
    drop(events);
    // Whoever comes back with the last id gets what it missed, and nothing twice; the header goes before the argument.
    let resumed = format!("Last-Event-ID: {last}\r\n");
    let mut events = Events::follow(&served, &format!("?since={}", begun.id.unwrap()), &resumed);
    assert_eq!(events.next().id.as_deref(), Some(last.as_str()));
    assert_eq!(events.next().data[0]["_change"], "truncate");
    assert_eq!(events.next().id.unwrap(), served.cache.version().unwrap().to_string());
    // The same from the beginning, by the argument.
    let since = last.split_once('.').unwrap().0.to_owned() + ".1";
    let mut events = Events::follow(&served, &format!("?since={since}"), "");
    assert_eq!(events.next().id.as_deref(), Some(since.as_str()));
    assert_eq!(events.next().name, "changes");
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let served = Served::open();
    let get = |path: &str| served.get(path);
    get("/v1/tables/none/changes").problem(404, "TableNotFound", "");
    get("/v1/tables/items/changes?since=5").problem(400, "InvalidArgument", "version");
    get("/v1/tables/items/changes?from=5").problem(400, "UnknownArgument", "`from`");
    get("/v1/tables/items/changes?since=0123456789abcdef.5").problem(503, "WentBack", "");
}

#[test]
fn a_dropped_table_ends_its_stream_with_an_error() {
    let served = Served::open();
    let mut events = Events::follow(&served, "", "");
    events.next();
    served.cache.drop_table("items").unwrap();
    let last = events.next();
    assert_eq!((last.name.as_str(), &last.data["title"]), ("problem", &"TableNotFound".into()));
    let rest = read_all(&mut events.0);
    assert!(rest.ends_with("0\r\n\r\n") || rest.is_empty(), "{rest}");
}

#[test]
fn streams_are_limited_and_end_with_the_door() {
    let mut served = Served::limited(|options| options.streams_max(4));
    let streams: Vec<Events> = (0..3).map(|_| Events::follow(&served, "", "")).collect();
    served.get("/v1/tables/items/changes").problem(429, "TooManyRequests", "streams of changes");
    assert_eq!(served.get("/v1/tables/items/1").status, 200, "others are answered");
    served.server.take().unwrap().stop(Duration::from_secs(60));
    for mut events in streams {
        assert!(read_all(&mut events.0).ends_with("0\r\n\r\n"), "each ends whole");
    }
}

#[test]
fn a_stream_ends_once_its_permission_is_gone() {
    let reader =
        |tables: &[&str]| Permissions { read: Tables::of(tables.iter().copied()), ..Permissions::default() };
    let served =
        Served::with(HttpOptions::new(listen()), &[("reader", reader(&["items"]))], Some(reader(&["items"])));
    let header = format!("Authorization: Bearer {}\r\n", token("reader"));
    for header in [header.as_str(), ""] {
        let mut events = Events::follow(&served, "", header);
        assert_eq!(events.next().name, "version");
        let file = served.dir.path().join("reader");
        let config = |tables: &[&str]| TokenConfig {
            name: "reader".to_owned(),
            file: file.clone(),
            permissions: reader(tables),
        };
        // The token is still valid, and permits something else.
        served.access.adjust([config(&["flights"])], Some(reader(&["flights"]))).unwrap();
        served.cache.table("items").unwrap().upsert(one(3)).unwrap();
        let last = events.next();
        assert_eq!((last.name.as_str(), &last.data["title"]), ("problem", &"Forbidden".into()), "{last:?}");
        assert!(read_all(&mut events.0).ends_with("0\r\n\r\n"));
        served.access.adjust([config(&["items"])], Some(reader(&["items"]))).unwrap();
    }
}

#[test]
fn wide_changes_come_in_several_events() {
    let served = Served::open();
    let mut events = Events::follow(&served, "", "");
    events.next();
    let names: ArrayRef = Arc::new(StringArray::from_iter_values((0..20).map(|_| "x".repeat(100_000))));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(100..120));
    let rows = RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap();
    served.cache.define_table("wide", TableDefinition::new(rows.slice(0, 0)).primary_key(["id"])).unwrap();
    let mut events = Events::of(&served, "wide", "", "");
    events.next();
    served.cache.table("wide").unwrap().append(rows).unwrap();
    let (mut told, mut several) = (0, 0);
    loop {
        let event = events.next();
        match event.name.as_str() {
            "changes" => (told, several) = (told + event.data.as_array().unwrap().len(), several + 1),
            _ if told == 0 => {}
            _ => break,
        }
    }
    assert!(told == 20 && several > 5, "{told} changes in {several} events");
}
