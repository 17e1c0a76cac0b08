//! Bugs that tests plant in the code of storage, to see that other tests notice them. Outside tests there are none.

/// Something that is not looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Whether the body of a record fits its checksum.
    BodyChecksums,
    /// Whether a row of a tail was deleted.
    DeletedRows,
    /// What was deleted while rows were moved, where the move is read from the log.
    DeletedMeanwhile,
    /// Whether a row was there at the sequence that is read.
    Sequences,
    /// How much the catalog may hold.
    CatalogLimits,
    /// Nothing of it: a commit panics behind its record.
    PanicMidCommit,
}

/// Whether this thread is to have a bug.
#[cfg(not(test))]
#[inline]
pub(crate) const fn has(_bug: Bug) -> bool {
    false
}

/// Panics if this thread is to have a bug.
#[cfg(not(test))]
#[inline]
pub(crate) const fn panic_by(_bug: Bug) {}

#[cfg(test)]
pub(crate) use planting::{has, panic_by, plant};

#[cfg(test)]
mod planting {
    use std::cell::Cell;

    use super::Bug;

    // Of one thread, because other tests run beside it.
    thread_local! {
        static PLANTED: Cell<Option<Bug>> = const { Cell::new(None) };
    }

    /// A bug of this thread, until it is dropped.
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
