//! A client that was written from docs/protocol.md alone makes every call of its table and understands every answer.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int64Array, ListArray, RecordBatch, StringArray, StringViewArray,
};
use arrow::datatypes::Int32Type;
use arrow::ipc::writer::StreamWriter;
use pillion::{Cache, Server, ServerOptions};
use rustix::fs::SealFlags;
use tempfile::TempDir;

use crate::raw::cells::{GET_ROW, found as found_row, get_row};
use crate::raw::layout::{Cell, Places, cells, read};
use crate::raw::msgpack::{Pack, map};
use crate::raw::{RawClient, batch_of, documented_calls, get, int, schema_of, schema_stream, stream};
use crate::support::{assert_ids, numbered};

/// A server of an empty cache.
struct Served {
    dir: TempDir,
    cache: Cache,
    server: Server,
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        let server = cache.serve(ServerOptions::new(dir.path().join("sock"))).unwrap();
        Self { dir, cache, server }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }
}

/// The client, and the calls that it made.
struct Caller {
    client: RawClient,
    called: BTreeSet<u16>,
}

impl Caller {
    fn call(&mut self, call: u16, body: Pack) -> Result<Pack, u64> {
        self.called.insert(call);
        self.client.call(call, body)
    }

    #[track_caller]
    fn ok(&mut self, call: u16, body: Pack) -> Pack {
        self.called.insert(call);
        self.client.ok(call, body)
    }

    /// Makes a call whose answer is empty.
    #[track_caller]
    fn nothing(&mut self, call: u16, body: Pack) {
        assert_eq!(self.ok(call, body), Pack::Map(Vec::new()));
    }

    /// The rows of a cursor, fetched to the end.
    #[track_caller]
    fn rows(&mut self, cursor: &Pack) -> Vec<Vec<Cell>> {
        let mut portion = cursor.field("first").clone();
        let mut rows = Vec::new();
        loop {
            if !portion.field("rows").bin().is_empty() {
                let batch = batch_of(portion.field("rows").bin());
                assert_eq!(batch.schema(), schema_of(cursor.field("schema").bin()));
                rows.extend(cells(&batch));
            }
            if portion.field("last").bool() {
                return rows;
            }
            portion = self.ok(15, map! { "id" => cursor.field("id").clone() });
        }
    }
}

fn sequence(version: &Pack) -> u64 {
    assert!(version.field("incarnation").uint() > 0);
    version.field("sequence").uint()
}

#[test]
fn every_call_of_the_document_is_understood() {
    let served = Served::new();
    let mut it = Caller { client: RawClient::silent(&served.socket()), called: BTreeSet::new() };
    assert_eq!(it.call(2, map! {}), Err(100), "hello comes first");
    it.called.clear();

    let hello =
        it.ok(1, map! { "protocol" => 7_u64, "client" => "written from the document", "new" => 1_u64 });
    assert_eq!(hello.field("protocol").uint(), 1, "the lower of both");
    assert!(hello.field("server").str().starts_with("pillion "));
    let dir = PathBuf::from(hello.field("dir").str());
    let head = dir.join("live/head").metadata().unwrap();
    let identity = hello.field("identity");
    assert_eq!((identity.field("device").uint(), identity.field("inode").uint()), (head.dev(), head.ino()));

    // A table, its rows in two portions.
    let before = sequence(it.ok(2, map! {}).field("version"));
    let kind = map! { "Define" => map! {
        "name" => "t", "primary_key" => vec![Pack::from("id")], "sort_by" => Vec::<Pack>::new(),
    }};
    let schema = numbered([]).schema();
    let upload = it.ok(17, map! { "kind" => kind, "schema" => schema_stream(&schema) }).field("id").uint();
    it.nothing(18, map! { "id" => upload, "rows" => stream(&numbered(0..10)) });
    it.nothing(18, map! { "rows" => stream(&numbered(10..20)), "id" => upload });
    let info = it.ok(19, map! { "id" => upload });
    assert_eq!((info.field("name").str(), info.field("rows").uint()), ("t", 20));
    assert_eq!(info.field("primary_key").array(), [Pack::from("id")]);
    assert_eq!(info.field("sort_by").array(), [Pack::from("id")]);
    assert_eq!(schema_of(info.field("schema").bin()).fields().len(), 2);
    assert!(info.field("bytes").uint() > 0 && info.field("segments").uint() > 0);
    assert!(info.field("as_of").uint() > 1_600_000_000_000_000_000, "nanoseconds since 1970");
    assert!(sequence(info.field("version")) > before);
    let table = info.field("id").uint();
    assert_eq!(it.ok(3, map! { "snapshot" => Pack::Nil }), Pack::Array(vec![info.clone()]));
    assert_eq!(it.ok(4, map! { "name" => "t" }), info);
    assert_eq!(it.call(4, map! { "name" => "T" }), Err(101));
    assert_eq!(it.ok(5, map! { "table" => table }), info);

    // Lookups.
    let found = it.ok(6, get(table, 7));
    assert_eq!(found.field("found").array(), [Pack::Bool(true)]);
    assert_eq!(found.field("version"), info.field("version"));
    assert_eq!(found.field("as_of"), info.field("as_of"));
    assert_eq!(batch_of(found.field("rows").bin()), numbered([7]));
    let none = it.ok(6, get(table, 77));
    assert_eq!((none.field("found").array(), none.field("rows").bin()), (&[Pack::Bool(false)][..], &[][..]));
    assert_eq!(none.field("as_of"), &Pack::Nil);
    assert_eq!(it.call(6, map! { "table" => table, "key" => vec![Pack::from("null")] }), Err(105));
    it.called.insert(GET_ROW);
    let row = found_row(&it.client.exchange_bytes(GET_ROW, &get_row(0, table, 7)).body);
    assert_eq!(row.cells.as_ref(), cells(&numbered([7])).first());
    assert_eq!(row.sequence, sequence(info.field("version")));
    assert_eq!(u64::try_from(row.as_of).unwrap(), info.field("as_of").uint());
    let none = found_row(&it.client.exchange_bytes(GET_ROW, &get_row(0, table, 77)).body);
    assert_eq!((none.cells, none.as_of), (None, i64::MIN));
    assert_eq!((none.incarnation, none.sequence), (row.incarnation, row.sequence));
    let lookup = get_row(0, table, 7);
    let mut wrong = vec![lookup[..15].to_vec(), lookup[..20].to_vec(), lookup.clone()];
    wrong[2][16] = 99;
    for body in wrong {
        assert_eq!(it.client.exchange_bytes(GET_ROW, &body).outcome(), Err(100), "{body:?}");
    }
    let null = [&lookup[..16], &[0]].concat();
    assert_eq!(it.client.exchange_bytes(GET_ROW, &null).outcome(), Err(105));
    assert_eq!(it.client.exchange_bytes(GET_ROW, &get_row(0, 999, 7)).outcome(), Err(101));
    assert_eq!(it.client.exchange_bytes(GET_ROW, &get_row(999, table, 7)).outcome(), Err(100));
    let keys = [int(3), int(-3), map! { "uint" => 1_u64 }].map(|key| Pack::from(vec![key]));
    let found = it.ok(7, map! { "table" => table, "keys" => keys.to_vec() });
    assert_eq!(found.field("found").array(), [true, false, true].map(Pack::Bool));
    assert_eq!(batch_of(found.field("rows").bin()), numbered([3, 1]), "in the order of the keys");

    // A snapshot, and what was written after it.
    let snapshot = it.ok(8, map! {}).field("snapshot").uint();
    let upload =
        map! { "kind" => map! { "Append" => map! { "table" => table } }, "schema" => schema_stream(&schema) };
    let upload = it.ok(17, upload).field("id").uint();
    it.nothing(18, map! { "id" => upload, "rows" => stream(&numbered([20])) });
    let version = it.ok(19, map! { "id" => upload });
    assert_eq!(sequence(version.field("version")), sequence(info.field("version")) + 1);
    assert_eq!(it.ok(2, map! { "snapshot" => snapshot }).field("version"), info.field("version"));
    let scan =
        |snapshot: Option<u64>| map! { "table" => table, "snapshot" => snapshot, "columns" => Pack::Nil };
    let cursor = it.ok(10, scan(Some(snapshot)));
    assert_eq!(it.rows(&cursor), cells(&numbered(0..20)));
    let cursor = it.ok(10, scan(None));
    assert_eq!(it.rows(&cursor), cells(&numbered(0..=20)));
    let row = found_row(&it.client.exchange_bytes(GET_ROW, &get_row(snapshot, table, 20)).body);
    assert_eq!((row.cells, row.sequence), (None, sequence(info.field("version"))), "it came later");
    it.nothing(9, map! { "snapshot" => snapshot });
    assert_eq!(it.call(2, map! { "snapshot" => snapshot }), Err(100), "it is not held any more");
    it.nothing(9, map! { "snapshot" => snapshot });
    let columns = vec![Pack::from("name")];
    let cursor = it.ok(10, map! { "table" => table, "columns" => columns });
    assert_eq!(it.rows(&cursor), cells(&numbered(0..=20).project(&[1]).unwrap()));

    // Queries.
    let sum = "SELECT sum(id) AS s FROM t WHERE id < $1";
    let cursor = it.ok(11, map! { "text" => sum, "parameters" => vec![int(5)] });
    assert_eq!(cursor.field("version"), version.field("version"));
    assert_eq!(it.rows(&cursor), [[Some("10".to_owned())]]);
    assert_eq!(it.call(11, map! { "text" => "SELEC", "parameters" => Vec::<Pack>::new() }), Err(110));
    let statement = it.ok(12, map! { "text" => sum });
    assert_eq!(statement.field("parameters").uint(), 1);
    let id = statement.field("id").uint();
    let cursor = it.ok(13, map! { "id" => id, "parameters" => vec![int(3)] });
    assert_eq!(it.rows(&cursor), [[Some("3".to_owned())]]);
    it.nothing(14, map! { "id" => id });
    assert_eq!(it.call(13, map! { "id" => id, "parameters" => vec![int(3)] }), Err(100));

    // An error in the first rows comes with the first `Next`.
    let cursor =
        it.ok(11, map! { "text" => "SELECT 1 / (id - 3) FROM t", "parameters" => Vec::<Pack>::new() });
    assert!(!cursor.field("first").field("last").bool());
    assert_eq!(it.call(15, map! { "id" => cursor.field("id").clone() }), Err(115));

    // A cursor that is closed early.
    let text = "SELECT a.id FROM t a, t b, t c, t d, t e, t f";
    let cursor = it.ok(11, map! { "text" => text, "parameters" => Vec::<Pack>::new() });
    let id = cursor.field("id").uint();
    assert!(id > 0 && !cursor.field("first").field("last").bool());
    it.ok(15, map! { "id" => id });
    it.nothing(16, map! { "id" => id });
    assert_eq!(it.call(15, map! { "id" => id }), Err(100));

    // An upload that is abandoned.
    let replace = map! { "Replace" => map! { "table" => table } };
    let begin = map! { "kind" => replace.clone(), "schema" => schema_stream(&schema) };
    let upload = it.ok(17, begin.clone()).field("id").uint();
    it.nothing(18, map! { "id" => upload, "rows" => stream(&numbered([1])) });
    it.nothing(23, map! { "id" => upload });
    assert_eq!(it.call(19, map! { "id" => upload }), Err(100));
    // A second batch is refused.
    let upload = it.ok(17, begin).field("id").uint();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    (1..3).for_each(|id| writer.write(&numbered([id])).unwrap());
    assert_eq!(it.call(18, map! { "id" => upload, "rows" => writer.into_inner().unwrap() }), Err(100));
    it.nothing(23, map! { "id" => upload });
    assert_ids(&served.cache.table("t").unwrap(), 0..=20);
    it.client.upload(replace, &numbered([4, 5]));
    assert_ids(&served.cache.table("t").unwrap(), 4..=5);

    // Commits in one message.
    let sent = |ids: std::ops::Range<i64>| vec![Pack::Bin(stream(&numbered(ids)))];
    let commit = |changes: Vec<Pack>| map! { "as_of" => 1_700_000_000_000_000_000_u64, "changes" => changes };
    let of = |name: &str, field: &str, value: Pack| {
        map! { name => map! { "table" => table }.with(field, value) }
    };
    let changes = vec![
        of("Append", "rows", Pack::from(sent(7..9))),
        of("Upsert", "rows", Pack::from(sent(8..11))),
        of("Delete", "keys", Pack::from(vec![Pack::from(vec![int(4)]), Pack::from(vec![int(99)])])),
        map! { "Position" => map! { "source" => "shop", "position" => b"here".to_vec() } },
    ];
    assert!(sequence(it.ok(28, commit(changes)).field("version")) > before);
    assert_ids(&served.cache.table("t").unwrap(), [5, 7, 8, 9, 10]);
    assert_eq!(it.ok(5, map! { "table" => table }).field("as_of").uint(), 1_700_000_000_000_000_000);
    assert_eq!(it.ok(29, map! { "source" => "shop" }).field("position").bin(), b"here");
    assert_eq!(it.ok(29, map! { "source" => "none" }).field("position"), &Pack::Nil);
    let duplicate = vec![
        of("Truncate", "new", Pack::Nil),
        of("Append", "rows", Pack::from([sent(1..3), sent(2..4)].concat())),
    ];
    assert_eq!(it.call(28, commit(duplicate)), Err(106), "none of it");
    assert_eq!(it.call(28, map! { "as_of" => 0_u64, "changes" => vec![Pack::from("Sync")] }), Err(100));
    assert_eq!(it.ok(5, map! { "table" => table }).field("rows").uint(), 5);
    it.nothing(30, map! {});
    assert_eq!(it.ok(5, map! { "table" => table }).field("logged_rows").uint(), 0);
    let changes = vec![of("Replace", "rows", Pack::from(sent(4..6)))];
    it.ok(28, commit(changes));
    assert_ids(&served.cache.table("t").unwrap(), 4..=5);

    // Changes.
    let since = it.ok(2, map! {}).field("version").clone();
    let changes = vec![
        of("Upsert", "rows", Pack::from(sent(6..7))),
        of("Delete", "keys", Pack::from(vec![Pack::from(vec![int(4)])])),
    ];
    it.ok(28, commit(changes));
    let changes = it.ok(31, map! { "table" => table, "since" => since });
    assert_eq!(schema_of(changes.field("schema").bin()).fields().len(), 4);
    assert_eq!(batch_of(changes.field("first").field("rows").bin()).num_rows(), 1);
    let rest = it.ok(15, map! { "id" => changes.field("id").uint() });
    assert_eq!(batch_of(rest.field("rows").bin()).num_rows(), 1);
    it.nothing(16, map! { "id" => changes.field("id").uint() });
    let strange = map! { "incarnation" => 1_u64, "sequence" => 1_u64 };
    assert_eq!(it.call(31, map! { "table" => table, "since" => strange }), Err(402));
    it.client.upload(map! { "Replace" => map! { "table" => table } }, &numbered([4, 5]));

    // The remaining calls.
    it.nothing(21, map! {});
    let status = it.ok(22, map! {});
    assert_eq!(status.field("dir").str(), dir.to_str().unwrap());
    assert_eq!((status.field("tables").array().len(), status.field("damage")), (1, &Pack::Nil));
    it.nothing(26, map! { "request" => 1_000_u64 });
    it.nothing(25, map! { "leases" => vec![Pack::Uint(9)] });
    assert_eq!(it.ok(24, map! { "memory" => false, "files" => false }).field("memory").uint(), 0);
    assert_eq!(it.call(24, map! { "memory" => true, "files" => false }), Err(100), "once");
    assert!(sequence(it.ok(20, map! { "name" => "t" }).field("version")) > before);
    assert_eq!(it.call(5, map! { "table" => table }), Err(101));
    assert_eq!(it.client.call(4711, map! {}), Err(113));

    // A query changes nothing, and a build without SQL has no statements.
    let query = map! { "text" => "SELECT 1", "parameters" => Vec::<Pack>::new() };
    assert_eq!(it.call(35, query), Err(113));

    // No source feeds a table of this cache.
    assert!(it.ok(33, map! {}).field("refreshes").array().is_empty());
    assert_eq!(it.call(32, map! { "name" => "t" }), Err(100));
    assert_eq!(it.call(36, map! { "name" => "t" }), Err(101), "it was dropped");
    let position = map! { "table" => "t", "position" => Pack::Bin(b"0/1".to_vec()), "limit" => 10_u64 };
    assert_eq!(it.call(37, position), Err(100));
    assert_eq!(it.call(34, map! { "table" => "t", "action" => "Pause" }), Err(100));

    let documented: Vec<u16> = documented_calls().into_iter().map(|(number, _)| number).collect();
    assert_eq!(it.called.into_iter().collect::<Vec<_>>(), documented, "every call was made");
    drop(it.client);
    served.server.stop();
}

/// `rows` rows of those types whose layouts differ.
fn mixed(rows: i64) -> RecordBatch {
    let text = |row: i64| (row % 7 > 0).then(|| "x".repeat(usize::try_from(row % 40).unwrap()));
    let lists = (0..rows).map(|row| (row % 4 > 0).then(|| (0..i32::try_from(row % 5).unwrap()).map(Some)));
    let columns: [(&str, ArrayRef); 6] = [
        ("id", Arc::new(Int64Array::from_iter_values(0..rows))),
        ("text", Arc::new(StringArray::from_iter((0..rows).map(text)))),
        ("view", Arc::new(StringViewArray::from_iter((0..rows).map(text)))),
        (
            "flag",
            Arc::new(BooleanArray::from_iter((0..rows).map(|row| (row % 5 > 0).then_some(row % 2 > 0)))),
        ),
        ("list", Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists))),
        (
            "half",
            Arc::new(Float64Array::from_iter((0..rows).map(|row| (row % 3 > 0).then_some(row as f64 / 2.0)))),
        ),
    ];
    let nullable = columns.map(|(name, column)| (name, column, name != "id"));
    RecordBatch::try_from_iter_with_nullable(nullable).unwrap()
}

const MIXED_ROWS: i64 = 20_000;

/// Lease, number of files, and length of the body of a layout.
type Kind = (u64, usize, u64);

/// The portions of a cursor as layouts: their rows, and the kind of each.
fn portions(client: &mut RawClient, cursor: &Pack, places: &Places<'_>) -> (Vec<Vec<Cell>>, Vec<Kind>) {
    let schema = schema_of(cursor.field("schema").bin());
    let mut portion = cursor.field("first").clone();
    let (mut rows, mut kinds) = (Vec::new(), Vec::new());
    loop {
        if !portion.field("layout").bin().is_empty() {
            let layout = read(portion.field("layout").bin(), &schema, places);
            kinds.push((layout.lease, layout.files.len(), layout.body_len));
            rows.extend(layout.rows);
            if layout.lease > 0 {
                client.ok(25, map! { "leases" => vec![Pack::Uint(layout.lease)] });
            }
        }
        if portion.field("last").bool() {
            return (rows, kinds);
        }
        portion = client.ok(15, map! { "id" => cursor.field("id").clone() });
    }
}

#[test]
fn layouts_are_read_from_body_memory_and_files() {
    let served = Served::new();
    let all = mixed(MIXED_ROWS);
    let table = RawClient::connect(&served.socket()).define("m", "id", &all);
    let expected = cells(&all);
    let scan = map! { "table" => table };

    // In the shared memory of the connection.
    let mut client = RawClient::connect(&served.socket());
    let share = client.exchange(24, &map! { "memory" => true, "files" => false });
    let memory = share.outcome().unwrap().field("memory").uint();
    assert_eq!(memory, 32 << 20);
    let arena = share.descriptor.unwrap();
    let seals = rustix::fs::fcntl_get_seals(&arena).unwrap();
    assert!(seals.contains(SealFlags::SHRINK), "{seals:?}");
    assert_eq!(arena.metadata().unwrap().len(), memory);
    let places = Places { arena: Some(&arena), ..Places::default() };
    let cursor = client.ok(10, scan.clone());
    let (rows, kinds) = portions(&mut client, &cursor, &places);
    assert_eq!(rows, expected);
    assert!(kinds.iter().any(|(lease, ..)| *lease > 0), "{kinds:?}");
    assert!(kinds.iter().all(|(_, files, _)| *files == 0), "{kinds:?}");

    // A dictionary follows the array that refers to it.
    let text = "SELECT id, arrow_cast(text, 'Dictionary(Int32, Utf8)') AS d FROM m ORDER BY id";
    let cursor = client.ok(11, map! { "text" => text, "parameters" => Vec::<Pack>::new() });
    let (rows, kinds) = portions(&mut client, &cursor, &places);
    assert!(kinds.iter().any(|(lease, ..)| *lease > 0), "{kinds:?}");
    assert!(rows.iter().zip(&expected).all(|(row, expected)| row[..] == expected[..2]));
    assert_eq!(rows.len(), expected.len());

    // In the message: few rows are not worth a lease.
    let schema = schema_of(client.ok(5, map! { "table" => table }).field("schema").bin());
    for key in [0, 1, 7, 12, MIXED_ROWS - 1] {
        let found = client.ok(6, get(table, key));
        let layout = read(found.field("layout").bin(), &schema, &places);
        assert_eq!((layout.lease, layout.batches), (0, 1));
        assert!(layout.body_len > 0);
        assert_eq!(layout.rows, [expected[usize::try_from(key).unwrap()].clone()]);
    }
    assert_eq!(client.ok(6, get(table, -1)).field("layout"), &Pack::Nil);
    let keys = (0..MIXED_ROWS).rev().step_by(7).map(|key| Pack::from(vec![int(key)])).collect::<Vec<_>>();
    let found = client.ok(7, map! { "table" => table, "keys" => keys });
    let layout = read(found.field("layout").bin(), &schema, &places);
    assert!(layout.lease > 0);
    assert_eq!(layout.rows, expected.iter().rev().step_by(7).cloned().collect::<Vec<_>>());

    // Without shared memory, everything is in the message.
    let mut client = RawClient::connect(&served.socket());
    client.ok(24, map! { "memory" => false, "files" => false });
    let cursor = client.ok(10, scan.clone());
    let (rows, kinds) = portions(&mut client, &cursor, &Places::default());
    assert_eq!(rows, expected);
    assert!(kinds.iter().all(|(lease, files, _)| *lease == 0 && *files == 0), "{kinds:?}");

    // In files, even if the table is replaced while the cursor is held.
    let mut client = RawClient::connect(&served.socket());
    client.ok(24, map! { "memory" => false, "files" => true });
    let dir = served.dir.path().join("cache");
    let places = Places { dir: Some(&dir), ..Places::default() };
    let cursor = client.ok(10, scan);
    served.cache.table("m").unwrap().replace(mixed(1)).unwrap();
    let (rows, kinds) = portions(&mut client, &cursor, &places);
    assert_eq!(rows, expected);
    assert!(kinds.iter().any(|(_, files, _)| *files > 0), "{kinds:?}");
    client.ok(16, map! { "id" => cursor.field("id").clone() });
}

/// The example of the document, byte by byte.
#[test]
fn the_bytes_of_the_document_are_those_of_the_sidecar() {
    use std::io::{Read, Write};
    let document =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/protocol.md")).unwrap();
    let example = document.split("```text\n").last().unwrap().split("```").next().unwrap();
    let bytes = |part: &str| -> Vec<u8> {
        let is_byte = |word: &&str| word.len() == 2 && word.bytes().all(|c| c.is_ascii_hexdigit());
        let words = part
            .lines()
            .flat_map(|line| line.split("  ").flat_map(str::split_whitespace).take_while(is_byte));
        words.map(|word| u8::from_str_radix(word, 16).unwrap()).collect()
    };
    let (request, answer) = example.split_once("\n\n").unwrap();
    let (request, answer) = (bytes(request), bytes(answer));
    assert_eq!((request.len(), answer.len()), (37, 56));
    let served = Served::new();
    let mut client = RawClient::connect(&served.socket());
    client.stream.write_all(&request).unwrap();
    let mut got = vec![0; answer.len()];
    client.stream.read_exact(&mut got).unwrap();
    assert_eq!(got, answer);
}
