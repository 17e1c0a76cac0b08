//! An owner stops between any two words that it stores for readers in other processes; they see what was before, or what is
//! after, and so does the next owner.

use std::path::Path;
use std::sync::Arc;

use super::contents;
use super::driver::{Driver, Step, cache_dir};
use super::model::{Content, History};
use crate::storage::live::stopped_after;
use crate::storage::vfs::OsVfs;
use crate::storage::{Files, Follower, Sync};
use crate::test_report;
use crate::types::version::Version;

/// What a reader sees.
fn seen(reader: &Follower) -> (Version, Content) {
    let state = reader.newest().unwrap();
    (state.version, contents::read(&state).unwrap())
}

fn driver(root: &Path, sync: Sync, history: History) -> Driver {
    Driver::new(root, Arc::new(OsVfs), None, sync, history)
}

/// Stops a step behind every word that it stores, and returns how many there are.
fn stop_everywhere(sync: Sync, prepare: fn(&mut Driver) -> Step, step: fn(&mut Driver) -> Step) -> usize {
    for stores in 0.. {
        let root = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let files = || Files::new(cache_dir(root.path()), Arc::new(OsVfs));
        let mut owner = driver(root.path(), sync, History::new());
        owner.open().unwrap();
        prepare(&mut owner).unwrap();
        let before = owner.history().newest().clone();
        let reader = Follower::open(files()).unwrap().0;
        let held = reader.newest().unwrap().clone();
        assert_eq!(contents::read(&held).unwrap(), *before);
        let done = stopped_after(stores, || step(&mut owner));
        let after = owner.history().newest().clone();
        owner.kill();

        let place = format!("{sync:?}, {stores} words");
        let (version, content) = seen(&reader);
        let is_shown = version != held.version;
        assert_eq!(content, if is_shown { (*after).clone() } else { (*before).clone() }, "{place}");
        let (other, damage) = Follower::open(files()).unwrap();
        assert_eq!((seen(&other), damage), ((version, content), None), "{place}: who comes now");
        assert_eq!(contents::read(&held).unwrap(), *before, "{place}: who stays with a state");
        if let Some(done) = done {
            done.unwrap();
            assert!(is_shown || before == after, "{place}: it is shown in the end");
            return stores;
        }
        let mut next = driver(root.path(), sync, owner.history().as_after_kill());
        next.open().unwrap();
        let found = next.history().newest().clone();
        assert!(found == after || !is_shown && found == before, "{place}: the next owner");
        let (reader_finds, other_finds) = (seen(&reader), seen(&other));
        assert_eq!(reader_finds.1, *found, "{place}: who follows the next owner");
        assert_eq!(other_finds, reader_finds, "{place}");
        next.append_to_any().unwrap();
        assert_eq!(seen(&reader).1, **next.history().newest(), "{place}: what the next owner commits");
    }
    0
}

/// Rows in a segment, in a tail, and deleted ones in both.
fn with_rows(driver: &mut Driver) -> Step {
    driver.create("a", 12)?;
    driver.create("b", 3)?;
    driver.upsert("a", 8, false)?;
    driver.delete("a", 6)
}

fn only_segments(driver: &mut Driver) -> Step {
    with_rows(driver)?;
    driver.checkpoint()
}

/// Stops a step everywhere, with both settings of sync. It must store at least `least` words.
fn stop(name: &str, least: usize, prepare: fn(&mut Driver) -> Step, step: fn(&mut Driver) -> Step) {
    let stores = [Sync::Always, Sync::Later].map(|sync| stop_everywhere(sync, prepare, step));
    test_report::add(format_args!("stopped between words, {name}: {stores:?} places"));
    assert!(stores.iter().all(|&stores| stores >= least), "{stores:?} places");
}

#[test]
fn rows_that_are_added_are_seen_all_or_not_at_all() {
    stop("append", 20, with_rows, |driver| driver.append("a", 6));
}

#[test]
fn the_first_rows_of_a_tail_are_seen_all_or_not_at_all() {
    stop("first append", 20, only_segments, |driver| driver.append("b", 6));
}

#[test]
fn rows_that_are_replaced_are_seen_all_or_not_at_all() {
    stop("upsert", 50, with_rows, |driver| driver.upsert("a", 20, false));
    stop("first upsert", 50, only_segments, |driver| driver.upsert("a", 20, false));
}

#[test]
fn rows_that_are_deleted_are_seen_all_or_not_at_all() {
    stop("delete", 20, with_rows, |driver| driver.delete("a", 20));
    stop("first delete", 20, only_segments, |driver| driver.delete("a", 20));
}

#[test]
fn tables_that_are_emptied_or_dropped_are_seen_so_or_not() {
    stop("truncate", 8, with_rows, |driver| driver.truncate("a"));
    stop("drop", 8, with_rows, |driver| driver.drop_table("a"));
}

#[test]
fn moves_that_are_not_finished_hide_nothing() {
    stop("fold", 8, with_rows, Driver::checkpoint);
}

#[test]
fn closing_and_opening_hide_nothing_before_they_are_finished() {
    stop("close", 8, with_rows, Driver::close);
    stop("open", 8, with_rows, |driver| {
        driver.kill();
        driver.open()
    });
}
