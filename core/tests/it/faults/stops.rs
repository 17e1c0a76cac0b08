//! An owner that the kernel stops, and goes on with later.

use std::time::Duration;

use pillion::{Cache, ErrorCode};
use rustix::process::Signal;

use super::history::{self, Model};
use super::kills::start;
use super::readers::Reader;
use crate::support::random::Random;
use crate::support::{PATIENCE, refused, report};

/// How often an owner is stopped.
const STOPS: usize = 10;

/// Readers beside a stopped owner go on, nobody takes its place, and all follow it when it continues.
#[test]
fn a_stopped_owner_stops_no_reader_and_stays_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let mut random = Random::new(43);
    let seed = random.next();
    let cache = Cache::open(dir.path()).unwrap();
    history::begin(&cache).unwrap();
    cache.close().unwrap();
    drop(cache);
    let mut reader = Reader::open(dir.path(), seed);
    let mut owner = start("faults::kills::writes_until_killed", dir.path(), seed, "never");
    let process = format!("process {}", owner.id());
    let mut acknowledged: u64 = owner.next().unwrap().parse().unwrap();
    for _ in 0..STOPS {
        std::thread::sleep(Duration::from_micros(random.below(30_000)));
        owner.stop();
        let stopped_at = reader.read();
        assert!(stopped_at >= acknowledged, "{acknowledged} was acknowledged and {stopped_at} is seen");
        for _ in 0..5 {
            assert_eq!(reader.read(), stopped_at, "nobody writes");
            let found = Cache::open_read_only(dir.path()).unwrap();
            assert_eq!(Model::new(seed).check(&found.snapshot().unwrap()).unwrap(), stopped_at);
        }
        refused(Cache::open(dir.path()), ErrorCode::DirectoryLocked, &[&process]);
        owner.signal(Signal::CONT);
        let deadline = std::time::Instant::now() + PATIENCE;
        while acknowledged <= stopped_at {
            acknowledged = owner.next().expect("it goes on").parse().unwrap();
            assert!(std::time::Instant::now() < deadline, "it does not go on");
        }
        assert!(reader.read() >= acknowledged, "who reads follows it");
    }
    owner.stop();
    let stopped_at = reader.read();
    // A stopped process can be killed like any other, and then nothing of it keeps the directory.
    owner.kill();
    let cache = Cache::open(dir.path()).unwrap();
    let found = Model::new(seed).check(&cache.snapshot().unwrap()).unwrap();
    assert!((stopped_at..=stopped_at + 1).contains(&found), "{found} after {stopped_at}");
    history::commit(&cache, seed, found + 1).unwrap();
    assert_eq!(reader.read(), found + 1);
    assert_eq!(reader.went_back, 0);
    report::add(format_args!("stopped owners: {STOPS} stops, {found} transactions"));
}
