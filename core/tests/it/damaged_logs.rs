//! What recovery makes of logs and manifests that are torn or damaged, and of files that nobody names.

use std::fs;
use std::path::{Path, PathBuf};

use pillion::{Cache, ErrorCode, Version};

use crate::support::random::Random;
use crate::support::{assert_ids, define, files, ids_of, name_of, numbered, refused};

/// A record of a log file.
#[derive(Clone, Copy, Debug)]
struct Record {
    offset: usize,
    /// Header and body, without the padding after them.
    len: usize,
    sequence: u64,
}

/// The records of a log file, according to the description of the format.
fn records(path: &Path) -> Vec<Record> {
    const HEADER: usize = 64;
    let bytes = fs::read(path).unwrap();
    let number = |offset: usize| u64::from_le_bytes(bytes[offset..offset + 8].try_into().unwrap());
    let mut records = Vec::new();
    let mut offset = HEADER;
    while bytes.get(offset..offset + 4) == Some(b"PREC") {
        let len = HEADER + usize::try_from(number(offset + 24)).unwrap();
        records.push(Record { offset, len, sequence: number(offset + 16) });
        offset = (offset + len).next_multiple_of(64);
    }
    records
}

/// Copies of the directory of an owner that is still at work, as a crash would leave it. The table has one row per
/// commit from 0 on, and the last `LAST` commits are in the newest log file.
struct Crashed {
    dir: tempfile::TempDir,
    version: Version,
}

const LAST: i64 = 6;

impl Crashed {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        let cache = Cache::open(&origin).unwrap();
        define(&cache, "t", 0..1).unwrap();
        cache.close().unwrap();
        drop(cache);
        let cache = Cache::open(&origin).unwrap();
        let table = cache.table("t").unwrap();
        let start = 1;
        for id in start..start + LAST {
            table.append(numbered([id])).unwrap();
        }
        files::copy(&origin, &dir.path().join("crashed"));
        Self { version: cache.version().unwrap(), dir }
    }

    /// A fresh copy.
    fn copy(&self) -> tempfile::TempDir {
        let copy = tempfile::tempdir().unwrap();
        files::copy(&self.dir.path().join("crashed"), copy.path());
        copy
    }
}

/// Fails unless a directory opens with the rows before `end`, in a new incarnation, and takes new rows.
#[track_caller]
fn assert_prefix(dir: &Path, end: i64, crashed: Version, what: &str) -> Option<String> {
    let reader = Cache::open_read_only(dir).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    assert_eq!(
        ids_of(&reader.table("t").unwrap()).unwrap(),
        (0..end).collect::<Vec<_>>(),
        "{what}, read-only"
    );
    drop(reader);
    let cache = Cache::open(dir).unwrap_or_else(|error| panic!("{what}: {error:?}"));
    let table = cache.table("t").unwrap();
    assert_eq!(ids_of(&table).unwrap(), (0..end).collect::<Vec<_>>(), "{what}");
    assert_ne!(cache.version().unwrap().incarnation, crashed.incarnation, "{what}");
    let damage = cache.status().unwrap().damage;
    table.append(numbered([end])).unwrap();
    cache.close().unwrap();
    drop((cache, table));
    assert_ids(&Cache::open(dir).unwrap().table("t").unwrap(), 0..=end);
    damage
}

#[test]
fn a_crash_loses_nothing_and_begins_a_new_incarnation() {
    let crashed = Crashed::new();
    let copy = crashed.copy();
    assert_eq!(assert_prefix(copy.path(), 1 + LAST, crashed.version, "a plain crash"), None);
}

#[test]
fn a_log_cut_short_opens_at_a_prefix() {
    let crashed = Crashed::new();
    let copy = crashed.copy();
    let log = files::logs(copy.path()).pop().unwrap();
    let bytes = fs::read(&log).unwrap();
    let records = records(&log);
    let commits = &records[records.len() - usize::try_from(LAST).unwrap()..];
    for (whole, record) in (1..).zip(commits) {
        for len in [0, 1, 63, 64, record.len / 2, record.len - 1] {
            let copy = crashed.copy();
            let log = files::logs(copy.path()).pop().unwrap();
            files::write(&log, &bytes[..record.offset + len]);
            let what = format!("cut {len} bytes into {record:?}");
            assert_eq!(assert_prefix(copy.path(), whole, crashed.version, &what), None, "{what}");
        }
    }
}

#[test]
fn a_torn_last_record_is_left_out() {
    let crashed = Crashed::new();
    let copy = crashed.copy();
    let last = *records(&files::logs(copy.path()).pop().unwrap()).last().unwrap();
    let mut random = Random::new(7);
    let positions = (0..64).step_by(3).chain((64..last.len).step_by(41));
    for position in positions {
        let copy = crashed.copy();
        let log = files::logs(copy.path()).pop().unwrap();
        files::flip(&log, (last.offset + position) as u64 * 8 + random.below(8));
        let what = format!("byte {position} of {last:?}");
        assert_eq!(assert_prefix(copy.path(), LAST, crashed.version, &what), None, "{what}");
    }
}

#[test]
fn a_damaged_record_takes_those_behind_it_and_says_so() {
    let crashed = Crashed::new();
    let copy = crashed.copy();
    let records = records(&files::logs(copy.path()).pop().unwrap());
    let commits = &records[records.len() - usize::try_from(LAST).unwrap()..records.len() - 1];
    for (whole, record) in (1..).zip(commits) {
        for position in [0, 5, 20, 30, 60, record.len - 1] {
            let copy = crashed.copy();
            let log = files::logs(copy.path()).pop().unwrap();
            files::flip(&log, (record.offset + position) as u64 * 8);
            let what = format!("byte {position} of {record:?}");
            let damage = assert_prefix(copy.path(), whole, crashed.version, &what).expect(&what);
            let names = [log.file_name().unwrap().to_str().unwrap().to_owned(), record.offset.to_string()];
            assert!(
                names.iter().all(|name| damage.contains(name)),
                "{what}: `{damage}` does not name {names:?}"
            );
        }
    }
}

/// A cache that was closed cleanly with two manifests, and its version.
fn two_manifests() -> (tempfile::TempDir, Version) {
    let dir = tempfile::tempdir().unwrap();
    let mut version = Version::default();
    for id in 0..4 {
        let cache = Cache::open(dir.path()).unwrap();
        let table = define(&cache, "t", []).unwrap();
        table.append(numbered([id])).unwrap();
        cache.compact().unwrap();
        cache.close().unwrap();
        version = cache.version().unwrap();
    }
    assert_eq!(files::manifests(dir.path()).len(), 2);
    (dir, version)
}

#[test]
fn a_damaged_newest_manifest_is_done_without() {
    let (origin, version) = two_manifests();
    let newest = files::manifests(origin.path()).pop().unwrap();
    let bytes = fs::read(&newest).unwrap();
    let mut random = Random::new(23);
    let mut damages: Vec<Vec<u8>> = vec![Vec::new(), bytes[..63].to_vec(), bytes[..bytes.len() - 1].to_vec()];
    for byte in (12..64).step_by(7).chain((64..bytes.len()).step_by(bytes.len() / 12)).chain([0, 7]) {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1 << random.below(8);
        damages.push(damaged);
    }
    for damaged in damages {
        let copy = tempfile::tempdir().unwrap();
        files::copy(origin.path(), copy.path());
        files::write(&copy.path().join(newest.file_name().unwrap()), &damaged);
        assert_ids(&Cache::open_read_only(copy.path()).unwrap().table("t").unwrap(), 0..4);
        let cache = Cache::open(copy.path()).unwrap();
        let table = cache.table("t").unwrap();
        assert_ids(&table, 0..4);
        assert_eq!(cache.version().unwrap(), version, "the older manifest and the log give the same state");
        table.append(numbered([4])).unwrap();
        cache.close().unwrap();
        drop((cache, table));
        assert_ids(&Cache::open(copy.path()).unwrap().table("t").unwrap(), 0..5);
    }
}

#[test]
fn a_cache_without_a_whole_manifest_is_corrupt() {
    let (dir, _) = two_manifests();
    let manifests = files::manifests(dir.path());
    for manifest in &manifests {
        files::flip(manifest, 100 * 8);
    }
    let name = manifests[1].file_name().unwrap().to_str().unwrap();
    refused(Cache::open(dir.path()), ErrorCode::Corrupt, &[name]);
    refused(Cache::open_read_only(dir.path()), ErrorCode::Corrupt, &[name]);
    for manifest in &manifests {
        files::flip(manifest, 100 * 8);
    }
    assert_ids(&Cache::open(dir.path()).unwrap().table("t").unwrap(), 0..4);
}

#[test]
fn files_that_nobody_names_are_removed_at_opening() {
    let (dir, _) = two_manifests();
    let named = files::segments(dir.path());
    let table = named[0].parent().unwrap();
    let strangers: Vec<PathBuf> = vec![
        table.join("999.arrow"),
        dir.path().join("tables/777/1.arrow"),
        dir.path().join("tmp/load-9/run-0"),
        dir.path().join("tmp/load-9/run-1"),
    ];
    for path in &strangers {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        files::write(path, b"left behind by a crash");
    }
    assert_ids(&Cache::open_read_only(dir.path()).unwrap().table("t").unwrap(), 0..4);
    assert!(strangers.iter().all(|path| path.exists()), "a reader removes nothing");
    let cache = Cache::open(dir.path()).unwrap();
    assert_ids(&cache.table("t").unwrap(), 0..4);
    for path in &strangers {
        assert!(!path.exists(), "{}", path.display());
    }
    assert!(!dir.path().join("tables/777").exists());
    files::assert_no_temporary_files(dir.path());
}

/// A crash lost the commit that dropped a table: the rows of the table come back with it.
#[test]
fn a_lost_drop_brings_the_table_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path().join("origin")).unwrap();
    define(&cache, "t", 0..50).unwrap();
    define(&cache, "u", 0..50).unwrap();
    cache.drop_table("t").unwrap();
    files::copy(&dir.path().join("origin"), &dir.path().join("crashed"));
    let crashed = dir.path().join("crashed");
    let log = files::logs(&crashed).pop().unwrap();
    let last = *records(&log).last().unwrap();
    assert_eq!(last.sequence, cache.version().unwrap().sequence);
    files::flip(&log, (last.offset + last.len - 1) as u64 * 8);
    let recovered = Cache::open(&crashed).unwrap();
    assert_ids(&recovered.table("t").unwrap(), 0..50);
    assert_eq!(
        recovered.table("u").unwrap().get(7).unwrap().unwrap().get::<&str>("name").unwrap(),
        name_of(7)
    );
}
