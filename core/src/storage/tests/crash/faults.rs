//! Every operation of a workload fails in turn, once or from then on, and the cache is opened again.

use std::path::Path;
use std::sync::Arc;

use super::driver::{Driver, Stop};
use super::model::History;
use super::oracle::{self, How};
use super::workloads::{WORKLOADS, Workload};
use crate::storage::vfs::faulty::{Fault, FaultyVfs, Reach};
use crate::types::error::ErrorCode;

const ENOSPC: i32 = 28;
const EIO: i32 = 5;

/// The seed whose operations fail. It is even, so that every commit is synced.
const SEED: u64 = 0;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir_in(Path::new("/dev/shm")).or_else(|_| tempfile::tempdir()).unwrap()
}

/// Fails operation after operation until the workload has no more; returns how many there were.
fn fail_everywhere(workload: &Workload, seed: u64, fault: Fault) -> usize {
    for first in 0.. {
        let root = scratch();
        let vfs = FaultyVfs::with(Fault { first, ..fault });
        let history = History::new();
        let sync = Workload::sync(seed);
        let mut driver = Driver::new(root.path(), Arc::new(vfs.clone()), None, sync, history);
        // If reads fail too, nothing can be compared before the disk works again.
        driver.reads_work = fault.reach == Reach::Changes;
        let result = workload.run(&mut driver, seed);
        driver.kill();
        let place = format!("{} with seed {seed}, {fault:?} from operation {first} on", workload.name);
        match result {
            Ok(()) if !vfs.struck() => return first,
            Ok(()) => {}
            Err(Stop::Failed(error)) => {
                let plain = if fault.errno == ENOSPC { ErrorCode::DiskFull } else { ErrorCode::Io };
                let allowed = [plain, ErrorCode::OutcomeUnknown, ErrorCode::Poisoned];
                assert!(allowed.contains(&error.code()), "{place}: {error:?}");
            }
            Err(Stop::Wrong(what)) if driver.reads_work => panic!("{place}: {what}"),
            Err(Stop::Wrong(_)) => {}
        }
        // The machine did not crash: everything that was acknowledged is there, synced or not.
        let history = driver.history().as_after_kill();
        let how = How { thorough: first % 5 == 0, no_damage: false };
        if let Err(what) = oracle::check(root.path(), &history, sync, None, how) {
            panic!("{place}: {what}");
        }
    }
    0
}

fn fail_all_workloads(fault: Fault) {
    // The workload that goes on with a full disk cannot do so if the disk stays full.
    let goes_on = |workload: &Workload| !workload.is_full || fault.count == 1;
    for workload in WORKLOADS.iter().filter(|workload| goes_on(workload)) {
        let operations = fail_everywhere(workload, SEED, fault);
        assert!(operations > 50, "{} has only {operations} operations", workload.name);
    }
}

const fn fault(errno: i32, count: usize, writes_half: bool, reach: Reach) -> Fault {
    Fault { errno, first: 0, count, writes_half, reach }
}

#[test]
fn any_operation_may_find_the_disk_full() {
    fail_all_workloads(fault(ENOSPC, 1, false, Reach::Changes));
}

#[test]
fn the_disk_may_be_full_from_any_operation_on() {
    fail_all_workloads(fault(ENOSPC, usize::MAX, false, Reach::Changes));
}

#[test]
fn any_write_may_be_short() {
    fail_all_workloads(fault(ENOSPC, 1, true, Reach::Changes));
}

#[test]
fn every_write_may_be_short_from_any_operation_on() {
    fail_all_workloads(fault(ENOSPC, usize::MAX, true, Reach::Changes));
}

#[test]
fn any_operation_may_fail() {
    fail_all_workloads(fault(EIO, 1, true, Reach::Everything));
}

#[test]
fn every_operation_may_fail_from_any_on() {
    fail_all_workloads(fault(EIO, usize::MAX, false, Reach::Everything));
}
