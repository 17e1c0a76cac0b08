//! A disk that is really full: a small file system in memory, mounted for the test.

use std::path::Path;

use arrow::array::RecordBatch;
use pillion::{Cache, CacheOptions, Error, ErrorCode, ErrorKind, Input, TableDefinition};

use crate::support::disk::Disk;
use crate::support::scripted_source::{ROWS, Scripted, SourceRow, by_call, keyed};
use crate::support::{assert_ids, define, files, numbered};

/// Bytes of the disk.
const SIZE: u64 = 8 << 20;

/// More rows than fit on the disk, generated as they are read, in an order that needs sorting.
fn too_many_rows() -> Input {
    let batch = |start: i64| numbered((start..start + 10_000).rev());
    let schema = batch(0).schema();
    Input::batches(schema, (0..25).rev().map(move |part| -> RecordBatch { batch(part * 10_000) }))
}

#[track_caller]
fn assert_full<T>(result: Result<T, Error>) {
    let error = result.map(drop).expect_err("the disk is full");
    assert_eq!(error.code(), ErrorCode::DiskFull, "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Retry);
    assert!(error.message().contains("cache"), "{error} names the file");
}

/// Fails unless a write is refused for lack of space and leaves everything as it was.
#[track_caller]
fn assert_refused<T>(cache: &Cache, dir: &Path, write: impl FnOnce() -> Result<T, Error>) {
    let (before, version) = (files::segments(dir), cache.version().unwrap());
    assert_full(write());
    assert_eq!(cache.version().unwrap(), version);
    assert_eq!(files::segments(dir), before, "files of tables");
    files::assert_no_temporary_files(dir);
    assert_ids(&cache.table("old").unwrap(), 0..100);
}

#[test]
fn loads_that_do_not_fit_are_refused() {
    let Some(disk) = Disk::in_memory(SIZE) else { return };
    let dir = disk.cache_dir();
    // The smaller memory is so small that sorting uses the disk.
    for memory in [256 << 20, 1 << 20] {
        let cache = CacheOptions::new().load_memory(memory).open(&dir).unwrap();
        let old = define(&cache, "old", 0..100).unwrap();
        assert_refused(&cache, &dir, || cache.define_table("plain", TableDefinition::new(too_many_rows())));
        assert_refused(&cache, &dir, || {
            cache.define_table("keyed", TableDefinition::new(too_many_rows()).primary_key(["id"]))
        });
        assert_refused(&cache, &dir, || {
            cache.define_table("sorted", TableDefinition::new(too_many_rows()).sort_by(["name"]))
        });
        assert_refused(&cache, &dir, || old.append(too_many_rows()));
        assert_refused(&cache, &dir, || old.replace(too_many_rows()));
        assert_eq!(cache.tables().unwrap().len(), 1);
        // Rows that fit are written as if nothing had happened.
        define(&cache, "new", 0..1_000).unwrap();
        assert_ids(&cache.table("new").unwrap(), 0..1_000);
        cache.drop_table("new").unwrap();
        cache.close().unwrap();
    }
    let cache = Cache::open(&dir).unwrap();
    assert_eq!(cache.status().unwrap().damage, None);
    assert_ids(&cache.table("old").unwrap(), 0..100);
}

#[test]
fn writing_works_again_when_there_is_space() {
    let Some(disk) = Disk::in_memory(SIZE) else { return };
    let dir = disk.cache_dir();
    let cache = Cache::open(&dir).unwrap();
    let old = define(&cache, "old", 0..100).unwrap();
    for round in 0..3 {
        let filler = disk.fill();
        for _ in 0..5 {
            assert_refused(&cache, &dir, || old.append(numbered([1_000])));
            assert_refused(&cache, &dir, || old.replace(numbered([1_000])));
            assert_refused(&cache, &dir, || define(&cache, "new", 0..10));
        }
        std::fs::remove_file(filler).unwrap();
        let name = format!("table {round}");
        define(&cache, &name, 0..1_000).unwrap();
        cache.table(&name).unwrap().append(numbered([1_000])).unwrap();
        assert_ids(&cache.table(&name).unwrap(), 0..=1_000);
    }
    cache.close().unwrap();
    drop((cache, old));
    let cache = Cache::open(&dir).unwrap();
    assert_ids(&cache.table("table 2").unwrap(), 0..=1_000);
    assert_eq!(cache.tables().unwrap().len(), 4);
}

#[test]
fn a_refresh_that_does_not_fit_leaves_the_old_rows() {
    let Some(disk) = Disk::in_memory(SIZE) else { return };
    let dir = disk.cache_dir();
    let source = Scripted::new(&ROWS);
    let cache = Cache::open(&dir).unwrap();
    cache.add_source("shop", source.clone()).unwrap();
    let orders = cache.define_table("orders", keyed(by_call())).unwrap();
    // Nothing is tried again by itself meanwhile.
    cache.pause_refreshes("orders").unwrap();
    let many: Vec<SourceRow> = (0..400_000).map(|id| (id, id, "more than fits")).collect();
    let before = files::segments(&dir);
    for _ in 0..2 {
        source.set_rows(&many);
        assert_full(cache.refresh("orders"));
        assert_eq!(files::segments(&dir), before, "files of tables");
        files::assert_no_temporary_files(&dir);
        assert_eq!(orders.info().unwrap().rows, 4);
        assert_eq!(orders.get(2).unwrap().unwrap().get::<&str>("name").unwrap(), "two");
        let status = cache.refreshes().unwrap().remove(0);
        assert_eq!(status.last_error.unwrap().code(), ErrorCode::DiskFull);
    }
    source.set_rows(&many[..1000]);
    cache.refresh("orders").unwrap();
    assert_eq!(orders.info().unwrap().rows, 1000);
    assert!(cache.refreshes().unwrap().remove(0).last_error.is_none());
}

#[test]
fn a_cache_on_a_full_disk_is_read() {
    let Some(disk) = Disk::in_memory(SIZE) else { return };
    let dir = disk.cache_dir();
    let cache = Cache::open(&dir).unwrap();
    define(&cache, "old", 0..100).unwrap();
    let filler = disk.fill();
    // Closing cannot write a checkpoint; what was committed is in the log.
    let _ = cache.close();
    drop(cache);
    let reader = Cache::open_read_only(&dir).unwrap();
    assert_ids(&reader.table("old").unwrap(), 0..100);
    drop(reader);
    if let Err(error) = Cache::open(&dir) {
        assert_full::<()>(Err(error));
    }
    std::fs::remove_file(filler).unwrap();
    let cache = Cache::open(&dir).unwrap();
    assert_ids(&cache.table("old").unwrap(), 0..100);
    cache.table("old").unwrap().append(numbered([100])).unwrap();
    assert_ids(&cache.table("old").unwrap(), 0..=100);
}
