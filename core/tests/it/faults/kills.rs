//! An owner that is killed at any moment while others read.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use pillion::{Cache, CacheOptions, Durability};

use super::history::{self, Model};
use super::readers::{self, Over, Reader};
use crate::support::child::{self, Process};
use crate::support::files;
use crate::support::random::Random;
use crate::support::report;

/// Default number of kills; the environment variable `PILLION_KILLS` sets another.
const KILLS: u64 = 25;
/// Kills in one directory; after these a new one is begun.
const KILLS_PER_DIRECTORY: u64 = 50;
/// Seed of the history, for children.
const SEED: &str = "PILLION_TEST_CHILD_SEED";
/// Durability of a child: `always`, `never` or milliseconds.
const DURABILITY: &str = "PILLION_TEST_CHILD_DURABILITY";

/// In a child: the seed of the history.
pub(super) fn child_seed() -> u64 {
    std::env::var(SEED).expect("the parent gives a seed").parse().unwrap()
}

/// Starts a child that continues a history.
pub(super) fn start(program: &str, dir: &Path, seed: u64, durability: &str) -> Process {
    let mut command = Command::new(Process::executable());
    command.env(SEED, seed.to_string()).env(DURABILITY, durability);
    Process::start_by(command, program, dir)
}

#[test]
#[ignore = "the program of a child process"]
fn writes_and_closes_until_killed() {
    loop {
        write(u64::from(std::process::id() % 7) * 40);
    }
}

#[test]
#[ignore = "the program of a child process"]
fn writes_until_killed() {
    write(u64::MAX / 2);
}

/// Opens the directory, continues its history for some transactions, reports each that was acknowledged, moves rows
/// at the same time, and closes the cache.
fn write(commits: u64) {
    let (dir, seed) = (child::directory(), child_seed());
    let durability = match std::env::var(DURABILITY).unwrap().as_str() {
        "always" => Durability::Always,
        "never" => Durability::Never,
        milliseconds => Durability::Interval(Duration::from_millis(milliseconds.parse().unwrap())),
    };
    let mut random = Random::of(std::process::id().into());
    let pauses: Vec<u64> = (0..64).map(|_| random.below(30_000)).collect();
    let cache = CacheOptions::new().durability(durability).open(&dir).unwrap();
    let first = history::position(&cache).unwrap() + 1;
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let moves = scope.spawn(|| {
            for pause in pauses.into_iter().cycle().take_while(|_| !over.load(Ordering::Relaxed)) {
                std::thread::sleep(Duration::from_micros(pause));
                cache.compact().unwrap();
            }
        });
        let over = Over(&over);
        for number in first..=first + commits {
            history::commit(&cache, seed, number).unwrap();
            child::say(number);
        }
        drop(over);
        moves.join().unwrap();
    });
    cache.close().unwrap();
}

/// The numbers of kills, of transactions in the end, and of reads of others.
#[derive(Debug, Default)]
struct Tally {
    kills: u64,
    transactions: u64,
    reads: u64,
    new_owners: u64,
}

/// Kills the owner of one directory again and again.
fn kill(dir: &Path, seed: u64, kills: u64, tally: &mut Tally) {
    let mut random = Random::of(seed);
    let cache = Cache::open(dir).unwrap();
    history::begin(&cache).unwrap();
    cache.close().unwrap();
    drop(cache);
    let mut reading = start("faults::readers::reads_until_told", dir, seed, "");
    let over = AtomicBool::new(false);
    let reads = std::thread::scope(|scope| {
        let others = [
            scope.spawn(|| readers::stays(dir, seed, &over)),
            scope.spawn(|| readers::comes_and_goes(dir, seed, &over)),
        ];
        let is_over = Over(&over);
        let mut watcher = Reader::open(dir, seed);
        let mut model = Model::new(seed);
        // The last acknowledged transaction, and the last that the history may have reached.
        let (mut least, mut most) = (0, 0);
        for _ in 0..kills {
            let durability = ["always", "never", "5"][usize::try_from(random.below(3)).unwrap()];
            let program = match random.below(2) {
                0 => "faults::kills::writes_until_killed",
                _ => "faults::kills::writes_and_closes_until_killed",
            };
            let mut child = start(program, dir, seed, durability);
            // The kill comes before the child has opened the directory, while it does so, or while it works.
            if random.below(4) == 0 {
                std::thread::sleep(Duration::from_micros(random.below(60_000)));
            } else {
                for _ in 0..=random.below(80) {
                    least = child.next().expect("it writes until it is killed").parse().unwrap();
                }
                std::thread::sleep(Duration::from_micros(random.below(20_000)));
            }
            if let Some(said) = child.kill().last() {
                least = said.parse().unwrap();
            }
            most = most.max(least) + 1;
            tally.kills += 1;

            // Now there is no owner.
            let seen = watcher.read();
            assert!(seen >= least, "seed {seed}: {least} was acknowledged and {seen} is seen");
            let next = Cache::open_read_only(dir).unwrap();
            let found = model.check(&next.snapshot().unwrap()).unwrap();
            assert!(seen <= found && found <= most, "seed {seed}: {found} is not from {seen} to {most}");
            least = found;
            drop(next);

            // The next owner is this process or the next child.
            if random.below(2) == 0 {
                let cache = Cache::open(dir).unwrap();
                let found = model.check(&cache.snapshot().unwrap()).unwrap();
                assert!(
                    least <= found && found <= most,
                    "seed {seed}: {found} is not from {least} to {most}"
                );
                assert_eq!(history::position(&cache).unwrap(), found);
                assert_eq!(cache.status().unwrap().damage, None);
                files::assert_no_temporary_files(dir);
                history::commit(&cache, seed, found + 1).unwrap();
                (least, most) = (found + 1, found + 1);
                assert_eq!(watcher.read(), least, "who stays follows the next owner");
                if random.below(2) == 0 {
                    cache.close().unwrap();
                }
                tally.new_owners += 1;
            }
        }
        assert_eq!(watcher.went_back, 0, "seed {seed}");
        tally.transactions += least;
        drop(is_over);
        others.map(|reads| reads.join().unwrap()).iter().sum::<u64>()
    });
    reading.end_input();
    let reads_of_process: u64 = reading.next().expect("it says how often it read").parse().unwrap();
    reading.finish();
    assert!(reads_of_process > 0, "the other process has read");
    tally.reads += reads + reads_of_process;
    let left = files::segments(dir).len();
    assert!(left < 200, "seed {seed}: {left} segments are left of two small tables");
}

/// A killed process loses nothing that it acknowledged. It leaves a state after one of its transactions; readers see
/// no other state, and go on reading.
#[test]
fn a_killed_owner_loses_nothing_and_disturbs_no_reader() {
    let kills = std::env::var("PILLION_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
    let mut random = Random::new(41);
    let mut tally = Tally::default();
    while tally.kills < kills {
        let dir = tempfile::tempdir().unwrap();
        let seed = random.next();
        println!("seed {seed} after {tally:?}");
        kill(dir.path(), seed, KILLS_PER_DIRECTORY.min(kills - tally.kills), &mut tally);
    }
    report::add(format_args!("killed owners: {tally:?}"));
}
