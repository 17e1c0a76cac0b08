//! Conversations of every version of the protocol, recorded once: their requests are understood for ever, byte by byte,
//! and what their answers said then, answers say now.
//!
//! `recorded/v1.txt` was written when version 1 was new, and is never written again. A new version gets its own file
//! from `cargo test -p pillion --test it recorded::records_a_new_version -- --exact --ignored`, which refuses to
//! replace one.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use arrow::datatypes::SchemaRef;
use pillion::{Cache, ServerOptions};

use crate::raw::cells::{GET_ROW, found, get_row};
use crate::raw::layout::{Cell, Places, cells, read};
use crate::raw::msgpack::{Pack, map};
use crate::raw::{RawAnswer, RawClient, batch_of, documented_calls, int, schema_of, schema_stream, stream};
use crate::support::numbered;

/// Begins a connection.
const CONNECTION: &str = "connection";
/// Begins a line of bytes that a client sent.
const SENT: &str = "> ";
/// Begins a line that describes an answer.
const SAID: &str = "< ";
/// Number of the first table of a cache.
const TABLE: u64 = 0;
/// Bytes in a line.
const LINE: usize = 40;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorded")
}

/// A server of an empty cache, and the connection that talks to it.
struct Conversation {
    dir: tempfile::TempDir,
    client: Option<RawClient>,
    arena: Option<File>,
    /// Columns of the table, and of cursors by their numbers.
    table: Option<SchemaRef>,
    cursor: Option<SchemaRef>,
    _server: pillion::Server,
    _cache: Cache,
}

impl Conversation {
    fn begin() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        let server = cache.serve(ServerOptions::new(dir.path().join("sock"))).unwrap();
        Self { dir, client: None, arena: None, table: None, cursor: None, _server: server, _cache: cache }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn connect(&mut self) {
        self.client = Some(RawClient::silent(&self.socket()));
        self.arena = None;
    }

    /// Sends a request as it was recorded, and describes its answer.
    fn send(&mut self, frame: &[u8]) -> Vec<String> {
        let client = self.client.as_mut().unwrap();
        client.stream.write_all(frame).unwrap();
        let mut answer = client.receive().expect("the sidecar closed the connection");
        assert_eq!(answer.call.to_le_bytes(), frame[4..6], "an answer repeats the number of its call");
        assert_eq!(answer.request.to_le_bytes(), frame[8..16], "and that of its request");
        if let Some(arena) = answer.descriptor.take() {
            self.arena = Some(arena);
        }
        self.describe(&answer)
    }

    /// Every field of an answer with its path. Of a field that differs from one sidecar to the next, only the type.
    fn describe(&mut self, answer: &RawAnswer) -> Vec<String> {
        if answer.is_error {
            return vec![format!("error {}", answer.outcome().unwrap_err())];
        }
        if answer.call == GET_ROW {
            let row = found(&answer.body);
            let moment = if row.as_of == i64::MIN { "none" } else { "a number" };
            let cells = row.cells.map_or_else(|| "no row".to_owned(), |row| rows_text(&[row]));
            return vec![format!("a version, as_of {moment}: {cells}")];
        }
        let message = answer.outcome().unwrap();
        if let Pack::Map(_) = message {
            // Layouts do not contain the types of their columns.
            let schema = message.field("schema").bin();
            match answer.call {
                4 | 5 => self.table = Some(schema_of(schema)),
                10 | 11 | 13 => self.cursor = Some(schema_of(schema)),
                _ => {}
            }
        }
        let columns = if answer.call == 6 || answer.call == 7 { &self.table } else { &self.cursor };
        let mut lines = Vec::new();
        self.tell(&message, "", columns.as_ref(), &mut lines);
        if lines.is_empty() {
            lines.push("nothing".to_owned());
        }
        lines
    }

    fn tell(&self, value: &Pack, path: &str, columns: Option<&SchemaRef>, lines: &mut Vec<String>) {
        let name = path.rsplit('.').next().unwrap();
        let said = match value {
            Pack::Map(fields) => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    self.tell(value, &format!("{path}{dot}{}", name.str()), columns, lines);
                }
                return;
            }
            Pack::Array(items) => {
                for (number, item) in items.iter().enumerate() {
                    self.tell(item, &format!("{path}[{number}]"), columns, lines);
                }
                format!("{} items", items.len())
            }
            // Sidecars, directories and moments differ, and the way in which rows are stored may.
            _ if ["server", "dir"].contains(&name) => {
                format!("a string, {} empty", if value.str().is_empty() { "is" } else { "not" })
            }
            Pack::Uint(_)
                if [
                    "device",
                    "inode",
                    "incarnation",
                    "sequence",
                    "as_of",
                    "bytes",
                    "segments",
                    "logged_rows",
                ]
                .contains(&name) =>
            {
                assert!(["sequence", "logged_rows"].contains(&name) || value.uint() > 0, "{path}");
                "a number".to_owned()
            }
            Pack::Bin(bytes) if name == "position" => format!("{bytes:?}"),
            Pack::Bin(bytes) if name == "schema" => {
                let schema = schema_of(bytes);
                let kinds =
                    schema.fields().iter().map(|field| format!("{} {}", field.name(), field.data_type()));
                kinds.collect::<Vec<_>>().join(", ")
            }
            Pack::Bin(bytes) if bytes.is_empty() => "no rows".to_owned(),
            Pack::Bin(bytes) if name == "rows" => rows_text(&cells(&batch_of(bytes))),
            Pack::Bin(bytes) if name == "layout" => {
                let dir = self.dir.path().join("cache");
                let places = Places { arena: self.arena.as_ref(), dir: Some(&dir) };
                let layout = read(bytes, columns.unwrap(), &places);
                let lease = if layout.lease > 0 { "a" } else { "no" };
                format!("{lease} lease, {} files: {}", layout.files.len(), rows_text(&layout.rows))
            }
            Pack::Nil => "nil".to_owned(),
            Pack::Bool(value) => value.to_string(),
            Pack::Str(value) => format!("{value:?}"),
            other => other.uint().to_string(),
        };
        lines.push(format!("{path}: {said}"));
    }
}

/// Few rows in full; for many rows, their number and the sum of their bytes.
fn rows_text(rows: &[Vec<Cell>]) -> String {
    let all = format!("{rows:?}").replace("Some(", "").replace("\")", "\"");
    if rows.len() <= 4 {
        return all;
    }
    let sum = all.bytes().fold(0_u64, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
    format!("{} rows, {sum:016x}", rows.len())
}

/// Everything that is recorded for the newest version: the connections, and the calls of each.
fn conversation(version: u64) -> Vec<Vec<(u16, Pack)>> {
    let hello = || (1, map! { "protocol" => version, "client" => "recorded" });
    let none = Vec::<Pack>::new;
    let schema = schema_stream(&numbered([]).schema());
    let rows = |ids: std::ops::Range<i64>| stream(&numbered(ids));
    let define = map! { "Define" => map! {
        "name" => "t", "primary_key" => vec![Pack::from("id")], "sort_by" => none(),
    }};
    let kinds = [
        Pack::from("null"),
        map! { "bool" => true },
        map! { "uint" => 1_u64 },
        map! { "float" => 1.5 },
        map! { "decimal" => vec![Pack::Bin([&[99][..], &[0; 15]].concat()), Pack::Int(1)] },
        map! { "str" => "text" },
        map! { "bytes" => vec![0_u8, 255] },
        map! { "date" => 15_706_u64 },
        map! { "time" => 36_000_000_000_000_u64 },
        map! { "timestamp" => vec![Pack::Uint(1_357_034_400), Pack::Uint(1)] },
        int(-5),
    ];
    let casts = "SELECT $1 IS NULL AS a, $2 AS b, $3 AS c, $4 AS d, $5 AS e, $6 AS f, $7 AS g, $8 AS h, $9 AS i, $10 AS j, $11 AS k";
    let upload = |kind: Pack| (17, map! { "kind" => kind, "schema" => schema.clone() });
    let table = |kind: &str| map! { kind => map! { "table" => TABLE } };
    let id = |call: u16, id: u64| (call, map! { "id" => id });
    let nil = || map! { "snapshot" => Pack::Nil };
    let at = |snapshot: Option<u64>, name: &str, value: Pack| map! { "snapshot" => snapshot, name => value };
    let query = |text: &str, parameters: Vec<Pack>| {
        (11, map! { "snapshot" => Pack::Nil, "text" => text, "parameters" => parameters })
    };
    let key = |key: i64| map! { "snapshot" => Pack::Nil, "table" => TABLE, "key" => vec![int(key)] };
    let row = |snapshot: u64, key: i64| (GET_ROW, Pack::Bin(get_row(snapshot, TABLE, key)));
    let writes = vec![
        (2, nil()),
        hello(),
        upload(define),
        (18, map! { "id" => 1_u64, "rows" => rows(0..3) }),
        (18, map! { "id" => 1_u64, "rows" => rows(3..6) }),
        id(19, 1),
        (3, nil()),
        (4, at(None, "name", Pack::from("t"))),
        (4, at(None, "name", Pack::from("nope"))),
        (5, at(None, "table", Pack::Uint(TABLE))),
        (2, nil()),
        (8, map! {}),
        upload(table("Append")),
        (18, map! { "id" => 3_u64, "rows" => rows(6..8) }),
        id(19, 3),
        (2, map! { "snapshot" => 2_u64 }),
        (6, map! { "snapshot" => 2_u64, "table" => TABLE, "key" => vec![int(7)] }),
        (6, key(7)),
        row(2, 7),
        row(0, 7),
        (GET_ROW, Pack::Bin(vec![0; 15])),
        (
            7,
            at(None, "table", Pack::Uint(TABLE))
                .with("keys", [2, 99, 0].map(|key| Pack::from(vec![int(key)])).to_vec()),
        ),
        (6, map! { "snapshot" => Pack::Nil, "table" => TABLE, "key" => none() }),
        (10, at(Some(2), "table", Pack::Uint(TABLE)).with("columns", Pack::Nil)),
        id(15, 4),
        (10, at(None, "table", Pack::Uint(TABLE)).with("columns", vec![Pack::from("name")])),
        id(16, 5),
        (9, map! { "snapshot" => 2_u64 }),
        query("SELECT count(*) AS n FROM t WHERE id > $1", vec![int(4)]),
        id(15, 6),
        query("SELEC", none()),
        query(casts, kinds.to_vec()),
        id(15, 7),
        (12, map! { "text" => "SELECT name FROM t WHERE id = $1" }),
        (13, map! { "snapshot" => Pack::Nil, "id" => 8_u64, "parameters" => vec![int(1)] }),
        id(15, 9),
        (13, map! { "snapshot" => Pack::Nil, "id" => 8_u64, "parameters" => none() }),
        id(14, 8),
        upload(table("Replace")),
        id(23, 10),
        (
            28,
            map! { "as_of" => 1_700_000_000_000_000_000_u64, "changes" => vec![
                map! { "Upsert" => map! { "table" => TABLE, "rows" => vec![Pack::Bin(rows(7..10))] } },
                map! { "Append" => map! { "table" => TABLE, "rows" => vec![Pack::Bin(rows(20..21))] } },
                map! { "Delete" => map! { "table" => TABLE, "keys" => vec![Pack::from(vec![int(1)])] } },
                map! { "Position" => map! { "source" => "shop", "position" => vec![1_u8, 0, 255] } },
            ] },
        ),
        (29, map! { "source" => "shop" }),
        (29, map! { "source" => "nobody" }),
        (30, map! {}),
        (31, map! { "table" => TABLE, "since" => map! { "incarnation" => 1_u64, "sequence" => 1_u64 } }),
        query("SELECT id FROM t ORDER BY id", none()),
        upload(table("Upsert")),
        id(23, 12),
        (
            28,
            map! { "as_of" => 1_700_000_000_000_000_000_u64, "changes" => vec![
                map! { "Truncate" => map! { "table" => TABLE } },
                map! { "Replace" => map! { "table" => TABLE, "rows" => vec![Pack::Bin(rows(0..2))] } },
            ] },
        ),
        (26, map! { "request" => 3_u64 }),
        (25, map! { "leases" => vec![Pack::Uint(1)] }),
        (21, map! {}),
        (22, map! {}),
        (4711, map! {}),
    ];
    let shares = vec![
        hello(),
        (24, map! { "memory" => true, "files" => true }),
        upload(table("Replace")),
        (18, map! { "id" => 1_u64, "rows" => rows(0..1300) }),
        id(19, 1),
        (4, at(None, "name", Pack::from("t"))),
        (6, key(8)),
        (10, at(None, "table", Pack::Uint(TABLE)).with("columns", Pack::Nil)),
        query("SELECT id + 1 AS next, upper(name) AS name FROM t ORDER BY id", none()),
        (25, map! { "leases" => vec![Pack::Uint(1)] }),
        (20, at(None, "name", Pack::from("t"))),
        (5, at(None, "table", Pack::Uint(TABLE))),
    ];
    vec![writes, shares]
}

/// The newest version that a server speaks.
fn newest(client: &mut RawClient) -> u64 {
    let hello = map! { "protocol" => u64::from(u32::MAX), "client" => "asks" };
    client.ok(1, hello).field("protocol").uint()
}

/// A recording as text.
fn record() -> (u64, String) {
    let mut talk = Conversation::begin();
    let names = documented_calls();
    let mut text = String::new();
    let version = newest(&mut RawClient::silent(&talk.socket()));
    for calls in conversation(version) {
        talk.connect();
        writeln!(text, "\n{CONNECTION}").unwrap();
        for (number, (call, body)) in (100_u64..).zip(calls) {
            let name = names.iter().find(|(known, _)| *known == call).map_or("no call", |(_, name)| name);
            writeln!(text, "\n# {name}").unwrap();
            // The body of a lookup is raw bytes.
            let body = if call == GET_ROW { body.bin().to_vec() } else { body.encode() };
            let frame = RawClient::frame(call, 0, number, &body);
            for bytes in frame.chunks(LINE) {
                let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                writeln!(text, "{SENT}{digits}").unwrap();
            }
            let said = talk.send(&frame);
            said.iter().for_each(|line| writeln!(text, "{SAID}{line}").unwrap());
        }
    }
    (version, text)
}

#[test]
#[ignore = "writes the recording of a version that has none; run it once for a new version"]
fn records_a_new_version() {
    let (version, text) = record();
    let path = folder().join(format!("v{version}.txt"));
    let head = format!(
        "# Version {version} of the protocol as it was spoken when it was new; see recorded.rs. This file does not change.\n\
         # `>` is what the client sent, byte by byte; `<` is what the answer said, field by field.\n\
         # Numbers of snapshots, cursors, statements and uploads stand in later requests, so the sidecar has to give them\n\
         # again as it did then.\n"
    );
    let mut file = File::create_new(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    file.write_all(format!("{head}{text}").as_bytes()).unwrap();
}

/// Calls, as they were recorded; an empty one begins a connection.
fn recorded(text: &str) -> Vec<(Vec<u8>, Vec<&str>)> {
    let mut calls: Vec<(Vec<u8>, Vec<&str>)> = Vec::new();
    for line in text.lines() {
        if line == CONNECTION {
            calls.push((Vec::new(), Vec::new()));
        } else if let Some(digits) = line.strip_prefix(SENT) {
            let bytes = digits
                .as_bytes()
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap());
            // The first line of a request follows the description of the last answer.
            match calls.last_mut() {
                Some((sent, said)) if !sent.is_empty() && said.is_empty() => sent.extend(bytes),
                _ => calls.push((bytes.collect(), Vec::new())),
            }
        } else if let Some(said) = line.strip_prefix(SAID) {
            calls.last_mut().unwrap().1.push(said);
        }
    }
    calls
}

#[test]
fn every_recorded_version_is_still_spoken() {
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    for path in files {
        let text = fs::read_to_string(&path).unwrap();
        let mut talk = Conversation::begin();
        let mut called = BTreeSet::new();
        for (number, (frame, expected)) in recorded(&text).into_iter().enumerate() {
            if frame.is_empty() {
                talk.connect();
                continue;
            }
            called.insert(u16::from_le_bytes([frame[4], frame[5]]));
            let said = talk.send(&frame);
            // A client of that version says which version it speaks, and a newer sidecar may say more.
            for line in expected {
                let is_said = said.iter().any(|said| said == line);
                assert!(is_said, "{}, call {number}: `{line}` is missing in {said:#?}", path.display());
            }
        }
        if path.ends_with("v1.txt") {
            let first = documented_calls().into_iter().map(|(call, _)| call).filter(|call| *call <= 31);
            assert!(first.into_iter().all(|call| called.contains(&call)), "{called:?}");
        }
    }
}

/// Whoever adds a version must record it.
#[test]
fn the_newest_version_is_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("cache")).unwrap();
    let _server = cache.serve(ServerOptions::new(dir.path().join("sock"))).unwrap();
    let newest = newest(&mut RawClient::silent(&dir.path().join("sock")));
    let path = folder().join(format!("v{newest}.txt"));
    assert!(path.exists(), "{} is missing; see the head of recorded.rs", path.display());
}
