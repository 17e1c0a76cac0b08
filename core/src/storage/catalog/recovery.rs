//! From the files of a directory to its newest committed state.
//!
//! What is recovered is a prefix of what was committed: replay starts at the newest whole manifest and stops at
//! the first record that is not whole or does not follow the one before it.

use std::collections::BTreeMap;

use super::edit::Edit;
use super::files::Files;
use super::manifest;
use super::state::{RecordData, State};
use crate::storage::live::Indexes;
use crate::storage::log::{self, LogFile, Record, RecordKind};
use crate::storage::mapped::region::Region;
use crate::storage::table::Context;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;

/// The newest state, and where the log goes on.
#[derive(Debug)]
pub(crate) struct Recovered {
    /// The newest committed state.
    pub(crate) state: State,
    /// The last file of the log that counts, if there is one.
    pub(crate) tail: Option<LogTail>,
    /// Number of the newest log file that exists, whether it counts or not.
    pub(crate) last_log: u64,
    /// What was found damaged and left out.
    pub(crate) damage: Option<String>,
}

/// The end of the log.
#[derive(Clone, Debug)]
pub(crate) struct LogTail {
    /// Number of the file.
    pub(crate) number: u64,
    /// Offset behind its last record.
    pub(crate) end: u64,
    /// Whether the last owner closed the cache: nothing was lost and the file can be continued.
    pub(crate) closed: bool,
    /// The mapped file.
    pub(crate) region: Region,
}

/// Reads the newest manifest, then the log up to the sequence that `until` returns, if it returns one. `until` is
/// called between the two: an owner publishes the moves of rows before it writes the manifest of their new places, and
/// its indexes fit that manifest only together with the commits of these moves. Tails get their indexes from
/// `indexes`, which must be written by this process.
///
/// # Errors
/// [`NotACache`](crate::ErrorCode::NotACache), [`NewerFormat`](crate::ErrorCode::NewerFormat),
/// [`Corrupt`](crate::ErrorCode::Corrupt), [`Io`](crate::ErrorCode::Io).
pub(crate) fn recover(
    files: &Files,
    until: impl FnOnce() -> Option<u64>,
    indexes: Indexes,
) -> Result<Recovered> {
    let vfs = files.vfs.as_ref();
    let manifest = manifest::newest(vfs, &files.dir)?;
    let until = until();
    let state = State::from_record(manifest.version, &manifest.catalog, files)?;
    let log_dir = files.log_dir();
    let names = vfs.list(&log_dir).map_err(|error| Error::io("list", &log_dir, error))?;
    let numbers: Vec<u64> = names.iter().filter_map(|name| log::file_number(name)).collect();
    let mut logs = BTreeMap::new();
    let mut damage = None;
    for &number in numbers.iter().filter(|&&number| number >= manifest.catalog.log) {
        match LogFile::read(vfs, &log_dir.join(log::file_name(number))) {
            Ok(Some(file)) => drop(logs.insert(number, file)),
            Ok(None) => {}
            Err(error) if error.code() == ErrorCode::Corrupt => damage = Some(error.to_string()),
            Err(error) => return Err(error),
        }
    }
    let mut replay = Replay { state, tail: None, damage, files, indexes, until };
    // A file that begins behind `until` was begun after `until` was called.
    let wanted = logs.iter().filter(|(_, file)| until.is_none_or(|until| file.base_sequence() <= until));
    for (number, file) in wanted {
        // A later file says how far the log counted when that file was begun.
        let later = logs.range(number + 1..).map(|(_, later)| later.base_sequence());
        replay.file(file, later.chain(until).min().unwrap_or(u64::MAX))?;
    }
    let Replay { state, tail, damage, .. } = replay;
    if let Some(damage) = &damage {
        tracing::warn!(%damage, "the log was recovered up to the last commit that is whole");
    }
    Ok(Recovered { state, tail, last_log: numbers.into_iter().max().unwrap_or_default(), damage })
}

struct Replay<'a> {
    state: State,
    tail: Option<LogTail>,
    damage: Option<String>,
    files: &'a Files,
    indexes: Indexes,
    until: Option<u64>,
}

impl Replay<'_> {
    fn file(&mut self, file: &LogFile, limit: u64) -> Result<()> {
        if file.base_sequence() > self.state.version.sequence {
            let path = file.path().display();
            self.damage = Some(format!("{path} follows commits that are missing and was left out"));
            return Ok(());
        }
        let mut offset = file.start();
        let mut closed = false;
        loop {
            let Some((record, end)) = file.record_at(offset) else {
                if file.is_blank_from(offset) {
                    break;
                }
                // The owner may just be writing whatever follows its last published commit.
                let is_all = self.until.is_some_and(|until| self.state.version.sequence >= until);
                let behind = if is_all { 0 } else { file.records_behind(offset) };
                // The owner may have been writing this record; if others follow it, it is whole by now: look again.
                if behind > 0 && file.record_at(offset).is_some() {
                    continue;
                }
                if behind > 0 {
                    let path = file.path().display();
                    self.damage = Some(format!(
                        "{path}: the record at byte {offset} is damaged; {behind} whole records behind it are left out"
                    ));
                }
                closed = false;
                break;
            };
            let Version { sequence, .. } = record.version;
            if sequence > limit {
                // Not damage: a later file, or `until`, says that this file counts up to here.
                self.ends(file, offset, false);
                return Ok(());
            }
            let current = self.state.version.sequence;
            match record.kind {
                RecordKind::Commit if sequence == current + 1 => self.commit(&record, file, offset)?,
                RecordKind::Commit if sequence > current + 1 => {
                    let path = file.path().display();
                    let behind = file.records_behind(offset);
                    self.damage = Some(format!(
                        "{path}: a commit before byte {offset} is missing; {behind} whole records behind it are left out"
                    ));
                    closed = false;
                    break;
                }
                _ => {}
            }
            if sequence >= current {
                if record.version.incarnation != self.state.version.incarnation {
                    self.state.version.sequence = sequence.saturating_sub(1);
                    self.state.begin_incarnation(record.version.incarnation);
                }
                self.state.version = record.version;
            }
            closed = record.kind == RecordKind::Closed;
            offset = end;
        }
        self.ends(file, offset, closed);
        Ok(())
    }

    fn ends(&mut self, file: &LogFile, offset: usize, closed: bool) {
        let (number, region) = (file.number(), file.region().clone());
        self.tail = Some(LogTail { number, end: offset as u64, closed, region });
    }

    fn commit(&mut self, record: &Record<'_>, file: &LogFile, offset: usize) -> Result<()> {
        let edits: Vec<Edit> = rmp_serde::from_slice(record.edits).map_err(|error| {
            Error::corrupt(file.path(), offset as u64, "edits not understood").with_source(error)
        })?;
        let data = RecordData { region: file.region(), offset: offset + record.data_offset() };
        let context = Context {
            files: self.files,
            indexes: self.indexes,
            log: file.number(),
            sequence: record.version.sequence,
            is_fresh: false,
        };
        edits.iter().try_for_each(|edit| self.state.apply(edit, Some(data), &context))
    }
}
