//! A child of an owner whose rows stand in the log.

use std::fs;
use std::path::{Path, PathBuf};

use pillion::{Cache, CacheOptions, Durability, ErrorCode, Result};

use super::history::{self, Model};
use crate::support::child::{self, Process};
use crate::support::files;
use crate::support::fork::fork;

const SEED: u64 = 47;
/// Transactions before the rows are moved; those after it stay in the log until the fork.
const MOVED: u64 = 20;
const LOGGED: u64 = 40;

/// Every file with its bytes, except the live structures, in which the owner keeps renewing its sign of life.
fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = files::below(dir).into_iter().filter(|path| !path.starts_with(dir.join("live")));
    files.map(|path| (path.clone(), fs::read(&path).unwrap())).collect()
}

/// What a forked child may and may not do; returns the number of the first check that fails, from 1.
fn checks_of_child(cache: Cache, dir: &Path) -> i32 {
    let refused = |result: Result<()>| {
        let Err(error) = result else { return false };
        let is_right = error.code() == ErrorCode::Closed && format!("{error:#}").contains("after fork");
        if !is_right {
            eprintln!("{error:?}");
        }
        is_right
    };
    let table = cache.table("a").unwrap();
    let snapshot = cache.snapshot().unwrap();
    let before = contents(dir);
    let rows = || table.scan().unwrap().concat().unwrap();
    let checks = [
        Model::new(SEED).check(&snapshot).unwrap() == LOGGED,
        history::position(&cache).unwrap() == LOGGED,
        refused(table.upsert(rows()).map(drop)),
        refused(table.append(rows()).map(drop)),
        refused(table.replace(rows()).map(drop)),
        refused(table.delete(0).map(drop)),
        refused(table.truncate().map(drop)),
        refused(history::commit(&cache, SEED, LOGGED + 1).map(drop)),
        refused(cache.drop_table("a").map(drop)),
        refused(cache.compact()),
        refused(cache.sync()),
        refused(cache.close()),
        // After all these refusals, reads are still right.
        Model::new(SEED).check(&cache.snapshot().unwrap()).unwrap() == LOGGED,
        Cache::open(dir).is_err_and(|error| error.code() == ErrorCode::DirectoryLocked),
        // A handle that the child opens itself works.
        Model::new(SEED).check(&Cache::open_read_only(dir).unwrap().snapshot().unwrap()).unwrap() == LOGGED,
        {
            drop((cache, table));
            Model::new(SEED).check(&snapshot).unwrap() == LOGGED
        },
        contents(dir) == before,
    ];
    i32::try_from(checks.iter().position(|is_right| !is_right).map_or(0, |position| position + 1)).unwrap()
}

#[test]
#[ignore = "the program of a child process"]
fn forks_with_rows_in_the_log() {
    let dir = child::directory();
    for durability in [Durability::Always, Durability::Never] {
        let dir = dir.join(format!("{durability:?}"));
        let cache = CacheOptions::new().durability(durability).open(&dir).unwrap();
        history::begin(&cache).unwrap();
        for number in 1..=LOGGED {
            history::commit(&cache, SEED, number).unwrap();
            if number == MOVED {
                cache.compact().unwrap();
            }
        }
        let logged = |cache: &Cache| cache.table("a").unwrap().info().unwrap().logged_rows;
        assert!(logged(&cache) > 0, "rows stand in the log");
        let (before, version) = (contents(&dir), cache.version().unwrap());
        let handle = cache.clone();
        let code = fork(|| checks_of_child(handle.clone(), &dir));
        assert_eq!(code, 0, "the check of this number failed");
        drop(handle);

        // The parent finds everything as it was, and goes on.
        assert!(contents(&dir) == before, "the child changed files");
        assert_eq!(cache.version().unwrap(), version);
        for number in LOGGED + 1..=LOGGED + 20 {
            history::commit(&cache, SEED, number).unwrap();
        }
        cache.compact().unwrap();
        assert_eq!(Model::new(SEED).check(&cache.snapshot().unwrap()).unwrap(), LOGGED + 20);
        cache.close().unwrap();
        drop(cache);
        let cache = Cache::open(&dir).unwrap();
        assert_eq!(Model::new(SEED).check(&cache.snapshot().unwrap()).unwrap(), LOGGED + 20);
        assert_eq!(cache.status().unwrap().damage, None);
    }
    child::say("parent goes on");
}

/// In a process of its own: a forked child has only one thread, and the test runner may have more.
#[test]
fn a_forked_child_reads_the_log_and_writes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Process::start("faults::forks::forks_with_rows_in_the_log", dir.path());
    assert_eq!(child.next().as_deref(), Some("parent goes on"));
    child.finish();
}
