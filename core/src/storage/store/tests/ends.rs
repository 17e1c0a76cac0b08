//! What refused writes leave behind, whom slow rows hold up, and what a panic ends.

use crate::types::mode::WriteMode;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc;
use std::time::SystemTime;

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use crate::storage::planted::{self, Bug};
use crate::storage::store::*;
use crate::storage::vfs::faulty::FaultyVfs;
use crate::storage::vfs::{OsVfs, Vfs};

fn schema() -> SchemaRef {
    Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]))
}

fn ids(range: std::ops::Range<i64>) -> Result<RecordBatch> {
    Ok(RecordBatch::try_new(schema(), vec![Arc::new(Int64Array::from_iter_values(range))]).unwrap())
}

fn open(dir: &Path, vfs: Arc<dyn Vfs>) -> Store {
    Store::open(Files::new(dir.to_owned(), vfs), Sync::Later, 1 << 20, 0).unwrap()
}

/// A store with a table of the numbers below 100, and the table.
fn numbers(dir: &Path, vfs: Arc<dyn Vfs>) -> (Store, u64) {
    let store = open(dir, vfs);
    let mut rows = std::iter::once(ids(0..100));
    store.create_table(TableShape::keyed("numbers", schema(), 0), SystemTime::now(), &mut rows).unwrap();
    let table = store.state().table("numbers").unwrap().shape.id;
    (store, table)
}

fn append(store: &Store, table: u64, range: std::ops::Range<i64>) -> Result<Version> {
    let mut rows = std::iter::once(ids(range));
    store.write(vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows }], SystemTime::now())
}

fn rows(store: &Store, table: u64) -> u64 {
    store.state().tables[&table].rows
}

#[test]
fn a_refused_write_leaves_no_lock_of_a_table_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
    for missing in 1_000..11_000 {
        let refused = store.write(vec![Change::Truncate { table: missing }], SystemTime::now());
        assert_eq!(refused.unwrap_err().code(), ErrorCode::TableNotFound);
    }
    assert_eq!(store.loading.count(), 0);
    append(&store, table, 100..101).unwrap();
    assert_eq!(append(&store, table, 100..101).unwrap_err().code(), ErrorCode::DuplicateKey);
    assert_eq!(store.loading.count(), 1, "that of the table");
    let both = vec![Change::Truncate { table }, Change::Drop { table: 77 }];
    assert_eq!(store.write(both, SystemTime::now()).unwrap_err().code(), ErrorCode::TableNotFound);
    store.write(vec![Change::Drop { table }], SystemTime::now()).unwrap();
    assert_eq!(store.loading.count(), 0, "dropped");
}

#[test]
fn a_write_that_loses_its_table_meanwhile_leaves_no_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
    let mut rows = std::iter::once_with(|| {
        store.write(vec![Change::Drop { table }], SystemTime::now()).unwrap();
        ids(200..201)
    });
    let refused = store
        .write(vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows }], SystemTime::now());
    assert_eq!(refused.unwrap_err().code(), ErrorCode::TableNotFound);
    assert_eq!(store.loading.count(), 0);
}

#[test]
#[ignore = "two million writes, for a figure"]
fn two_million_refused_writes() {
    fn resident() -> u64 {
        let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
        pages.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4096
    }
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = numbers(dir.path(), Arc::new(OsVfs));
    let before = resident();
    for missing in 0..2_000_000_u64 {
        let table = crate::storage::key::hash(&missing.to_le_bytes());
        store.write(vec![Change::Truncate { table }], SystemTime::now()).unwrap_err();
    }
    let grown = resident().saturating_sub(before);
    println!("2,000,000 refused writes: {grown} more bytes resident");
    assert!(grown < 16 << 20);
}

/// Rows that come slowly hold up neither other writers of their table nor moves of rows, whether they are few or many.
#[test]
fn whoever_sends_rows_slowly_holds_nobody_up() {
    for many in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
        let (send, rows_of_it) = mpsc::channel();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                let mut rows = rows_of_it.into_iter();
                store.write(
                    vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut rows }],
                    SystemTime::now(),
                )
            });
            // If many, more than a write keeps without segments.
            let some = if many { 1_000_000..1_040_000 } else { 1_000_000..1_000_001 };
            send.send(ids(some.clone())).unwrap();
            append(&store, table, 100..101).unwrap();
            store
                .write(
                    vec![Change::Rows {
                        table,
                        mode: WriteMode::Upsert,
                        rows: &mut std::iter::once(ids(0..1)),
                    }],
                    SystemTime::now(),
                )
                .unwrap();
            store.fold().unwrap();
            drop(send);
            slow.join().unwrap().unwrap();
            assert_eq!(rows(&store, table), 101 + u64::try_from(some.end - some.start).unwrap());
        });
    }
}

/// Rows that came slowly are still compared with what others wrote meanwhile.
#[test]
fn rows_that_came_slowly_are_compared_with_what_others_wrote_meanwhile() {
    for many in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
        let end = if many { 240_000 } else { 201 };
        let mut slow = std::iter::once_with(|| {
            append(&store, table, 200..201).unwrap();
            ids(200..end)
        });
        let refused = store
            .write(vec![Change::Rows { table, mode: WriteMode::Append, rows: &mut slow }], SystemTime::now());
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), ErrorCode::DuplicateKey);
        assert!(refused.to_string().contains("200"), "{refused}");
        assert_eq!(rows(&store, table), 101);
        let files = std::fs::read_dir(store.files().table_dir(table)).unwrap().count();
        assert_eq!(files, 1, "those of the refused rows are gone");
    }
}

#[test]
fn a_panic_in_the_middle_of_a_commit_ends_writing_and_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
    append(&store, table, 100..101).unwrap();
    let planted = planted::plant(Bug::PanicMidCommit);
    assert!(catch_unwind(AssertUnwindSafe(|| append(&store, table, 101..102))).is_err());
    drop(planted);
    assert!(store.poison().unwrap().contains("panicked"));
    assert_eq!(append(&store, table, 102..103).unwrap_err().code(), ErrorCode::Poisoned);
    assert_eq!(rows(&store, table), 101, "reads go on");
    drop(store);
    let store = open(dir.path(), Arc::new(OsVfs));
    assert_eq!(rows(&store, table), 102, "its record was whole");
    append(&store, table, 102..103).unwrap();
}

/// The record of the commit names the files of its rows. They must be there when it is replayed.
#[test]
fn a_panic_in_the_middle_of_a_commit_keeps_the_files_that_it_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
    let planted = planted::plant(Bug::PanicMidCommit);
    let replaced = catch_unwind(AssertUnwindSafe(|| {
        let mut rows = std::iter::once(ids(500..900));
        store
            .write(vec![Change::Rows { table, mode: WriteMode::Replace, rows: &mut rows }], SystemTime::now())
    }));
    assert!(replaced.is_err());
    drop(planted);
    drop(store);
    let store = open(dir.path(), Arc::new(OsVfs));
    let state = store.state();
    let table = &state.tables[&table];
    assert_eq!((table.rows, table.damage()), (400, None));
    let parts = table.segments.iter().flat_map(|segment| TableState::segment_parts(segment).unwrap());
    let read = parts.map(|part| {
        let batches = table.read_part(&part, None, state.version.sequence, &[0], &schema()).unwrap();
        batches.iter().map(RecordBatch::num_rows).sum::<usize>()
    });
    assert_eq!(read.sum::<usize>(), 400);
}

#[test]
fn a_panic_while_the_log_goes_on_in_another_file_ends_writing() {
    let panics = Arc::new(AtomicBool::new(false));
    let vfs = FaultyVfs::meanwhile_or_fail({
        let panics = panics.clone();
        move |path| {
            let is_new = path.extension().is_some_and(|extension| extension == "log") && !path.exists();
            assert!(!is_new || !panics.load(Ordering::SeqCst), "planted");
            Ok(())
        }
    });
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(vfs));
    append(&store, table, 100..101).unwrap();
    panics.store(true, Ordering::SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| store.fold())).is_err());
    panics.store(false, Ordering::SeqCst);
    assert_eq!(append(&store, table, 101..102).unwrap_err().code(), ErrorCode::Poisoned);
}

/// A panic in a caller's own iterator of rows concerns only that caller.
#[test]
fn a_panic_of_the_rows_that_come_ends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (store, table) = numbers(dir.path(), Arc::new(OsVfs));
    let planted = || -> Result<RecordBatch> { panic!("planted") };
    let mut rows_of_it = std::iter::once_with(planted);
    let change = Change::Rows { table, mode: WriteMode::Append, rows: &mut rows_of_it };
    assert!(catch_unwind(AssertUnwindSafe(|| store.write(vec![change], SystemTime::now()))).is_err());
    assert_eq!(store.poison(), None);
    append(&store, table, 100..101).unwrap();
}
