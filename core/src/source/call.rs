//! The time that a call may take, and its end before that.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::types::error::{Error, ErrorCode, Result};

/// What a caller allows a source: until when it waits, and whether it still does. Clones are the same call.
#[derive(Clone, Debug, Default)]
pub struct Call {
    shared: Arc<Mutex<CallState>>,
}

#[derive(Default)]
struct CallState {
    deadline: Option<Instant>,
    /// Why the call was given up.
    ended: Option<(ErrorCode, String)>,
    hooks: Vec<(u64, Box<dyn FnOnce() + Send>)>,
    next_hook: u64,
}

impl fmt::Debug for CallState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallState")
            .field("deadline", &self.deadline)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl Call {
    /// A call that may take as long as it wants until it is cancelled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A call that may take `limit` from now on.
    #[must_use]
    pub fn within(limit: Duration) -> Self {
        let call = Self::new();
        call.shared.lock().deadline = Instant::now().checked_add(limit);
        call
    }

    /// Succeeds while somebody waits for the answer.
    ///
    /// # Errors
    /// [`Cancelled`](ErrorCode::Cancelled) or [`Timeout`](ErrorCode::Timeout): return it.
    pub fn check(&self) -> Result<()> {
        let state = self.shared.lock();
        if let Some((code, message)) = &state.ended {
            return Err(Error::new(*code, message.clone()));
        }
        match state.deadline {
            Some(deadline) if deadline <= Instant::now() => {
                Err(Error::new(ErrorCode::Timeout, "the source did not answer in time"))
            }
            _ => Ok(()),
        }
    }

    /// The time left, zero when it is over; `None` without a limit.
    #[must_use]
    pub fn remaining(&self) -> Option<Duration> {
        let state = self.shared.lock();
        if state.ended.is_some() {
            return Some(Duration::ZERO);
        }
        state.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }

    /// Gives the call up: [`check`](Self::check) fails from now on, and the functions of
    /// [`on_cancel`](Self::on_cancel) run on this thread. Later ends change nothing.
    pub fn cancel(&self) {
        self.end(ErrorCode::Cancelled, "the call was cancelled");
    }

    /// Gives the call up because it takes too long; see [`cancel`](Self::cancel).
    pub fn time_out(&self, message: impl Into<String>) {
        self.end(ErrorCode::Timeout, message);
    }

    fn end(&self, code: ErrorCode, message: impl Into<String>) {
        let hooks = {
            let mut state = self.shared.lock();
            if state.ended.is_some() {
                return;
            }
            state.ended = Some((code, message.into()));
            std::mem::take(&mut state.hooks)
        };
        for (_, hook) in hooks {
            hook();
        }
    }

    /// Runs `hook` when the call is given up, at once if that happened before: to interrupt a client library that waits. It runs
    /// at most once, and not after a deadline that merely passed. It may still be running when the guard is dropped.
    pub fn on_cancel(&self, hook: impl FnOnce() + Send + 'static) -> OnCancel {
        let mut state = self.shared.lock();
        let number = state.next_hook;
        state.next_hook += 1;
        if state.ended.is_some() {
            drop(state);
            hook();
        } else {
            state.hooks.push((number, Box::new(hook)));
        }
        OnCancel { call: self.clone(), number }
    }
}

/// Takes a hook of [`Call::on_cancel`] back when dropped.
#[derive(Debug)]
#[must_use = "dropping it takes the hook back"]
pub struct OnCancel {
    call: Call,
    number: u64,
}

impl Drop for OnCancel {
    fn drop(&mut self) {
        self.call.shared.lock().hooks.retain(|(number, _)| *number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_call_ends_once_and_says_why() {
        let runs = Arc::new(AtomicU32::new(0));
        let count = |runs: &Arc<AtomicU32>| {
            let runs = runs.clone();
            move || {
                runs.fetch_add(1, Ordering::Relaxed);
            }
        };
        let call = Call::new();
        assert!(call.check().is_ok() && call.remaining().is_none());
        let kept = call.on_cancel(count(&runs));
        drop(call.on_cancel(count(&runs)));
        call.time_out("no row for 30 s");
        call.cancel();
        let error = call.check().unwrap_err();
        assert_eq!((error.code(), error.message()), (ErrorCode::Timeout, "no row for 30 s"));
        assert_eq!(call.remaining(), Some(Duration::ZERO));
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        let late = call.on_cancel(count(&runs));
        assert_eq!(runs.load(Ordering::Relaxed), 2);
        drop((kept, late));
    }

    #[test]
    fn a_deadline_passes() {
        let call = Call::within(Duration::ZERO);
        assert_eq!(call.check().unwrap_err().code(), ErrorCode::Timeout);
        assert!(Call::within(Duration::MAX).check().is_ok());
    }
}
