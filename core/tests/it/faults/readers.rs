//! Readers beside an owner: what they see is a state after some transaction, and none before what they saw.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pillion::{Cache, CacheOptions, Durability, ErrorCode, Result, Version};

use super::history::{self, Model};
use crate::support::random::Random;
use crate::support::{assert_ids, child, define, files, numbered};

/// Pause between two reads, so that the owner gets the processor too.
const PAUSE: Duration = Duration::from_millis(2);

/// Tells other threads to end when it is dropped, even by a failure: joining them would otherwise wait for ever.
pub(super) struct Over<'a>(pub(super) &'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A reader that follows whoever owns the directory, and checks its history.
pub(super) struct Reader {
    cache: Cache,
    model: Model,
    last: Option<Version>,
    /// How often the cache reported that what the reader had seen is gone.
    pub(super) went_back: u64,
}

impl Reader {
    pub(super) fn open(dir: &Path, seed: u64) -> Self {
        let cache = Cache::open_read_only(dir).unwrap();
        assert_eq!(cache.status().unwrap().damage, None);
        Self { cache, model: Model::new(seed), last: None, went_back: 0 }
    }

    /// Reads everything, fails unless it is right, and returns the number of the last transaction.
    #[track_caller]
    pub(super) fn read(&mut self) -> u64 {
        match self.try_read() {
            Ok(number) => number,
            Err(error) if error.code() == ErrorCode::WentBack => {
                self.went_back += 1;
                self.try_read().unwrap()
            }
            Err(error) => panic!("{error:#}"),
        }
    }

    /// As [`read`](Self::read).
    ///
    /// # Errors
    /// Those of reading.
    pub(super) fn try_read(&mut self) -> Result<u64> {
        let before = history::position(&self.cache)?;
        let snapshot = self.cache.snapshot()?;
        let number = self.model.check(&snapshot)?;
        let after = history::position(&self.cache)?;
        assert!(before <= number && number <= after, "{number} is not from {before} to {after}");
        let version = snapshot.version()?;
        if let Some(last) = self.last.filter(|last| last.incarnation == version.incarnation) {
            assert!(version.sequence >= last.sequence, "{last} and then {version}");
        }
        self.last = Some(version);
        Ok(number)
    }
}

/// Reads with one handle until `over` is set; returns how many reads there were.
pub(super) fn stays(dir: &Path, seed: u64, over: &AtomicBool) -> u64 {
    let mut reader = Reader::open(dir, seed);
    let mut reads = 0;
    while !over.load(Ordering::Relaxed) {
        reader.read();
        reads += 1;
        std::thread::sleep(PAUSE);
    }
    assert_eq!(reader.went_back, 0, "a process that dies takes nothing of what it wrote with it");
    reads
}

/// Reads with a new handle each time until `over` is set; returns how many reads there were.
pub(super) fn comes_and_goes(dir: &Path, seed: u64, over: &AtomicBool) -> u64 {
    let mut model = Model::new(seed);
    let mut reads = 0;
    while !over.load(Ordering::Relaxed) {
        let cache = Cache::open_read_only(dir).unwrap();
        model.check(&cache.snapshot().unwrap()).unwrap();
        assert_eq!(cache.status().unwrap().damage, None);
        reads += 1;
        std::thread::sleep(PAUSE);
    }
    reads
}

/// Runs [`stays`] in a process of its own until the parent ends it, and reports how many reads there were.
#[test]
#[ignore = "the program of a child process"]
fn reads_until_told() {
    let over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let reads = scope.spawn(|| stays(&child::directory(), super::kills::child_seed(), &over));
        child::wait();
        drop(Over(&over));
        reads.join().unwrap()
    });
    child::say(reads);
}

/// Rows are moved out of the log and written at the same time. A reader that opens the directory, or follows its
/// owner, sees every row once.
#[test]
fn readers_see_rows_once_while_they_are_moved() {
    let dir = tempfile::tempdir().unwrap();
    let seed = Random::new(59).next();
    let cache = CacheOptions::new().durability(Durability::Never).open(dir.path()).unwrap();
    history::begin(&cache).unwrap();
    let over = AtomicBool::new(false);
    let go_on = || !over.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        scope.spawn(|| {
            for number in (1..).take_while(|_| go_on()) {
                history::commit(&cache, seed, number).unwrap();
            }
        });
        scope.spawn(|| {
            while go_on() {
                cache.compact().unwrap();
            }
        });
        let mut staying = Reader::open(dir.path(), seed);
        for _ in 0..100 {
            Reader::open(dir.path(), seed).read();
            staying.read();
        }
    });
}

/// A reader may find records after the last publication half written, and does not report that as damage.
#[test]
fn what_is_not_published_yet_is_no_damage() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let cache = Cache::open(dir.path()).unwrap();
    let table = define(&cache, "t", 0..3).unwrap();
    table.append(numbered([3])).unwrap();
    let log = || fs::read(files::logs(dir.path()).pop().unwrap()).unwrap();
    let (head, before) = (fs::read(dir.path().join("live/head")).unwrap(), log());
    for id in 4..8 {
        table.append(numbered([id])).unwrap();
    }
    // As a reader may find it: the first record after the published ones is half written, and others are whole.
    files::copy(dir.path(), copy.path());
    files::write(&copy.path().join("live/head"), &head);
    let first = before.iter().zip(log()).position(|(before, after)| *before != after).unwrap();
    files::patch(&files::logs(copy.path()).pop().unwrap(), first as u64, &[0; 16]);
    let reader = Cache::open_read_only(copy.path()).unwrap();
    assert_ids(&reader.table("t").unwrap(), 0..=3);
    assert_eq!(reader.status().unwrap().damage, None);
    // To the next owner it is damage: nobody will finish the record.
    let cache = Cache::open(copy.path()).unwrap();
    assert_ids(&cache.table("t").unwrap(), 0..=3);
    assert!(cache.status().unwrap().damage.is_some());
}
