//! The writing end of a cache: its log, its manifests, and the files that wait to be removed.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock, Weak};

use super::opening::DirectoryLock;
use crate::storage::catalog::files::Files;
use crate::storage::catalog::manifest::{self, Manifest};
use crate::storage::catalog::state::State;
use crate::storage::live::Head;
use crate::storage::log::{self, LogFile, LogWriter};
use crate::storage::segment::SegmentHandle;
use crate::types::error::{Error, ErrorCode, Result};

/// Manifests kept; from each of them and the log follows the same state.
pub(super) const MANIFESTS_KEPT: usize = 2;

pub(super) struct Committer {
    /// Held until the cache is closed, and by writes under way until they end; nothing is written without it.
    pub(super) lock: Option<DirectoryLock>,
    pub(super) log: LogWriter,
    /// What went wrong first. The store shares it, to read it without waiting for commits.
    poison: Arc<OnceLock<String>>,
    /// The newest state that was logged; the next commit goes on from it.
    newest: Arc<State>,
    /// Commits that were logged and that readers do not see yet, oldest first.
    waiting: VecDeque<Logged>,
    /// The newest state that a sync of the log has made durable, and the head that shows it.
    durable: (Arc<State>, Head),
    /// The manifests kept, newest first.
    manifests: Vec<Kept>,
    retired: Vec<Retired>,
    /// Bytes of the segments that were retired since the newest manifest. The next one no longer names them.
    pub(super) retired_since: u64,
    /// Whether the newest manifest lacks commits.
    pub(super) uncheckpointed: bool,
    /// Bytes of the log files before the one that is written.
    older_logs: u64,
    /// Bytes of those that a recovery from the newest manifest needs.
    needed_logs: u64,
    /// Whether rows of a table could not be moved out of the log.
    pub(super) is_stuck: bool,
    /// Rows and deletions in the log file.
    pub(super) rows: usize,
    /// Records in the log file.
    pub(super) records: usize,
    /// The owner's number.
    owner: u64,
    /// Bytes that are kept for readers of changes, beyond what recovery needs.
    history: u64,
    /// The log files that are kept have all commits after this one. Segments that these dropped are kept too.
    told_since: u64,
}

impl std::fmt::Debug for Committer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Committer")
            .field("log", &self.log)
            .field("poison", &self.poison)
            .finish_non_exhaustive()
    }
}

/// A commit that was logged.
pub(super) struct Logged {
    pub(super) state: Arc<State>,
    /// What is published when readers may see it.
    pub(super) head: Head,
    /// No manifest of this sequence or later will name the segments that the commit dropped.
    pub(super) dropped_at: u64,
}

/// A manifest that is kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kept {
    pub(super) sequence: u64,
    /// The log file whose records follow it.
    log: u64,
}

impl Kept {
    pub(super) fn of(manifest: &Manifest) -> Self {
        Self { sequence: manifest.version.sequence, log: manifest.catalog.log }
    }
}

/// A segment that no longer belongs to its table.
struct Retired {
    path: PathBuf,
    bytes: u64,
    /// The commit that dropped it: its file is needed until the older manifest kept includes that commit.
    dropped_at: u64,
    readers: Weak<SegmentHandle>,
}

impl Committer {
    /// `uncheckpointed`: whether the newest of `manifests` lacks commits.
    pub(super) fn new(
        lock: DirectoryLock,
        log: LogWriter,
        newest: Arc<State>,
        manifests: Vec<Kept>,
        uncheckpointed: bool,
        owner: u64,
        history: u64,
    ) -> Self {
        let head =
            Head { version: newest.version, log: log.number(), log_end: log.len(), closed: false, owner };
        Self {
            lock: Some(lock),
            log,
            poison: Arc::default(),
            durable: (newest.clone(), head),
            newest,
            waiting: VecDeque::new(),
            manifests,
            retired: Vec::new(),
            retired_since: 0,
            uncheckpointed,
            older_logs: 0,
            needed_logs: 0,
            is_stuck: false,
            rows: 0,
            records: 0,
            owner,
            history,
            told_since: 0,
        }
    }

    /// The head that shows the newest state to readers.
    pub(super) fn head(&self) -> Head {
        Head {
            version: self.newest.version,
            log: self.log.number(),
            log_end: self.log.len(),
            closed: self.lock.is_none(),
            owner: self.owner,
        }
    }

    pub(super) fn check(&self) -> Result<()> {
        if self.lock.is_none() {
            return Err(Error::new(ErrorCode::Closed, "the cache was closed; open it again"));
        }
        match self.poison.get() {
            None => Ok(()),
            Some(cause) => Err(Error::new(
                ErrorCode::Poisoned,
                format!("an earlier write failed ({cause}); reads go on, open the cache again to write"),
            )),
        }
    }

    /// The first write or sync that failed, once there is one.
    pub(super) fn poison(&self) -> Arc<OnceLock<String>> {
        self.poison.clone()
    }

    /// After a failed write or sync nobody knows what the file holds: nothing more is written to it.
    pub(super) fn poison_on_error<T>(&mut self, result: Result<T>) -> Result<T> {
        result.inspect_err(|error| {
            tracing::error!(%error, "the log could not be written; the cache takes no more writes");
            self.poison.get_or_init(|| format!("{error:#}"));
        })
    }

    /// Ends writing after a panic in the middle of a change: nobody knows how much of it was done.
    pub(super) fn poison_by_panic(&mut self) {
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("without a name");
        self.poison.get_or_init(|| format!("a change panicked on the thread {name}, which is a defect"));
    }

    /// As [`poison_on_error`](Self::poison_on_error), except for a full disk and for what exceeds a limit of the
    /// format: both are noticed before anything is lost.
    fn poison_unless_clean<T>(&mut self, result: Result<T>) -> Result<T> {
        match result {
            Err(error) if matches!(error.code(), ErrorCode::DiskFull | ErrorCode::InvalidArgument) => {
                Err(error)
            }
            result => self.poison_on_error(result),
        }
    }

    /// Bytes of the log, and of the files that wait to be removed.
    pub(super) fn bytes(&self) -> u64 {
        self.older_logs + self.log.len() + self.retired.iter().map(|retired| retired.bytes).sum::<u64>()
    }

    /// The log file that the newest manifest goes on with.
    pub(super) fn first_needed_log(&self) -> u64 {
        self.manifests.first().map_or(0, |newest| newest.log)
    }

    /// Bytes of the log that no manifest has made unnecessary.
    pub(super) fn needed_log_bytes(&self) -> u64 {
        self.needed_logs + self.log.len()
    }

    /// Measures the log files that are kept.
    ///
    /// # Errors
    /// [`ErrorCode::Io`].
    pub(super) fn measure_logs(&mut self, files: &Files) -> Result<()> {
        let dir = files.log_dir();
        let names = files.vfs.list(&dir).map_err(|error| Error::io("list", &dir, error))?;
        let current = log::file_name(self.log.number());
        let older = names.iter().filter(|name| log::file_number(name).is_some() && **name != current);
        let first = self.first_needed_log();
        (self.older_logs, self.needed_logs) = (0, 0);
        for name in older {
            let len = files.vfs.len(&dir.join(name)).unwrap_or_default();
            self.older_logs += len;
            if log::file_number(name).is_some_and(|number| number >= first) {
                self.needed_logs += len;
            }
        }
        Ok(())
    }

    /// Lets files be removed as soon as no kept manifest is older than `sequence`.
    pub(super) fn retire_files(&mut self, files: &Files, paths: Vec<PathBuf>, sequence: u64) {
        self.retired.extend(paths.into_iter().map(|path| Retired {
            bytes: files.vfs.len(&path).unwrap_or_default(),
            path,
            dropped_at: sequence,
            readers: Weak::new(),
        }));
    }

    pub(super) fn retire(&mut self, segments: &[Arc<SegmentHandle>], dropped_at: u64) {
        self.retired_since += segments.iter().map(|segment| segment.record().len).sum::<u64>();
        self.retired.extend(segments.iter().map(|segment| Retired {
            path: segment.path(),
            bytes: segment.record().len,
            dropped_at,
            readers: Arc::downgrade(segment),
        }));
    }

    /// The newest state that was logged.
    pub(super) fn newest(&self) -> &Arc<State> {
        &self.newest
    }

    /// Replaces the newest state by one that says the same, with larger indexes. Returns it if readers see the newest
    /// one already, so that they get the new one too.
    pub(super) fn renew(&mut self, state: State) -> Option<Arc<State>> {
        self.newest = Arc::new(state);
        match self.waiting.back_mut() {
            Some(last) => last.state = self.newest.clone(),
            None => return Some(self.newest.clone()),
        }
        None
    }

    /// A commit was logged: it waits to be shown.
    pub(super) fn logged(&mut self, state: Arc<State>, dropped_at: u64) {
        self.newest = state;
        self.uncheckpointed = true;
        self.records += 1;
        let head = self.head();
        self.waiting.push_back(Logged { state: self.newest.clone(), head, dropped_at });
    }

    /// Takes the next commit that waits to be shown, if it is not beyond a sequence.
    pub(super) fn next_to_show(&mut self, sequence: u64) -> Option<Logged> {
        self.waiting.pop_front_if(|first| first.state.version.sequence <= sequence)
    }

    /// Whether something was logged that no sync has made durable.
    pub(super) fn is_unsynced(&self) -> bool {
        let (_, head) = &self.durable;
        (head.log, head.log_end) != (self.log.number(), self.log.len())
    }

    /// Remembers that everything up to a state is durable. Readers see that state when `head` is published.
    pub(super) fn synced(&mut self, state: Arc<State>, head: Head) {
        self.durable = (state, head);
    }

    /// Goes back to what is durable, and returns it. A next commit would go on from there.
    pub(super) fn go_back(&mut self) -> (Arc<State>, Head) {
        self.waiting.clear();
        self.newest = self.durable.0.clone();
        self.durable.clone()
    }

    /// Begins a new log file behind the last commit, unless nothing was logged to this one. All commits must be
    /// durable.
    ///
    /// # Errors
    /// [`ErrorCode::DiskFull`]. After any other error, nothing more can be written: [`ErrorCode::Poisoned`] from then
    /// on.
    pub(super) fn rotate(&mut self, files: &Files) -> Result<()> {
        // If an earlier attempt began a file and nothing was logged to it, that file will do.
        if !self.log.is_empty() {
            let (vfs, dir) = (files.vfs.as_ref(), files.log_dir());
            let created = LogWriter::create(vfs, &dir, self.log.number() + 1);
            let mut next = self.poison_unless_clean(created)?;
            let begun = next.begin(vfs, &dir, self.newest.version.sequence);
            self.poison_on_error(begun)?;
            self.older_logs += self.log.len();
            self.needed_logs += self.log.allocated();
            self.log = next;
            (self.rows, self.records) = (0, 0);
            self.synced(self.newest.clone(), self.head());
        }
        Ok(())
    }

    /// Whether the newest manifest is this one already.
    pub(super) fn has_manifest(&self, manifest: &Manifest) -> bool {
        self.manifests.first().is_some_and(|newest| newest.sequence == manifest.version.sequence)
    }

    /// Takes note that a manifest was written, or why not. If it was, removes what it and the one before it do not
    /// need.
    ///
    /// # Errors
    /// Why it was not written. Unless the disk was full or it was too large: [`ErrorCode::Poisoned`] from then on.
    pub(super) fn wrote_manifest(
        &mut self,
        files: &Files,
        manifest: &Manifest,
        written: Result<()>,
    ) -> Result<()> {
        let (vfs, log_dir) = (files.vfs.as_ref(), files.log_dir());
        self.poison_unless_clean(written)?;
        self.manifests.insert(0, Kept::of(manifest));
        self.retired_since = 0;
        self.manifests.truncate(MANIFESTS_KEPT);
        // Superseded manifests, and those that were found damaged.
        for sequence in manifest::list(vfs, &files.dir)? {
            if self.manifests.iter().all(|kept| kept.sequence != sequence) {
                remove(files, &manifest::path(&files.dir, sequence));
            }
        }
        if let Some(&Kept { sequence: oldest, log: needed }) = self.manifests.last() {
            let names = vfs.list(&log_dir).map_err(|error| Error::io("list", &log_dir, error))?;
            let mut numbers: Vec<u64> = names.iter().filter_map(|name| log::file_number(name)).collect();
            numbers.sort_unstable_by(|a, b| b.cmp(a));
            // Keeps as many as fit into the history, the newest first.
            let (mut kept, mut is_kept, mut told_since) = (0, true, oldest);
            for number in numbers.into_iter().filter(|&number| number < needed) {
                let path = log_dir.join(log::file_name(number));
                // History ends at a file that cannot be read.
                let base = LogFile::base_sequence_of(vfs, &path).ok().flatten();
                if is_kept && let Some(base) = base {
                    let dropped = self
                        .retired
                        .iter()
                        .filter(|retired| (base + 1..=told_since).contains(&retired.dropped_at));
                    kept += vfs.len(&path).unwrap_or_default()
                        + dropped.map(|retired| retired.bytes).sum::<u64>();
                    is_kept = kept <= self.history;
                    if is_kept {
                        told_since = base;
                        continue;
                    }
                }
                is_kept = false;
                remove(files, &path);
            }
            self.told_since = told_since;
            self.measure_logs(files)?;
        }
        self.remove_retired(files);
        Ok(())
    }

    /// Maps the segments that handles and snapshots of this process may still read: a later owner may remove their
    /// files. No data is read.
    pub(super) fn map_readable_segments(&self) {
        let current = self.newest.tables.values().flat_map(|table| table.segments.iter()).cloned();
        let retired = self.retired.iter().filter_map(|retired| retired.readers.upgrade());
        for segment in current.chain(retired) {
            if let Err(error) = segment.open() {
                tracing::warn!(%error, "a segment cannot be mapped");
            }
        }
    }

    pub(super) fn remove_retired(&mut self, files: &Files) {
        let oldest = self.manifests.get(MANIFESTS_KEPT - 1).map_or(0, |oldest| oldest.sequence);
        self.retired.retain(|retired| {
            let needed =
                retired.dropped_at > oldest.min(self.told_since) || retired.readers.strong_count() > 0;
            if !needed {
                remove(files, &retired.path);
            }
            needed
        });
    }
}

pub(super) fn remove(files: &Files, path: &Path) {
    if let Err(error) = files.vfs.remove(path) {
        tracing::warn!(%error, path = %path.display(), "cannot remove a file that is no longer needed");
    }
}
