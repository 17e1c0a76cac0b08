//! Whether the work of a thread is still wanted

use std::cell::RefCell;

type IsGivenUp = Box<dyn Fn() -> bool>;

thread_local! {
    /// Asks whoever wanted the work that this thread does now.
    static CURRENT: RefCell<Option<IsGivenUp>> = const { RefCell::new(None) };
}

/// Does work that somebody may give up meanwhile, as `is_given_up` says.
pub(crate) fn while_wanted<T>(is_given_up: IsGivenUp, work: impl FnOnce() -> T) -> T {
    /// Asks whoever was asked before, also if the work panics: the thread does other work afterwards.
    struct Restore(Option<IsGivenUp>);

    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }

    let _restore = Restore(CURRENT.replace(Some(is_given_up)));
    work()
}

/// Whether the work that this thread does now was given up.
pub(crate) fn is_given_up() -> bool {
    CURRENT.with_borrow(|current| current.as_ref().is_some_and(|is_given_up| is_given_up()))
}
