//! What is done to a cache before it crashes, by name.

use std::sync::Arc;

use super::driver::{Driver, Step, Stop};
use crate::storage::Sync;
use crate::storage::vfs::faulty::{Fault, FaultyVfs, Reach};
use crate::storage::vfs::{OsVfs, Vfs};
use crate::test_random::Random;
use crate::types::error::ErrorCode;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// Operations of a move before which others may commit; if it has fewer, they commit behind it.
const MEANWHILE_OPERATIONS: usize = 8;

/// A kind of work; a seed chooses its steps.
#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    steps: fn(&mut Driver, &mut Random) -> Step,
    /// Whether the disk is full or fails at some time.
    pub(super) is_full: bool,
    /// How many seeds are seen from beginning to end, whatever the number of images. One for each setting of sync; more
    /// if the seed also chooses the operation that fails.
    pub(super) whole_seeds: u64,
    /// Images of each operation; equal ones are looked at once.
    pub(super) images: usize,
}

/// All of them. A new kind of write gets a line here, a function below, and a method of [`Driver`] that does it.
pub(super) static WORKLOADS: [Workload; 9] = [
    Workload { name: "append", steps: append, is_full: false, whole_seeds: 2, images: 10 },
    Workload { name: "replace", steps: replace, is_full: false, whole_seeds: 2, images: 10 },
    Workload { name: "upsert", steps: upsert, is_full: false, whole_seeds: 2, images: 10 },
    Workload {
        name: "replace_with_upserts",
        steps: replace_with_upserts,
        is_full: false,
        whole_seeds: 2,
        images: 10,
    },
    Workload { name: "compaction", steps: compaction, is_full: false, whole_seeds: 2, images: 10 },
    Workload { name: "drop", steps: drop_tables, is_full: false, whole_seeds: 2, images: 10 },
    Workload { name: "checkpoint", steps: checkpoint, is_full: false, whole_seeds: 2, images: 10 },
    Workload { name: "full_disk", steps: full_disk, is_full: true, whole_seeds: 240, images: 4 },
    Workload { name: "recovery", steps: recovery, is_full: false, whole_seeds: 20, images: 10 },
];

impl Workload {
    pub(super) fn named(name: &str) -> &'static Self {
        WORKLOADS
            .iter()
            .find(|workload| workload.name == name)
            .unwrap_or_else(|| panic!("no workload {name}"))
    }

    /// The setting of a seed.
    pub(super) fn sync(seed: u64) -> Sync {
        if seed.is_multiple_of(2) { Sync::Always } else { Sync::Later }
    }

    /// Runs on a cache that may be new.
    pub(super) fn run(&self, driver: &mut Driver, seed: u64) -> Step {
        (self.steps)(driver, &mut Random::new(&[seed, 1]))
    }

    /// The disk that a run of this seed finds.
    pub(super) fn disk(&self, seed: u64) -> Arc<dyn Vfs> {
        if !self.is_full {
            return Arc::new(OsVfs);
        }
        let random = &mut Random::new(&[seed, 2]);
        // Three of four seeds fail at syncs, of which a run of about 150 operations has about 60. Successive seeds
        // strike all over the run and, because the moduli are prime, in time each of these operations with every
        // setting.
        let (reach, first) = match seed % 4 {
            3 => (Reach::Changes, seed * 47 % 151),
            _ => (Reach::Syncs, seed * 23 % 61),
        };
        let fault = Fault {
            errno: if random.percent(70) { ENOSPC } else { EIO },
            first: usize::try_from(first).unwrap(),
            count: 1 + random.below(3),
            writes_half: random.percent(50),
            reach,
        };
        Arc::new(FaultyVfs::with(fault))
    }
}

/// Appends until runs are merged.
fn append(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 5)?;
    for _ in 0..9 + random.below(3) {
        driver.append("a", 1 + random.below(6))?;
        if random.percent(10) {
            driver.sync()?;
        }
    }
    driver.close()
}

/// Gives a table new rows again and again.
fn replace(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 8)?;
    for _ in 0..8 {
        match random.below(5) {
            0 => driver.append("a", 1 + random.below(4))?,
            1 => driver.replace("a", 0)?,
            _ => driver.replace("a", 1 + random.below(12))?,
        }
        if random.percent(15) {
            driver.sync()?;
        }
        if random.percent(15) {
            driver.checkpoint()?;
        }
    }
    driver.close()
}

/// Upserts and deletes rows one after another, with moves in between.
fn upsert(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 8)?;
    for _ in 0..12 {
        match random.below(8) {
            0 | 1 => driver.delete("a", 1 + random.below(5))?,
            2 if random.percent(30) => driver.truncate("a")?,
            _ => driver.upsert("a", 1 + random.below(6), false)?,
        }
        if random.percent(15) {
            driver.sync()?;
        }
        if random.percent(20) {
            driver.checkpoint()?;
        }
    }
    driver.close()
}

/// Replaces a table and changes its new rows and another table in one commit, again and again.
fn replace_with_upserts(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 5)?;
    driver.create("b", 5)?;
    for _ in 0..6 {
        match random.below(4) {
            0 => driver.upsert("b", 1 + random.below(5), false)?,
            _ => driver.replace_with_upserts("a", "b", 1 + random.below(5))?,
        }
        if random.percent(30) {
            driver.checkpoint()?;
        }
    }
    driver.close()
}

/// Moves rows out of the log until runs are merged and segments with many deleted rows are written anew, while others commit.
fn compaction(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 10)?;
    driver.create("b", 4)?;
    for round in 0..11 {
        match random.below(4) {
            _ if !driver.has_table("a") => driver.create("a", 10)?,
            0 => driver.delete("a", 2 + random.below(6))?,
            1 if round == 5 => driver.upsert("a", 8, true)?,
            _ => driver.upsert("a", 2 + random.below(4), false)?,
        }
        let number = random.below(MEANWHILE_OPERATIONS);
        match random.below(4) {
            0 => driver.checkpoint()?,
            1 => driver.merge_while("a", number % 4, |driver| change(driver, random))?,
            _ => driver.checkpoint_while(number, |driver| change(driver, random))?,
        }
    }
    driver.close()
}

/// One commit, of a kind that may come while rows are moved.
fn change(driver: &mut Driver, random: &mut Random) -> Step {
    let name = ["a", "a", "b"][random.below(3)];
    match random.below(12) {
        _ if !driver.has_table(name) => driver.create(name, 4),
        0 => driver.drop_table(name),
        1 => driver.truncate(name),
        2 => driver.replace(name, 1 + random.below(4)),
        3 => driver.append(name, 1 + random.below(4)),
        4..8 => driver.delete(name, 2 + random.below(6)),
        _ => driver.upsert(name, 2 + random.below(6), false),
    }
}

/// Makes and drops tables, some of the same name.
fn drop_tables(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    for _ in 0..12 {
        let name = ["a", "b", "c"][random.below(3)];
        match driver.has_table(name) {
            false => driver.create(name, random.below(5))?,
            true if random.percent(30) => driver.append(name, 1 + random.below(3))?,
            true => driver.drop_table(name)?,
        }
        if random.percent(15) {
            driver.checkpoint()?;
        }
    }
    driver.close()
}

/// Writes manifests, begins log files and removes what they make superfluous, while others commit.
fn checkpoint(driver: &mut Driver, random: &mut Random) -> Step {
    driver.open()?;
    driver.create("a", 4)?;
    driver.create("b", 4)?;
    for _ in 0..7 {
        let name = ["a", "b"][random.below(2)];
        match random.below(3) {
            _ if !driver.has_table(name) => driver.create(name, 4)?,
            0 => driver.append(name, 1 + random.below(4))?,
            _ => driver.replace(name, 1 + random.below(4))?,
        }
        match random.below(10) {
            0..4 => driver.checkpoint()?,
            4..8 => {
                let number = random.below(MEANWHILE_OPERATIONS);
                driver.checkpoint_while(number, |driver| change(driver, random))?;
            }
            _ => {}
        }
    }
    driver.close()
}

/// Goes on as well as it can when the disk is full or fails, and opens the cache again if it cannot.
fn full_disk(driver: &mut Driver, random: &mut Random) -> Step {
    for _ in 0..3 {
        for _ in 0..2 + random.below(5) {
            let (choice, rows) = (random.below(6), 1 + random.below(4));
            attempt(driver, |driver| match (driver.has_table("a"), choice) {
                (false, _) => driver.create("a", rows),
                (true, 0 | 1) => driver.checkpoint(),
                (true, 2) => driver.replace("a", rows),
                (true, 4) => driver.upsert("a", rows, false),
                (true, 3) => driver.sync(),
                _ => driver.append("a", rows),
            })?;
        }
        // Space returns after a few attempts.
        for attempts in 0.. {
            if attempt(driver, Driver::close)? {
                break;
            }
            if attempts == 20 {
                return Err(Stop::Wrong("space returned, and the cache cannot be closed".to_owned()));
            }
        }
    }
    Ok(())
}

/// Does a step if the disk allows it, and returns whether it did.
fn attempt(driver: &mut Driver, step: impl FnOnce(&mut Driver) -> Step) -> Step<bool> {
    let result = if driver.is_open() { Ok(()) } else { driver.open() };
    match result.and_then(|()| step(driver)) {
        Ok(()) => Ok(true),
        Err(Stop::Failed(error)) => match error.code() {
            ErrorCode::DiskFull => Ok(false),
            ErrorCode::Io | ErrorCode::OutcomeUnknown | ErrorCode::Poisoned => {
                driver.kill();
                Ok(false)
            }
            _ => Err(Stop::Failed(error)),
        },
        Err(wrong) => Err(wrong),
    }
}

/// Is killed and opened again, while the machine goes on.
fn recovery(driver: &mut Driver, random: &mut Random) -> Step {
    for _ in 0..4 {
        driver.open()?;
        for _ in 0..random.below(4) {
            match (driver.has_table("a"), random.below(6)) {
                (false, _) => driver.create("a", 3)?,
                (true, 0) => driver.replace("a", 2)?,
                (true, 1) => driver.checkpoint()?,
                (true, 2) => driver.drop_table("a")?,
                _ => driver.append("a", 1 + random.below(4))?,
            }
        }
        if random.percent(30) { driver.close()? } else { driver.kill() }
    }
    Ok(())
}
