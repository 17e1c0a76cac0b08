//! The search over every workload, one crash again, and proof that the search finds bugs.

use std::fmt::Debug;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::image::WHOLE_IMAGES;
use super::planted::Planted;
use super::search::{Place, Search};
use super::workloads::{WORKLOADS, Workload};
use crate::storage::planted::{self, Bug};
use crate::test_report;

/// Images of all workloads together, unless the environment says how many. Storage is the same in every build, so only
/// the build without features looks closely.
const IMAGES: usize = if cfg!(any(feature = "sql", feature = "sidecar")) { 1_000 } else { 20_000 };

/// A planted bug must be found within this many images.
const CANARY_IMAGES: usize = 3_000;

fn images() -> usize {
    match std::env::var("PILLION_CRASH_IMAGES") {
        Ok(text) => text.parse().expect("PILLION_CRASH_IMAGES is a number"),
        Err(_) => IMAGES,
    }
}

fn crash(name: &str) {
    static IMAGES_SO_FAR: AtomicUsize = AtomicUsize::new(0);
    static OPERATIONS_SO_FAR: AtomicUsize = AtomicUsize::new(0);
    let start = Instant::now();
    let mut search = Search::new(Workload::named(name), Planted::Nothing);
    let covered =
        search.run(images().div_ceil(WORKLOADS.len())).unwrap_or_else(|violation| panic!("{violation}"));
    let images = covered.images + IMAGES_SO_FAR.fetch_add(covered.images, Ordering::Relaxed);
    let operations = covered.operations + OPERATIONS_SO_FAR.fetch_add(covered.operations, Ordering::Relaxed);
    test_report::add(format_args!(
        "crash {name}: {} images ({} of crashes in recovery) at {} operations of {} seeds in {:.1} s; \
         so far {images} images at {operations} operations",
        covered.images,
        covered.nested,
        covered.operations,
        covered.seeds,
        start.elapsed().as_secs_f64(),
    ));
}

/// A test for each workload, and their names.
macro_rules! crashes {
    ($($test:ident: $workload:literal,)+) => {
        const TRIED: &[&str] = &[$($workload),+];

        $(
            #[test]
            fn $test() {
                crash($workload);
            }
        )+
    };
}

crashes! {
    appends_survive_a_crash_at_any_operation: "append",
    replacements_survive_a_crash_at_any_operation: "replace",
    upserts_and_deletes_survive_a_crash_at_any_operation: "upsert",
    replacements_with_upserts_are_whole_after_a_crash_at_any_operation: "replace_with_upserts",
    moved_rows_survive_a_crash_at_any_operation: "compaction",
    dropped_tables_stay_dropped_after_a_crash_at_any_operation: "drop",
    checkpoints_lose_nothing_in_a_crash_at_any_operation: "checkpoint",
    a_full_disk_and_a_crash_at_any_operation_lose_nothing: "full_disk",
    recoveries_survive_a_crash_at_any_operation: "recovery",
}

#[test]
fn every_workload_is_tried_under_a_name_of_its_own() {
    let names: Vec<&str> = WORKLOADS.iter().map(|workload| workload.name).collect();
    assert_eq!(names, TRIED);
    for workload in &WORKLOADS {
        assert!(std::ptr::eq(Workload::named(workload.name), workload));
    }
}

/// Looks again at the crash that `PILLION_CRASH` names.
#[test]
fn one_crash() {
    let Ok(text) = std::env::var("PILLION_CRASH") else { return };
    let place = Place::parse(&text).expect("PILLION_CRASH is WORKLOAD:SEED:OPERATION:IMAGE");
    let mut search = Search::new(Workload::named(place.workload), Planted::Nothing);
    search.replay(&place).unwrap_or_else(|violation| panic!("{violation}"));
}

/// Asserts that the search finds a bug. Otherwise it would mean nothing that it finds no other. Returns the number of
/// the image that shows the bug, among those of its operation; if a recovery crashes too, the smallest number.
fn caught(bug: impl Debug, planted: Planted, name: &str) -> usize {
    let mut search = Search::new(Workload::named(name), planted);
    let result = search.run(CANARY_IMAGES);
    let violation = result.expect_err("the planted bug is found");
    let images = search.covered.images;
    let (what, _) = violation.what.split_once('\n').unwrap_or((&violation.what, ""));
    test_report::add(format_args!(
        "crash canary {bug:?}: caught by image {images}, {}: {what:.160}",
        violation.place
    ));
    violation.place.crashes.iter().map(|&(_, image)| image).min().unwrap()
}

/// Asserts that the search finds that a sync is missing.
fn caught_unsynced(planted: Planted, name: &str) {
    caught(planted, planted, name);
}

/// Asserts that the search finds a bug that shows only if some of what was not synced is there: not nothing, not all,
/// and not all but removals.
fn caught_in_part(bug: impl Debug, planted: Planted, name: &str) {
    let image = caught(bug, planted, name);
    assert!(image >= WHOLE_IMAGES, "image {image} holds nothing that was torn or changed places");
}

#[test]
fn folders_that_are_not_synced_are_noticed() {
    caught_unsynced(Planted::NoSyncOfFolders, "append");
}

#[test]
fn folders_of_tables_that_are_not_synced_are_noticed() {
    caught_unsynced(Planted::NoSyncOfTableFolders, "append");
}

#[test]
fn a_folder_of_the_log_that_is_not_synced_is_noticed() {
    caught_unsynced(Planted::NoSyncOfLogFolder, "checkpoint");
}

#[test]
fn a_log_that_is_not_synced_is_noticed() {
    caught_unsynced(Planted::NoSyncOfLogs, "append");
}

#[test]
fn segments_that_are_not_synced_are_noticed() {
    caught_unsynced(Planted::NoSyncOfSegments, "replace");
}

#[test]
fn manifests_that_are_not_synced_are_noticed() {
    caught_unsynced(Planted::NoSyncOfManifests, "checkpoint");
}

#[test]
fn bodies_of_records_that_are_not_compared_are_noticed() {
    let bug = Bug::BodyChecksums;
    let _planted = planted::plant(bug);
    caught_in_part(bug, Planted::Nothing, "append");
}

#[test]
fn manifests_that_are_synced_behind_their_names_are_noticed() {
    let planted = Planted::LateSyncOfManifests;
    caught_in_part(planted, planted, "checkpoint");
}

#[test]
fn deletions_of_rows_that_are_being_moved_are_noticed_if_they_are_not_recovered() {
    let bug = Bug::DeletedMeanwhile;
    let _planted = planted::plant(bug);
    caught(bug, Planted::Nothing, "compaction");
}
