//! What the system says of a file, and whether a later change would show.

use std::fs::{self, Metadata};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pillion::{Error, ErrorCode, Result};

use crate::worker::Watch;

/// Clocks of file systems advance by up to this much: two changes within it may leave the same times behind.
const TICK: Duration = Duration::from_millis(20);
/// The same, where times are whole seconds.
const COARSE_TICK: Duration = Duration::from_secs(3);
/// How often a file that changes all the time is looked at.
const LOOKS: usize = 4;

/// What the system says of one file. It is asked without opening the file: closing a file gives up all locks that the
/// process has on it, also those of other connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    len: u64,
    /// When bytes were last written, in nanoseconds since 1970.
    written: i128,
    /// When anything of the file last changed. Nobody can set it.
    altered: i128,
}

/// A database file and its write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamps {
    pub(crate) database: Stamp,
    pub(crate) log: Option<Stamp>,
    /// Whether there is a file `-shm`.
    pub(crate) has_index: bool,
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        let nanoseconds = |seconds: i64, rest: i64| i128::from(seconds) * 1_000_000_000 + i128::from(rest);
        Self {
            device: found.dev(),
            inode: found.ino(),
            len: found.len(),
            written: nanoseconds(found.mtime(), found.mtime_nsec()),
            altered: nanoseconds(found.ctime(), found.ctime_nsec()),
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Whether both are of one file, whatever is in it.
    pub(crate) fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }

    /// Whether nothing was written in between.
    pub(crate) fn has_same_contents(&self, other: &Self) -> bool {
        self.is_same_file(other) && (self.len, self.written) == (other.len, other.written)
    }

    /// Bytes that differ if anything does.
    fn encode(&self, into: &mut Vec<u8>) {
        for number in [self.device, self.inode, self.len] {
            into.extend(number.to_le_bytes());
        }
        into.extend(self.written.to_le_bytes());
        into.extend(self.altered.to_le_bytes());
    }

    /// How long ago it changed last, and how long ago that must be before a later change is sure to show.
    fn age(&self, now: i128) -> (i128, i128) {
        let latest = self.written.max(self.altered);
        let tick = if latest % 1_000_000_000 == 0 { COARSE_TICK } else { TICK };
        (now - latest, i128::try_from(tick.as_nanos()).unwrap_or(i128::MAX))
    }
}

impl Stamps {
    /// Looks at a file.
    ///
    /// # Errors
    /// [`ErrorCode::SourceNotFound`], [`ErrorCode::SourceRefused`], or [`ErrorCode::SourceInvalid`] for what is not a file.
    pub(crate) fn look(path: &Path) -> Result<Self> {
        let database = fs::metadata(path).map_err(|error| unreadable(path, error))?;
        if !database.is_file() {
            let what = if database.is_dir() { "a directory" } else { "no regular file" };
            let message = format!("`{}` is {what}: name the file of a SQLite database", path.display());
            return Err(Error::new(ErrorCode::SourceInvalid, message));
        }
        let log = match fs::metadata(beside(path, "-wal")) {
            // Whoever opens the log as root changes its owner to what it was, which alters it and writes nothing.
            Ok(log) => Some(Stamp { altered: 0, ..Stamp::of(&log) }),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => return Err(unreadable(path, error)),
        };
        let has_index = fs::symlink_metadata(beside(path, "-shm")).is_ok();
        Ok(Self { database: Stamp::of(&database), log, has_index })
    }

    /// Bytes that differ if anything was written.
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        self.database.encode(into);
        if let Some(log) = &self.log {
            log.encode(into);
        }
    }

    /// Looks at a file until a later change is sure to show, and says whether it is. Waits for some milliseconds if the file
    /// has just changed.
    ///
    /// # Errors
    /// Those of [`look`](Self::look) and of the call.
    pub(crate) fn settled(path: &Path, watch: &Watch) -> Result<(Self, bool)> {
        let mut looks = 0;
        loop {
            let seen = Self::look(path)?;
            looks += 1;
            let Some(wait) = seen.unsettled_for(now()) else { return Ok((seen, true)) };
            if looks == LOOKS || wait > TICK {
                return Ok((seen, false));
            }
            watch.check()?;
            std::thread::sleep(wait);
        }
    }

    /// How long a change may leave the same stamps behind; `None` if every change shows. A time that is still to come is of another
    /// clock, which nobody can wait for.
    fn unsettled_for(&self, now: i128) -> Option<Duration> {
        let stamps = [Some(self.database), self.log].into_iter().flatten();
        let waits = stamps.map(|stamp| {
            let (age, tick) = stamp.age(now);
            if age < 0 { i128::MAX } else { tick - age }
        });
        let wait = waits.max().filter(|wait| *wait > 0)?;
        Some(u64::try_from(wait).map_or(Duration::MAX, Duration::from_nanos))
    }
}

/// A file whose name is that of another with something behind it.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// The error of a file that the system does not show.
pub(crate) fn unreadable(path: &Path, error: std::io::Error) -> Error {
    let shown = path.display();
    let (code, message) = match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            (ErrorCode::SourceNotFound, format!("there is no file `{shown}`"))
        }
        ErrorKind::PermissionDenied => {
            (ErrorCode::SourceRefused, format!("this process may not read `{shown}`"))
        }
        _ => (ErrorCode::SourceUnavailable, format!("`{shown}` cannot be read")),
    };
    Error::new(code, message).with_source(error)
}

fn now() -> i128 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.ok().and_then(|since| i128::try_from(since.as_nanos()).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stamps(written: i128, log: Option<i128>) -> Stamps {
        let stamp = |written| Stamp { device: 1, inode: 2, len: 3, written, altered: written };
        Stamps { database: stamp(written), log: log.map(stamp), has_index: false }
    }

    #[test]
    fn a_change_shows_once_the_clock_has_moved_on() {
        const SECOND: i128 = 1_000_000_000;
        let now = 1_000 * SECOND + 500_000_001;
        let wait = |age: i128| stamps(now - age, None).unsettled_for(now);
        assert_eq!(wait(5_000_000), Some(Duration::from_millis(15)));
        assert_eq!(wait(20_000_000), None);
        assert_eq!(stamps(0, Some(now)).unsettled_for(now), Some(TICK), "the log counts too");
        assert_eq!(wait(-1), Some(Duration::MAX), "a time to come");
        assert_eq!(stamps(999 * SECOND, None).unsettled_for(now), Some(Duration::from_nanos(1_499_999_999)));
        assert_eq!(stamps(997 * SECOND, None).unsettled_for(now), None);
    }

    #[test]
    fn stamps_differ_where_anything_does() {
        let first = stamps(1, None).database;
        let bytes = |stamp: &Stamp| {
            let mut bytes = Vec::new();
            stamp.encode(&mut bytes);
            bytes
        };
        assert!(first.has_same_contents(&Stamp { altered: 9, ..first }));
        for other in [
            Stamp { device: 9, ..first },
            Stamp { inode: 9, ..first },
            Stamp { len: 9, ..first },
            Stamp { written: 9, ..first },
            Stamp { altered: 9, ..first },
        ] {
            assert_ne!(bytes(&first), bytes(&other));
        }
        assert!(!first.is_same_file(&Stamp { inode: 9, ..first }));
    }
}
