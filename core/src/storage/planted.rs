//! Bugs that tests plant in the code of storage, to see that other tests notice them. Outside tests there are none.

/// What storage ignores because of the bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Whether the body of a record fits its checksum.
    BodyChecksums,
    /// Whether a row of a tail was deleted.
    DeletedRows,
    /// What was deleted while rows were moved, when the move is replayed from the log.
    DeletedMeanwhile,
    /// Whether a row existed at the sequence that is read.
    Sequences,
    /// How much the catalog may hold.
    CatalogLimits,
    /// It ignores nothing: a commit panics after its record is appended.
    PanicMidCommit,
}

/// Whether a bug is planted in this thread.
#[cfg(not(test))]
#[inline]
pub(crate) const fn has(_bug: Bug) -> bool {
    false
}

/// Panics if a bug is planted in this thread.
#[cfg(not(test))]
#[inline]
pub(crate) const fn panic_by(_bug: Bug) {}

#[cfg(test)]
pub(crate) use planting::{has, panic_by, plant};

#[cfg(test)]
mod planting {
    use std::cell::Cell;

    use super::Bug;

    // Per thread, because other tests run in parallel.
    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// Keeps a bug planted in this thread until it is dropped.
    #[must_use]
    pub(crate) struct Plant;

    pub(crate) fn plant(bug: Bug) -> Plant {
        PLANTED.set(Some(bug));
        Plant
    }

    impl Drop for Plant {
        fn drop(&mut self) {
            PLANTED.set(None);
        }
    }

    pub(crate) fn panic_by(bug: Bug) {
        assert!(!has(bug), "planted: {bug:?}");
    }

    pub(crate) fn has(bug: Bug) -> bool {
        PLANTED.get() == Some(bug)
    }
}
