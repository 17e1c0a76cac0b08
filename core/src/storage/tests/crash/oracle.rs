//! What must be true of a directory after a crash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::driver::{Driver, Step, Stop, cache_dir};
use super::model::History;
use super::recorder::RecordingVfs;
use crate::storage::catalog::manifest::{self, Manifest};
use crate::storage::store::logged_segments;
use crate::storage::vfs::{OsVfs, Vfs};
use crate::storage::{Files, State, Sync, log};
use crate::types::version::Version;

/// Manifests that a cache keeps.
const MANIFESTS_KEPT: usize = 2;

/// How closely a cache is looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct How {
    /// Whether it is used until nothing from before the crash is left.
    pub(super) thorough: bool,
    /// Whether it is wrong to report damage if every commit was synced. After a failed sync it is not wrong: the next
    /// owner may go on from a commit that was never acknowledged, and a crash may then take that.
    pub(super) no_damage: bool,
}

/// Opens what a crash left below `root`, uses it, closes it, and opens it again.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check(
    root: &Path,
    history: &History,
    sync: Sync,
    recorder: Option<&RecordingVfs>,
    how: How,
) -> Result<(), String> {
    let vfs: Arc<dyn Vfs> = match recorder {
        Some(recorder) => Arc::new(recorder.clone()),
        None => Arc::new(OsVfs),
    };
    let mut driver = Driver::new(root, vfs, recorder.cloned(), sync, history.clone());
    let result = use_and_close(&mut driver, root, how);
    result.map_err(|stop| explain("after the crash", stop))?;
    reopen(root, driver.history(), sync).map_err(|stop| explain("after a clean close", stop))
}

fn use_and_close(driver: &mut Driver, root: &Path, how: How) -> Step {
    // These segments may go only when the manifests and logs that name them do.
    let (before, _) = needed_to_recover(root);
    driver.open()?;
    if how.no_damage
        && driver.sync_setting() == Sync::Always
        && let Some(damage) = driver.store().damage()
    {
        return Err(Stop::Wrong(format!("every commit was synced, and yet there is damage: {damage}")));
    }
    check_segments(root, &driver.store().state(), &before).map_err(Stop::Wrong)?;
    driver.append_to_any()?;
    if how.thorough {
        // Until both manifests are younger than the crash and all that it left can be removed.
        for _ in 0..MANIFESTS_KEPT {
            driver.checkpoint()?;
            driver.append_to_any()?;
        }
        driver.checkpoint()?;
        check_settled(root, &driver.store().state()).map_err(Stop::Wrong)?;
    }
    driver.close()
}

fn reopen(root: &Path, history: &History, sync: Sync) -> Step {
    let before = history.newest_version();
    let mut driver = Driver::new(root, Arc::new(OsVfs), None, sync, history.clone());
    driver.open()?;
    let state = driver.store().state();
    // Moving rows raises the sequence.
    let after = state.version;
    let goes_on =
        |before: Version| before.incarnation == after.incarnation && before.sequence <= after.sequence;
    if !before.is_some_and(goes_on) {
        return Err(Stop::Wrong(format!("{before:?} was closed and {after:?} opened")));
    }
    if let Some(damage) = driver.store().damage() {
        return Err(Stop::Wrong(format!("damage: {damage}")));
    }
    check_segments(root, &state, &needed_to_recover(root).0).map_err(Stop::Wrong)?;
    drop(state);
    driver.kill();
    Ok(())
}

fn explain(when: &str, stop: Stop) -> String {
    match stop {
        Stop::Wrong(what) => format!("{when}: {what}"),
        Stop::Failed(error) => format!("{when}: {error:?}"),
    }
}

/// Segments that whole manifests and log files name, and the first log file that one of these manifests needs.
fn needed_to_recover(root: &Path) -> (BTreeSet<PathBuf>, u64) {
    let dir = cache_dir(root);
    let files = Files::new(dir.clone(), Arc::new(OsVfs));
    let mut needed: BTreeSet<PathBuf> = logged_segments(&files).unwrap_or_default().into_iter().collect();
    let mut log = u64::MAX;
    for sequence in manifest::list(&OsVfs, &dir).unwrap_or_default() {
        if let Ok(manifest) = Manifest::read(&OsVfs, &manifest::path(&dir, sequence)) {
            let state = State::from_record(manifest.version, &manifest.catalog, &files).unwrap();
            needed.extend(state.segment_paths());
            log = log.min(manifest.catalog.log);
        }
    }
    (needed, log)
}

/// Every segment must be of the state or one of `others`, and no temporary file may be there.
#[track_caller]
fn check_segments(root: &Path, state: &State, others: &BTreeSet<PathBuf>) -> Result<(), String> {
    let dir = cache_dir(root);
    let needed: BTreeSet<PathBuf> = state.segment_paths().collect();
    let mut superfluous = Vec::new();
    for table in OsVfs.list(&dir.join("tables")).unwrap() {
        let folder = dir.join("tables").join(table);
        let paths = OsVfs.list(&folder).unwrap().into_iter().map(|name| folder.join(name));
        superfluous.extend(paths.filter(|path| !needed.contains(path) && !others.contains(path)));
    }
    superfluous.extend(OsVfs.list(&dir.join("tmp")).unwrap().into_iter().map(PathBuf::from));
    if superfluous.is_empty() {
        Ok(())
    } else {
        Err(format!("nobody needs {superfluous:?} at {:?}", std::panic::Location::caller()))
    }
}

/// Nothing from before the crash may be left.
#[track_caller]
fn check_settled(root: &Path, state: &State) -> Result<(), String> {
    let (needed, first_log) = needed_to_recover(root);
    check_segments(root, state, &needed)?;
    let manifests = manifest::list(&OsVfs, &cache_dir(root)).unwrap();
    let logs = OsVfs.list(&cache_dir(root).join("log")).unwrap();
    let old = logs.iter().find(|name| log::file_number(name).is_none_or(|number| number < first_log));
    match (manifests.len(), old) {
        (MANIFESTS_KEPT, None) => Ok(()),
        _ => Err(format!(
            "manifests {manifests:?} are left and logs {logs:?}, of which {first_log} is the first needed"
        )),
    }
}
