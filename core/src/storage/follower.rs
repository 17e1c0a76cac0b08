//! Follows the commits of an owner in another process, through its files alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

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

/// More than a log file has; reading stops at its end.
const LOG_READ_LEN: usize = 64 << 20;

/// The newest state that a reader has followed the owner to.
#[derive(Debug)]
pub(crate) struct Follower {
    files: Files,
    /// `None` if the directory never had an owner that published one.
    head: Option<HeadReader>,
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
        let path = files.head_path();
        let head = files.vfs.read_head(&path).map_err(|error| Error::io("map", &path, error))?;
        // Read before the log, so that what is published meanwhile is followed later and not missed.
        let seen = head.as_ref().map(HeadReader::counter).unwrap_or_default();
        let (state, position, damage) = reload(&files, None)?;
        let follower = Self {
            files,
            head,
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
        if let Some(head) = &self.head
            && head.counter() != self.seen.load(Ordering::Acquire)
        {
            self.follow(head)?;
        }
        Ok(self.state.load())
    }

    /// The state that was followed to last.
    pub(crate) fn last(&self) -> Guard<Arc<State>> {
        self.state.load()
    }

    /// When the owner was last seen alive, and whether it closed the cache since.
    pub(crate) fn owner_seen(&self) -> Option<(SystemTime, bool)> {
        let head = self.head.as_ref()?;
        Some((head.heartbeat(), head.read().1.closed))
    }

    #[cold]
    fn follow(&self, reader: &HeadReader) -> Result<()> {
        let mut position = self.position.lock();
        let (counter, head) = reader.read();
        if counter == self.seen.load(Ordering::Acquire) {
            return Ok(());
        }
        let current = self.state.load_full();
        let went_back = head.version.incarnation != current.version.incarnation
            && head.began_at < current.version.sequence;
        let followed = match self.replay(&current, *position, &head) {
            Some(followed) => followed,
            None => {
                let (state, position, _) = reload(&self.files, Some(&current))?;
                (state, position)
            }
        };
        let lost = current.version;
        *position = followed.1;
        self.state.store(Arc::new(followed.0));
        self.seen.store(counter, Ordering::Release);
        if went_back {
            return Err(Error::new(
                ErrorCode::WentBack,
                format!(
                    "version {lost} was lost in a crash of the cache's owner, which went on from {}; \
                     the next call reads what there is now",
                    head.began_at
                ),
            ));
        }
        Ok(())
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

/// Reads manifest and log, and maps every segment now, because the owner may unlink files that later versions do not
/// need.
fn reload(files: &Files, known: Option<&State>) -> Result<(State, Position, Option<String>)> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        let recovered = recovery::recover(files).and_then(|mut recovered| {
            if let Some(known) = known {
                recovered.state.adopt(known);
            }
            recovered.state.open_segments()?;
            Ok(recovered)
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
