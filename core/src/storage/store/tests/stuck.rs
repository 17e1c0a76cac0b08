//! Rows of a table that cannot be moved, and what they keep others from: nothing.

use crate::types::mode::WriteMode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef};

use crate::storage::log;
use crate::storage::store::*;
use crate::storage::vfs::faulty::{FaultyVfs, is_below};
use crate::storage::vfs::{OsVfs, Vfs};

/// Folder of the first table.
const FIRST: &str = "0";

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("text", DataType::Utf8, false),
    ]))
}

/// Rows with texts of `len` bytes.
fn rows(ids: impl IntoIterator<Item = i64>, len: usize) -> impl Iterator<Item = Result<RecordBatch>> {
    let ids = Int64Array::from_iter_values(ids);
    let texts = StringArray::from_iter_values((0..ids.len()).map(|_| "x".repeat(len)));
    let columns: Vec<ArrayRef> = vec![Arc::new(ids), Arc::new(texts)];
    std::iter::once(Ok(RecordBatch::try_new(schema(), columns).unwrap()))
}

fn scratch() -> tempfile::TempDir {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { tempfile::tempdir_in(memory).unwrap() } else { tempfile::tempdir().unwrap() }
}

fn open(dir: &Path, vfs: &Arc<dyn Vfs>) -> Result<Store> {
    Store::open(Files::new(dir.to_owned(), vfs.clone()), Sync::Later, 1 << 20, 0)
}

fn create(store: &Store, name: &str, ids: impl IntoIterator<Item = i64>) -> u64 {
    let shape = TableShape::keyed(name, schema(), 0);
    let state = store.create_table(shape, SystemTime::now(), &mut rows(ids, 10)).unwrap();
    state.table(name).unwrap().shape.id
}

fn append(store: &Store, table: u64, ids: impl IntoIterator<Item = i64>, len: usize) -> Result<Version> {
    store.write(
        vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows(ids, len) }],
        SystemTime::now(),
    )
}

fn upsert(store: &Store, table: u64, ids: impl IntoIterator<Item = i64>) -> Result<Version> {
    store.write(
        vec![Change::Rows { table, mode: WriteMode::Upsert, rows: &mut rows(ids, 10) }],
        SystemTime::now(),
    )
}

/// The ids of a table, in order.
fn ids(store: &Store, name: &str) -> Vec<i64> {
    let state = store.state();
    let table = state.table(name).unwrap();
    let mut parts = table.tail_parts().unwrap();
    parts.extend(table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap()));
    let mut ids = Vec::new();
    for part in parts {
        for batch in table.read_part(&part, None, state.version.sequence, &[0, 1], &schema()).unwrap() {
            ids.extend(batch.column(0).as_primitive::<Int64Type>().values());
        }
    }
    ids.sort_unstable();
    assert_eq!(table.rows, ids.len() as u64);
    ids
}

fn logged_rows(store: &Store, name: &str) -> usize {
    store.state().table(name).unwrap().tails.iter().map(|tail| tail.rows).sum()
}

fn log_files(dir: &Path) -> usize {
    OsVfs.list(&dir.join("log")).unwrap().iter().filter(|name| log::file_number(name).is_some()).count()
}

/// Files with which nothing can be made in the folder of the first table while the flag is set.
fn breakable() -> (Arc<dyn Vfs>, Arc<AtomicBool>) {
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = is_broken.clone();
    let vfs = FaultyVfs::meanwhile_or_fail(move |path| {
        let hits = broken.load(Ordering::Relaxed) && is_below(path, "tables") && is_below(path, FIRST);
        if hits { Err(std::io::Error::from_raw_os_error(5)) } else { Ok(()) }
    });
    (Arc::new(vfs), is_broken)
}

#[test]
fn a_table_that_cannot_be_moved_leaves_the_others_alone() {
    let dir = scratch();
    let (vfs, is_broken) = breakable();
    let mut store = open(dir.path(), &vfs).unwrap();
    let (a, b) = (create(&store, "a", 0..100), create(&store, "b", 0..100));
    assert_eq!(a.to_string(), FIRST);
    is_broken.store(true, Ordering::Relaxed);
    let (mut of_a, mut of_b): (Vec<i64>, Vec<i64>) = ((0..100).collect(), (0..100).collect());
    for round in 0..4 {
        let new = 1000 + 10 * round..1010 + 10 * round;
        append(&store, a, new.clone(), 10).unwrap();
        append(&store, b, new.clone(), 10).unwrap();
        of_a.extend(new.clone());
        of_b.extend(new);
        let error = store.fold().unwrap_err();
        assert_eq!(error.code(), ErrorCode::Io);
        assert!(error.message().contains("table `a`"), "{error}");
        assert_eq!(logged_rows(&store, "b"), 0, "its rows are moved");
        assert!(logged_rows(&store, "a") > 0);
        {
            let state = store.state();
            assert!(state.table("a").unwrap().damage().is_some_and(|damage| damage.contains("table `a`")));
            assert_eq!(state.table("b").unwrap().damage(), None);
        }
        assert_eq!((ids(&store, "a"), ids(&store, "b")), (of_a.clone(), of_b.clone()));
        // As after a crash: nobody closed the store.
        drop(store);
        store = open(dir.path(), &vfs).unwrap();
        assert_eq!((ids(&store, "a"), ids(&store, "b")), (of_a.clone(), of_b.clone()));
        if round == 2 {
            store.close(false).unwrap();
            drop(store);
            store = open(dir.path(), &vfs).unwrap();
            assert_eq!((ids(&store, "a"), ids(&store, "b")), (of_a.clone(), of_b.clone()));
        }
    }
    is_broken.store(false, Ordering::Relaxed);
    for id in 0..2 {
        append(&store, b, [5000 + id], 10).unwrap();
        of_b.push(5000 + id);
        store.fold().unwrap();
    }
    assert_eq!((ids(&store, "a"), ids(&store, "b")), (of_a, of_b));
    assert_eq!(store.state().table("a").unwrap().damage(), None);
    assert!(log_files(dir.path()) <= 3, "the log is let go of");
}

/// What is wrong with a file may pass, as with permissions and limits. Nothing is given up for good meanwhile.
#[test]
fn a_segment_that_cannot_be_read_for_a_while_is_whole_afterwards() {
    let dir = scratch();
    let is_broken = Arc::new(AtomicBool::new(false));
    let broken = is_broken.clone();
    let vfs: Arc<dyn Vfs> = Arc::new(FaultyVfs::before_mapping_or_fail(move |path| {
        let hits = broken.load(Ordering::Relaxed) && is_below(path, FIRST);
        if hits { Err(std::io::Error::from_raw_os_error(13)) } else { Ok(()) }
    }));
    let store = open(dir.path(), &vfs).unwrap();
    let (a, b) = (create(&store, "a", 0..100), create(&store, "b", 0..100));
    assert_eq!(a.to_string(), FIRST);
    // Which rows of the segment these replace is looked up when the log is replayed.
    upsert(&store, a, 90..110).unwrap();
    append(&store, b, 100..110, 10).unwrap();
    drop(store);
    is_broken.store(true, Ordering::Relaxed);
    for round in 0..3 {
        let store = open(dir.path(), &vfs).unwrap();
        let state = store.state();
        let damage = state.table("a").unwrap().damage().unwrap().to_owned();
        assert!(damage.contains("open the cache again"), "{damage}");
        append(&store, b, [200 + round], 10).unwrap();
        assert_eq!(store.fold().unwrap_err().code(), ErrorCode::Io);
        assert_eq!(ids(&store, "b"), (0..110).chain(200..=200 + round).collect::<Vec<_>>());
        drop(state);
        if round == 1 {
            store.close(false).unwrap();
        }
    }
    is_broken.store(false, Ordering::Relaxed);
    let store = open(dir.path(), &vfs).unwrap();
    assert_eq!(ids(&store, "a"), (0..110).collect::<Vec<_>>());
    assert_eq!(store.state().table("a").unwrap().damage(), None);
    store.fold().unwrap();
    assert_eq!(ids(&store, "a"), (0..110).collect::<Vec<_>>());
}

#[test]
fn a_table_that_cannot_be_moved_bounds_the_log() {
    let dir = scratch();
    let (vfs, is_broken) = breakable();
    let store = open(dir.path(), &vfs).unwrap();
    let (a, b) = (create(&store, "a", 0..100), create(&store, "b", 0..100));
    is_broken.store(true, Ordering::Relaxed);
    append(&store, a, [1000], 10).unwrap();
    let mut next = 1000;
    let mut write_b = || {
        next += 1;
        append(&store, b, [next], 3 << 19)
    };
    let log_len = || store.committer.lock().needed_log_bytes();
    // One log file gets full in between, and what can be moved is moved.
    while log_len() < 100 << 20 {
        write_b().unwrap();
    }
    let refused = append(&store, a, [1001], 10).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::DiskFull);
    assert!(refused.message().contains("table `a`"), "{refused}");
    let refused = loop {
        match write_b() {
            Ok(_) => assert!(log_len() < 200 << 20, "the log grows without end"),
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code(), ErrorCode::DiskFull);
    assert!(refused.message().contains("table `a`"), "{refused}");
    store.write(vec![Change::Drop { table: a }], SystemTime::now()).unwrap();
    write_b().unwrap();
    store.fold().unwrap();
    write_b().unwrap();
    store.fold().unwrap();
    assert!(log_len() < 32 << 20);
    assert!(log_files(dir.path()) <= 3);
}

#[test]
fn a_damaged_segment_keeps_no_rows_in_the_log() {
    let dir = scratch();
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs);
    let store = open(dir.path(), &vfs).unwrap();
    let (a, b) = (create(&store, "a", 0..1000), create(&store, "b", 0..100));
    for round in 1..4 {
        append(&store, a, 1000 * round..1000 * (round + 1), 10).unwrap();
        store.fold().unwrap();
    }
    let damaged = store.state().table("a").unwrap().segments[1].path();
    store.close(false).unwrap();
    drop(store);
    // Damages rows, which only a merge reads here.
    let mut bytes = OsVfs.read(&damaged).unwrap();
    bytes[4000] ^= 1;
    OsVfs.remove(&damaged).unwrap();
    OsVfs.create(&damaged).unwrap().write_all_at(&bytes, 0).unwrap();
    let mut store = open(dir.path(), &vfs).unwrap();
    let mut of_b: Vec<i64> = (0..100).collect();
    for round in 0..24 {
        // Keys behind those of all segments, because the damaged one cannot be searched.
        append(&store, a, 10_000 + 10 * round..10_010 + 10 * round, 10).unwrap();
        append(&store, b, [1000 + round], 10).unwrap();
        of_b.push(1000 + round);
        store.fold().unwrap();
        assert_eq!((logged_rows(&store, "a"), logged_rows(&store, "b")), (0, 0));
        if round % 8 == 7 {
            drop(store);
            store = open(dir.path(), &vfs).unwrap();
            assert_eq!(ids(&store, "b"), of_b);
        }
    }
    assert!(log_files(dir.path()) <= 3);
    let state = store.state();
    let table = state.table("a").unwrap();
    assert!(table.segments.len() <= 10, "the others are merged: {}", table.segments.len());
    let damage = |table: &TableState| table.damage().map(str::to_owned);
    assert_eq!(damage(state.table("b").unwrap()), None);
    drop(state);
    store
        .write(
            vec![Change::Rows { table: a, mode: WriteMode::Replace, rows: &mut rows(0..10, 10) }],
            SystemTime::now(),
        )
        .unwrap();
    assert_eq!(ids(&store, "a"), (0..10).collect::<Vec<_>>());
    store.fold().unwrap();
    assert_eq!(damage(store.state().table("a").unwrap()), None);
}

/// A full list of the rows that the upsert replaces may be too long for a record.
#[test]
fn a_large_upsert_lists_few_of_the_rows_that_it_replaces() {
    let dir = scratch();
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs);
    let mut store = open(dir.path(), &vfs).unwrap();
    let a = create(&store, "a", 0..120_000);
    append(&store, a, 120_000..160_000, 10).unwrap();
    upsert(&store, a, 500..540).unwrap();
    store.write(vec![delete(a, 7), delete(a, 121_000)], SystemTime::now()).unwrap();
    let mut expected: Vec<i64> = (0..160_000).filter(|id| ![7, 121_000].contains(id)).collect();
    let before = store.committer.lock().log.len();
    // Every third row of both segments, rows of the tail, and new ones.
    let changed: Vec<i64> = (0..170_000).filter(|id| id % 3 == 0 || *id == 7).collect();
    upsert(&store, a, changed.clone()).unwrap();
    let record = store.committer.lock().log.len() - before;
    assert!(record < 4 << 10, "a record of {record} bytes");
    expected.extend(changed.iter().filter(|id| **id >= 160_000 || **id == 7));
    expected.extend(changed.contains(&121_000).then_some(121_000));
    expected.sort_unstable();
    assert_eq!(ids(&store, "a"), expected);
    for folds in [false, true, false] {
        if folds {
            store.fold().unwrap();
        }
        drop(store);
        store = open(dir.path(), &vfs).unwrap();
        assert_eq!(ids(&store, "a"), expected);
    }
}

#[test]
fn a_commit_that_no_record_holds_is_refused_before_its_rows_are_read() {
    let dir = scratch();
    let vfs: Arc<dyn Vfs> = Arc::new(OsVfs);
    let store = open(dir.path(), &vfs).unwrap();
    let a = create(&store, "a", 0..10);
    let mut keys = crate::storage::KeyColumn::default();
    (0..1_200_000_u64).for_each(|key| keys.push(&key.to_le_bytes()));
    let mut is_read = false;
    let mut rows = rows(100..40_100, 10).inspect(|_| is_read = true);
    let changes = vec![
        Change::Rows { table: a, mode: WriteMode::Upsert, rows: &mut rows },
        Change::Delete { table: a, keys, invalidates: false },
    ];
    let refused = store.write(changes, SystemTime::now()).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidArgument, "{refused}");
    assert!(refused.message().contains("several commits"), "{refused}");
    drop(rows);
    assert!(!is_read, "rows were read, and written, for nothing");
    assert_eq!(ids(&store, "a"), (0..10).collect::<Vec<_>>());
}

fn delete(table: u64, id: i64) -> Change<'static> {
    let ids = RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef)]).unwrap();
    let keys = crate::storage::KeyColumn::of(&ids, &[0]).unwrap();
    Change::Delete { table, keys, invalidates: false }
}
