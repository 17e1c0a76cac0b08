//! Clients and servers in processes of their own that are killed, stopped and forked at bad moments.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use pillion::{Attach, Batches, Cache, ConnectOptions, ErrorCode, ErrorKind, Input, Version, Way};
use rustix::process::Signal;

use crate::raw::msgpack::map;
use crate::raw::{QUIET, RawClient, get};
use crate::support::child::{self, Process};
use crate::support::fork::fork;
use crate::support::random::Random;
use crate::support::serving::{PATIENCE, ROWS, Serving, Settings, eventually};
use crate::support::{assert_ids, define, files, ids_of, name_of, numbered, refused};

/// Number of the table `t`, the first of its cache.
const TABLE: u64 = 0;
/// A query that would run for ages.
const ENDLESS: &str = "SELECT count(*) FROM generate_series(1, 1000000000000000) WHERE value < 0";
/// A query whose rows come soon, and which would run for ages.
const ENDLESS_ROWS: &str = "SELECT value FROM generate_series(1, 1000000000000000)";
/// A query whose answer is not in any file, and is long enough for shared memory.
const COMPUTED: &str = "SELECT id + 1 AS next, name FROM t ORDER BY id";
/// Where a manifest or a log has its version.
const VERSION_OFFSET: u64 = 8;

fn remote(serving: &Serving, deadline: Duration) -> Cache {
    let cache =
        ConnectOptions::new().attach(Attach::Never).deadline(deadline).connect(serving.socket()).unwrap();
    assert_eq!(cache.way(), Way::Remote);
    cache
}

fn attached(serving: &Serving) -> Cache {
    let options = ConnectOptions::new().attach(Attach::Require).deadline(Duration::from_secs(5));
    let cache = options.connect(serving.socket()).unwrap();
    assert_eq!(cache.way(), Way::Attached);
    cache
}

/// One batch, after which the other end waits in vain for the next.
fn one_and_silence(id: i64) -> Input {
    let batches = (0..).map(move |number| {
        if number > 0 {
            child::say("holds");
            child::wait();
        }
        numbered([id])
    });
    Input::batches(numbered([]).schema(), batches)
}

#[test]
#[ignore = "the program of a child process"]
fn holds_everything() {
    let cache = ConnectOptions::new().attach(Attach::Never).connect(child::directory().join("sock")).unwrap();
    let snapshot = cache.snapshot().unwrap();
    let statement = cache.prepare(COMPUTED).unwrap();
    let leased: Vec<RecordBatch> =
        (0..3).flat_map(|_| statement.execute(&[]).unwrap()).collect::<Result<_, _>>().unwrap();
    let mut cursors: Vec<Batches> = (0..20).map(|_| cache.sql(ENDLESS_ROWS, &[]).unwrap()).collect();
    cursors.iter_mut().for_each(|cursor| assert!(cursor.next().unwrap().is_ok()));
    let mut scan = snapshot.table("t").unwrap().scan().unwrap();
    let mapped = scan.next().unwrap().unwrap();
    assert!(leased.len() >= 3 && mapped.num_rows() > 0);
    // Reports that it holds everything, and never returns.
    cache.table("t").unwrap().append(one_and_silence(-1)).unwrap();
}

/// What a killed client held is released: its memory, the files of old rows, the table that it was loading.
#[test]
fn everything_that_a_killed_client_held_is_let_go_of() {
    let settings = Settings { memory: (8 << 20, 8 << 20), ..Settings::default() };
    let (dir, mut serving) = Serving::temporary(settings);
    let mut observer = RawClient::connect(&serving.socket());
    let shared = |client: &mut RawClient| {
        let answer = client.exchange(24, &map! { "memory" => true, "files" => true });
        answer.outcome().unwrap().field("memory").uint()
    };
    let first = files::segments(&serving.cache());
    for round in 0..3 {
        let before = serving.descriptors();
        let mut client = Process::start("killed::holds_everything", dir.path());
        assert_eq!(client.next().as_deref(), Some("holds"));
        assert_eq!(serving.arenas(), 1);
        assert_eq!(shared(&mut RawClient::connect(&serving.socket())), 0, "it has all memory there is");
        client.kill();
        serving.settles(1, &before);
        let mut next = RawClient::connect(&serving.socket());
        assert_eq!(shared(&mut next), 8 << 20, "the memory is there again");
        drop(next);
        serving.settles(1, &before);
        assert_eq!(
            observer.call(6, get(TABLE, -1)).unwrap().field("found").array(),
            [false.into()],
            "{round}"
        );
    }
    // The table can be written, and the files that only snapshot and cursors needed are removed.
    let kind = || map! { "Replace" => map! { "table" => TABLE } };
    for id in 0..6 {
        observer.upload(kind(), &numbered([id]));
    }
    let is_let_go = || !first.iter().any(|path| serving.maps(path));
    eventually(is_let_go, || format!("{first:?} are still mapped"));
    drop(observer);
    serving.reaches(0);
    eventually(|| serving.threads() == 0, || format!("{} threads are left", serving.threads()));
    serving.finish();
    // Their disk space is reused once the manifests that name them are gone.
    let dir = dir.path().join("cache");
    for id in 6..9 {
        let cache = Cache::open(&dir).unwrap();
        assert_ids(&cache.table("t").unwrap(), [id - 1]);
        cache.table("t").unwrap().replace(numbered([id])).unwrap();
        cache.close().unwrap();
    }
    assert!(first.iter().all(|path| !path.exists()), "{:?} are kept", files::segments(&dir));
    files::assert_no_temporary_files(&dir);
}

fn all_of(batches: &[RecordBatch], schema: &SchemaRef) -> RecordBatch {
    arrow::compute::concat_batches(schema, batches).unwrap()
}

/// Reads by key, by scan and by SQL.
fn reads_on(cache: &Cache) {
    let table = cache.table("t").unwrap();
    assert_eq!(table.get(17).unwrap().unwrap().get::<&str>("name").unwrap(), name_of(17));
    assert!(ids_of(&table).unwrap().into_iter().eq(0..ROWS));
    let sum = cache.sql("SELECT sum(id) AS s FROM t", &[]).unwrap().concat().unwrap();
    assert_eq!(sum.column(0).as_primitive::<Int64Type>().values().to_vec(), [(0..ROWS).sum::<i64>()]);
}

#[test]
fn a_killed_server_takes_nothing_that_its_clients_hold() {
    let (dir, serving) = Serving::temporary(Settings::default());
    let client = remote(&serving, Duration::from_secs(3));
    let attached = attached(&serving);
    let sent = attached.messages_sent();
    let leased = client.sql(COMPUTED, &[]).unwrap().collect_all().unwrap();
    let mapped = client.table("t").unwrap().scan().unwrap().collect_all().unwrap();
    let row = client.table("t").unwrap().get(5).unwrap().unwrap();
    let mut half_read = client.sql(ENDLESS_ROWS, &[]).unwrap();
    let first = half_read.next().unwrap().unwrap();
    let first_rows = first.num_rows();
    let snapshot = client.snapshot().unwrap();
    let statement = client.prepare("SELECT name FROM t WHERE id = $1").unwrap();
    let versions = (client.version().unwrap(), attached.version().unwrap());
    let seen = attached.status().unwrap().owner.unwrap();
    serving.kill();

    // The answers can be read to the last byte.
    let leased = all_of(&leased, &leased[0].schema());
    assert_eq!(leased.column(1), numbered(0..ROWS).column(1));
    assert_eq!(leased.column(0), numbered(1..=ROWS).column(0));
    assert_eq!(all_of(&mapped, &mapped[0].schema()).columns(), numbered(0..ROWS).columns());
    assert_eq!(row.to_batch().unwrap(), numbered([5]));
    assert_eq!(first.num_rows(), first_rows);
    first.columns().iter().for_each(|column| column.to_data().validate_full().unwrap());

    // Attached reads go on, send nothing, and report when the owner was last seen.
    reads_on(&attached);
    assert_eq!(attached.messages_sent(), sent);
    let owner = attached.status().unwrap().owner.unwrap();
    assert!(owner.at >= seen.at && !owner.closed);
    let stands = |at| attached.status().unwrap().owner.unwrap().at == at;
    assert!(stands(owner.at), "nobody renews it");

    // Calls fail in time, and say what to do.
    let begun = Instant::now();
    for error in [client.version().unwrap_err(), client.table("t").unwrap_err(), client.sync().unwrap_err()] {
        assert_eq!((error.code(), error.kind()), (ErrorCode::Unavailable, ErrorKind::Retry), "{error:?}");
    }
    assert!(begun.elapsed() < PATIENCE);
    let ended = half_read.find_map(Result::err).unwrap();
    assert_eq!(ended.code(), ErrorCode::Unavailable, "{ended:?}");
    refused(snapshot.tables(), ErrorCode::Closed, &["take a new one"]);
    refused(attached.sync(), ErrorCode::Unavailable, &[]);

    // The same clients go on with the next server.
    let serving = Serving::start(dir.path(), Settings::default());
    reads_on(&client);
    reads_on(&attached);
    let name = statement.execute(&[7.into()]).unwrap().concat().unwrap();
    assert_eq!(name.columns(), numbered([7]).project(&[1]).unwrap().columns());
    for (before, now) in [(versions.0, client.version()), (versions.1, attached.version())] {
        let now = now.unwrap();
        assert!(now.incarnation != before.incarnation || now.sequence >= before.sequence, "{before} {now}");
    }
    client.table("t").unwrap().append(numbered([ROWS])).unwrap();
    assert_ids(&attached.table("t").unwrap(), 0..=ROWS);
    refused(snapshot.tables(), ErrorCode::Closed, &["take a new one"]);
    drop((client, attached, half_read, snapshot, statement));
    serving.finish();
}

/// Rows that run `end` when the client asks for more after the last: it does something to the server before the
/// commit.
fn with_an_end(ids: std::ops::Range<i64>, end: impl FnOnce() + Send + 'static) -> Input {
    let mut rows = Some(numbered(ids));
    let mut end = Some(end);
    let batches = std::iter::from_fn(move || {
        let next = rows.take();
        if next.is_none()
            && let Some(end) = end.take()
        {
            end();
        }
        next
    });
    Input::batches(numbered([]).schema(), batches)
}

#[test]
fn a_write_whose_answer_was_lost_says_that_its_outcome_is_unknown() {
    // The server is killed before the client asks for the commit: nothing is committed.
    let (dir, serving) = Serving::temporary(Settings::default());
    let client = remote(&serving, Duration::from_secs(3));
    let table = client.table("t").unwrap();
    let version = client.version().unwrap();
    let killed = with_an_end(ROWS..ROWS + 5, move || serving.kill());
    let error = table.append(killed).unwrap_err();
    // If the client notices the death before it asks for the commit, it knows that there is none.
    assert!(
        [(ErrorCode::OutcomeUnknown, ErrorKind::OutcomeUnknown), (ErrorCode::Unavailable, ErrorKind::Retry)]
            .contains(&(error.code(), error.kind())),
        "{error:?}"
    );
    let serving = Arc::new(Serving::start(dir.path(), Settings::default()));
    assert_ids(&client.table("t").unwrap(), 0..ROWS);
    let now = client.version().unwrap();
    assert!(now.incarnation != version.incarnation || now == version, "{version} {now}");

    // The server is stopped, so that the deadline passes; the write takes effect when the server continues.
    let stopped = serving.clone();
    let error = table.append(with_an_end(ROWS..ROWS + 5, move || stopped.stop())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::OutcomeUnknown, "{error:?}");
    serving.signal(Signal::CONT);
    let rows = || client.table("t").and_then(|table| table.info()).map_or(0, |info| info.rows);
    eventually(|| rows() == (ROWS + 5).unsigned_abs(), || format!("{} rows", rows()));
    drop((client, table));
    Arc::into_inner(serving).unwrap().finish();
}

/// Reads the version of a cache again and again; it moves forward unless the cache reports otherwise.
fn follows(cache: &Cache, may_say: ErrorCode, over: &AtomicBool) {
    let mut last: Option<Version> = None;
    while !over.load(Ordering::Relaxed) {
        match cache.version() {
            Ok(now) => {
                if let Some(last) = last.filter(|last| last.incarnation == now.incarnation) {
                    assert!(now.sequence >= last.sequence, "{last} and then {now}");
                }
                last = Some(now);
            }
            Err(error) => {
                assert_eq!(error.code(), may_say, "{error:?}");
                last = None;
            }
        }
    }
}

/// The versions that a client sees move forward, or have another incarnation; what was acknowledged is there.
#[test]
fn kills_at_any_moment_lose_nothing_that_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let mut serving = Some(Serving::start(dir.path(), Settings::default()));
    let client = remote(serving.as_ref().unwrap(), PATIENCE);
    let attached = attached(serving.as_ref().unwrap());
    let mut random = Random::new(5);
    let over = AtomicBool::new(false);
    let acknowledged = std::thread::scope(|scope| {
        let writes = scope.spawn(|| {
            let (mut next, mut sure, mut unsure) = (ROWS, Vec::new(), Vec::new());
            while !over.load(Ordering::Relaxed) {
                let written = client.table("t").and_then(|table| table.append(numbered([next])));
                match written.map_err(|error| error.code()) {
                    Ok(_) => sure.push(next),
                    Err(ErrorCode::OutcomeUnknown) => unsure.push(next),
                    // Nothing was changed, and the next attempt writes other rows.
                    Err(ErrorCode::Unavailable | ErrorCode::SourceInvalid | ErrorCode::InvalidArgument) => {}
                    Err(other) => panic!("{other:?}"),
                }
                next += 1;
            }
            (sure, unsure)
        });
        let remotely = scope.spawn(|| follows(&client, ErrorCode::Unavailable, &over));
        let by_files = scope.spawn(|| follows(&attached, ErrorCode::WentBack, &over));
        for _ in 0..5 {
            std::thread::sleep(Duration::from_millis(random.below(300)));
            serving.take().unwrap().kill();
            serving = Some(Serving::start(dir.path(), Settings::default()));
        }
        over.store(true, Ordering::Relaxed);
        remotely.join().unwrap();
        by_files.join().unwrap();
        writes.join().unwrap()
    });
    let (sure, unsure) = acknowledged;
    let found = ids_of(&client.table("t").unwrap()).unwrap();
    for id in (0..ROWS).chain(sure.iter().copied()) {
        assert!(found.binary_search(&id).is_ok(), "{id} was acknowledged and is gone");
    }
    let others = found.len() - sure.len() - usize::try_from(ROWS).unwrap();
    assert!(others <= unsure.len(), "{others} rows that nobody was told of; {unsure:?}");
    drop((client, attached));
    serving.take().unwrap().finish();
}

#[test]
fn a_stopped_server_lets_deadlines_pass_and_goes_on_later() {
    let (_dir, mut serving) = Serving::temporary(Settings { timeout_ms: 600_000, ..Settings::default() });
    let client = remote(&serving, Duration::from_secs(3));
    let attached = attached(&serving);
    let mut raw = RawClient::connect(&serving.socket());
    client.version().unwrap();
    let before = serving.descriptors();
    serving.stop();
    // More snapshots than a connection may hold, all cancelled before they were answered.
    let given_up = |request: u64| {
        let snapshot = RawClient::frame(8, 0, request, &map! {}.encode());
        [snapshot, RawClient::frame(26, QUIET, 0, &map! { "request" => request }.encode())].concat()
    };
    // In one write: for a stopped process the kernel keeps many bytes, but not many pieces.
    raw.stream.write_all(&(1000..1300).flat_map(given_up).collect::<Vec<u8>>()).unwrap();
    std::thread::scope(|scope| {
        type Call = fn(&Cache) -> pillion::Result<()>;
        let calls: [Call; 5] = [
            |cache| cache.version().map(drop),
            |cache| cache.snapshot().map(drop),
            |cache| cache.sql(ENDLESS_ROWS, &[]).map(drop),
            |cache| cache.prepare("SELECT 1").map(drop),
            |cache| cache.sync(),
        ];
        for call in calls {
            let client = &client;
            scope.spawn(move || refused(call(client), ErrorCode::Timeout, &["deadline"]));
        }
        reads_on(&attached);
    });
    assert!(!attached.status().unwrap().owner.unwrap().closed);
    serving.signal(Signal::CONT);
    eventually(|| client.version().is_ok(), || "it does not answer again".to_owned());
    reads_on(&client);
    // Everything that was cancelled was released.
    for _ in 0..300 {
        raw.receive().unwrap();
    }
    for _ in 0..256 {
        raw.ok(8, map! {});
    }
    assert_eq!(raw.call(8, map! {}), Err(403));
    serving.settles(3, &before);
    becomes_idle(&serving);
    drop((client, attached, raw));
    serving.reaches(0);
    serving.finish();
}

/// Waits until a process does no work any more.
#[track_caller]
fn becomes_idle(serving: &Serving) {
    let used = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", serving.id())).unwrap();
        let fields: Vec<u64> = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .filter_map(|field| field.parse().ok())
            .collect();
        // User and system time come after the state and ten other numbers.
        fields[10] + fields[11]
    };
    let is_idle = || {
        let before = used();
        std::thread::sleep(Duration::from_millis(500));
        used() <= before + 1
    };
    eventually(is_idle, || "it is still at work".to_owned());
}

#[test]
fn a_query_ends_when_nobody_waits_for_it() {
    let (_dir, serving) = Serving::temporary(Settings::default());
    // The deadline of the query passes.
    let impatient = remote(&serving, Duration::from_secs(3));
    refused(impatient.sql(ENDLESS, &[]), ErrorCode::Timeout, &["deadline"]);
    becomes_idle(&serving);
    // The answer of the query is dropped.
    let client = remote(&serving, PATIENCE);
    let mut answer = client.sql(ENDLESS_ROWS, &[]).unwrap();
    answer.next().unwrap().unwrap();
    drop(answer);
    becomes_idle(&serving);
    // The query is cancelled, while a thread waits for a batch or between two batches.
    let answer = client.sql(ENDLESS_ROWS, &[]).unwrap();
    ends_when_cancelled(answer);
    becomes_idle(&serving);
    // The client of the query goes away.
    let mut raw = RawClient::connect(&serving.socket());
    raw.send(11, &map! { "text" => ENDLESS, "parameters" => Vec::<crate::raw::msgpack::Pack>::new() });
    // The next call is answered, so the query is under way.
    raw.send(2, &map! {});
    assert_eq!(raw.receive().unwrap().call, 2);
    drop(raw);
    becomes_idle(&serving);
    client.version().unwrap();
    impatient.version().unwrap();
    drop((client, impatient));
    serving.finish();
}

/// Rows that are ready come at once, although others never come.
#[test]
fn rows_that_are_ready_do_not_wait_for_others() {
    let (_dir, serving) = Serving::temporary(Settings::default());
    let client = remote(&serving, PATIENCE);
    let mut answer = client.sql(&format!("SELECT 7 AS n UNION ALL {ENDLESS}"), &[]).unwrap();
    let rows = answer.find(|batch| batch.as_ref().unwrap().num_rows() > 0).unwrap().unwrap();
    assert_eq!(rows.num_rows(), 1);
    drop(answer);
    becomes_idle(&serving);
    serving.finish();
}

fn ends_when_cancelled(answer: Batches) {
    let canceller = answer.canceller();
    let (told, begun) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let reads = scope.spawn(move || {
            let mut answer = answer;
            let mut first = true;
            let error = answer.find_map(|next| {
                if std::mem::take(&mut first) {
                    told.send(()).unwrap();
                }
                next.err()
            });
            (error, answer.next().is_none())
        });
        begun.recv().unwrap();
        canceller.cancel();
        let (error, is_over) = reads.join().unwrap();
        assert_eq!(error.unwrap().code(), ErrorCode::Cancelled);
        assert!(is_over);
    });
}

/// A thread waits for a batch that never comes, whatever kind of work delays it.
#[test]
fn a_batch_that_is_waited_for_is_cancelled_from_another_thread() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache, "t", 0..ROWS).unwrap();
    ends_when_cancelled(cache.sql(ENDLESS_ROWS, &[]).unwrap());
    let series = "generate_series(1, 1000000000000000) AS s(v)";
    for query in [
        ENDLESS.to_owned(),
        format!("SELECT v FROM {series} WHERE v < 0"),
        format!("SELECT v FROM {series} ORDER BY v DESC LIMIT 1"),
        format!("SELECT count(*) FROM t a, t b, {series} WHERE a.id + b.id + v < 0"),
        format!("SELECT a.id FROM t a JOIN {series} ON a.id + v < 0"),
        "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n FROM r) SELECT count(*) FROM r".to_owned(),
    ] {
        let mut answer = cache.sql(&query, &[]).unwrap();
        let canceller = answer.canceller();
        let (said, hears) = std::sync::mpsc::channel();
        let waits = move || said.send(answer.next().unwrap().unwrap_err().code()).unwrap();
        std::thread::Builder::new().name("waits".into()).spawn(waits).unwrap();
        // The other thread may not have begun to wait; that is tested then.
        std::thread::sleep(Duration::from_millis(50));
        canceller.cancel();
        assert_eq!(hears.recv_timeout(PATIENCE), Ok(ErrorCode::Cancelled), "{query}");
    }
}

#[test]
#[ignore = "the program of a child process"]
fn forks() {
    let socket = child::directory().join("sock");
    let client = ConnectOptions::new().attach(Attach::Never).connect(&socket).unwrap();
    let attached = ConnectOptions::new().attach(Attach::Require).connect(&socket).unwrap();
    let snapshot = client.snapshot().unwrap();
    let table = client.table("t").unwrap();
    let statement = attached.prepare("SELECT id FROM t WHERE id > $1").unwrap();
    // A query starts the threads of its engine, and they are the parent's.
    let own = Cache::open(child::directory().join("own")).unwrap();
    for cache in [&attached, &own] {
        cache.sql("SELECT count(*) FROM generate_series(1, 100000)", &[]).unwrap().concat().unwrap();
    }
    let begun = attached.sql("SELECT * FROM t", &[]).unwrap();
    let code = fork(|| {
        let refusal = |error: pillion::Error| {
            let text = format!("{error:#}");
            let is_right = error.code() == ErrorCode::Closed && text.contains("after fork");
            if !is_right {
                eprintln!("{error:?}");
            }
            is_right
        };
        let checks = [
            client.version().is_err_and(refusal),
            client.sql("SELECT 1", &[]).is_err_and(refusal),
            client.table("t").is_err_and(refusal),
            table.append(numbered([ROWS])).is_err_and(refusal),
            snapshot.tables().is_err_and(refusal),
            attached.sync().is_err_and(refusal),
            attached.sql("SELECT 1", &[]).is_err_and(refusal),
            attached.prepare("SELECT 1").is_err_and(refusal),
            statement.execute(&[3.into()]).is_err_and(refusal),
            begun.concat().is_err_and(refusal),
            own.sql("SELECT 1", &[]).is_err_and(refusal),
            // Mapped data can still be read.
            attached.table("t").unwrap().get(3).unwrap().is_some(),
            // A connection that the child makes itself works.
            ConnectOptions::new()
                .attach(Attach::Never)
                .connect(&socket)
                .is_ok_and(|own| own.version().is_ok()),
            ConnectOptions::new()
                .attach(Attach::Require)
                .connect(&socket)
                .is_ok_and(|own| own.sql("SELECT * FROM t", &[]).is_ok_and(|rows| rows.concat().is_ok())),
        ];
        drop((snapshot, statement, own));
        i32::try_from(checks.iter().position(|is_right| !is_right).map_or(0, |position| position + 1))
            .unwrap()
    });
    assert_eq!(code, 0, "the check of this number failed");
    // The parent's connection works as before.
    reads_on(&client);
    assert_ids(&attached.table("t").unwrap(), 0..ROWS);
    attached.sync().unwrap();
    child::say("parent goes on");
}

#[test]
fn a_forked_child_is_told_to_connect_anew() {
    let (dir, serving) = Serving::temporary(Settings::default());
    let mut child = Process::start("killed::forks", dir.path());
    assert_eq!(child.next().as_deref(), Some("parent goes on"));
    child.finish();
    serving.finish();
}

#[test]
fn a_directory_that_cannot_be_attached_is_asked_for_remotely() {
    let (dir, serving) = Serving::temporary(Settings::default());
    let by = |attach| ConnectOptions::new().attach(attach).connect(serving.socket());
    let newest = files::manifests(&serving.cache()).pop().unwrap();
    files::patch(&newest, VERSION_OFFSET, &1000_u32.to_le_bytes());
    let name = newest.file_name().unwrap().to_str().unwrap();
    refused(by(Attach::Require), ErrorCode::NewerFormat, &[name, "1000", "upgrade"]);
    let fallen_back = by(Attach::IfPossible).unwrap();
    assert_eq!(fallen_back.way(), Way::Remote);
    reads_on(&fallen_back);
    // Another cache in the place of the sidecar's, as after a wrong mount.
    let other = dir.path().join("other");
    define(&Cache::open(&other).unwrap(), "t", 0..1).unwrap();
    let elsewhere =
        |attach, dir: &Path| ConnectOptions::new().attach(attach).dir(dir).connect(serving.socket());
    for wrong in [&other, &dir.path().join("nothing")] {
        refused(elsewhere(Attach::Require, wrong), ErrorCode::NotACache, &[wrong.to_str().unwrap()]);
        let fallen_back = elsewhere(Attach::IfPossible, wrong).unwrap();
        assert_eq!(fallen_back.way(), Way::Remote);
        reads_on(&fallen_back);
    }
    drop(fallen_back);
    serving.finish();
}
