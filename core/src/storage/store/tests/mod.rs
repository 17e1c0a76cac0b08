//! What a fault at any operation leaves behind: the state before or after the call, never another.

mod ends;
mod history;
mod long_keys;
mod model;
mod replay;
mod stuck;

use crate::types::mode::WriteMode;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::storage::store::committer::MANIFESTS_KEPT;
use crate::storage::store::merge::is_full;
use crate::storage::store::*;
use crate::storage::vfs::faulty::{Fault, FaultyVfs, Reach, is_below};
use crate::storage::vfs::{OsVfs, Vfs};
use crate::storage::{Follower, KeyColumn};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

fn rows(ids: impl IntoIterator<Item = i64>) -> impl Iterator<Item = Result<RecordBatch>> {
    let ids = Int64Array::from_iter_values(ids);
    std::iter::once(Ok(RecordBatch::try_new(schema(), vec![Arc::new(ids)]).unwrap()))
}

fn shape() -> TableShape {
    TableShape::keyed("numbers", schema(), 0)
}

fn open(dir: &Path, vfs: Arc<dyn Vfs>) -> Result<Store> {
    Store::open(Files::new(dir.to_owned(), vfs), Sync::Always, 1 << 20, 0)
}

/// The ids in the table, or `None` if there is no table.
fn content(store: &Store) -> Option<BTreeSet<i64>> {
    let state = store.state();
    let table = state.table("numbers").ok()?;
    let mut ids = BTreeSet::new();
    let mut parts = table.tail_parts().unwrap();
    parts.extend(table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap()));
    for part in parts {
        for batch in table.read_part(&part, None, state.version.sequence, &[0], &schema()).unwrap() {
            let rows = batch.column(0).as_primitive::<Int64Type>().values().to_vec();
            rows.into_iter().for_each(|id| assert!(ids.insert(id), "{id} comes twice"));
        }
    }
    assert_eq!(table.rows, ids.len() as u64);
    Some(ids)
}

fn append(store: &Store, table: u64, ids: impl IntoIterator<Item = i64>) -> Result<Version> {
    store
        .write(vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows(ids) }], SystemTime::now())
}

fn write(store: &Store, change: Change<'_>) -> Result<Version> {
    store.write(vec![change], SystemTime::now())
}

fn replace(store: &Store, table: u64, ids: impl IntoIterator<Item = i64>) -> Result<Version> {
    store.write(
        vec![Change::Rows { table, mode: WriteMode::Replace, rows: &mut rows(ids) }],
        SystemTime::now(),
    )
}

/// The states that the workload goes through, in order.
fn expected() -> Vec<Option<BTreeSet<i64>>> {
    let mut states = vec![None, Some((0..100).collect())];
    for step in 1..=10 {
        states.push(Some((0..100 + step).collect()));
    }
    states.push(Some((500..600).collect()));
    states
}

/// Runs the workload as far as it goes and returns how many commits were acknowledged.
fn workload(store: &Store) -> (usize, Result<()>) {
    let mut acknowledged = 0;
    let mut steps = || -> Result<()> {
        store.create_table(shape(), SystemTime::now(), &mut rows(0..100))?;
        acknowledged += 1;
        let table = store.state().table("numbers")?.shape.id;
        for step in 0..10 {
            append(store, table, 100 + step..101 + step)?;
            acknowledged += 1;
        }
        replace(store, table, 500..600)?;
        acknowledged += 1;
        store.close(false)
    };
    let result = steps();
    (acknowledged, result)
}

fn files_below(dir: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for table in OsVfs.list(&dir.join("tables")).unwrap() {
        let folder = dir.join("tables").join(table);
        found.extend(OsVfs.list(&folder).unwrap().into_iter().map(|name| folder.join(name)));
    }
    found
}

/// A folder in memory, if there is a file system in it. Faults are injected, so that a real disk would only cost time.
fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn fault_everywhere(sticky: bool, errno: i32) {
    let states = expected();
    for fail_at in 0.. {
        let dir = scratch();
        let vfs = FaultyVfs::new(fail_at, sticky, errno);
        let (acknowledged, error) = match open(dir.path(), Arc::new(vfs.clone())) {
            Err(error) => (0, Some(error)),
            Ok(store) => {
                let (acknowledged, result) = workload(&store);
                assert_eq!(
                    content(&store),
                    states[acknowledged],
                    "readers see the last commit; fault at {fail_at}"
                );
                (acknowledged, result.err())
            }
        };
        if !vfs.struck() {
            assert!(error.is_none(), "no fault, no error: {error:?}");
            assert!(fail_at > 50, "the workload has more operations than {fail_at}");
            return;
        }
        if let Some(error) = &error {
            let clean = if errno == ENOSPC { ErrorCode::DiskFull } else { ErrorCode::Io };
            // Closing reports what writing the checkpoint found.
            let expected = [clean, ErrorCode::OutcomeUnknown, ErrorCode::Poisoned];
            assert!(expected.contains(&error.code()), "fault at {fail_at}: {error:?}");
        }
        let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
        let recovered = content(&store);
        // A commit whose acknowledgement failed may or may not be there; nothing before it is lost.
        let allowed = &states[acknowledged..(acknowledged + 2).min(states.len())];
        assert!(
            allowed.contains(&recovered),
            "fault at {fail_at}: {acknowledged} acknowledged, found {recovered:?}"
        );
        let needed: BTreeSet<PathBuf> = store.state().segment_paths().collect();
        let present = files_below(dir.path());
        assert!(needed.is_subset(&present), "fault at {fail_at}");
        assert!(
            OsVfs.list(&dir.path().join("tmp")).unwrap().is_empty(),
            "temporary files; fault at {fail_at}"
        );
        let (_, finished) = match recovered {
            None => workload(&store),
            Some(_) => (0, store.close(false)),
        };
        finished.unwrap();
    }
}

#[test]
fn a_full_disk_at_any_operation_loses_nothing() {
    fault_everywhere(false, ENOSPC);
}

#[test]
fn a_disk_that_stays_full_loses_nothing() {
    fault_everywhere(true, ENOSPC);
}

#[test]
fn an_unreadable_disk_at_any_operation_loses_nothing() {
    fault_everywhere(false, EIO);
}

#[test]
fn a_disk_that_stays_unreadable_loses_nothing() {
    fault_everywhere(true, EIO);
}

fn recover(dir: &Path) -> State {
    recovery::recover(&Files::new(dir.to_owned(), Arc::new(OsVfs)), || None, Indexes::Private).unwrap().state
}

#[test]
fn both_manifests_give_the_same_state() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..100)).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    for step in 0..20 {
        append(&store, table, 100 + step..101 + step).unwrap();
        store.fold().unwrap();
    }
    let sequences = manifest::list(&OsVfs, dir.path()).unwrap();
    assert_eq!(sequences.len(), MANIFESTS_KEPT);
    drop(store);
    let newest = recover(dir.path());
    OsVfs.remove(&manifest::path(dir.path(), sequences[0])).unwrap();
    let older = recover(dir.path());
    assert_eq!(newest.version, older.version);
    let paths = |state: &State| state.segment_paths().collect::<BTreeSet<_>>();
    assert_eq!(paths(&newest), paths(&older));
    assert!(paths(&older).is_subset(&files_below(dir.path())));
}

#[test]
fn files_of_replaced_rows_are_removed_when_nobody_needs_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..100)).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let held = store.state.load_full();
    for step in 0..5 {
        replace(&store, table, step..step + 10).unwrap();
        store.fold().unwrap();
    }
    let held_path = held.segment_paths().next().unwrap();
    assert!(files_below(dir.path()).contains(&held_path), "a reader holds it");
    drop(held);
    store.upkeep().unwrap();
    let present = files_below(dir.path());
    assert!(!present.contains(&held_path));
    assert!(present.len() <= 1 + MANIFESTS_KEPT, "{present:?}");
}

#[test]
fn files_of_replaced_rows_are_removed_after_a_crash_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..100)).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    store.fold().unwrap();
    replace(&store, table, 0..10).unwrap();
    // As if the process were killed: the manifest still names what the log dropped.
    drop(store);
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    for step in 0..MANIFESTS_KEPT as i64 {
        append(&store, table, 100 + step..101 + step).unwrap();
        store.fold().unwrap();
    }
    append(&store, table, 200..201).unwrap();
    store.fold().unwrap();
    assert_eq!(files_below(dir.path()), store.state().segment_paths().collect());
}

fn upsert(store: &Store, table: u64, ids: impl IntoIterator<Item = i64>) {
    store
        .write(vec![Change::Rows { table, mode: WriteMode::Upsert, rows: &mut rows(ids) }], SystemTime::now())
        .unwrap();
}

/// The ids that a reader in another process finds in the table.
fn followed(follower: &Follower) -> Vec<i64> {
    let state = follower.newest().unwrap();
    let table = state.table("numbers").unwrap();
    let mut parts = table.tail_parts().unwrap();
    parts.extend(table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap()));
    let batches = parts
        .iter()
        .flat_map(|part| table.read_part(part, None, state.version.sequence, &[0], &schema()).unwrap());
    let mut ids: Vec<i64> =
        batches.flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect();
    ids.sort_unstable();
    ids
}

/// Rows that are replaced while they are moved are also replaced for later readers, whichever manifest they read.
#[test]
fn rows_that_change_while_they_are_moved_are_there_once() {
    let dir = scratch();
    let store: Arc<OnceLock<(Store, u64)>> = Arc::default();
    let done = AtomicBool::new(false);
    let mover = store.clone();
    let vfs = FaultyVfs::meanwhile("tables", move || {
        if let Some((store, table)) = mover.get()
            && !done.swap(true, Ordering::Relaxed)
        {
            upsert(store, *table, [0, 1, 2]);
        }
    });
    let opened = open(dir.path(), Arc::new(vfs)).unwrap();
    opened.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = opened.state().table("numbers").unwrap().shape.id;
    upsert(&opened, table, 0..10);
    let (store, _) = store.get_or_init(|| (opened, table));
    store.fold().unwrap();
    upsert(store, table, [3]);
    let all: Vec<i64> = (0..10).collect();
    let (follower, damage) = Follower::open(Files::below(dir.path()).unwrap()).unwrap();
    assert_eq!((followed(&follower), damage), (all.clone(), None));
    assert_eq!(content(store), Some(all.into_iter().collect()));
}

/// Looking keys up may take seconds and read from the disk, and syncs and the heartbeat need the committer too.
#[test]
fn many_rows_are_looked_up_while_others_commit() {
    let dir = scratch();
    let first = open(dir.path(), Arc::new(OsVfs)).unwrap();
    first.create_table(shape(), SystemTime::now(), &mut rows(0..10)).unwrap();
    first.close(false).unwrap();
    drop(first);
    let store: Arc<OnceLock<Store>> = Arc::default();
    let free: Arc<std::sync::Mutex<Vec<bool>>> = Arc::default();
    let vfs = FaultyVfs::before_mapping({
        let (store, free) = (store.clone(), free.clone());
        move || {
            if let Some(store) = store.get() {
                free.lock().unwrap().push(store.committer.try_lock().is_some());
            }
        }
    });
    let store = store.get_or_init(|| open(dir.path(), Arc::new(vfs)).unwrap());
    let table = store.state().table("numbers").unwrap().shape.id;
    upsert(store, table, 5..100_000);
    let free = free.lock().unwrap().clone();
    assert!(free.len() > 1, "the old segment and the new ones are mapped: {free:?}");
    assert!(!free.contains(&false), "{free:?}");
    assert_eq!(content(store), Some((0..100_000).collect()));
}

/// A reader reads manifest and log one after the other. In between the owner may remove what the manifest needs.
#[test]
fn a_reader_that_the_owner_overtakes_reads_again() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let store = Arc::new(store);
    let move_on = {
        let store = store.clone();
        move |ids: std::ops::Range<i64>| {
            for id in ids {
                upsert(&store, table, [id]);
                store.fold().unwrap();
            }
        }
    };
    let is_due = Arc::new(AtomicBool::new(false));
    let vfs = FaultyVfs::meanwhile("log", {
        let (is_due, move_on) = (is_due.clone(), move_on.clone());
        move || {
            if is_due.swap(false, Ordering::Relaxed) {
                move_on(5..9);
            }
        }
    });
    let (follower, damage) = Follower::open(Files::new(dir.path().to_owned(), Arc::new(vfs))).unwrap();
    assert_eq!((followed(&follower), damage), (vec![], None));
    // The files that the follower followed are gone, so that it reads everything anew.
    move_on(0..4);
    upsert(&store, table, [4]);
    is_due.store(true, Ordering::Relaxed);
    let found = followed(&follower);
    assert!(found.iter().copied().eq(0..5) || found.iter().copied().eq(0..9), "{found:?}");
    assert!(!is_due.load(Ordering::Relaxed), "the owner was faster");
    assert_eq!(followed(&follower), (0..9).collect::<Vec<_>>());
}

/// Commits that are logged while the log is synced are all served by the next sync.
#[test]
fn commits_that_wait_for_the_disk_share_a_sync() {
    const COMMITS: usize = 8;
    let dir = scratch();
    let store: Arc<OnceLock<Store>> = Arc::default();
    let syncs: Arc<AtomicUsize> = Arc::default();
    let vfs = FaultyVfs::meanwhile("log", {
        let (store, syncs) = (store.clone(), syncs.clone());
        move || {
            let Some(store) = store.get() else { return };
            // The first sync serves one commit, and lasts until the others are logged.
            if syncs.fetch_add(1, Ordering::Relaxed) == 0 {
                let since = Instant::now();
                while store.committer.lock().records <= COMMITS && since.elapsed() < Duration::from_secs(20) {
                    std::thread::yield_now();
                }
            }
        }
    });
    let opened = open(dir.path(), Arc::new(vfs)).unwrap();
    opened.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = opened.state().table("numbers").unwrap().shape.id;
    let store = store.get_or_init(|| opened);
    std::thread::scope(|scope| {
        for id in 0..i64::try_from(COMMITS).unwrap() {
            scope.spawn(move || {
                let version = append(store, table, [id]).unwrap();
                assert!(
                    store.state().version.sequence >= version.sequence,
                    "a commit is shown before it returns"
                );
                assert!(content(store).unwrap().contains(&id));
            });
        }
    });
    assert_eq!(syncs.load(Ordering::Relaxed), 2);
    assert_eq!(content(store).unwrap().len(), COMMITS);
}

/// Nobody reads any more what a failed sync should have made durable, and readers that saw it are told once.
#[test]
fn readers_go_back_when_a_sync_fails() {
    for first in 0.. {
        let dir = scratch();
        let fault = Fault { errno: EIO, first, count: 1, writes_half: false, reach: Reach::Syncs };
        let vfs = FaultyVfs::with(fault);
        let Ok(store) =
            Store::open(Files::new(dir.path().to_owned(), Arc::new(vfs.clone())), Sync::Later, 1 << 20, 0)
        else {
            continue;
        };
        if store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).is_err() {
            continue;
        }
        let table = store.state().table("numbers").unwrap().shape.id;
        let follower = Follower::open(Files::below(dir.path()).unwrap()).unwrap().0;
        let mut durable = None;
        let mut failed = None;
        for id in 3..6 {
            upsert(&store, table, [id, 0]);
            assert_eq!(followed(&follower), (0..=id).collect::<Vec<_>>());
            if let Err(error) = store.sync() {
                failed = Some(error);
                break;
            }
            durable = Some(id);
        }
        let Some(error) = failed else {
            assert!(!vfs.struck());
            return;
        };
        assert_eq!(error.code(), ErrorCode::Io);
        assert_eq!(append(&store, table, [9]).unwrap_err().code(), ErrorCode::Poisoned);
        assert_eq!(store.newest().unwrap_err().code(), ErrorCode::WentBack);
        assert_eq!(store.newest().unwrap().version, store.state().version);
        assert_eq!(follower.newest().unwrap_err().code(), ErrorCode::WentBack);
        // Before the first sync, nothing was durable.
        let expected: Option<BTreeSet<i64>> = durable.map(|last| (0..=last).collect());
        assert_eq!(content(&store), expected);
        if let Some(expected) = expected {
            assert_eq!(followed(&follower), expected.into_iter().collect::<Vec<_>>());
        }
        drop(store);
        let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
        assert!(content(&store).unwrap().len() >= durable.map_or(0, |last| last as usize + 1));
        assert!(follower.newest().is_ok());
    }
}

/// A store whose first sync after `armed` is set lasts until `records` are logged, and then fails if `fails`.
fn with_a_long_sync(dir: &Path, records: usize, fails: bool) -> (Arc<OnceLock<Store>>, Arc<AtomicBool>) {
    let (store, armed): (Arc<OnceLock<Store>>, Arc<AtomicBool>) = Default::default();
    let vfs = FaultyVfs::meanwhile_or_fail({
        let (store, armed) = (store.clone(), armed.clone());
        move |path| {
            let is_armed = || is_below(path, "log") && armed.swap(false, Ordering::Relaxed);
            let Some(store) = store.get().filter(|_| is_armed()) else { return Ok(()) };
            let since = Instant::now();
            while store.committer.lock().records < records && since.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
        }
    });
    store.get_or_init(|| open(dir, Arc::new(vfs)).unwrap());
    (store, armed)
}

/// Commits of every kind wait for one sync while the index of their table grows. After it, all of them are there or
/// none.
#[test]
fn commits_of_every_kind_wait_for_one_sync() {
    const OTHERS: [&str; 4] = ["truncated", "replaced", "dropped", "thinned"];
    /// Commits before the long sync: the tables, and rows in two of them.
    const BEFORE: usize = 1 + OTHERS.len() + 2;
    const WAITING: usize = 10;
    for fails in [false, true] {
        let dir = scratch();
        let (store, armed) = with_a_long_sync(dir.path(), BEFORE + WAITING, fails);
        let store = store.get().unwrap();
        store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
        let table = store.state().table("numbers").unwrap().shape.id;
        let [truncated, replaced, dropped, thinned] = OTHERS.map(|name| {
            let shape = TableShape::keyed(name, schema(), 0);
            let state = store.create_table(shape, SystemTime::now(), &mut rows(0..3)).unwrap();
            state.table(name).unwrap().shape.id
        });
        upsert(store, table, [3]);
        upsert(store, thinned, [3]);
        let follower = Follower::open(Files::below(dir.path()).unwrap()).unwrap().0;
        let before = store.state().version;
        let sizes = |state: &State| OTHERS.map(|name| state.table(name).map(|table| table.rows).ok());
        let old_sizes = [Some(3), Some(3), Some(3), Some(4)];
        armed.store(true, Ordering::Relaxed);
        let outcomes: Vec<Result<Version>> = std::thread::scope(|scope| {
            type Work<'a> = Box<dyn FnOnce() -> Result<Version> + Send + 'a>;
            let changes: [Work<'_>; WAITING] = [
                Box::new(|| append(store, table, [10])),
                Box::new(|| append(store, table, 100..2500)),
                // Rows of segments and of the log are replaced and deleted.
                Box::new(|| {
                    let (mode, rows) = (WriteMode::Upsert, &mut rows([0, 3, 11]));
                    write(store, Change::Rows { table, mode, rows })
                }),
                Box::new(|| write(store, delete(table, 1))),
                Box::new(|| write(store, delete(thinned, 3))),
                Box::new(|| write(store, Change::Truncate { table: truncated })),
                Box::new(|| replace(store, replaced, 50..55)),
                Box::new(|| write(store, Change::Drop { table: dropped })),
                Box::new(|| write(store, Change::Position { source: "s".to_owned(), position: vec![1] })),
                Box::new(|| append(store, table, [12])),
            ];
            let threads = changes.map(|change| scope.spawn(change));
            // Nobody sees any of them while the sync lasts.
            let lasts = || store.committer.lock().records < BEFORE + WAITING - 3;
            while lasts() {
                let seen = (store.state().version, sizes(&store.state()), followed(&follower));
                // This thread may have been held up between the two until the sync had ended.
                if lasts() {
                    assert_eq!(seen, (before, old_sizes, vec![0, 1, 2, 3]));
                }
            }
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let position = || store.state().positions.get("s").map(|position| position.to_vec());
        if fails {
            assert!(outcomes.iter().all(|outcome| {
                outcome.as_ref().is_err_and(|error| error.code() == ErrorCode::OutcomeUnknown)
            }));
            assert_eq!(store.newest().unwrap().version, before, "nobody saw more, so nobody is told");
            assert_eq!(followed(&follower), [0, 1, 2, 3]);
            assert_eq!(content(store), Some((0..4).collect()));
            assert_eq!((sizes(&store.state()), position()), (old_sizes, None));
            assert_eq!(store.fold().unwrap_err().code(), ErrorCode::Poisoned);
            continue;
        }
        let all: BTreeSet<i64> = [0, 2, 3, 10, 11, 12].into_iter().chain(100..2500).collect();
        assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
        assert_eq!(content(store).as_ref(), Some(&all));
        assert!(followed(&follower).into_iter().eq(all.iter().copied()));
        let new_sizes = [Some(0), Some(5), None, Some(3)];
        assert_eq!((sizes(&store.state()), position()), (new_sizes, Some(vec![1])));
        assert_eq!(sizes(&follower.newest().unwrap()), new_sizes);
        store.fold().unwrap();
        assert_eq!(content(store), Some(all));
        assert_eq!(sizes(&store.state()), new_sizes);
    }
}

/// A writer that is refused because of a commit that nobody sees yet is told when that commit is seen.
#[test]
fn a_refusal_waits_for_its_reason() {
    let dir = scratch();
    let (store, armed) = with_a_long_sync(dir.path(), 2, false);
    let store = store.get().unwrap();
    armed.store(true, Ordering::Relaxed);
    std::thread::scope(|scope| {
        let define = || {
            let defined = store.create_table(shape(), SystemTime::now(), &mut rows(0..3));
            assert!(store.state().table("numbers").is_ok(), "defined here or by the other, it is there");
            defined.map(drop)
        };
        let defines = [scope.spawn(define), scope.spawn(define)];
        // The sync of the first waits for another record.
        while store.committer.lock().records < 1 {
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(20));
        write(store, Change::Position { source: "s".to_owned(), position: vec![1] }).unwrap();
        let refused: Vec<Error> =
            defines.into_iter().filter_map(|define| define.join().unwrap().err()).collect();
        assert_eq!(refused.iter().map(Error::code).collect::<Vec<_>>(), [ErrorCode::TableExists]);
    });
    assert_eq!(content(store), Some((0..3).collect()));
}

/// Waits until another thread has set a flag, or for some time; returns whether it is set.
fn wait_for(flag: &AtomicBool, patience: Duration) -> bool {
    let since = Instant::now();
    while !flag.load(Ordering::Relaxed) && since.elapsed() < patience {
        std::thread::yield_now();
    }
    flag.load(Ordering::Relaxed)
}

/// A reader that finds the manifest of a move does not read it with a head from before the move.
#[test]
fn a_manifest_is_read_with_what_was_published_before_it() {
    let dir = scratch();
    let name: &'static str = dir.path().file_name().unwrap().to_str().unwrap().to_owned().leak();
    let store: Arc<OnceLock<(Store, u64)>> = Arc::default();
    let [armed, changed, go_on]: [Arc<AtomicBool>; 3] = Default::default();
    let patience = Duration::from_secs(20);
    let vfs = FaultyVfs::meanwhile("tables", {
        let (store, armed, changed, go_on) = (store.clone(), armed.clone(), changed.clone(), go_on.clone());
        move || {
            if let Some((store, table)) = store.get()
                && armed.swap(false, Ordering::Relaxed)
            {
                // While the rows are moved.
                upsert(store, *table, [0, 1, 2]);
                changed.store(true, Ordering::Relaxed);
                wait_for(&go_on, patience);
            }
        }
    });
    let opened = open(dir.path(), Arc::new(vfs)).unwrap();
    opened.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = opened.state().table("numbers").unwrap().shape.id;
    store.get_or_init(|| (opened, table));
    let moves: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let vfs = FaultyVfs::meanwhile(name, {
        let moves = moves.clone();
        move || {
            if let Some(moves) = moves.lock().take() {
                // The reader looks for manifests: by the time it finds one, the rows are moved.
                go_on.store(true, Ordering::Relaxed);
                moves.join().unwrap();
            }
        }
    });
    let (follower, _) = Follower::open(Files::new(dir.path().to_owned(), Arc::new(vfs))).unwrap();
    let owner = &store.get().unwrap().0;
    // The files that the follower follows are gone, so that it reads everything anew.
    for _ in 0..3 {
        upsert(owner, table, 0..10);
        owner.fold().unwrap();
    }
    upsert(owner, table, 0..10);
    armed.store(true, Ordering::Relaxed);
    let store = store.clone();
    let fold = move || store.get().unwrap().0.fold().unwrap();
    let thread = std::thread::Builder::new().spawn(fold).unwrap();
    assert!(wait_for(&changed, patience));
    *moves.lock() = Some(thread);
    assert_eq!(followed(&follower), (0..10).collect::<Vec<_>>());
}

/// A table that is emptied while its rows are moved makes the move unnecessary. The manifest with the new places of the
/// rows is written only when all readers see the table empty.
#[test]
fn a_manifest_waits_until_what_it_was_made_with_is_shown() {
    let dir = scratch();
    let store: Arc<OnceLock<(Store, u64)>> = Arc::default();
    let [moves, truncates, logged, checked]: [Arc<AtomicBool>; 4] = Default::default();
    let emptying: Arc<Mutex<Option<JoinHandle<()>>>> = Arc::default();
    let vfs = FaultyVfs::meanwhile_or_fail({
        let (store, moves, logged) = (store.clone(), moves.clone(), logged.clone());
        let (checked, emptying) = (checked.clone(), emptying.clone());
        move |path| {
            if store.get().is_some() && is_below(path, "tables") && moves.swap(false, Ordering::Relaxed) {
                let (owner, table) = store.get().unwrap();
                upsert(owner, *table, [0, 1, 2]);
                truncates.store(true, Ordering::Relaxed);
                let (store, table) = (store.clone(), *table);
                let empty = move || {
                    write(&store.get().unwrap().0, Change::Truncate { table }).unwrap();
                };
                *emptying.lock() = Some(std::thread::Builder::new().spawn(empty).unwrap());
                assert!(wait_for(&logged, Duration::from_secs(20)));
            } else if is_below(path, "log") && truncates.swap(false, Ordering::Relaxed) {
                logged.store(true, Ordering::Relaxed);
                // Longer than the rest of the fold takes, if it does not wait for this sync.
                wait_for(&checked, Duration::from_millis(500));
            }
            Ok(())
        }
    });
    let opened = open(dir.path(), Arc::new(vfs)).unwrap();
    opened.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = opened.state().table("numbers").unwrap().shape.id;
    upsert(&opened, table, 0..10);
    let (owner, _) = store.get_or_init(|| (opened, table));
    moves.store(true, Ordering::Relaxed);
    owner.fold().unwrap();
    let (follower, damage) = Follower::open(Files::below(dir.path()).unwrap()).unwrap();
    let found = followed(&follower);
    checked.store(true, Ordering::Relaxed);
    emptying.lock().take().unwrap().join().unwrap();
    assert_eq!((found, damage), (vec![], None));
    assert!(logged.load(Ordering::Relaxed), "the table was emptied while rows were moved");
}

/// A failed sync takes nothing back that a manifest relies on.
#[test]
fn who_goes_back_does_not_go_back_behind_a_manifest() {
    let dir = scratch();
    let store: Arc<OnceLock<(Store, u64)>> = Arc::default();
    let [moves, fails]: [Arc<AtomicBool>; 2] = Default::default();
    let vfs = FaultyVfs::meanwhile_or_fail({
        let (store, moves, fails) = (store.clone(), moves.clone(), fails.clone());
        move |path| {
            if let Some((owner, table)) = store.get()
                && is_below(path, "tables")
                && moves.swap(false, Ordering::Relaxed)
            {
                upsert(owner, *table, [0, 1, 2]);
                owner.sync().unwrap();
            }
            let fails = is_below(path, "log") && fails.load(Ordering::Relaxed);
            if fails { Err(std::io::Error::from_raw_os_error(EIO)) } else { Ok(()) }
        }
    });
    let files = Files::new(dir.path().to_owned(), Arc::new(vfs));
    let opened = Store::open(files, Sync::Later, 1 << 20, 0).unwrap();
    opened.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = opened.state().table("numbers").unwrap().shape.id;
    upsert(&opened, table, 0..10);
    let (owner, _) = store.get_or_init(|| (opened, table));
    moves.store(true, Ordering::Relaxed);
    owner.fold().unwrap();
    upsert(owner, table, [3, 10]);
    fails.store(true, Ordering::Relaxed);
    assert_eq!(owner.sync().unwrap_err().code(), ErrorCode::Io);
    let (follower, damage) = Follower::open(Files::below(dir.path()).unwrap()).unwrap();
    assert_eq!((followed(&follower), damage), ((0..10).collect(), None));
    assert_eq!(content(owner), Some((0..10).collect()));
}

/// Moves that nobody waits for go no faster than they may, and hold nobody up: commits and reads go on. Whoever waits
/// for a move hurries it.
#[test]
fn moves_are_held_until_somebody_waits_for_them() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    // With this limit the move would take hours.
    store.limit_moves(1);
    let held_until = |ends: &dyn Fn(std::thread::ScopedJoinHandle<'_, ()>)| {
        upsert(&store, table, 0..1000);
        std::thread::scope(|scope| {
            let moves = scope.spawn(|| store.fold().unwrap());
            let since = Instant::now();
            while !store.pace.is_holding() && since.elapsed() < Duration::from_secs(20) {
                std::thread::yield_now();
            }
            upsert(&store, table, [1000]);
            assert_eq!(content(&store), Some((0..=1000).collect()));
            assert!(!moves.is_finished());
            ends(moves);
        });
    };
    held_until(&|moves| {
        let _hurry = store.hurry();
        moves.join().unwrap();
    });
    held_until(&|moves| {
        store.close(false).unwrap();
        moves.join().unwrap();
    });
}

/// Whoever gives a write up while another one has the table leaves no thread that waits.
#[test]
fn a_write_that_is_given_up_stops_waiting_for_its_table() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let lock = store.loading.of(table);
    let held = lock.lock();
    let is_wanted = AtomicBool::new(true);
    let check = || match is_wanted.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err(Error::new(ErrorCode::Cancelled, "as the test said")),
    };
    let refused = std::thread::scope(|scope| {
        let waits = scope.spawn(|| {
            let rows = &mut rows([7]);
            let change = Change::Rows { table, mode: WriteMode::Append, rows };
            store.write_if_wanted(vec![change], SystemTime::now(), &check)
        });
        is_wanted.store(false, Ordering::Relaxed);
        waits.join().unwrap().unwrap_err()
    });
    assert_eq!(refused.code(), ErrorCode::Cancelled);
    drop(held);
    assert_eq!(content(&store), Some(BTreeSet::new()));
}

/// More rows than a commit logs.
const MANY: std::ops::Range<i64> = 0..40_000;

fn delete<'a>(table: u64, id: i64) -> Change<'a> {
    let key = rows([id]).next().unwrap().unwrap();
    Change::Delete { table, keys: KeyColumn::of(&key, &[0]).unwrap(), invalidates: false }
}

/// Rows that are written as segments are compared with what the same commit did to the table before.
#[test]
fn many_rows_of_a_commit_know_its_other_changes() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(MANY)).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let all = || content(&store).unwrap();
    // A key that comes in two changes of a commit is refused, however many rows each has.
    for first in [50_000..50_001, 50_000..100_000] {
        let (mut before, mut after) = (rows(first), rows(50_000..90_000));
        let changes = vec![
            Change::Rows { table, mode: WriteMode::Append, rows: &mut before },
            Change::Rows { table, mode: WriteMode::Append, rows: &mut after },
        ];
        let refused = store.write(changes, SystemTime::now()).unwrap_err();
        assert_eq!(refused.code(), ErrorCode::DuplicateKey);
        assert!(refused.to_string().contains("50000"), "{refused}");
        assert_eq!(all(), MANY.collect());
    }
    // The same keys can come back after the table was emptied, or they were deleted.
    let mut again = rows(MANY);
    store
        .write(
            vec![
                Change::Truncate { table },
                Change::Rows { table, mode: WriteMode::Append, rows: &mut again },
            ],
            SystemTime::now(),
        )
        .unwrap();
    assert_eq!(all(), MANY.collect());
    let mut seven = rows([7]);
    store
        .write(
            vec![delete(table, 7), Change::Rows { table, mode: WriteMode::Append, rows: &mut seven }],
            SystemTime::now(),
        )
        .unwrap();
    // A row in the log is deleted, comes back among many, and is replaced or deleted again.
    for goes in [false, true] {
        upsert(&store, table, [100_007]);
        let (mut many, mut one) = (rows(100_000..140_000), rows([100_007]));
        let last = if goes {
            delete(table, 100_007)
        } else {
            Change::Rows { table, mode: WriteMode::Upsert, rows: &mut one }
        };
        let changes = vec![
            delete(table, 100_007),
            Change::Rows { table, mode: WriteMode::Append, rows: &mut many },
            last,
        ];
        store.write(changes, SystemTime::now()).unwrap();
        let added = (100_000..140_000).filter(|id| !goes || *id != 100_007);
        let expected: BTreeSet<i64> = MANY.chain(added).collect();
        assert_eq!(all(), expected);
        store.fold().unwrap();
        assert_eq!(all(), expected);
        let mut again = rows(MANY);
        let changes = vec![
            Change::Truncate { table },
            Change::Rows { table, mode: WriteMode::Append, rows: &mut again },
        ];
        store.write(changes, SystemTime::now()).unwrap();
    }
    // A key that was not there, comes among many and is then replaced is one row.
    let (mut many, mut one) = (rows(40_000..80_000), rows([40_005]));
    store
        .write(
            vec![
                delete(table, 40_005),
                Change::Rows { table, mode: WriteMode::Append, rows: &mut many },
                Change::Rows { table, mode: WriteMode::Upsert, rows: &mut one },
            ],
            SystemTime::now(),
        )
        .unwrap();
    assert_eq!(all(), (0..80_000).collect());
    drop(store);
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    assert_eq!(content(&store), Some((0..80_000).collect()));
}

/// Damaged runs cannot be merged with others, so they take none of the room: otherwise a table with some of them would
/// look full at every large commit, which would wait for whoever moves rows and then find nothing to merge.
#[test]
fn damaged_runs_take_no_room() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let of_table = || store.state().table("numbers").unwrap().clone();
    let runs = |is_whole: bool| {
        let table = of_table();
        let segments = table.segments.iter().filter(|segment| segment.damage().is_none() == is_whole);
        segments.map(|segment| segment.record().run).collect::<BTreeSet<_>>().len()
    };
    // Each is much smaller than the one before, so that they are merged only if they must be.
    let mut next = 0;
    for len in [20_000, 5000, 1200, 300, 75, 18, 4, 1] {
        append(&store, table, next..next + len).unwrap();
        next += len;
        store.fold().unwrap();
    }
    assert_eq!((runs(true), is_full(&of_table())), (8, true));
    of_table().segments[..3].iter().for_each(|segment| segment.meet("it cannot be read".to_owned()));
    for whole in 5..=8 {
        assert_eq!((runs(true), runs(false)), (whole, 3));
        assert_eq!(is_full(&of_table()), whole == 8);
        append(&store, table, next..next + MANY.end).unwrap();
        next += MANY.end;
    }
    // The last of them found eight, which were merged.
    assert!(runs(true) <= 8 && runs(false) == 3, "{} and {}", runs(true), runs(false));
    assert_eq!(content(&store), Some((0..next).collect()));
}

/// There are never more runs than a lookup may have to search.
#[test]
fn a_run_that_comes_finds_room() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    let runs = || {
        let state = store.state();
        let segments = &state.table("numbers").unwrap().segments;
        segments.iter().map(|segment| segment.record().run).collect::<BTreeSet<_>>().len()
    };
    // Each is much smaller than the one before, so that they are merged only if they must be.
    let mut next = 0;
    for len in [20_000, 5000, 1200, 300, 75, 18, 4, 1] {
        append(&store, table, next..next + len).unwrap();
        next += len;
        store.fold().unwrap();
    }
    assert_eq!(runs(), 8);
    store.merge_table(table, 0).unwrap();
    assert_eq!(runs(), 8, "there is no need to merge");
    append(&store, table, next..next + MANY.end).unwrap();
    assert_eq!(runs(), 8);
    assert_eq!(content(&store), Some((0..next + MANY.end).collect()));
}

#[test]
fn loads_of_a_table_at_the_same_time_are_runs_of_their_own() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    let shape = Arc::new(shape());
    // Enough rows to be sorted in files.
    let ids = |start: i64| {
        (0..8).rev().flat_map(move |part| rows(start + part * 50_000..start + (part + 1) * 50_000))
    };
    let mut inner = None;
    let mut outer = ids(0).inspect(|_| {
        inner.get_or_insert_with(|| store.load(&shape, Duplicates::Unique).run(&mut ids(1_000_000)).unwrap());
    });
    let outer = store.load(&shape, Duplicates::Unique).run(&mut outer).unwrap();
    let inner = inner.unwrap();
    assert_eq!((inner.rows(), outer.rows()), (400_000, 400_000));
    assert_ne!(inner.records()[0].run, outer.records()[0].run);
}

#[test]
fn what_a_reader_had_no_use_for_it_is_told_next() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
    let follower = Follower::open(Files::new(dir.path().to_owned(), Arc::new(OsVfs))).unwrap().0;
    follower.tell_next(Error::new(ErrorCode::WentBack, "once"));
    append(&store, 0, 3..5).unwrap();
    assert_eq!(follower.newest().unwrap_err().code(), ErrorCode::WentBack);
    assert_eq!(followed(&follower), [0, 1, 2, 3, 4]);
    append(&store, 0, 5..6).unwrap();
    assert_eq!(followed(&follower), [0, 1, 2, 3, 4, 5]);
}

#[test]
fn no_other_owner_comes_before_a_load_under_way_has_ended() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
    // Enough rows for files, the first of which are written when the cache is closed.
    let mut parts = 0;
    let mut incoming =
        (0..4).flat_map(|part| rows(1_000 + part * 20_000..1_000 + (part + 1) * 20_000)).inspect(|_| {
            parts += 1;
            if parts == 3 {
                store.close(true).unwrap();
                let error = open(dir.path(), Arc::new(OsVfs)).unwrap_err();
                assert_eq!(error.code(), ErrorCode::DirectoryLocked);
            }
        });
    let written = write(&store, Change::Rows { table: 0, mode: WriteMode::Append, rows: &mut incoming });
    assert_eq!(written.unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(parts, 4);
    let next = open(dir.path(), Arc::new(OsVfs)).unwrap();
    assert_eq!(content(&next), Some((0..3).collect()));
    append(&next, 0, 0x1_0000..0x2_0000).unwrap();
    drop(store);
    assert_eq!(content(&next), Some((0..3).chain(0x1_0000..0x2_0000).collect()));
    let segments: Vec<_> = next.state().segment_paths().collect();
    assert!(segments.iter().all(|path| path.exists()), "{segments:?}");
}

#[test]
fn what_a_commit_adds_and_takes_away_again_is_removed_in_time() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
    let mut many = rows(0..100_000);
    let changes = vec![
        Change::Rows { table: 0, mode: WriteMode::Upsert, rows: &mut many },
        Change::Truncate { table: 0 },
    ];
    store.write(changes, SystemTime::now()).unwrap();
    assert_eq!(content(&store), Some(BTreeSet::new()));
    // Each manifest releases what the one before the last needed.
    for id in 0..3 {
        append(&store, 0, [id]).unwrap();
        store.fold().unwrap();
    }
    store.upkeep().unwrap();
    let needed: BTreeSet<PathBuf> = store.state().segment_paths().collect();
    assert_eq!(files_below(dir.path()), needed);
}

#[test]
fn indexes_of_tails_that_ended_in_the_log_are_removed_when_it_was_read() {
    let dir = scratch();
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    store.create_table(shape(), SystemTime::now(), &mut rows([])).unwrap();
    for id in 0..5 {
        upsert(&store, 0, [id]);
        write(&store, Change::Truncate { table: 0 }).unwrap();
    }
    upsert(&store, 0, [7]);
    store.close(false).unwrap();
    drop(store);
    let store = open(dir.path(), Arc::new(OsVfs)).unwrap();
    let indexes = OsVfs.list(&dir.path().join("live")).unwrap();
    assert_eq!(indexes.iter().filter(|name| name.contains('-')).count(), 1, "{indexes:?}");
    assert_eq!(content(&store), Some(BTreeSet::from([7])));
    let follower = Follower::open(Files::new(dir.path().to_owned(), Arc::new(OsVfs))).unwrap().0;
    upsert(&store, 0, [8]);
    assert_eq!(followed(&follower), [7, 8]);
}

/// A table that was dropped by a commit that nobody sees yet cannot be changed or dropped again. Whoever tries is told
/// so.
#[test]
fn a_table_that_is_being_dropped_is_not_there_for_other_writers() {
    const DROPPED: u64 = 0;
    const OTHER: u64 = 1;
    type Changes = for<'a> fn(change::Incoming<'a>) -> Vec<Change<'a>>;
    // The rows come after the table was looked up in what readers see.
    let attempts: [Changes; 4] = [
        |rows| vec![Change::Rows { table: DROPPED, mode: WriteMode::Replace, rows }],
        |rows| {
            vec![
                Change::Truncate { table: DROPPED },
                Change::Rows { table: OTHER, mode: WriteMode::Append, rows },
            ]
        },
        |rows| {
            vec![
                Change::Drop { table: DROPPED },
                Change::Rows { table: OTHER, mode: WriteMode::Append, rows },
            ]
        },
        |rows| {
            let keys = KeyColumn::default();
            let nothing = Change::Delete { table: DROPPED, keys, invalidates: false };
            vec![nothing, Change::Rows { table: OTHER, mode: WriteMode::Append, rows }]
        },
    ];
    for (number, changes) in attempts.into_iter().enumerate() {
        let dir = scratch();
        let store: Arc<OnceLock<Store>> = Arc::default();
        let armed: Arc<AtomicBool> = Arc::default();
        let attempt: Arc<Mutex<Option<JoinHandle<Result<Version>>>>> = Arc::default();
        let vfs = FaultyVfs::meanwhile("log", {
            let (store, armed, attempt) = (store.clone(), armed.clone(), attempt.clone());
            move || {
                // The drop is logged but not durable yet.
                if !armed.swap(false, Ordering::Relaxed) {
                    return;
                }
                let (store, is_late) = (store.clone(), Arc::<AtomicBool>::default());
                let looked = is_late.clone();
                let change = move || {
                    let mut rows = rows(7..9).inspect(|_| looked.store(true, Ordering::Relaxed));
                    store.get().unwrap().write(changes(&mut rows), SystemTime::now())
                };
                *attempt.lock() = Some(std::thread::Builder::new().spawn(change).unwrap());
                assert!(wait_for(&is_late, Duration::from_secs(20)));
            }
        });
        let store = store.get_or_init(|| open(dir.path(), Arc::new(vfs)).unwrap());
        store.create_table(shape(), SystemTime::now(), &mut rows(0..3)).unwrap();
        let other = TableShape::keyed("other", schema(), 0);
        store.create_table(other, SystemTime::now(), &mut rows(0..3)).unwrap();
        armed.store(true, Ordering::Relaxed);
        let dropped = write(store, Change::Drop { table: DROPPED }).unwrap();
        let refused = attempt.lock().take().unwrap().join().unwrap().unwrap_err();
        assert_eq!(refused.code(), ErrorCode::TableNotFound, "attempt {number}: {refused:?}");
        assert_eq!(store.newest_logged().unwrap().version, dropped, "attempt {number} changed nothing");
        assert_eq!(store.state().table("other").unwrap().rows, 3);
    }
}
