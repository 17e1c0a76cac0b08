//! Owners that are killed at any moment, and readers beside an owner that never rests.

use std::time::Duration;

use pillion::{Cache, CacheOptions, Durability, Version};

use crate::support::child::{self, Process};
use crate::support::random::Random;
use crate::support::{assert_ids, define, files, ids_of, numbered};

/// Rows of one commit of the children.
const COMMIT_ROWS: i64 = 3;

fn append_until_killed(durability: Durability) {
    let cache = CacheOptions::new().durability(durability).open(child::directory()).unwrap();
    let table = define(&cache, "t", []).unwrap();
    let mut next = i64::try_from(table.info().unwrap().rows).unwrap();
    loop {
        table.append(numbered(next..next + COMMIT_ROWS)).unwrap();
        next += COMMIT_ROWS;
        child::say(next);
    }
}

#[test]
#[ignore = "the program of a child process"]
fn appends_durably_until_killed() {
    append_until_killed(Durability::Always);
}

#[test]
#[ignore = "the program of a child process"]
fn appends_lazily_until_killed() {
    append_until_killed(Durability::Never);
}

/// Everything that was acknowledged is there, and the rows are a prefix of those that were written.
fn assert_kills_lose_nothing(program: &str, rounds: &[usize]) {
    let dir = tempfile::tempdir().unwrap();
    let mut last: Option<Version> = None;
    for &acknowledgements in rounds {
        let mut child = Process::start(program, dir.path());
        let mut acknowledged = 0;
        for _ in 0..acknowledgements {
            acknowledged = child.next().expect("the child appends until it is killed").parse().unwrap();
        }
        if let Some(said) = child.kill().last() {
            acknowledged = said.parse().unwrap();
        }
        let cache = Cache::open(dir.path()).unwrap();
        let table = cache.table("t").unwrap();
        let rows = i64::try_from(table.info().unwrap().rows).unwrap();
        assert!(rows >= acknowledged, "{acknowledged} rows were acknowledged and {rows} are there");
        assert!(rows <= acknowledged + COMMIT_ROWS, "one commit at most was under way");
        assert_eq!(rows % COMMIT_ROWS, 0, "commits are whole");
        assert_ids(&table, 0..rows);
        assert_eq!(cache.status().unwrap().damage, None);
        files::assert_no_temporary_files(dir.path());
        let version = cache.version().unwrap();
        if let Some(last) = last {
            assert_ne!(version.incarnation, last.incarnation, "commits could have been lost");
            assert!(version.sequence > last.sequence);
        }
        last = Some(version);
        cache.close().unwrap();
    }
}

#[test]
fn acknowledged_commits_survive_a_kill() {
    assert_kills_lose_nothing("recovery::appends_durably_until_killed", &[1, 2, 5, 9, 14, 30]);
}

/// A process that dies loses nothing at any durability: the kernel keeps what it wrote.
#[test]
fn commits_that_were_not_synced_survive_a_kill() {
    assert_kills_lose_nothing("recovery::appends_lazily_until_killed", &[1, 7, 40]);
}

#[test]
#[ignore = "the program of a child process"]
fn replaces_until_killed() {
    let dir = child::directory();
    for round in 0.. {
        let cache = Cache::open(&dir).unwrap();
        let table = define(&cache, "t", 0..1).unwrap();
        let start = i64::try_from(table.info().unwrap().rows).unwrap();
        // The rows of a replacement give its number: each replacement has one row more than the last.
        for rows in start + 1..start + 5 {
            table.replace(numbered(0..rows)).unwrap();
            child::say(rows);
        }
        // Half of the openings follow a clean close.
        if round % 2 == 0 {
            cache.close().unwrap();
        }
    }
}

/// A table that is replaced again and again is whole after a kill at any moment, and no files pile up.
#[test]
fn replacements_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(11);
    for _ in 0..8 {
        let mut child = Process::start("recovery::replaces_until_killed", dir.path());
        let first: i64 = child.next().expect("the child replaces until it is killed").parse().unwrap();
        std::thread::sleep(Duration::from_micros(random.below(40_000)));
        let acknowledged = child.kill().last().map_or(first, |said| said.parse().unwrap());
        let cache = Cache::open(dir.path()).unwrap();
        let rows = i64::try_from(cache.table("t").unwrap().info().unwrap().rows).unwrap();
        assert!(
            rows == acknowledged || rows == acknowledged + 1,
            "{acknowledged} were acknowledged, {rows} found"
        );
        assert_ids(&cache.table("t").unwrap(), 0..rows);
        files::assert_no_temporary_files(dir.path());
        cache.close().unwrap();
    }
    let kept = files::segments(dir.path()).len();
    assert!(kept < 30, "{kept} files are kept for one table");
    assert!(files::logs(dir.path()).len() < 10 && files::manifests(dir.path()).len() <= 2);
}

/// Readers that open the directory while its owner replaces, closes and opens always find a whole table, and never an
/// older one than before; a reader that stays follows the owner.
#[test]
fn readers_beside_a_busy_owner() {
    let dir = tempfile::tempdir().unwrap();
    drop(define(&Cache::open(dir.path()).unwrap(), "t", 0..1).unwrap());
    let staying = Cache::open_read_only(dir.path()).unwrap();
    let mut child = Process::start("recovery::replaces_until_killed", dir.path());
    child.next().expect("the child replaces until it is killed");
    let (mut seen, mut followed, mut opened) = (0, 0, 0);
    // Until readers and owner have worked at the same time for a while, however slow the disk is.
    while opened < 150 || seen < 10 {
        opened += 1;
        let reader = Cache::open_read_only(dir.path()).unwrap();
        let table = reader.table("t").unwrap();
        let rows = ids_of(&table).unwrap();
        assert!(rows.iter().copied().eq(0..i64::try_from(rows.len()).unwrap()), "a whole table: {rows:?}");
        assert!(rows.len() >= seen, "{} rows after {seen}", rows.len());
        assert_eq!(reader.status().unwrap().damage, None);
        seen = rows.len();

        let rows = ids_of(&staying.table("t").unwrap()).unwrap();
        assert!(rows.iter().copied().eq(0..i64::try_from(rows.len()).unwrap()), "a whole table: {rows:?}");
        assert!(rows.len() >= followed, "{} rows after {followed}", rows.len());
        followed = rows.len();
    }
    child.kill();
    let last = Cache::open_read_only(dir.path()).unwrap();
    let rows = last.table("t").unwrap().info().unwrap().rows;
    assert_eq!(
        staying.table("t").unwrap().info().unwrap().rows,
        rows,
        "a reader that stays is as far as a new one"
    );
}
