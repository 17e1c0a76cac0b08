//! What outlives what: handles, answers and the lock of the directory.

use pillion::{Cache, ErrorCode};

use crate::support::{assert_ids, define, numbered, refused};

/// The cache is open as long as any handle, table or snapshot of it is.
#[test]
fn a_held_handle_keeps_the_cache_open() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..10).unwrap();
    drop(cache);
    refused(Cache::open(dir.path()), ErrorCode::DirectoryLocked, &[]);
    table.append(numbered([10])).unwrap();
    assert_ids(&table, 0..=10);
    drop(table);
    assert_ids(&Cache::open(dir.path()).unwrap().table("t").unwrap(), 0..=10);
}

/// A snapshot that is all that is left of a cache reads on, whatever the next owner does.
#[test]
fn a_held_snapshot_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache, "t", 0..10).unwrap();
    let snapshot = cache.snapshot().unwrap();
    drop(cache);
    // If the snapshot keeps the cache open, there is no next owner.
    if let Ok(next) = Cache::open(dir.path()) {
        let table = next.table("t").unwrap();
        for id in 0..20 {
            table.replace(numbered([id])).unwrap();
        }
        next.close().unwrap();
        drop((next, table));
        for _ in 0..3 {
            drop(Cache::open(dir.path()).unwrap());
        }
    }
    let table = snapshot.table("t").unwrap();
    for id in 0..10 {
        assert!(table.get(id).unwrap().is_some(), "{id}");
    }
    assert_eq!(table.scan().unwrap().concat().unwrap(), numbered(0..10));
}

/// An answer that is all that is left of a cache is read to its end.
#[test]
fn a_held_answer_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..10).unwrap();
    let row = table.get(7).unwrap().unwrap();
    let scan = table.scan().unwrap();
    #[cfg(feature = "sql")]
    let answer = cache.sql("SELECT id, name FROM t ORDER BY id", &[]).unwrap();
    drop((cache, table));
    assert_eq!(row.to_batch().unwrap(), numbered([7]));
    assert_eq!(scan.concat().unwrap(), numbered(0..10));
    #[cfg(feature = "sql")]
    assert_eq!(answer.concat().unwrap().columns(), numbered(0..10).columns());
}

/// Closing a cache lets another owner in, whatever is still held of it.
#[test]
fn a_closed_cache_lets_another_owner_in() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..10).unwrap();
    cache.close().unwrap();
    let next = Cache::open(dir.path()).unwrap();
    next.table("t").unwrap().append(numbered([10])).unwrap();
    refused(table.append(numbered([11])), ErrorCode::Closed, &[]);
    assert_ids(&next.table("t").unwrap(), 0..=10);
}

/// A statement that is all that is left of a cache runs.
#[cfg(feature = "sql")]
#[test]
fn a_held_statement_runs() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache, "t", 0..10).unwrap();
    let statement = cache.prepare("SELECT id, name FROM t WHERE id = $1").unwrap();
    drop(cache);
    let found = statement.execute(&[pillion::Value::Int(7)]).unwrap().concat().unwrap();
    assert_eq!(found.columns(), numbered([7]).columns());
}
