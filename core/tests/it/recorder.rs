//! What a cache tells a recorder, and settings that change while it is open.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use pillion::{Cache, CacheOptions, ErrorCode, Event, Operation, Recorder, TableDefinition};

use crate::support::scripted_source::{
    Mood, ROWS, Scripted, batch as rows_batch, by_call, keyed, wait_until,
};

/// What was told, in words.
#[derive(Debug, Default)]
struct Notes(Mutex<Vec<String>>);

impl Recorder for Notes {
    fn record(&self, event: &Event<'_>) {
        let note = match event {
            Event::Call { door, operation, error, request_bytes, answer_bytes, .. } => {
                let has_bytes = *request_bytes > 0 && *answer_bytes > 0;
                format!("{door} {} {error:?} {has_bytes}", operation.name())
            }
            Event::Lookups { hits, misses } => format!("{hits} found, {misses} not"),
            Event::Statement { text, rows, error, .. } => format!("`{text}`: {rows} {error:?}"),
            Event::Refresh { table, source, rows, error, .. } => {
                format!("{table} from {source}: {rows} {error:?}")
            }
            Event::Upkeep { work, error, .. } => format!("{} {error:?}", work.name()),
            Event::Connection(event) => format!("client {}", event.name()),
            other => format!("{other:?}"),
        };
        self.0.lock().push(note);
    }
}

impl Notes {
    /// What was told since the last look, without the work of threads of the cache.
    fn take(&self) -> Vec<String> {
        let mut notes = std::mem::take(&mut *self.0.lock());
        notes.retain(|note| !["sync None", "expire None"].contains(&note.as_str()));
        notes
    }
}

fn recorded() -> (tempfile::TempDir, Arc<Notes>, Cache) {
    let dir = tempfile::tempdir().unwrap();
    let notes = Arc::new(Notes::default());
    let cache = CacheOptions::new().recorder(notes.clone()).open(dir.path().join("cache")).unwrap();
    cache.define_table("orders", TableDefinition::new(rows_batch(&ROWS)).primary_key(["id"])).unwrap();
    notes.take();
    (dir, notes, cache)
}

#[test]
fn calls_of_handles_are_told() {
    let (_dir, notes, cache) = recorded();
    let table = cache.table("orders").unwrap();
    assert!(table.get(1).unwrap().is_some());
    assert!(table.get(99).unwrap().is_none());
    assert_eq!(
        notes.take(),
        ["handle get None false", "1 found, 0 not", "handle get None false", "0 found, 1 not"]
    );
    table.get_many(&[1, 2, 99]).unwrap();
    assert_eq!(notes.take(), ["handle get_many None false", "2 found, 1 not"]);
    table.get("text").unwrap_err();
    assert_eq!(notes.take(), ["handle get Some(InvalidKey) false"]);
    table.delete(1).unwrap();
    cache.transaction().truncate(&table).commit().unwrap();
    assert_eq!(table.scan().unwrap().count(), 0);
    let told = notes.take();
    assert_eq!(told, ["handle write None false", "handle write None false", "handle scan None false"]);
    cache.compact().unwrap();
    assert_eq!(notes.take(), ["fold None"]);
    assert_eq!(
        Operation::ALL.iter().position(|it| *it == Operation::GetMany),
        Some(Operation::GetMany as usize)
    );
}

#[cfg(feature = "sql")]
#[test]
fn the_end_of_every_statement_is_told_once() {
    let (_dir, notes, cache) = recorded();
    let ends = || notes.take().into_iter().filter(|note| note.starts_with('`')).collect::<Vec<_>>();
    let text = "SELECT id FROM orders WHERE id < 3";
    let mut answer = cache.sql(text, &[]).unwrap();
    answer.next().unwrap().unwrap();
    assert_eq!(ends(), [""; 0], "its end was not read yet");
    assert!(answer.next().is_none());
    drop(answer);
    assert_eq!(ends(), [format!("`{text}`: 2 None")]);
    drop(cache.sql(text, &[]).unwrap());
    assert_eq!(ends(), [format!("`{text}`: 0 None")], "nobody wanted its rows");
    cache.sql("SELECT none FROM orders", &[]).unwrap_err();
    assert_eq!(ends().len(), 1);
    // By the engine first, and by the key index then.
    let by_key = cache.prepare("SELECT name FROM orders WHERE id = $1").unwrap();
    for _ in 0..3 {
        by_key.execute(&[1.into()]).unwrap().concat().unwrap();
        assert_eq!(ends(), ["`SELECT name FROM orders WHERE id = $1`: 1 None"]);
    }
    let deletes = "DELETE FROM orders WHERE id > 2";
    let deleted = cache.execute(deletes, &[]).unwrap();
    assert_eq!(ends(), [format!("`{deletes}`: {} None", deleted.rows)]);
    cache.execute("DELETE FROM nowhere", &[]).unwrap_err();
    assert_eq!(ends(), ["`DELETE FROM nowhere`: 0 Some(TableNotFound)"]);
    let failing = cache.sql("SELECT 1 / (id - 1) FROM orders", &[]).unwrap();
    failing.collect_all().unwrap_err();
    assert_eq!(ends(), ["`SELECT 1 / (id - 1) FROM orders`: 0 Some(Execution)"]);
    let cancelled = cache.sql(text, &[]).unwrap();
    cancelled.canceller().cancel();
    cancelled.collect_all().unwrap_err();
    assert_eq!(ends(), [format!("`{text}`: 0 Some(Cancelled)")]);
}

#[cfg(feature = "sidecar")]
#[test]
fn calls_of_clients_are_told_with_their_bytes() {
    use pillion::ServerOptions;

    let (dir, notes, cache) = recorded();
    let server = cache.serve(ServerOptions::new(dir.path().join("sock"))).unwrap();
    let monitor = server.monitor();
    let options = pillion::ConnectOptions::new().attach(pillion::Attach::Never);
    let client = options.deadline(Duration::from_secs(60)).connect(dir.path().join("sock")).unwrap();
    let table = client.table("orders").unwrap();
    assert_eq!(monitor.stats().unwrap().connections, 1);
    let told = notes.take();
    assert_eq!(told.first().unwrap(), "client opened");
    assert!(told.contains(&"socket session None true".to_owned()), "{told:?}");
    assert!(told.contains(&"socket catalog None true".to_owned()), "{told:?}");
    assert!(table.get(1).unwrap().is_some());
    assert!(table.get(99).unwrap().is_none());
    let told = notes.take();
    assert_eq!(told, ["1 found, 0 not", "socket get None true", "0 found, 1 not", "socket get None true"]);
    drop((table, client));
    wait_until("the end of the connection", || monitor.stats().unwrap().connections == 0);
    wait_until("its note", || notes.0.lock().iter().any(|note| note == "client closed"));
    server.stop();
    assert_eq!(monitor.stats(), None);
    // Whoever comes and is refused.
    let others = ServerOptions::new(dir.path().join("sock"));
    let server = cache.serve(others.clone().connections_max(0)).unwrap();
    let connect = || Cache::connect(dir.path().join("sock"), Duration::from_secs(60)).unwrap_err().code();
    assert_eq!(connect(), ErrorCode::TooMany);
    assert!(notes.take().contains(&"client refused".to_owned()));
    // Limits and users change while it serves.
    server.adjust(&others.clone().allow_uids([u32::MAX]));
    assert_eq!(connect(), ErrorCode::PermissionDenied);
    assert!(notes.take().contains(&"client denied".to_owned()));
    server.adjust(&others);
    Cache::connect(dir.path().join("sock"), Duration::from_secs(60)).unwrap().version().unwrap();
}

/// Calls that are refused because too many wait are told as those that fail, with the time that they took.
#[cfg(feature = "sql")]
#[test]
fn calls_that_are_refused_are_told() {
    use crate::raw::RawClient;
    use crate::raw::msgpack::{Pack, map};
    use pillion::ServerOptions;

    const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000000) WHERE value < 0";
    const SENT: usize = 300;
    let (dir, notes, cache) = recorded();
    let server = cache.serve(ServerOptions::new(dir.path().join("sock"))).unwrap();
    let mut client = RawClient::connect(&dir.path().join("sock"));
    let body = map! { "text" => ENDLESS, "parameters" => Vec::<Pack>::new() };
    for _ in 0..SENT {
        client.send(11, &body);
    }
    // All others run or wait, as many as docs/protocol.md says.
    let refused = SENT - 24 - 256;
    for _ in 0..refused {
        assert_eq!(client.receive().unwrap().outcome(), Err(403));
    }
    let told = notes.take().into_iter().filter(|note| note == "socket sql Some(TooMany) true").count();
    assert_eq!(told, refused);
    let monitor = server.monitor();
    drop(client);
    wait_until("the end of the connection", || monitor.stats().unwrap().connections == 0);
    server.stop();
}

#[test]
fn refreshes_are_told_however_they_end() {
    let (dir, notes) = (tempfile::tempdir().unwrap(), Arc::new(Notes::default()));
    let cache = CacheOptions::new().recorder(notes.clone()).open(dir.path()).unwrap();
    let source = Scripted::new(&ROWS);
    cache.add_source("shop", source.clone()).unwrap();
    cache.define_table("orders", keyed(by_call())).unwrap();
    assert!(notes.take().contains(&"orders from shop: 4 None".to_owned()));
    source.set(Mood::Fails(ErrorCode::SourceUnavailable));
    cache.refresh("orders").unwrap_err();
    assert!(notes.take().contains(&"orders from shop: 0 Some(SourceUnavailable)".to_owned()));
}

#[test]
fn a_source_can_be_replaced_and_a_table_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let (old, new) = (Scripted::new(&ROWS).at("old"), Scripted::new(&ROWS[..1]).at("new"));
    cache.add_source("shop", old.clone()).unwrap();
    let table = cache.define_table("orders", keyed(by_call())).unwrap();
    assert_eq!(cache.add_source("shop", new.clone()).unwrap_err().code(), ErrorCode::InvalidArgument);
    cache.replace_source("shop", new.clone()).unwrap();
    wait_until("the rows of the new place", || table.info().unwrap().rows == 1);
    let asked = old.fetches();
    new.set_rows(&ROWS[..2]);
    cache.refresh("orders").unwrap();
    assert_eq!((table.info().unwrap().rows, old.fetches()), (2, asked));
    assert!(cache.unfollow_table("orders").unwrap());
    assert!(!cache.unfollow_table("orders").unwrap());
    assert_eq!(cache.refresh("orders").unwrap_err().code(), ErrorCode::InvalidArgument);
    assert!(cache.refreshes().unwrap().is_empty());
    assert_eq!(table.info().unwrap().rows, 2, "its rows stay");
    cache.follow_table("orders", keyed(by_call())).unwrap();
    cache.refresh("orders").unwrap();
    let reader = Cache::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.unfollow_table("orders").unwrap_err().code(), ErrorCode::Unsupported);
    assert_eq!(reader.adjust(&CacheOptions::new()).unwrap_err().code(), ErrorCode::Unsupported);
}

#[test]
fn the_limit_of_the_disk_can_change() {
    let (_dir, _, cache) = recorded();
    let table = cache.table("orders").unwrap();
    cache.adjust(&CacheOptions::new().disk_limit(1)).unwrap();
    assert_eq!(table.upsert(rows_batch(&ROWS)).unwrap_err().code(), ErrorCode::DiskFull);
    cache.adjust(&CacheOptions::new()).unwrap();
    table.upsert(rows_batch(&ROWS)).unwrap();
    let wrong = CacheOptions::new().refreshes_at_once(0);
    assert_eq!(cache.adjust(&wrong).unwrap_err().code(), ErrorCode::InvalidArgument);
}
