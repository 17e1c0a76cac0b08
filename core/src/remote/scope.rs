//! Calls that are given up together: those of one future, which may be dropped.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;
use pillion_ipc::Client;

use super::connection::cancel;

thread_local! {
    /// The scope of the calls that this thread makes now.
    static CURRENT: RefCell<Option<CallScope>> = const { RefCell::new(None) };
}

/// Calls that are given up together; cloning shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct CallScope {
    state: Arc<Mutex<ScopeState>>,
}

#[derive(Debug, Default)]
struct ScopeState {
    cancelled: bool,
    /// The call under way: its connection and the number of its request.
    running: Option<(Client, u64)>,
}

impl CallScope {
    /// Makes the calls of `work` calls of this scope.
    pub(crate) fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        /// Also if `work` panics: the thread has other work after it.
        struct Restore(Option<CallScope>);

        impl Drop for Restore {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }

        let _restore = Restore(CURRENT.replace(Some(self.clone())));
        work()
    }

    /// The scope of the calls that this thread makes now.
    pub(super) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// A call begins; `false` if its scope was given up.
    pub(super) fn enter(&self, client: &Client, request: u64) -> bool {
        let mut state = self.state.lock();
        if !state.cancelled {
            state.running = Some((client.clone(), request));
        }
        !state.cancelled
    }

    /// Whether it was given up.
    pub(super) fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// A call has its answer.
    pub(super) fn leave(&self) {
        self.state.lock().running = None;
    }

    /// Gives up the call under way and all that would follow it.
    pub(crate) fn cancel(&self) {
        let mut state = self.state.lock();
        state.cancelled = true;
        if let Some((client, request)) = state.running.take() {
            cancel(&client, request);
        }
    }
}
