//! What single reads demand beyond what their tables allow.

use std::cell::Cell;
use std::time::Duration;

thread_local! {
    /// Whether the reads of this thread have bounds: a look at this is all that others pay.
    static HAS_BOUNDS: Cell<bool> = const { Cell::new(false) };
    static CURRENT: Cell<ReadBounds> = const { Cell::new(ReadBounds::NONE) };
}

/// Bounds of a single read, such as [`Cache::sql_within`](crate::Cache::sql_within).
///
/// ```
/// use std::time::Duration;
///
/// use pillion::ReadBounds;
///
/// let fresh = ReadBounds::new().max_staleness(Duration::from_secs(5));
/// let exact = ReadBounds::new().authoritative();
/// # drop((fresh, exact));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct ReadBounds {
    pub(crate) authoritative: bool,
    pub(crate) max_staleness: Option<Duration>,
    pub(crate) partial: bool,
}

impl ReadBounds {
    const NONE: Self = Self { authoritative: false, max_staleness: None, partial: false };

    /// No bounds: the rules of the tables alone decide.
    pub fn new() -> Self {
        Self::NONE
    }

    /// Every table that a source feeds is read from its source, whatever is held. Tables without a source are read here. The read fails
    /// as one that [delegates](crate::OnMiss::Delegate) does.
    pub fn authoritative(mut self) -> Self {
        self.authoritative = true;
        self
    }

    /// Rows may be at most so old, by the [freshness](crate::TableInfo::freshness) of their table. Older ones are read from the source of
    /// a table that [delegates](crate::OnMiss::Delegate); of other tables they are refused with [`Stale`](crate::ErrorCode::Stale). A
    /// table with a shorter bound of its own keeps it. What a source sends is held to the same bound, by when it was asked: a source
    /// that is itself behind is refused with [`Stale`](crate::ErrorCode::Stale).
    pub fn max_staleness(mut self, bound: Duration) -> Self {
        self.max_staleness = Some(bound);
        self
    }

    /// A query may be answered by the held rows where others are missing: those of a table that refuses such reads, or whose source fails
    /// before it has sent rows. The [certificate](crate::Batches::certificate) says that the answer is partial, and why. Has no
    /// effect on `get`, `get_many` and `scan`, whose answers could not say it.
    pub fn or_partial(mut self) -> Self {
        self.partial = true;
        self
    }

    /// Reads within these bounds.
    pub(crate) fn run<T>(self, read: impl FnOnce() -> T) -> T {
        /// Restores the thread's bounds even if the read panics: the thread has other work after it.
        struct Restore(ReadBounds);

        impl Drop for Restore {
            fn drop(&mut self) {
                HAS_BOUNDS.set(self.0 != ReadBounds::NONE);
                CURRENT.set(self.0);
            }
        }

        let _restore = Restore(CURRENT.replace(self));
        HAS_BOUNDS.set(self != Self::NONE);
        read()
    }

    /// The bounds of what this thread reads now; `None` without any.
    #[inline]
    pub(crate) fn current() -> Option<Self> {
        HAS_BOUNDS.get().then(|| CURRENT.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_for_one_read() {
        assert_eq!(ReadBounds::current(), None);
        let bounds = ReadBounds::new().authoritative();
        bounds.run(|| {
            assert_eq!(ReadBounds::current(), Some(bounds));
            ReadBounds::new().run(|| assert_eq!(ReadBounds::current(), None));
            assert_eq!(ReadBounds::current(), Some(bounds));
        });
        assert_eq!(ReadBounds::current(), None);
    }
}
