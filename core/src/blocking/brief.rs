//! Work that must not wait for another machine, because others wait for its thread.

use std::cell::Cell;

/// How this thread works now.
#[derive(Clone, Copy, PartialEq)]
enum Manner {
    Patient,
    Brief,
    /// It was to be brief, and would have had to wait.
    GaveUp,
}

thread_local! {
    static MANNER: Cell<Manner> = const { Cell::new(Manner::Patient) };
}

/// Does work that must not wait. `None` if it would have had to: it is to be done again, where it may wait.
pub(crate) fn briefly<T>(work: impl FnOnce() -> T) -> Option<T> {
    /// Restores the thread's manner even if `work` panics: the thread has other work after it.
    struct Restore(Manner);

    impl Drop for Restore {
        fn drop(&mut self) {
            MANNER.set(self.0);
        }
    }

    let _restore = Restore(MANNER.replace(Manner::Brief));
    let done = work();
    (MANNER.get() == Manner::Brief).then_some(done)
}

/// Whether the work of this thread must not wait.
#[cfg(feature = "sidecar")]
pub(crate) fn is_brief() -> bool {
    MANNER.get() != Manner::Patient
}

/// Whether the work of this thread may wait. If it may not, nobody looks at its outcome any more.
pub(crate) fn may_wait() -> bool {
    if MANNER.get() == Manner::Patient {
        return true;
    }
    MANNER.set(Manner::GaveUp);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_would_wait_is_given_up() {
        assert!(may_wait());
        assert_eq!(briefly(|| 1), Some(1));
        assert_eq!(briefly(|| if may_wait() { 1 } else { 2 }), None);
        assert!(briefly(|| briefly(may_wait)).is_some_and(|inner| inner.is_none()));
        assert!(may_wait());
    }
}
