//! Directories that cannot be opened: owned by another process, of a newer format, or of something else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use pillion::{Cache, CacheOptions, Durability, ErrorCode, Way};

use crate::support::child::{self, Process};
use crate::support::{assert_ids, define, files, numbered, refused};

/// A newer format version than any this code can know.
const NEWER: u32 = 1_000;
/// Where manifests and log files have their format version.
const VERSION_OFFSET: u64 = 8;

#[test]
#[ignore = "the program of a child process"]
fn owner_until_told() {
    let cache = Cache::open(child::directory()).unwrap();
    define(&cache, "t", 0..10).unwrap();
    child::say("open");
    child::wait();
    cache.close().unwrap();
}

#[test]
fn a_directory_of_another_process_is_refused_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Process::start("directories::owner_until_told", dir.path());
    assert_eq!(owner.next().as_deref(), Some("open"));
    let names = [&format!("process {}", owner.id()), dir.path().to_str().unwrap(), "read-only"];
    refused(Cache::open(dir.path()), ErrorCode::DirectoryLocked, &names);
    let reader = Cache::open_read_only(dir.path()).unwrap();
    assert_eq!(reader.way(), Way::Attached);
    assert_ids(&reader.table("t").unwrap(), 0..10);
    refused(reader.table("t").unwrap().append(numbered([10])), ErrorCode::ReadOnly, &["owner"]);
    owner.finish();
    let cache = Cache::open(dir.path()).unwrap();
    cache.table("t").unwrap().append(numbered([10])).unwrap();
    assert_ids(&reader.table("t").unwrap(), 0..=10);
}

#[test]
fn the_lock_dies_with_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let mut owner = Process::start("directories::owner_until_told", dir.path());
    assert_eq!(owner.next().as_deref(), Some("open"));
    owner.kill();
    let cache = Cache::open(dir.path()).unwrap();
    assert_ids(&cache.table("t").unwrap(), 0..10);
}

#[test]
fn a_directory_of_this_process_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    refused(Cache::open(dir.path()), ErrorCode::DirectoryLocked, &["this process"]);
    let link = dir.path().with_extension("link");
    symlink(dir.path(), &link).unwrap();
    refused(Cache::open(&link), ErrorCode::DirectoryLocked, &["this process"]);
    fs::remove_file(&link).unwrap();
    drop(cache);
    Cache::open(dir.path()).unwrap();
}

/// A cache with a table, closed.
fn closed_cache() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::open(dir.path()).unwrap();
    define(&cache, "t", 0..10).unwrap();
    cache.close().unwrap();
    dir
}

#[track_caller]
fn assert_refused_as_newer(dir: &Path, file: &Path) {
    let before = contents(dir);
    let names = [file.file_name().unwrap().to_str().unwrap(), "1000", "upgrade"];
    refused(Cache::open(dir), ErrorCode::NewerFormat, &names);
    refused(Cache::open_read_only(dir), ErrorCode::NewerFormat, &names);
    assert_eq!(contents(dir), before, "a directory of a newer format is not touched");
}

/// Every file with its bytes, except the lock.
fn contents(dir: &Path) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let files = files::below(dir).into_iter().filter(|path| !path.ends_with("LOCK"));
    files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

#[test]
fn a_newer_manifest_is_refused() {
    let dir = closed_cache();
    let newest = files::manifests(dir.path()).pop().unwrap();
    files::patch(&newest, VERSION_OFFSET, &NEWER.to_le_bytes());
    assert_refused_as_newer(dir.path(), &newest);
}

#[test]
fn a_newer_log_is_refused() {
    let dir = closed_cache();
    let newest = files::logs(dir.path()).pop().unwrap();
    files::patch(&newest, VERSION_OFFSET, &NEWER.to_le_bytes());
    assert_refused_as_newer(dir.path(), &newest);
}

#[test]
fn a_directory_of_something_else_is_refused_and_not_touched() {
    for name in ["notes.txt", "manifest-of-something-else.json", "manifest-2024.txt", "tables.csv", ".hidden"]
    {
        let dir = tempfile::tempdir().unwrap();
        files::write(&dir.path().join(name), b"not ours");
        refused(Cache::open(dir.path()), ErrorCode::NotACache, &[name, dir.path().to_str().unwrap()]);
        refused(Cache::open_read_only(dir.path()), ErrorCode::NotACache, &[dir.path().to_str().unwrap()]);
        assert_eq!(files::below(dir.path()), [dir.path().join(name)], "nothing is added");
        assert_eq!(fs::read(dir.path().join(name)).unwrap(), b"not ours");
    }
}

#[test]
fn a_file_is_no_directory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    files::write(&path, b"not ours");
    for opened in [Cache::open(&path), Cache::open(path.join("below")), Cache::open_read_only(&path)] {
        let error = opened.unwrap_err();
        assert!(matches!(error.code(), ErrorCode::NotACache | ErrorCode::Io), "{error:?}");
        assert!(format!("{error:#}").contains("file"), "{error:#}");
    }
    assert_eq!(fs::read(&path).unwrap(), b"not ours");
}

#[test]
fn nothing_to_read_is_no_cache() {
    let dir = tempfile::tempdir().unwrap();
    refused(Cache::open_read_only(dir.path()), ErrorCode::NotACache, &[]);
    refused(Cache::open_read_only(dir.path().join("missing")), ErrorCode::NotACache, &["missing"]);
    assert!(files::below(dir.path()).is_empty());
    assert!(!dir.path().join("missing").exists());
}

#[test]
fn a_cache_is_made_in_a_directory_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a/b/c");
    let cache = Cache::open(&path).unwrap();
    define(&cache, "t", 0..10).unwrap();
    drop(cache);
    assert_ids(&Cache::open_read_only(&path).unwrap().table("t").unwrap(), 0..10);
}

#[test]
fn urls_name_directories() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display();
    let cache = Cache::from_url(&format!("file:{path}")).unwrap();
    assert_eq!(cache.way(), Way::Embedded);
    define(&cache, "t", 0..10).unwrap();
    refused(Cache::from_url(&path.to_string()), ErrorCode::DirectoryLocked, &[]);
    let reader = Cache::from_url(&format!("file://{path}?mode=ro")).unwrap();
    assert_eq!(reader.way(), Way::Attached);
    assert_ids(&reader.table("t").unwrap(), 0..10);
    refused(Cache::from_url("fiel:somewhere"), ErrorCode::InvalidArgument, &["fiel", "`file`"]);
    refused(
        Cache::from_url(&format!("file:{path}?moed=ro")),
        ErrorCode::InvalidArgument,
        &["moed", "`mode`"],
    );
    refused(Cache::from_url(&format!("file:{path}?mode=rx")), ErrorCode::InvalidArgument, &["mode=rx"]);
}

#[test]
fn settings_of_nothing_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let wrong = [
        (CacheOptions::new().load_memory(0), "load_memory"),
        (CacheOptions::new().query_memory(0), "query_memory"),
        (CacheOptions::new().query_threads(0), "query_threads"),
    ];
    for (options, name) in wrong {
        refused(options.clone().open(dir.path()), ErrorCode::InvalidArgument, &[name]);
        refused(options.open_read_only(dir.path()), ErrorCode::InvalidArgument, &[name]);
    }
    assert!(files::below(dir.path()).is_empty());
    for durability in [Durability::Always, Durability::Never] {
        let cache = CacheOptions::new().durability(durability).open(dir.path()).unwrap();
        define(&cache, "t", 0..10).unwrap();
        cache.close().unwrap();
        drop(cache);
    }
}

/// A query that may use hardly any memory fails with an error that says what to do, and the cache goes on.
#[cfg(feature = "sql")]
#[test]
fn a_query_beyond_its_memory_is_refused() {
    use arrow::array::AsArray;
    use arrow::datatypes::Int64Type;

    let dir = tempfile::tempdir().unwrap();
    let cache = CacheOptions::new().query_memory(100_000).query_threads(1).open(dir.path()).unwrap();
    define(&cache, "t", 0..50_000).unwrap();
    let text = "SELECT a.name FROM t a JOIN t b ON a.name = b.name";
    let error =
        refused(cache.sql(text, &[]).and_then(pillion::Batches::collect_all), ErrorCode::MemoryLimit, &[]);
    assert_eq!(error.kind(), pillion::ErrorKind::Retry);
    let counted = cache.sql("SELECT count(*) FROM t", &[]).unwrap().concat().unwrap();
    assert_eq!(counted.column(0).as_primitive::<Int64Type>().values().to_vec(), [50_000]);
}
