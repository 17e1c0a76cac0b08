//! Which state of the cache an answer saw, and how fresh that state is.

use std::fmt;
use std::time::{Duration, SystemTime};

/// A committed state of the whole cache.
///
/// Versions are ordered only within one incarnation. The incarnation is a random number that changes
/// whenever sequence numbers could have been lost (the last owner did not close cleanly, or the directory was
/// made anew), so that one version never names two different states.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Version {
    /// Names an unbroken line of commits.
    pub incarnation: u64,
    /// Number of the commit within it; grows by one with every commit.
    pub sequence: u64,
}

impl Version {
    /// Whether this state includes everything of `other`: `None` if they are of different incarnations.
    pub fn includes(self, other: Self) -> Option<bool> {
        (self.incarnation == other.incarnation).then_some(self.sequence >= other.sequence)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}.{}", self.incarnation, self.sequence)
    }
}

/// Which tier answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Tier {
    /// The cache itself, at one version.
    Local,
    /// The source of the table: one scan, fetched at once, so that the rows are as of [one moment](crate::Batches::freshness), and not of a
    /// version of the cache. The rows of [`get_many`](crate::Table::get_many) are each from their source, and of several moments if there
    /// are more than 500.
    Delegated,
    /// Several: rows of the cache with rows of sources, or rows that were fetched from sources one after the other. They are as of
    /// different moments; the [certificate](crate::Batches::certificate) names that of each table.
    Mixed,
}

impl Tier {
    /// That of an answer of rows of the cache, and of what so many fetches brought.
    #[cfg(feature = "sql")]
    pub(crate) fn of(has_local: bool, fetches: usize) -> Self {
        match (has_local, fetches) {
            (_, 0) => Self::Local,
            (false, 1) => Self::Delegated,
            _ => Self::Mixed,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "local",
            Self::Delegated => "delegated",
            Self::Mixed => "mixed",
        })
    }
}

/// How fresh an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// The answer holds everything that the source held at this moment: when the fetch of its rows started,
    /// or when they were handed to [`append`](crate::Table::append) or [`replace`](crate::Table::replace).
    pub as_of: SystemTime,
}

impl Freshness {
    /// Time since `as_of` by this machine's clock; zero if that clock went back.
    pub fn age(self) -> Duration {
        SystemTime::now().duration_since(self.as_of).unwrap_or_default()
    }

    /// The older of two, for an answer made from both.
    #[must_use]
    pub fn older(self, other: Self) -> Self {
        if other.as_of < self.as_of { other } else { self }
    }
}
