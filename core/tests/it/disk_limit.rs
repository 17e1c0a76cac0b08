//! How much the files of a cache may take.

use pillion::{CacheOptions, ErrorCode};

use crate::support::{assert_ids, define, numbered, refused};

#[test]
fn commits_beyond_the_limit_are_refused_and_space_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().disk_limit(3 << 20).open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..10).unwrap();
    // One after another: each must release what it replaced, to make room for the next.
    for _ in 0..8 {
        table.replace(numbered(0..30_000)).unwrap();
    }
    assert_ids(&table, 0..30_000);
    let version = cache.version().unwrap();
    let message = ["may take 3145728 together", "`disk_limit`"];
    refused(table.append(numbered(30_000..300_000)), ErrorCode::DiskFull, &message);
    refused(define(&cache, "u", 0..300_000), ErrorCode::DiskFull, &message);
    assert_eq!(cache.tables().unwrap().len(), 1);
    assert!(cache.version().unwrap().sequence - version.sequence < 8, "rows were moved, and nothing else");
    assert_ids(&table, 0..30_000);
    // Small commits fill the cache up too; deletes are accepted all the same.
    let full = (30_000..).step_by(2_000).find(|&id| table.append(numbered(id..id + 2_000)).is_err()).unwrap();
    table.delete_many(&(0..full - 10).collect::<Vec<i64>>()).unwrap();
    table.append(numbered(full..full + 2_000)).unwrap();
    assert_ids(&table, full - 10..full + 2_000);
    table.truncate().unwrap();
    table.append(numbered(0..30_000)).unwrap();
    assert_ids(&table, 0..30_000);
}
