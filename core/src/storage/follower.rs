//! Follows the commits of an owner in another process, through its files alone.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;

use super::edit::Edit;
use super::format::LOG_HEADER_LEN;
use super::live::{Head, HeadReader};
use super::log::{self, Record, RecordKind};
use super::recovery::{self, LogTail, Recovered};
use super::state::{Files, State};
use crate::api::error::{Error, ErrorCode, Result};

/// How often files may vanish under a reader because the owner moved on, before that is an error.
const ATTEMPTS: usize = 10;

/// How often to look for an owner of a directory that never had one.
const LOOK_INTERVAL_MS: u64 = 1000;
/// More than a log file has; reading stops at its end.
const LOG_READ_LEN: usize = 64 << 20;

/// The newest state that a reader has followed the owner to.
#[derive(Debug)]
pub(crate) struct Follower {
    files: Files,
    /// Not there before the directory had an owner that published one.
    head: OnceLock<HeadReader>,
    /// When to look for it again: milliseconds since `opened_at`.
    next_look: AtomicU64,
    opened_at: Instant,
    /// The counter of the publication that `state` includes.
    seen: AtomicU64,
    state: ArcSwap<State>,
    /// Held by the thread that follows; the others wait for it, because they must not answer from an older state.
    position: Mutex<Position>,
}

/// How far the log was read.
#[derive(Clone, Copy, Debug)]
struct Position {
    log: u64,
    end: u64,
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
        // Read before the log, so that what is published meanwhile is followed later and not missed.
        let (seen, published) = match head.get().map(HeadReader::read) {
            Some((counter, head)) => (counter, Some(head)),
            None => (0, None),
        };
        let (state, position, damage) = reload(&files, None, published)?;
        let follower = Self {
            files,
            head,
            next_look: AtomicU64::new(0),
            opened_at: Instant::now(),
            seen: AtomicU64::new(seen),
            state: ArcSwap::from_pointee(state),
            position: Mutex::new(position),
        };
        Ok((follower, damage))
    }

    /// The newest state. Costs one load of shared memory where nothing was committed.
    ///
    /// # Errors
    /// [`ErrorCode::WentBack`] once if commits that this reader had seen are gone; [`ErrorCode::Corrupt`] or
    /// [`ErrorCode::Io`] if the newest state cannot be read.
    #[inline]
    pub(crate) fn newest(&self) -> Result<Guard<Arc<State>>> {
        match self.head.get() {
            Some(head) if head.counter() == self.seen.load(Ordering::Acquire) => {}
            Some(head) => self.follow(head)?,
            None => self.look_for_head()?,
        }
        Ok(self.state.load())
    }

    /// The state that was followed to last.
    pub(crate) fn last(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// When the owner was last seen alive, and whether it closed the cache since.
    pub(crate) fn owner_seen(&self) -> Option<(SystemTime, bool)> {
        let head = self.head.get()?;
        Some((head.heartbeat(), head.read().1.closed))
    }

    /// A directory without an owner may get one.
    #[cold]
    fn look_for_head(&self) -> Result<()> {
        let now = u64::try_from(self.opened_at.elapsed().as_millis()).unwrap_or(u64::MAX);
        if now < self.next_look.load(Ordering::Relaxed) {
            return Ok(());
        }
        self.next_look.store(now + LOOK_INTERVAL_MS, Ordering::Relaxed);
        match open_head(&self.files)? {
            Some(found) => self.follow(self.head.get_or_init(|| found)),
            None => Ok(()),
        }
    }

    #[cold]
    fn follow(&self, reader: &HeadReader) -> Result<()> {
        let mut position = self.position.lock();
        let (counter, head) = reader.read();
        if counter == self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        let current = self.state.load_full();
        let (state, end) = match self.replay(&current, *position, &head) {
            Some(followed) => followed,
            None => {
                let (state, end, _) = reload(&self.files, Some(&current), Some(head))?;
                (state, end)
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
        self.seen.store(counter, Ordering::Release);
        match lost {
            None => Ok(()),
            Some((lost, now)) => Err(Error::new(
                ErrorCode::WentBack,
                format!(
                    "version {lost} was lost in a crash of the cache's owner, whose version is now {now}; \
                     the next call reads what there is"
                ),
            )),
        }
    }

    /// The state after the records between `position` and the published end; `None` if they cannot be read one after
    /// another, and everything must be read anew.
    fn replay(&self, current: &State, mut position: Position, head: &Head) -> Option<(State, Position)> {
        if head.version.incarnation != current.version.incarnation {
            return None;
        }
        // Reading everything anew may have found commits that were not published yet.
        if current.version.sequence >= head.version.sequence && position.log >= head.log {
            return Some((current.clone(), position));
        }
        let mut state = current.clone();
        loop {
            let path = self.files.log_dir().join(log::file_name(position.log));
            let is_last = position.log == head.log;
            let len = if is_last {
                usize::try_from(head.log_end.checked_sub(position.end)?).ok()?
            } else {
                LOG_READ_LEN
            };
            let bytes = self.files.vfs.read_at(&path, position.end, len).ok()?;
            let mut offset = 0;
            while let Some(record) = Record::decode(bytes.get(offset..)?) {
                if record.kind == RecordKind::Commit {
                    if record.version.sequence != state.version.sequence + 1 {
                        return None;
                    }
                    let edits: Vec<Edit> = rmp_serde::from_slice(record.body).ok()?;
                    edits.iter().try_for_each(|edit| state.apply(edit, &self.files)).ok()?;
                }
                state.version = record.version;
                offset += record.encoded_len();
            }
            position.end += offset as u64;
            if is_last {
                let complete = position.end == head.log_end && state.version == head.version;
                state.open_segments().ok()?;
                return complete.then_some((state, position));
            }
            position = Position { log: position.log + 1, end: LOG_HEADER_LEN as u64 };
        }
    }
}

fn open_head(files: &Files) -> Result<Option<HeadReader>> {
    let path = files.head_path();
    files.vfs.read_head(&path).map_err(|error| Error::io("map", &path, error))
}

/// Reads manifest and log, and maps every segment now, because the owner may unlink files that later versions do not
/// need.
fn reload(
    files: &Files,
    known: Option<&State>,
    published: Option<Head>,
) -> Result<(State, Position, Option<String>)> {
    // What the owner wrote and did not publish yet may still fail.
    let until = published.map(|head| head.version.sequence);
    let mut attempt = 0;
    loop {
        attempt += 1;
        let recovered = recovery::recover(files, until).and_then(|mut recovered| {
            if let Some(known) = known {
                recovered.state.adopt(known);
            }
            match recovered.state.open_segments() {
                // A file that stays away is missed by the reads that need it.
                Err(error) if attempt < ATTEMPTS => Err(error),
                _ => Ok(recovered),
            }
        });
        match recovered {
            Err(error)
                if [ErrorCode::Io, ErrorCode::NotACache].contains(&error.code()) && attempt < ATTEMPTS => {}
            Err(error) => return Err(error),
            Ok(Recovered { state, tail, damage, .. }) => {
                let LogTail { number, end, .. } =
                    tail.unwrap_or(LogTail { number: 0, end: 0, closed: false });
                return Ok((state, Position { log: number, end }, damage));
            }
        }
    }
}
