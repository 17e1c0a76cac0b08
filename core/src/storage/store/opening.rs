//! What an owner does once, when it opens a directory.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::committer::remove;
use crate::storage::catalog::edit::Edit;
use crate::storage::catalog::files::Files;
use crate::storage::catalog::manifest::{self, Manifest};
use crate::storage::catalog::recovery::LogTail;
use crate::storage::catalog::state::State;
use crate::storage::load::remove_scratch;
use crate::storage::log::{self, LogFile, LogWriter, Record, RecordKind};
use crate::storage::vfs::LockOutcome;
use crate::types::error::{Error, ErrorCode, Result};

/// What may stand in a directory whose first manifest was never finished.
/// The file that an owner locks. It names the process.
pub(super) const LOCK_FILE: &str = "LOCK";
const OWN_NAMES: [&str; 2] = [LOCK_FILE, "manifest.tmp"];

/// Released when all clones are dropped, or when the process dies.
pub(super) type DirectoryLock = Arc<dyn Send + Sync>;

/// Refuses a directory that holds other things: it is not ours to fill.
pub(super) fn refuse_foreign_directory(files: &Files) -> Result<()> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let names = vfs.list(dir).map_err(|error| Error::io("list", dir, error))?;
    let is_cache = !manifest::list(vfs, dir)?.is_empty();
    match names.iter().find(|name| !OWN_NAMES.contains(&name.as_str()) && *name != "lost+found") {
        Some(stranger) if !is_cache => Err(Error::new(
            ErrorCode::NotACache,
            format!(
                "{} is not a cache and holds other files (`{stranger}`); name an empty directory",
                dir.display()
            ),
        )),
        _ => Ok(()),
    }
}

pub(super) fn take_lock(files: &Files) -> Result<DirectoryLock> {
    let path = files.dir.join(LOCK_FILE);
    match files.vfs.lock(&path).map_err(|error| Error::io("lock", &path, error))? {
        LockOutcome::Taken(guard) => Ok(Arc::from(guard)),
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

/// Goes on in the last log file if its owner closed it; otherwise begins a new file. If the cache was not closed, also
/// begins a new incarnation: readers may have seen commits behind the recovered ones that are now lost.
pub(super) fn begin_log(
    files: &Files,
    state: &mut State,
    tail: Option<&LogTail>,
    last_log: u64,
    unclean: bool,
) -> Result<LogWriter> {
    let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
    let mut log = match tail {
        // Not if a later file exists, whose creation a full disk ended: its number is taken.
        Some(&LogTail { number, end, closed: true, .. }) if number == last_log => {
            // If the sync of the closing record failed, the record is in memory only. The next sync would leave it out,
            // and records behind it would not count. Writing the same bytes again makes that sync include them.
            let closed = Record::bare(RecordKind::Closed, state.version);
            let mut log = LogWriter::resume(vfs, &dir, number, end - closed.encoded_len() as u64)?;
            log.append(&closed)?;
            log
        }
        _ => {
            let mut log = LogWriter::create(vfs, &dir, last_log + 1)?;
            log.begin(vfs, &dir, state.version.sequence)?;
            if unclean {
                state.begin_incarnation(random_incarnation(files)?);
            }
            log
        }
    };
    let record = Record::bare(RecordKind::Opened, state.version);
    log.reserve(&record)?;
    log.append(&record)?;
    log.sync()?;
    Ok(log)
}

/// Name of the copy of a log file until it is complete.
const RENEWED: &str = "renewed";

/// Copies the log files that the newest manifest needs, except the last one, and puts the copies in their places. What
/// was read of them is then durable, even if an earlier sync of them failed.
///
/// # Errors
/// [`ErrorCode::DiskFull`], [`ErrorCode::Io`]; the log says the same as before.
pub(super) fn renew_logs(files: &Files, needed: u64, last: u64) -> Result<()> {
    let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
    let names = vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
    let unfinished = dir.join(RENEWED);
    for name in names
        .iter()
        .filter(|name| log::file_number(name).is_some_and(|number| (needed..last).contains(&number)))
    {
        let path = dir.join(name);
        let bytes = vfs.read(&path).map_err(|error| Error::io("read", &path, error))?;
        let fail = |action: &str, error| Error::io(action, &unfinished, error);
        match vfs.remove(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(fail("remove", error)),
            _ => {}
        }
        let file = vfs.create(&unfinished).map_err(|error| fail("create", error))?;
        file.write_all_at(&bytes, 0).map_err(|error| fail("write", error))?;
        file.sync().map_err(|error| fail("sync", error))?;
        vfs.rename(&unfinished, &path).map_err(|error| fail("rename", error))?;
    }
    vfs.sync_dir(&dir).map_err(|error| Error::io("sync", &dir, error))
}

/// The manifests that are whole, newest first: only they can be recovered from.
pub(super) fn whole_manifests(files: &Files) -> Result<Vec<Manifest>> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let sequences = manifest::list(vfs, dir)?;
    Ok(sequences
        .into_iter()
        .filter_map(|sequence| Manifest::read(vfs, &manifest::path(dir, sequence)).ok())
        .collect())
}

/// Removes what a crash left behind: segments that nothing names, and all temporary files. Returns the segments that the
/// state does not need but a recovery from a kept manifest does: replaying the log reads what stood there in between.
pub(super) fn remove_orphans(
    files: &Files,
    state: &mut State,
    manifests: &[Manifest],
) -> Result<Vec<PathBuf>> {
    let (vfs, dir) = (files.vfs.as_ref(), files.dir.as_path());
    let current: HashSet<PathBuf> = state.segment_paths().collect();
    let mut named = logged_segments(files)?;
    for manifest in manifests {
        named.extend(State::from_record(manifest.version, &manifest.catalog, files)?.segment_paths());
    }
    let list = |dir: &Path| vfs.list(dir).map_err(|error| Error::io("list", dir, error));
    let tables = dir.join("tables");
    let mut superseded = Vec::new();
    for table in list(&tables)? {
        let folder = tables.join(&table);
        let names = match list(&folder) {
            Ok(names) => names,
            Err(error) => {
                tracing::warn!(%error, "the files of a table cannot be listed; those that nobody needs stay");
                continue;
            }
        };
        let mut removed = 0;
        for path in names.iter().map(|name| folder.join(name)).filter(|path| !current.contains(path)) {
            if named.contains(&path) {
                // The commit that named it may be lost in a crash; its number is taken all the same.
                let number = path.file_stem().and_then(|number| number.to_str()?.parse::<u64>().ok());
                state.next_segment = state.next_segment.max(number.unwrap_or_default() + 1);
                superseded.push(path);
            } else {
                remove(files, &path);
                removed += 1;
            }
        }
        if removed == names.len() && vfs.remove_dir(&folder).is_err() {
            tracing::warn!(folder = %folder.display(), "cannot remove the folder of a dropped table");
        }
    }
    if list(&files.log_dir())?.iter().any(|name| name == RENEWED) {
        remove(files, &files.log_dir().join(RENEWED));
    }
    for name in list(&files.tmp_dir())? {
        remove_scratch(files, &files.tmp_dir().join(name));
    }
    Ok(superseded)
}

/// Paths of all segments that the existing log files name.
pub(crate) fn logged_segments(files: &Files) -> Result<HashSet<PathBuf>> {
    let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
    let names = vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
    let mut paths = HashSet::new();
    for name in names.iter().filter(|name| log::file_number(name).is_some()) {
        // Nobody recovers from a file that cannot be read. Recovery reported it.
        let Ok(Some(file)) = LogFile::read(vfs, &dir.join(name)) else { continue };
        let mut offset = file.start();
        while let Some((record, end)) = file.record_at(offset) {
            offset = end;
            let edits: Vec<Edit> = rmp_serde::from_slice(record.edits).unwrap_or_default();
            for edit in &edits {
                if let Edit::AddSegments { table, segments, .. }
                | Edit::Rewrite { table, into: segments, .. } = edit
                {
                    paths.extend(segments.iter().map(|segment| files.segment_path(*table, segment.id)));
                }
            }
        }
    }
    Ok(paths)
}

/// Removes the indexes of tails that `state` does not have: those of earlier owners, and those of tails that ended
/// while the log was replayed.
pub(super) fn remove_other_indexes(files: &Files, owner: u64, state: &State) -> Result<()> {
    let dir = files.live_dir();
    let names = files.vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
    let tails = state.tables.iter().flat_map(|(&id, table)| table.tails.iter().map(move |tail| (id, tail)));
    let needed: HashSet<PathBuf> = tails
        .filter_map(|(id, tail)| {
            Some(files.tail_path(owner, id, tail.tail.since, tail.index.as_ref()?.capacity()))
        })
        .collect();
    for path in names.iter().filter(|name| name.contains('-')).map(|name| dir.join(name)) {
        if !needed.contains(&path) {
            remove(files, &path);
        }
    }
    Ok(())
}

pub(super) fn random_incarnation(files: &Files) -> Result<u64> {
    let number = files.randomness.number();
    number.map_err(|error| Error::new(ErrorCode::Io, format!("cannot get a random number: {error}")))
}
