//! Calls that are given up together: those of one future, which may be dropped.

use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

thread_local! {
    /// The scope of the calls that this thread makes now.
    static CURRENT: RefCell<Option<CallScope>> = const { RefCell::new(None) };
}

/// Calls that are given up together; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallScope {
    state: Arc<Mutex<ScopeState>>,
}

#[derive(Default)]
struct ScopeState {
    cancelled: bool,
    /// Cancels the call under way.
    give_up: Option<Box<dyn FnOnce() + Send>>,
}

impl fmt::Debug for ScopeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScopeState").field("cancelled", &self.cancelled).finish_non_exhaustive()
    }
}

impl CallScope {
    /// Runs `work`; the calls that it makes belong to this scope.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Restores the thread's scope even if `work` panics: the thread has other work after it.
        struct Restore(Option<CallScope>);

        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }

        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// Whether the calls that this thread makes now were given up.
    pub(crate) fn is_current_cancelled() -> bool {
        CURRENT.with_borrow(|current| current.as_ref().is_some_and(|scope| scope.state.lock().cancelled))
    }

    /// The scope of the calls that this thread makes now.
    #[cfg(feature = "sidecar")]
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Begins a call that `give_up` can cancel. `false` if the scope was given up before.
    #[cfg(feature = "sidecar")]
    pub(crate) fn enter(&self, give_up: impl FnOnce() + Send + 'static) -> bool {
        let mut state = self.state.lock();
        if !state.cancelled {
            state.give_up = Some(Box::new(give_up));
        }
        !state.cancelled
    }

    /// Whether the scope was given up.
    #[cfg(feature = "sidecar")]
    pub(crate) fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// Ends a call: its answer has come.
    #[cfg(feature = "sidecar")]
    pub(crate) fn leave(&self) {
        self.state.lock().give_up = None;
    }

    /// Cancels the call under way and all that would follow it.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        state.cancelled = true;
        if let Some(give_up) = state.give_up.take() {
            give_up();
        }
    }
}
