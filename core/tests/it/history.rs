//! How far back changes are told.

use pillion::{Cache, CacheOptions, ErrorCode};

use crate::support::{define, files, numbered, refused};

/// Upserts and moves rows out of the log, again and again: more often than logs are kept for recovery.
fn busy(cache: &Cache) -> pillion::Version {
    let table = define(cache, "t", 0..10).unwrap();
    let since = cache.version().unwrap();
    for round in 0..6 {
        table.upsert(numbered(round..round + 20)).unwrap();
        table.upsert(numbered((0..40_000).map(|id| id + 1_000))).unwrap();
        table.replace(numbered([round])).unwrap();
        cache.compact().unwrap();
    }
    since
}

#[test]
fn history_is_kept_as_long_as_it_fits() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().history(1 << 30).open(dir.path()).unwrap();
    let since = busy(&cache);
    let changes = || cache.table("t").unwrap().changes(since).unwrap().concat().unwrap().num_rows();
    assert_eq!(changes(), 6 * (20 + 40_000 + 1 + 1));
    cache.close().unwrap();
    drop(cache);
    // A reader reports the same changes, and so does the next owner.
    let reader = Cache::open_read_only(dir.path()).unwrap();
    let told = reader.table("t").unwrap().changes(since).unwrap().concat().unwrap().num_rows();
    assert_eq!(told, 6 * (20 + 40_000 + 1 + 1));
    let logs = files::logs(dir.path()).len();
    let cache = Cache::open(dir.path()).unwrap();
    let table = cache.table("t").unwrap();
    assert_eq!(table.changes(since).unwrap().concat().unwrap().num_rows(), told);
    // An owner that keeps no history forgets it at its next manifests.
    for id in 0..3 {
        table.upsert(numbered([id])).unwrap();
        cache.compact().unwrap();
    }
    assert!(files::logs(dir.path()).len() < logs);
    refused(table.changes(since), ErrorCode::HistoryGone, &["read the table anew", "CacheOptions::history"]);
    assert_eq!(files::segments(dir.path()).len(), table.info().unwrap().segments);
}

/// The answer keeps the files that it refers to even after all its batches were read: a client of a sidecar may open
/// them only then.
#[test]
fn files_of_changes_stay_as_long_as_their_answer() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..10).unwrap();
    let since = cache.version().unwrap();
    table.upsert(numbered((0..40_000).map(|id| id + 1_000))).unwrap();
    let named = files::segments(dir.path()).pop().unwrap();
    let mut changes = table.changes(since).unwrap();
    assert_eq!(changes.by_ref().map(|batch| batch.unwrap().num_rows()).sum::<usize>(), 40_000);
    let forget = || {
        for id in 0..3 {
            table.replace(numbered([id])).unwrap();
            cache.compact().unwrap();
        }
    };
    forget();
    assert!(named.exists(), "the answer is there, and its file is not");
    drop(changes);
    forget();
    assert!(!named.exists());
}

#[test]
fn history_that_does_not_fit_is_forgotten_from_its_beginning() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().history(3 << 20).open(dir.path()).unwrap();
    let since = busy(&cache);
    let table = cache.table("t").unwrap();
    refused(table.changes(since), ErrorCode::HistoryGone, &[]);
    let now = cache.version().unwrap();
    let known = (since.sequence..now.sequence)
        .map(|sequence| pillion::Version { sequence, ..since })
        .find(|&version| table.changes(version).is_ok())
        .expect("the end is known");
    assert!(known.sequence > since.sequence && known.sequence < now.sequence);
}
