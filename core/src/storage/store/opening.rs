//! What an owner does once, when it opens a directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::committer::remove;
use crate::api::error::{Error, ErrorCode, Result};
use crate::storage::load::remove_scratch;
use crate::storage::log::{LogWriter, Record, RecordKind};
use crate::storage::manifest::{self, Manifest};
use crate::storage::recovery::LogTail;
use crate::storage::state::{Files, SegmentHandle, State};
use crate::storage::vfs::LockOutcome;

/// What may stand in a directory whose first manifest was never finished.
const OWN_NAMES: [&str; 2] = ["LOCK", "manifest.tmp"];

/// Released when dropped, or when the process dies.
pub(super) type DirectoryLock = Box<dyn Send + Sync>;

/// A directory with other things in it is not ours to fill.
pub(super) fn refuse_foreign_directory(files: &Files) -> Result<()> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let names = vfs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let is_cache = !manifest::list(vfs, dir)?.is_empty();
    match names.iter().find(|name| !OWN_NAMES.contains(&name.as_str()) && *name != "lost+found") {
        Some(stranger) if !is_cache => Err(Error::new(
            ErrorCode::NotACache,
            format!(
                "{} holds no cache but other files (`{stranger}`); name an empty directory",
                dir.display()
            ),
        )),
        _ => Ok(()),
    }
}

pub(super) fn take_lock(files: &Files) -> Result<DirectoryLock> {
    let path = files.dir.join("LOCK");
    match files.vfs.lock(&path).map_err(|error| Error::io("lock", &path, error))? {
        LockOutcome::Taken(guard) => Ok(guard),
        LockOutcome::Held(owner) => {
            let owner = match owner {
                Some(pid) if pid == std::process::id() => "this process".to_owned(),
                Some(pid) => format!("process {pid}"),
                None => "another process".to_owned(),
            };
            Err(Error::new(
                ErrorCode::DirectoryLocked,
                format!(
                    "{} is owned by {owner}; close that cache, or open the directory read-only",
                    files.dir.display()
                ),
            ))
        }
    }
}

/// Goes on in the last log file if its owner closed it; else begins a new file and a new incarnation, because
/// commits behind the recovered ones may have been seen and lost.
pub(super) fn begin_log(
    files: &Files,
    state: &mut State,
    tail: Option<LogTail>,
    last_log: u64,
    unclean: bool,
) -> Result<LogWriter> {
    let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
    let mut log = match tail {
        // A file behind it was being made when the disk was full. Its number is taken.
        Some(LogTail { number, end, closed: true }) if number == last_log => {
            // If the sync of this record failed, it is in memory only, and the next sync would leave it out: what is
            // written behind it would not count. The same bytes once more are synced with the rest.
            let closed = Record { kind: RecordKind::Closed, version: state.version, body: &[] };
            let mut log = LogWriter::resume(vfs, &dir, number, end - closed.encoded_len() as u64)?;
            log.append(&closed)?;
            log
        }
        _ => {
            let mut log = LogWriter::create(vfs, &dir, last_log + 1)?;
            log.begin(vfs, &dir, state.version.sequence)?;
            if unclean {
                state.begin_incarnation(random_incarnation()?);
            }
            log
        }
    };
    let record = Record { kind: RecordKind::Opened, version: state.version, body: &[] };
    log.reserve(&record)?;
    log.append(&record)?;
    log.sync()?;
    Ok(log)
}

/// Sequences of the manifests that are whole, newest first: only they can be recovered from.
pub(super) fn whole_manifests(files: &Files) -> Result<Vec<u64>> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let mut sequences = manifest::list(vfs, dir)?;
    sequences.retain(|&sequence| Manifest::read(vfs, &manifest::path(dir, sequence)).is_ok());
    Ok(sequences)
}

/// Removes what a crash left behind: segments that neither the state nor a kept manifest names, and all
/// temporary files. Returns the segments that only manifests name: they wait to be removed.
pub(super) fn remove_orphans(
    files: &Files,
    state: &State,
    manifests: &[u64],
) -> Result<Vec<Arc<SegmentHandle>>> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let mut needed: HashSet<PathBuf> = state.segment_paths().collect();
    let mut superseded = Vec::new();
    for &sequence in manifests {
        let manifest = Manifest::read(vfs, &manifest::path(dir, sequence))?;
        let state = State::from_record(manifest.version, &manifest.catalog, files)?;
        let segments = state.tables.values().flat_map(|table| &table.segments);
        superseded.extend(segments.filter(|segment| needed.insert(segment.path())).cloned());
    }
    let list = |dir: &Path| vfs.list(dir).map_err(|error| Error::io("list", dir, error));
    let tables = dir.join("tables");
    for table in list(&tables)? {
        let folder = tables.join(&table);
        let names = list(&folder)?;
        let orphans: Vec<_> =
            names.iter().map(|name| folder.join(name)).filter(|path| !needed.contains(path)).collect();
        orphans.iter().for_each(|path| remove(files, path));
        if orphans.len() == names.len() && vfs.remove_dir(&folder).is_err() {
            tracing::warn!(folder = %folder.display(), "cannot remove the folder of a dropped table");
        }
    }
    for name in list(&files.tmp_dir())? {
        remove_scratch(files, &files.tmp_dir().join(name));
    }
    Ok(superseded)
}

pub(super) fn random_incarnation() -> Result<u64> {
    getrandom::u64()
        .map_err(|error| Error::new(ErrorCode::Io, format!("no random number to be had: {error}")))
}
