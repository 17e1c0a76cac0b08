//! Follows the commits of an owner in another process, through its files alone.
#![expect(unsafe_code, reason = "a log is mapped beyond its end")]

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use crate::storage::catalog::edit::Edit;
use crate::storage::catalog::files::Files;
use crate::storage::catalog::recovery::{self, LogTail, Recovered};
use crate::storage::catalog::state::{RecordData, State};
use crate::storage::format::LOG_HEADER_LEN;
use crate::storage::live::{Head, HeadReader, Indexes};
use crate::storage::log::{self, Record, RecordKind};
use crate::storage::mapped::region::Region;
use crate::storage::table::Context;
use crate::storage::vfs::boot;
use crate::types::error::{Error, ErrorCode, Result};

/// How often a reader tries when files vanish under it because the owner moved on, before that is an error.
const ATTEMPTS: usize = 10;

/// How often a reader looks for an owner of a directory that never had one, and for another directory in its place once
/// the owner has closed the cache.
const LOOK_INTERVAL_MS: u64 = 1000;

/// The newest state that a reader has followed the owner to.
#[derive(Debug)]
pub(crate) struct Follower {
    files: Files,
    /// Empty until an owner of the directory has published a page.
    head: OnceLock<OpenHead>,
    /// Whether the last owner closed the cache: another directory may take the place of this one next.
    is_closed: AtomicBool,
    /// When to look by path again: milliseconds since `opened_at`.
    next_look: AtomicU64,
    opened_at: Instant,
    /// The counter of the publication that `state` includes.
    seen: AtomicU64,
    state: ArcSwap<State>,
    /// Held by the thread that follows; the others wait for it, because they must not answer from an older state.
    position: Mutex<Position>,
    /// The error that the next call returns.
    untold: Mutex<Option<Error>>,
}

/// The page that the owner publishes in.
#[derive(Debug)]
struct OpenHead {
    reader: HeadReader,
    /// The page's device and inode: a page at the same path with others is of another directory.
    identity: Option<(u64, u64)>,
}

/// How far the log was read.
#[derive(Clone, Debug)]
struct Position {
    log: u64,
    end: usize,
    /// The mapped file; `None` before it is mapped, as in a directory without a log.
    region: Option<Region>,
    /// The owner that the log was read from.
    owner: Option<u64>,
}

impl Follower {
    /// Reads the newest state of a directory that may have an owner. Writes nothing.
    ///
    /// # Errors
    /// [`ErrorCode::NotACache`], [`ErrorCode::NewerFormat`], [`ErrorCode::Corrupt`], [`ErrorCode::Io`].
    pub(crate) fn open(files: Files) -> Result<(Self, Option<String>)> {
        let head = OnceLock::new();
        if let Some(found) = open_head(&files)? {
            head.get_or_init(|| found);
        }
        let reader = head.get().map(|head: &OpenHead| &head.reader);
        let Reloaded { state, position, seen, damage, head: published } = reload(&files, None, reader)?;
        let follower = Self {
            files,
            head,
            is_closed: AtomicBool::new(published.is_some_and(|head| head.closed)),
            next_look: AtomicU64::new(0),
            opened_at: Instant::now(),
            seen: AtomicU64::new(seen),
            state: ArcSwap::from_pointee(state),
            position: Mutex::new(position),
            untold: Mutex::new(None),
        };
        Ok((follower, damage))
    }

    /// The newest state. Costs one load of shared memory where nothing was committed.
    ///
    /// # Errors
    /// [`ErrorCode::WentBack`] once if commits that this reader had seen are gone; [`ErrorCode::Closed`] if another
    /// directory took the place of this one; [`ErrorCode::Corrupt`] or [`ErrorCode::Io`] if the newest state cannot be
    /// read.
    #[inline]
    pub(crate) fn newest(&self) -> Result<Guard<Arc<State>>> {
        match self.head.get() {
            Some(OpenHead { reader, .. }) if reader.counter() != self.seen.load(Ordering::Acquire) => {
                self.follow(reader)?;
            }
            Some(_) if !self.is_closed.load(Ordering::Relaxed) => {}
            _ => self.look()?,
        }
        Ok(self.state.load())
    }

    /// Asks the file system, and fails if the directory was removed and another one is in its place. From then on reads
    /// fail too.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`].
    pub(crate) fn check_place(&self) -> Result<()> {
        let known = self.head.get().and_then(|head| head.identity);
        match (known, self.files.identity()) {
            (Some(known), Some(found)) if known != found => {
                self.is_closed.store(true, Ordering::Relaxed);
                self.next_look.store(0, Ordering::Relaxed);
                Err(Error::new(
                    ErrorCode::Closed,
                    format!(
                        "{} is not the directory that was opened: another cache took its place; open or connect again",
                        self.files.dir.display()
                    ),
                ))
            }
            _ => Ok(()),
        }
    }

    /// Makes the next call of [`newest`](Self::newest) fail with `error`, which the current call cannot return.
    pub(crate) fn tell_next(&self, error: Error) {
        let _following = self.position.lock();
        *self.untold.lock() = Some(error);
        // No head has this counter, so the next call follows.
        self.seen.store(u64::MAX, Ordering::Release);
    }

    /// The state that was followed to last.
    pub(crate) fn last(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// When the owner was last seen alive, and whether it closed the cache since.
    pub(crate) fn owner_seen(&self) -> Option<(SystemTime, bool)> {
        let OpenHead { reader, .. } = self.head.get()?;
        Some((reader.heartbeat(), reader.read().1.closed))
    }

    /// A directory without an owner may get one, and another directory may take its place.
    #[cold]
    fn look(&self) -> Result<()> {
        let now = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.next_look.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.head.get().is_none() {
            self.next_look.store(now + LOOK_INTERVAL_MS, Ordering::Relaxed);
            return match open_head(&self.files)? {
                Some(found) => self.follow(&self.head.get_or_init(|| found).reader),
                None => Ok(()),
            };
        }
        // After a failure every call looks, so every call fails.
        self.check_place()?;
        self.next_look.store(now + LOOK_INTERVAL_MS, Ordering::Relaxed);
        Ok(())
    }

    #[cold]
    fn follow(&self, reader: &HeadReader) -> Result<()> {
        let mut position = self.position.lock();
        if let Some(error) = self.untold.lock().take() {
            return Err(error);
        }
        let (counter, head) = reader.read();
        if counter == self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        if position.log != head.log {
            // Files found by path from here on must be those of the directory that the page is of.
            self.check_place()?;
        }
        let current = self.state.load_full();
        let (state, end, counter, head) = match self.replay(&current, position.clone(), &head) {
            Some((state, end)) => (state, end, counter, head),
            None => {
                self.check_place()?;
                let reloaded = reload(&self.files, Some(&current), Some(reader))?;
                let head = reloaded.head.unwrap_or(head);
                (reloaded.state, reloaded.position, reloaded.seen, head)
            }
        };
        if state.version.sequence < head.version.sequence {
            return Err(Error::new(
                ErrorCode::Corrupt,
                format!(
                    "{}: the log cannot be read up to version {}, which its owner committed; it ends at {}",
                    self.files.dir.display(),
                    head.version,
                    state.version
                ),
            ));
        }
        let lost =
            (state.includes(current.version) != Some(true)).then_some((current.version, state.version));
        *position = end;
        self.state.store(Arc::new(state));
        self.is_closed.store(head.closed, Ordering::Relaxed);
        self.seen.store(counter, Ordering::Release);
        match lost {
            None => Ok(()),
            Some((lost, now)) => Err(Error::new(
                ErrorCode::WentBack,
                format!(
                    "version {lost} was lost in a crash of the cache's owner, or of its disk; its version is now {now}, and \
                     the next call reads what there is"
                ),
            )),
        }
    }

    /// The state after the records between `position` and the published end. `None` if they cannot be read one after
    /// another: everything must then be read anew.
    fn replay(&self, current: &State, mut position: Position, head: &Head) -> Option<(State, Position)> {
        // Another owner made the indexes of tails anew.
        if head.version.incarnation != current.version.incarnation || position.owner != Some(head.owner) {
            return None;
        }
        // The owner went back, because its disk failed.
        if current.version.sequence > head.version.sequence {
            return None;
        }
        if current.version.sequence == head.version.sequence && position.log >= head.log {
            return Some((current.clone(), position));
        }
        let mut state = current.clone();
        loop {
            let is_last = position.log == head.log;
            let region = match &position.region {
                Some(region) => region.clone(),
                None => self.files.vfs.map_log(&self.log_path(position.log)).ok()?.0,
            };
            let end = match is_last {
                true => usize::try_from(head.log_end).ok()?,
                // Its last record is the last of the commits before the next file.
                false => self.files.vfs.map_log(&self.log_path(position.log)).ok()?.1,
            };
            // If somebody cut the file short, the missing bytes are an error here and not a signal.
            region.populate_written(position.end, end.checked_sub(position.end)?).ok()?;
            // SAFETY: the bytes up to `end` were populated just now, so the file has them; the owner published this end
            // of its newest log, and older ones do not change.
            let bytes = unsafe { region.first(end) };
            // The owner published what is in the log file that it writes now, so the bodies of records there are not
            // verified.
            let read = if is_last { Record::published } else { Record::decode };
            while let Some(record) = read(bytes.get(position.end..)?) {
                if record.kind == RecordKind::Commit {
                    if record.version.sequence != state.version.sequence + 1 {
                        return None;
                    }
                    let edits: Vec<Edit> = rmp_serde::from_slice(record.edits).ok()?;
                    let data = RecordData { region: &region, offset: position.end + record.data_offset() };
                    let context = Context {
                        files: &self.files,
                        indexes: Indexes::Followed(head.owner),
                        log: position.log,
                        sequence: record.version.sequence,
                        is_fresh: is_last,
                    };
                    edits.iter().try_for_each(|edit| state.apply(edit, Some(data), &context)).ok()?;
                }
                state.version = record.version;
                position.end += record.encoded_len();
            }
            if is_last {
                position.region = Some(region);
                let complete = position.end == end && state.version == head.version;
                state.open_segments().ok()?;
                return complete.then_some((state, position));
            }
            position =
                Position { log: position.log + 1, end: LOG_HEADER_LEN, region: None, owner: position.owner };
        }
    }

    fn log_path(&self, number: u64) -> std::path::PathBuf {
        self.files.log_dir().join(log::file_name(number))
    }
}

fn open_head(files: &Files) -> Result<Option<OpenHead>> {
    let path = files.head_path();
    loop {
        let identity = files.identity();
        let words = files.vfs.map_words(&path).map_err(|error| Error::io("map", &path, error))?;
        // Otherwise another directory may have taken its place in between.
        if identity == files.identity() {
            let reader = words.and_then(|words| HeadReader::new(words, boot()));
            return Ok(reader.map(|reader| OpenHead { reader, identity }));
        }
    }
}

/// What was read anew.
struct Reloaded {
    state: State,
    position: Position,
    /// The publication that it includes, and its counter.
    head: Option<Head>,
    seen: u64,
    damage: Option<String>,
}

impl Reloaded {
    /// Whether it lacks commits that the owner had published before.
    fn is_short(&self) -> bool {
        self.head.is_some_and(|head| self.state.version.sequence < head.version.sequence)
    }
}

/// Reads manifest and log, and maps every segment now, because the owner may unlink files that later versions do not
/// need.
fn reload(files: &Files, known: Option<&State>, reader: Option<&HeadReader>) -> Result<Reloaded> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match try_reload(files, known, reader, attempt < ATTEMPTS) {
            Err(error)
                if [ErrorCode::Io, ErrorCode::NotACache].contains(&error.code()) && attempt < ATTEMPTS => {}
            // The owner wrote manifests between the reads of manifest and log, and removed what the older ones need.
            Ok(reloaded) if reloaded.is_short() && attempt < ATTEMPTS => {}
            result => return result,
        }
    }
}

/// With `all_segments`, a segment that cannot be mapped is an error, and so is a tail whose index is gone. Otherwise
/// only the reads that need such a segment fail, and such a tail keeps the index that this process made.
fn try_reload(
    files: &Files,
    known: Option<&State>,
    reader: Option<&HeadReader>,
    all_segments: bool,
) -> Result<Reloaded> {
    let mut published = None;
    // Commits that the owner wrote and has not published may still fail. Those that it publishes while this process
    // reads the log are followed later.
    let until = || {
        published = reader.map(HeadReader::read);
        published.map(|(_, head)| head.version.sequence)
    };
    // The owner may have removed the indexes of tails that ended meanwhile, so this process first makes all of them
    // itself.
    let Recovered { mut state, tail, damage, .. } = recovery::recover(files, until, Indexes::Private)?;
    let (seen, head) = published.map_or((0, None), |(counter, head)| (counter, Some(head)));
    if all_segments {
        state.refuse_missing_segments()?;
    }
    if let Some(known) = known {
        state.adopt(known);
    }
    if let Some(head) = head.filter(|head| !head.closed) {
        state.follow_tails(files, head.owner, all_segments)?;
    }
    let opened = state.open_segments();
    if all_segments {
        opened?;
    }
    let owner = head.map(|head| head.owner);
    let position = match tail {
        Some(LogTail { number, end, region, .. }) => Position {
            log: number,
            end: usize::try_from(end).unwrap_or(usize::MAX),
            region: Some(region),
            owner,
        },
        None => Position { log: 0, end: 0, region: None, owner },
    };
    Ok(Reloaded { state, position, head, seen, damage })
}
