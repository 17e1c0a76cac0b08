//! Clients that break the protocol in every way: others notice nothing, and the server holds nothing of them afterwards.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use arrow::ipc::writer::StreamWriter;
use pillion::{Attach, Cache, ConnectOptions, ServerOptions};

use crate::raw::msgpack::{Pack, map};
use crate::raw::{RawClient, documented_calls, get, int, schema_stream, stream};
use crate::support::random::Random;
use crate::support::serving::{ROWS, Serving, Settings, eventually};
use crate::support::{ids_of, name_of, numbered};

/// Number of the table `t`, the first of its cache.
const TABLE: u64 = 0;
/// Most things of each kind that a connection may hold, and most uploads.
const HELD_MAX: usize = 256;
const UPLOADS_MAX: usize = 8;
/// A query that would run for ages.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000000) WHERE value < 0";

/// A server that soon disconnects clients that do nothing.
const IMPATIENT: Settings = Settings { timeout_ms: 2_000, memory: (4 << 20, 64 << 20), connections_max: 64 };

/// Does something hostile while a good client is at work. Fails if that client noticed, or if the server kept
/// anything.
fn beside_others(settings: Settings, hostile: impl FnOnce(&Path, &Serving)) {
    let (_dir, mut serving) = Serving::temporary(settings);
    let socket = serving.socket();
    let good = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    read_all(&good, 1);
    serving.settles(1, &serving.descriptors());
    let before = serving.descriptors();
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let at_work = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                read_all(&good, rounds.fetch_add(1, Ordering::Relaxed));
                // This leaves the rest of the machine to the hostile client.
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let ends = Ends(&over);
        // On a busy machine the good client may begin late.
        eventually(|| rounds.load(Ordering::Relaxed) > 0, || "nobody is at work".to_owned());
        hostile(&socket, &serving);
        drop(ends);
        at_work.join().unwrap();
    });
    read_all(&good, 2);
    serving.settles(1, &before);
    drop(good);
    serving.reaches(0);
    eventually(|| serving.threads() == 0, || format!("{} threads are left", serving.threads()));
    assert_eq!(serving.arenas(), 0, "{:?}", serving.descriptors());
    serving.finish();
}

/// Sets its flag when dropped, even by a failure.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Every kind of read, with its answer checked.
fn read_all(cache: &Cache, round: usize) {
    let table = cache.table("t").unwrap();
    let key = i64::try_from(round).unwrap() * 37 % ROWS;
    let row = table.get(key).unwrap().unwrap();
    assert_eq!(row.get::<&str>("name").unwrap(), name_of(key));
    assert!(ids_of(&table).unwrap().into_iter().eq(0..ROWS));
    let answer = cache.sql("SELECT * FROM t WHERE id >= $1 ORDER BY id", &[key.into()]).unwrap();
    assert_eq!(answer.concat().unwrap().columns(), numbered(key..ROWS).columns());
}

/// Sends bytes to a server, which may close the connection meanwhile.
fn sent(client: &mut RawClient, bytes: &[u8]) {
    let _ = client.stream.write_all(bytes);
}

/// Reads all answers until the server closes the connection; returns their number.
fn drained(client: &mut RawClient) -> usize {
    std::iter::from_fn(|| client.receive()).count()
}

#[test]
fn garbage_ends_its_connection_or_is_answered_with_an_error() {
    beside_others(Settings::default(), |socket, _| {
        let mut random = Random::new(31);
        for round in 0..200_u64 {
            let mut client = match round % 2 {
                0 => RawClient::silent(socket),
                _ => RawClient::connect(socket),
            };
            let most = 1 << random.below(16);
            let len = random.below(most);
            let mut garbage: Vec<u8> = (0..len).map(|_| random.next().to_le_bytes()[0]).collect();
            if round % 3 == 0 && garbage.len() > 16 {
                // The length is possible, so the server takes it for that of a frame.
                let len = u32::try_from(garbage.len() - 16).unwrap();
                garbage[..4].copy_from_slice(&len.to_le_bytes());
                garbage[4] %= 30;
                garbage[5..8].fill(0);
            }
            sent(&mut client, &garbage);
            let _ = client.stream.shutdown(Shutdown::Write);
            drained(&mut client);
        }
    });
}

#[test]
fn half_a_frame_and_silence_end_the_connection() {
    beside_others(IMPATIENT, |socket, _| {
        let whole = RawClient::frame(6, 0, 1, &get(TABLE, 1).encode());
        let mut waiting: Vec<RawClient> = Vec::new();
        for len in [0, 1, 15, 16, 17, whole.len() - 1] {
            let mut silent = RawClient::silent(socket);
            sent(&mut silent, &whole[..len]);
            waiting.push(silent);
            if len > 0 {
                let mut greeted = RawClient::connect(socket);
                sent(&mut greeted, &whole[..len]);
                waiting.push(greeted);
            }
        }
        // The longest possible body is announced and never sent.
        let mut large = RawClient::connect(socket);
        sent(&mut large, &RawClient::frame(18, 0, 1, &[])[4..]);
        waiting.push(large);
        assert!(waiting.iter_mut().all(RawClient::is_closed));
        // A client that is merely idle stays connected.
        let mut idle = RawClient::connect(socket);
        std::thread::sleep(Duration::from_millis(2 * IMPATIENT.timeout_ms));
        idle.ok(2, map! {});
    });
}

/// Each call of this client is answered, but none of them is the hello that it must begin with.
#[test]
fn who_never_says_hello_is_let_go_whatever_else_it_says() {
    beside_others(IMPATIENT, |socket, _| {
        let mut client = RawClient::silent(socket);
        let calls = std::iter::repeat_with(|| {
            std::thread::sleep(Duration::from_millis(IMPATIENT.timeout_ms / 4));
            sent(&mut client, &RawClient::frame(2, 0, 1, &map! {}.encode()));
            client.receive()
        });
        assert!(calls.take(20).any(|answer| answer.is_none()), "it is still there");
    });
}

#[test]
fn a_length_above_the_limit_ends_the_connection() {
    beside_others(Settings::default(), |socket, _| {
        for len in [(16 << 20) + 1, 1 << 31, u32::MAX] {
            for mut client in [RawClient::silent(socket), RawClient::connect(socket)] {
                let mut header = RawClient::frame(2, 0, 1, &[]);
                header[..4].copy_from_slice(&len.to_le_bytes());
                sent(&mut client, &header);
                assert!(client.is_closed(), "{len}");
            }
        }
    });
}

#[test]
fn a_descriptor_from_a_client_ends_the_connection() {
    use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg};
    use std::os::fd::AsRawFd;
    beside_others(Settings::default(), |socket, _| {
        for count in [1, 3, 200] {
            let mut client = RawClient::connect(socket);
            let file = tempfile::tempfile().unwrap();
            let numbers = vec![file.as_fd().as_raw_fd(); count];
            let frame = RawClient::frame(2, 0, 9, &map! {}.encode());
            let parts = [std::io::IoSlice::new(&frame)];
            let control = [ControlMessage::ScmRights(&numbers)];
            sendmsg::<()>(client.stream.as_raw_fd(), &parts, &control, MsgFlags::empty(), None).unwrap();
            assert!(client.is_closed());
        }
    });
}

#[test]
fn calls_before_hello_and_strange_hellos_are_errors() {
    beside_others(Settings::default(), |socket, _| {
        let hello = |version: u64| map! { "protocol" => version, "client" => "strange" };
        let mut client = RawClient::silent(socket);
        for (call, _) in documented_calls() {
            if call != 1 {
                assert_eq!(client.call(call, map! {}), Err(100), "{call}");
            }
        }
        assert_eq!(client.call(1, hello(0)), Err(113));
        assert_eq!(client.call(2, map! {}), Err(100), "not greeted yet");
        for wrong in [map! {}, map! { "protocol" => "1", "client" => "x" }, Pack::Nil, hello(1 << 32)] {
            assert_eq!(client.call(1, wrong), Err(100));
        }
        assert_eq!(client.ok(1, hello(999)).field("protocol").uint(), 1);
        assert_eq!(client.ok(1, hello(1)).field("protocol").uint(), 1, "again");
        for call in [0, 38, 4711, u16::MAX] {
            assert_eq!(client.call(call, map! {}), Err(113), "{call}");
        }
        client.ok(2, map! {});
    });
}

/// A valid request of every call except hello.
fn requests() -> Vec<(u16, Pack)> {
    let kind = map! { "Append" => map! { "table" => TABLE } };
    let begin = map! { "kind" => kind, "schema" => schema_stream(&numbered([]).schema()) };
    let none = Vec::<Pack>::new;
    vec![
        (2, map! { "snapshot" => Pack::Nil }),
        (3, map! { "snapshot" => Pack::Nil }),
        (4, map! { "snapshot" => Pack::Nil, "name" => "t" }),
        (5, map! { "snapshot" => Pack::Nil, "table" => TABLE }),
        (6, get(TABLE, 5)),
        (7, map! { "table" => TABLE, "keys" => vec![Pack::from(vec![int(1)])] }),
        (9, map! { "snapshot" => 77_u64 }),
        (10, map! { "table" => TABLE, "columns" => vec![Pack::from("id")] }),
        (11, map! { "text" => "SELECT 1", "parameters" => none() }),
        (12, map! { "text" => "SELECT 1" }),
        (14, map! { "id" => 77_u64 }),
        (16, map! { "id" => 77_u64 }),
        (17, begin),
        (20, map! { "name" => "no such table" }),
        (23, map! { "id" => 77_u64 }),
        (24, map! { "memory" => false, "files" => false }),
        (25, map! { "leases" => none() }),
        (26, map! { "request" => 77_u64 }),
        (33, map! {}),
    ]
}

#[test]
fn bodies_that_are_no_message_are_errors_and_unknown_fields_are_not() {
    beside_others(Settings::default(), |socket, _| {
        let mut client = RawClient::connect(socket);
        let unfit = [
            Pack::Nil,
            Pack::Uint(u64::MAX),
            Pack::Int(-1),
            Pack::Float(0.5),
            Pack::from("x"),
            Pack::Bin(vec![1, 2]),
            Pack::Array(vec![Pack::Nil]),
            map! { "snapshot" => "x" },
        ];
        for (call, good) in requests() {
            let Pack::Map(fields) = &good else { panic!("{good:?}") };
            let required: Vec<usize> = (0..fields.len()).filter(|n| fields[*n].1 != Pack::Nil).collect();
            for wrong in &unfit {
                let answer = client.exchange(call, wrong);
                // A server may take an array for the fields in their order; there must be an answer, whichever it is.
                let may_fit = matches!(wrong, Pack::Array(_) | Pack::Bin(_) | Pack::Map(_));
                assert!(answer.outcome() == Err(100) || may_fit, "{call} {wrong:?}");
                for &position in &required {
                    let mut fields = fields.clone();
                    fields[position].1 = wrong.clone();
                    // The request may be valid by chance; there must be an answer, whichever it is.
                    client.exchange(call, &Pack::Map(fields));
                }
            }
            for &position in &required {
                let mut fields = fields.clone();
                let (name, _) = fields.remove(position);
                let is_optional = [Pack::from("snapshot"), Pack::from("columns")].contains(&name);
                let outcome = client.call(call, Pack::Map(fields));
                assert_eq!(outcome.is_ok(), is_optional, "{call} lacks {name:?}: {outcome:?}");
            }
            let bytes = good.encode();
            for len in 0..bytes.len() {
                sent(&mut client, &RawClient::frame(call, 0, 0, &bytes[..len]));
                assert!(client.receive().unwrap().is_error, "{call} cut to {len} bytes");
            }
            let mut client = RawClient::connect(socket);
            let mut fields = fields.clone();
            let nested = map! { "a" => vec![map! { "b" => Pack::Nil }, Pack::Bin(vec![0; 300])] };
            fields.insert(0, (Pack::from("unknown"), nested));
            fields.push((Pack::from("also unknown"), Pack::Float(1.5)));
            let outcome = client.call(call, Pack::Map(fields));
            assert!(matches!(outcome, Ok(_) | Err(101)), "{call}: {outcome:?}");
        }
        // So deep that a recursive reader would need more stack than there is.
        for unit in [&[0x91][..], &[0x81, 0xA1, b'x'], &[0x81, 0x91]] {
            let mut deep = vec![0x81, 0xA1, b'x'];
            deep.extend(unit.repeat(400_000));
            for call in [1, 7] {
                sent(&mut client, &RawClient::frame(call, 0, 0, &deep));
                assert_eq!(client.receive().unwrap().outcome(), Err(100));
            }
        }
        // These lengths exceed the message.
        for kind in [&[0xC6][..], &[0xDB], &[0xDD], &[0xDF], &[0x81, 0xA4, b'k', b'e', b'y', b's', 0xDD]] {
            let body = [kind, &[0xFF; 4]].concat();
            for call in [1, 2, 7, 11, 25] {
                sent(&mut client, &RawClient::frame(call, 0, 0, &body));
                assert_eq!(client.receive().unwrap().outcome(), Err(100));
            }
        }
    });
}

#[test]
fn malformed_rows_are_errors() {
    beside_others(Settings::default(), |socket, _| {
        let mut client = RawClient::connect(socket);
        let schema = schema_stream(&numbered([]).schema());
        let rows = stream(&numbered(0..3));
        let begin = |schema: Vec<u8>| {
            map! { "kind" => map! { "Append" => map! { "table" => TABLE } }, "schema" => schema }
        };
        let mut changed = Vec::new();
        for position in (0..rows.len() / 8).map(|n| 8 * n) {
            for word in [u64::MAX, 1 << 62, 1 << 45, 1 << 31, 0xFFFF_FFF0] {
                let mut rows = rows.clone();
                rows[position..position + 8].copy_from_slice(&word.to_le_bytes());
                changed.push(rows);
            }
        }
        for bit in (0..8 * rows.len()).step_by(3) {
            let mut rows = rows.clone();
            rows[bit / 8] ^= 1 << (bit % 8);
            changed.push(rows);
        }
        changed.extend((0..rows.len()).map(|len| rows[..len].to_vec()));
        let begun = |client: &mut RawClient| client.ok(17, begin(schema.clone())).field("id").uint();
        let mut upload = begun(&mut client);
        let (all, mut refused) = (changed.len(), 0);
        for (number, rows) in changed.into_iter().enumerate() {
            let written = client.call(18, map! { "id" => upload, "rows" => rows.clone() });
            if written == Err(100) {
                refused += 1;
            } else {
                // These may still be rows, or they are refused and the upload may be over.
                client.ok(23, map! { "id" => upload });
                upload = begun(&mut client);
            }
            if number % 8 == 0 {
                let new = map! { "Define" => map! {
                    "name" => "new", "primary_key" => Vec::<Pack>::new(), "sort_by" => Vec::<Pack>::new(),
                }};
                if let Ok(begun) = client.call(17, map! { "kind" => new, "schema" => rows }) {
                    client.ok(23, map! { "id" => begun.field("id").clone() });
                }
            }
        }
        client.ok(23, map! { "id" => upload });
        assert!(2 * refused > all, "only {refused} of {all} are refused");
        // A stream with a second batch is refused.
        let mut two = StreamWriter::try_new(Vec::new(), &numbered([]).schema()).unwrap();
        (0..2).for_each(|_| two.write(&numbered(0..3)).unwrap());
        let upload = client.ok(17, begin(schema)).field("id").uint();
        let written = client.call(18, map! { "id" => upload, "rows" => two.into_inner().unwrap() });
        assert_eq!(written, Err(100));
    });
}

#[test]
fn numbers_that_are_used_twice_or_never_held_do_no_harm() {
    beside_others(Settings::default(), |socket, _| {
        let mut client = RawClient::connect(socket);
        client.ok(24, map! { "memory" => true, "files" => false });
        // Many requests with the same number, all sent before an answer is read.
        let scan = RawClient::frame(10, 0, 5, &map! { "table" => TABLE }.encode());
        let lookup = RawClient::frame(6, 0, 5, &get(TABLE, 3).encode());
        let many = [scan, lookup].concat().repeat(40);
        sent(&mut client, &many);
        for _ in 0..80 {
            let answer = client.receive().unwrap();
            assert_eq!((answer.request, answer.is_error), (5, false));
        }
        // All of them are cancelled at once, and more than once.
        for _ in 0..3 {
            client.ok(26, map! { "request" => 5_u64 });
        }
        for id in (0..40).chain([u64::MAX]) {
            client.ok(9, map! { "snapshot" => id });
            client.ok(14, map! { "id" => id });
            client.ok(16, map! { "id" => id });
            client.ok(23, map! { "id" => id });
            client.ok(26, map! { "request" => id });
            assert_eq!(client.call(15, map! { "id" => id }), Err(100));
            assert_eq!(client.call(13, map! { "id" => id, "parameters" => Vec::<Pack>::new() }), Err(100));
            assert_eq!(client.call(18, map! { "id" => id, "rows" => stream(&numbered([1])) }), Err(100));
            assert_eq!(client.call(19, map! { "id" => id }), Err(100));
            assert_eq!(client.call(2, map! { "snapshot" => id }), Err(100));
        }
        // Returns leases of others, and its own ones many times.
        let leases: Vec<Pack> = (0..10_000_u64).map(Pack::Uint).collect();
        for _ in 0..5 {
            client.ok(25, map! { "leases" => leases.clone() });
            client.ok(10, map! { "table" => TABLE });
        }
    });
}

/// A client may use a request number several times, and yet its queries end when it goes.
#[test]
fn endless_queries_with_one_number_end_with_their_client() {
    beside_others(Settings::default(), |socket, _| {
        let body = map! { "text" => ENDLESS, "parameters" => Vec::<Pack>::new() }.encode();
        for count in [1, 2, 5] {
            let mut client = RawClient::connect(socket);
            sent(&mut client, &RawClient::frame(11, 0, 7, &body).repeat(count));
            sent(&mut client, &RawClient::frame(2, 0, 7, &map! {}.encode()));
            // The last call is answered, so the queries are under way.
            assert_eq!(client.receive().unwrap().call, 2);
        }
    });
}

/// Even a connection with as many running queries as it may have can cancel them, and its end is noticed.
#[test]
fn as_many_endless_queries_as_there_may_be_can_be_ended() {
    beside_others(Settings::default(), |socket, _| {
        let body = map! { "text" => ENDLESS, "parameters" => Vec::<Pack>::new() };
        let mut client = RawClient::connect(socket);
        let requests: Vec<u64> = (0..40).map(|_| client.send(11, &body)).collect();
        for request in requests {
            client.tell(26, &map! { "request" => request });
        }
        for _ in 0..40 {
            // An answer comes, whatever it says, and what it gave was taken back.
            let answer = client.receive().unwrap().outcome();
            assert!(matches!(answer, Ok(_) | Err(406)), "{answer:?}");
        }
        client.ok(2, map! {});
        for count in [32, 33, 300] {
            let mut client = RawClient::connect(socket);
            for _ in 0..count {
                client.send(11, &body);
            }
        }
    });
}

#[test]
fn what_a_connection_holds_is_limited_and_let_go_of() {
    let room_for_one = Settings { memory: (1 << 20, 2 << 20), ..Settings::default() };
    beside_others(room_for_one, |socket, serving| {
        for _ in 0..3 {
            let mut client = RawClient::connect(socket);
            let share = client.exchange(24, &map! { "memory" => true, "files" => true });
            assert_eq!(share.outcome().unwrap().field("memory").uint(), 1 << 20, "there is room again");
            eventually(|| serving.arenas() == 2, || format!("{} arenas", serving.arenas()));
            // The cursor names files, which have to stay until it is closed.
            let scan = map! { "table" => TABLE };
            let text = map! { "text" => "SELECT $1" };
            for (most, call, body) in [(HELD_MAX, 8, map! {}), (HELD_MAX, 10, scan), (HELD_MAX, 12, text)] {
                let outcomes = (0..most + 20).map(|_| client.call(call, body.clone()));
                let refused = outcomes.filter(|outcome| *outcome == Err(403)).count();
                assert_eq!(refused, 20, "call {call}");
            }
            let schema = schema_stream(&numbered([]).schema());
            for number in 0..UPLOADS_MAX + 2 {
                let kind = map! { "Define" => map! {
                    "name" => format!("new {number}").as_str(), "primary_key" => vec![Pack::from("id")],
                    "sort_by" => Vec::<Pack>::new(),
                }};
                let begun = client.call(17, map! { "kind" => kind, "schema" => schema.clone() });
                assert_eq!(begun.is_ok(), number < UPLOADS_MAX, "{begun:?}");
            }
            let keys = vec![Pack::from(vec![int(1)]); 100_001];
            assert_eq!(client.call(7, map! { "table" => TABLE, "keys" => keys }), Err(118));
            // This message has few bytes and would take much memory; the next one has a single long key.
            let keys = vec![Pack::Array(Vec::new()); 4_000_000];
            assert_eq!(client.call(7, map! { "table" => TABLE, "keys" => keys }), Err(118));
            let long = Pack::from("x".repeat(5 << 20).as_str());
            let keys = vec![Pack::from(vec![map! { "str" => long }])];
            assert_eq!(client.call(7, map! { "table" => TABLE, "keys" => keys }), Err(118));
            client.ok(6, get(TABLE, 1));
            drop(client);
            // Its threads end, and then its memory is free for the next client.
            let mut next = RawClient::connect(socket);
            eventually(|| serving.arenas() == 1, || "its memory is kept".to_owned());
            assert_eq!(next.ok(3, map! {}).array().len(), 1, "nothing was committed");
        }
    });
}

/// A few kilobytes of keys ask for a hundred gigabytes of rows.
#[test]
fn an_answer_to_many_keys_has_a_bound() {
    beside_others(Settings::default(), |socket, _| {
        let mut client = RawClient::connect(socket);
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let names: ArrayRef = Arc::new(StringArray::from(vec!["x".repeat(1 << 20); 3]));
        let rows = RecordBatch::try_new(numbered([]).schema(), vec![ids, names]).unwrap();
        let table = client.define("long", "id", &rows);
        let keys: Vec<Pack> = (0..100_000).map(|key| Pack::from(vec![int(key % 4)])).collect();
        let body = map! { "table" => table, "keys" => keys };
        assert_eq!(client.call(7, body.clone()), Err(118));
        // The answer has the first keys, and only their rows.
        let answer = client.ok(7, body.with("partial", true));
        let found: Vec<bool> = answer.field("found").array().iter().map(Pack::bool).collect();
        assert!(found.iter().enumerate().all(|(key, found)| *found == (key % 4 != 0)));
        assert_eq!(found.iter().filter(|found| **found).count(), 15, "of 16 MiB, with their other bytes");
        let rows = answer.field("rows").bin().len();
        assert!((15 << 20..17 << 20).contains(&rows), "{rows} bytes");
        client.ok(20, map! { "name" => "long" });
    });
}

#[test]
fn who_does_not_read_is_let_go() {
    beside_others(IMPATIENT, |socket, _| {
        let body = map! { "text" => "SELECT value FROM generate_series(1, 1000000000000000)", "parameters" => Vec::<Pack>::new() };
        for shares in [false, true] {
            let mut client = RawClient::connect(socket);
            if shares {
                client.ok(24, map! { "memory" => true, "files" => true });
            }
            let cursor = client.ok(11, body.clone()).field("id").uint();
            let next = RawClient::frame(15, 0, 9, &map! { "id" => cursor }.encode());
            // Until the server gives up: if nobody reads, the buffers of both ends fill up eventually.
            client.stream.set_write_timeout(None).unwrap();
            while client.stream.write_all(&next.repeat(100)).is_ok() {}
            let mut rest = Vec::new();
            let _ = client.stream.read_to_end(&mut rest);
        }
    });
}

#[test]
fn many_connections_that_come_and_go_leave_nothing() {
    beside_others(Settings { connections_max: 40, ..Settings::default() }, |socket, _| {
        for _ in 0..20 {
            let mut clients: Vec<RawClient> = (0..60).map(|_| RawClient::silent(socket)).collect();
            for (number, client) in clients.iter_mut().enumerate() {
                let hello = map! { "protocol" => 1_u64, "client" => "x" };
                let share = map! { "memory" => number % 2 > 0, "files" => true };
                sent(client, &RawClient::frame(1, 0, 1, &hello.encode()));
                sent(client, &RawClient::frame(24, 0, 2, &share.encode()));
                sent(client, &RawClient::frame(10, 0, 3, &map! { "table" => TABLE }.encode()));
            }
            if let Some(answer) = clients.iter_mut().find_map(RawClient::receive) {
                assert!(matches!(answer.outcome(), Ok(_) | Err(403)));
            }
        }
    });
}

#[test]
fn one_user_does_not_get_all_shared_memory() {
    const ONE: usize = 1 << 20;
    for (set, arenas) in [(None, 3), (Some(ONE), 1), (Some(0), 0)] {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("sock");
        let options = ServerOptions::new(&socket).shared_memory(4 * ONE).shared_memory_per_connection(ONE);
        let options = match set {
            Some(bytes) => options.shared_memory_per_user(bytes),
            None => options,
        };
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        let _server = cache.serve(options).unwrap();
        let shares = |client: &mut RawClient| {
            client.ok(24, map! { "memory" => true, "files" => false }).field("memory").uint() > 0
        };
        let mut clients: Vec<RawClient> = (0..5).map(|_| RawClient::connect(&socket)).collect();
        assert_eq!(clients.iter_mut().filter_map(|client| shares(client).then_some(())).count(), arenas);
    }
}
