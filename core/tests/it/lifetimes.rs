//! What outlives what: handles, answers and the lock of the directory.

use pillion::{Cache, ErrorCode};

use crate::support::{assert_ids, define, files, numbered, refused};

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

/// A snapshot that outlives all other handles of a cache can still be read, whatever the next owner does.
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

/// An answer that outlives all handles of a cache can be read to its end.
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

/// Closing a cache lets another owner in, whatever handles are left.
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

/// A statement that outlives all other handles of a cache still runs.
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

/// A snapshot of a reader can still be read, although it had read nothing when the owner replaced its rows, closed
/// the cache and removed their files.
#[test]
fn an_attached_snapshot_reads_on() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache, "t", 0..10).unwrap();
    let first = files::segments(dir.path());
    let reader = Cache::open_read_only(dir.path()).unwrap();
    let snapshot = reader.snapshot().unwrap();
    for id in 0..4 {
        cache.table("t").unwrap().replace(numbered([id])).unwrap();
    }
    drop(cache);
    for id in 0..4 {
        let cache = Cache::open(dir.path()).unwrap();
        cache.table("t").unwrap().replace(numbered([id])).unwrap();
    }
    assert!(first.iter().all(|path| !path.exists()), "the files are gone");
    let table = snapshot.table("t").unwrap();
    assert_eq!(table.scan().unwrap().concat().unwrap(), numbered(0..10));
    assert_eq!(table.get(7).unwrap().unwrap().to_batch().unwrap(), numbered([7]));
    assert_ids(&reader.table("t").unwrap(), [3]);
}

/// The files of replaced or dropped rows are removed in time.
#[test]
fn the_space_of_old_rows_is_used_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..4 {
        let cache = Cache::open(dir.path()).unwrap();
        for id in 0..6 {
            define(&cache, "replaced", []).unwrap().replace(numbered([id])).unwrap();
            define(&cache, &format!("dropped {round} {id}"), 0..10).unwrap();
            cache.drop_table(&format!("dropped {round} {id}")).unwrap();
        }
        cache.close().unwrap();
    }
    // Files that the two newest manifests need stay: the last row, and what was replaced after the older of them.
    for _ in 0..3 {
        let cache = Cache::open(dir.path()).unwrap();
        cache.table("replaced").unwrap().replace(numbered([1])).unwrap();
        cache.close().unwrap();
    }
    let kept = files::segments(dir.path());
    assert!(kept.len() <= 3, "{kept:?}");
    let folders = std::fs::read_dir(dir.path().join("tables")).unwrap().count();
    assert_eq!(folders, 1, "folders of dropped tables are gone");
}

/// A cache maps its segments without keeping their descriptors; what it keeps is gone when it is dropped.
#[cfg(target_os = "linux")]
#[test]
fn no_descriptor_of_a_segment_stays_open() {
    let dir = tempfile::tempdir().unwrap();
    let open_files = || -> Vec<String> {
        let entries = std::fs::read_dir("/proc/self/fd").unwrap();
        let targets = entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        let below = targets.filter(|target| target.starts_with(dir.path()));
        below.map(|target| target.display().to_string()).collect()
    };
    let mapped = || -> usize {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains(&dir.path().display().to_string())).count()
    };
    let cache = Cache::open(dir.path()).unwrap();
    let reader = Cache::open_read_only(dir.path()).unwrap();
    for id in 0..20 {
        define(&cache, &format!("t{id}"), 0..10).unwrap();
        for handle in [&cache, &reader] {
            assert_ids(&handle.table(&format!("t{id}")).unwrap(), 0..10);
        }
    }
    let open = open_files();
    assert!(open.iter().all(|path| !path.ends_with(".arrow")), "{open:?}");
    assert!(mapped() >= 40, "both map the segments");
    drop((cache, reader));
    assert_eq!(open_files(), Vec::<String>::new());
    assert_eq!(mapped(), 0);
}
