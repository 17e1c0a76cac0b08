//! The conformance suite through a socket: an owner serves the cache, and clients read and write it in every way that a
//! client can. Server and clients are in one process; what they say goes through the kernel all the same.

use std::cell::Cell;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchIterator, StringArray};
use pillion::{
    Attach, Cache, ConnectOptions, ErrorCode, Input, Server, ServerOptions, TableDefinition, Version, Way,
};
use pillion_conformance::{Opened, Opener};
use tempfile::TempDir;

use crate::support::{PATIENCE, assert_ids, define, numbered, refused};

/// A client that asks the sidecar for everything. Answers come in shared memory, and name files that it opens.
mod remote {
    #[cfg(feature = "sql")]
    pillion_conformance::instantiate!(crate::through_socket::REMOTE);
    #[cfg(not(feature = "sql"))]
    pillion_conformance::instantiate!(crate::through_socket::REMOTE; base, following);
}

/// The same where the client does not see the directory and the sidecar shares no memory: everything goes through the
/// socket.
mod remote_apart {
    #[cfg(feature = "sql")]
    pillion_conformance::instantiate!(crate::through_socket::APART);
    #[cfg(not(feature = "sql"))]
    pillion_conformance::instantiate!(crate::through_socket::APART; base, following);
}

/// A client that maps the files and sends its writes; the handle under test sends nothing.
mod attached {
    #[cfg(feature = "sql")]
    pillion_conformance::instantiate!(crate::through_socket::ATTACHED);
    #[cfg(not(feature = "sql"))]
    pillion_conformance::instantiate!(crate::through_socket::ATTACHED; base, following);
}

const REMOTE: Client = Client { attach: Attach::Never, shares: true };
const APART: Client = Client { attach: Attach::Never, shares: false };
const ATTACHED: Client = Client { attach: Attach::Require, shares: true };

/// A client of a server.
#[derive(Clone, Copy)]
struct Client {
    attach: Attach,
    shares: bool,
}

struct ClientOpened {
    client: Client,
    writer: Option<Cache>,
    reader: Option<Cache>,
    server: Option<Server>,
    owner: Option<Cache>,
    /// Whether rows may come from a source, which a reader of the files asks the sidecar for.
    has_sources: Cell<bool>,
    dir: TempDir,
}

impl ClientOpened {
    fn open_all(&mut self) {
        let owner = Cache::open(self.dir.path().join("cache")).unwrap();
        let socket = self.dir.path().join("pillion.sock");
        let options = ServerOptions::new(&socket);
        let options = if self.client.shares { options } else { options.attach(false).shared_memory(0) };
        self.server = Some(owner.serve(options).unwrap());
        self.owner = Some(owner);
        let connect = || ConnectOptions::new().attach(self.client.attach).connect(&socket).unwrap();
        (self.writer, self.reader) = (Some(connect()), Some(connect()));
    }

    /// Checks that everything a behaviour did went the way that is tested.
    fn check_way(&self) {
        let reader = self.reader();
        if self.client.attach == Attach::Require {
            assert_eq!(reader.way(), Way::Attached);
            assert!(reader.messages_sent() == 0 || self.has_sources.get());
        } else {
            assert_eq!(reader.way(), Way::Remote);
        }
    }
}

impl Drop for ClientOpened {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.check_way();
        }
        // Clients first, as a server waits for their calls.
        self.writer = None;
        self.reader = None;
    }
}

impl Opener for Client {
    fn open(&self) -> Box<dyn Opened> {
        let mut opened = ClientOpened {
            client: *self,
            writer: None,
            reader: None,
            server: None,
            owner: None,
            has_sources: Cell::new(false),
            dir: tempfile::tempdir().unwrap(),
        };
        opened.open_all();
        Box::new(opened)
    }
}

impl Opened for ClientOpened {
    fn writer(&self) -> &Cache {
        self.writer.as_ref().unwrap()
    }

    fn reader(&self) -> &Cache {
        self.reader.as_ref().unwrap()
    }

    fn owner(&self) -> &Cache {
        self.has_sources.set(true);
        self.owner.as_ref().unwrap()
    }

    fn catch_up(&mut self, version: Version) {
        for cache in [self.reader(), self.writer()] {
            assert_eq!(
                cache.version().unwrap().includes(version),
                Some(true),
                "a client sees what was written, by itself or another"
            );
        }
    }

    fn reopen(&mut self) {
        self.check_way();
        (self.writer, self.reader) = (None, None);
        self.server = None;
        self.owner.take().unwrap().close().unwrap();
        self.open_all();
    }
}

/// The keys have more bytes than one request may have.
#[test]
fn many_long_keys_are_asked_for_in_parts() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Cache::open(dir.path().join("cache")).unwrap();
    let keys: Vec<String> = (0..600).map(|n| format!("{n:020000}")).collect();
    let column: ArrayRef = Arc::new(StringArray::from_iter_values(&keys));
    let rows = RecordBatch::try_from_iter([("k", column)]).unwrap();
    owner.define_table("long", TableDefinition::new(vec![rows]).primary_key(["k"])).unwrap();
    let socket = dir.path().join("pillion.sock");
    let _server = owner.serve(ServerOptions::new(&socket)).unwrap();
    let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    let table = client.table("long").unwrap();
    let mut asked = keys;
    asked.insert(300, "none".to_owned());
    let before = client.messages_sent();
    let rows = table.get_many(&asked).unwrap();
    assert!(client.messages_sent() - before > 1, "12 MB of keys in one message");
    assert_eq!(rows.len(), asked.len());
    for (asked, row) in asked.iter().zip(rows) {
        let found = row.map(|row| row.get::<String>("k").unwrap());
        assert_eq!(found.as_ref(), Some(asked).filter(|asked| *asked != "none"));
    }
}

/// A commit that waits for an upload to the same table does not hold up the connection that both come through.
#[test]
fn an_upload_goes_on_beside_a_commit_that_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Cache::open(dir.path().join("cache")).unwrap();
    let socket = dir.path().join("pillion.sock");
    let _server = owner.serve(ServerOptions::new(&socket)).unwrap();
    define(&owner, "t", 0..3).unwrap();
    let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    let table = client.table("t").unwrap();
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let parts = (1..5).map(move |part| {
        // Some parts are on their way by then, which are more than one message takes.
        if part == 4 {
            begun.send(()).unwrap();
            may_go_on.recv_timeout(PATIENCE).unwrap();
        }
        Ok(numbered(part * 100_000..(part + 1) * 100_000))
    });
    let rows = Input::reader(RecordBatchIterator::new(parts, numbered([]).schema()));
    std::thread::scope(|scope| {
        let upload = scope.spawn(|| table.append(rows).unwrap());
        has_begun.recv_timeout(PATIENCE).unwrap();
        let commits = [0, 1, 2].map(|id| {
            scope.spawn({
                let table = &table;
                move || table.upsert(numbered([id])).unwrap()
            })
        });
        // Long enough for the commits to arrive. If they do not, this tests nothing, and does not fail.
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(table.get(2).unwrap().unwrap().get::<i64>("id").unwrap(), 2);
        assert!(!upload.is_finished());
        go_on.send(()).unwrap();
        upload.join().unwrap();
        for commit in commits {
            commit.join().unwrap();
        }
    });
    assert_eq!(table.info().unwrap().rows, 400_003);
}

/// Long rows come in several answers, all of the version of the first, even if a row is asked for twice.
#[test]
fn many_long_rows_are_fetched_in_portions() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Cache::open(dir.path().join("cache")).unwrap();
    let named = |mark: char| {
        let rows: Vec<String> =
            (0..45).map(|id| format!("{id}{}", String::from(mark).repeat(1 << 20))).collect();
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..45));
        let names: ArrayRef = Arc::new(StringArray::from_iter_values(&rows));
        (RecordBatch::try_from_iter([("id", ids), ("name", names)]).unwrap(), rows)
    };
    let (batch, names) = named('x');
    let long = owner.define_table("long", TableDefinition::new(batch).primary_key(["id"])).unwrap();
    let socket = dir.path().join("pillion.sock");
    for shares in [true, false] {
        let options = ServerOptions::new(&socket);
        let options = if shares { options } else { options.attach(false).shared_memory(0) };
        let server = owner.serve(options).unwrap();
        let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
        let table = client.table("long").unwrap();
        // Short rows still come in one message.
        assert_eq!(table.get_many(&[-1, -2, 1]).unwrap().iter().flatten().count(), 1);
        let before = client.messages_sent();
        assert_eq!(table.get_many(&[-1, -2, 1]).unwrap().iter().flatten().count(), 1);
        assert_eq!(client.messages_sent() - before, 1);
        let asked: Vec<i64> = (0..45).chain([-1, 7, 7, -1]).collect();
        let rows = table.get_many(&asked).unwrap();
        assert!(client.messages_sent() - before > 3, "48 MiB in one answer");
        assert_eq!(rows.len(), asked.len());
        for (id, row) in asked.iter().zip(rows) {
            let found = row.map(|row| row.get::<String>("name").unwrap());
            assert!(found.as_ref() == usize::try_from(*id).ok().map(|id| &names[id]), "key {id}");
        }
        // A snapshot has rows that were changed since; the rest of them is asked for at its version.
        let held = client.snapshot().unwrap();
        long.upsert(named('y').0).unwrap();
        let rows = held.table("long").unwrap().get_many(&asked[..45]).unwrap();
        assert!(
            rows.iter()
                .zip(&names)
                .all(|(row, name)| row.as_ref().unwrap().get::<&str>("name").unwrap() == name)
        );
        long.upsert(named('x').0).unwrap();
        drop((held, rows, table, client));
        server.stop();
    }
}

/// The error names such a row and how long it may be, and nothing of its upload is committed.
#[test]
fn a_row_that_no_message_holds_is_refused_by_its_number() {
    let dir = tempfile::tempdir().unwrap();
    let owner = Cache::open(dir.path().join("cache")).unwrap();
    let socket = dir.path().join("pillion.sock");
    let _server = owner.serve(ServerOptions::new(&socket)).unwrap();
    define(&owner, "t", 0..3).unwrap();
    let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    let table = client.table("t").unwrap();
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![10, 11, 12]));
    let names: ArrayRef =
        Arc::new(StringArray::from(vec!["a".to_owned(), "b".repeat(17 << 20), "c".to_owned()]));
    let rows = RecordBatch::try_new(numbered([]).schema(), vec![ids, names]).unwrap();
    let told = ["row 2 ", &(17 << 20).to_string()[..3], "at most 16776192", "owner"];
    let writes = [
        table.append(rows.clone()),
        table.upsert(rows.clone()),
        table.replace(rows.clone()),
        client.transaction().upsert(&table, rows.clone()).commit(),
    ];
    for write in writes {
        refused(write, ErrorCode::InvalidArgument, &told);
    }
    refused(
        client.define_table("new", TableDefinition::new(rows.clone())),
        ErrorCode::InvalidArgument,
        &told,
    );
    assert_ids(&table, 0..3);
    assert_eq!(client.tables().unwrap().len(), 1);
    // The owner writes the row, and clients read it.
    owner.table("t").unwrap().append(rows).unwrap();
    let row = table.get(11).unwrap().unwrap();
    assert_eq!(row.get::<&str>("name").unwrap().len(), 17 << 20);
    assert_eq!(table.get_many(&[10, 11, 12]).unwrap().iter().flatten().count(), 3);
}
