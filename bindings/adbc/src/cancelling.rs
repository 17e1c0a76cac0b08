//! Ends work of a statement, or of all statements of a connection, from another thread.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use adbc_core::CancelHandle;
use adbc_core::error::{Result, Status};
use futures::future::{AbortHandle, Abortable};
use pillion::{Error, ErrorCode};

use crate::errors::refusal;

/// Ends one piece of work, and returns at once.
type End = Box<dyn Fn() + Send>;
/// What ends the work that is under way.
type Now = Mutex<Option<End>>;

/// What a statement does now, so that another thread can end it. Clones are the same.
#[derive(Clone, Default)]
pub(crate) struct Cancelling {
    now: Arc<Now>,
}

impl Cancelling {
    fn now(&self) -> MutexGuard<'_, Option<End>> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says what ends the work that begins, until [`rest`](Self::rest).
    pub(crate) fn begin(&self, end: impl Fn() + Send + 'static) {
        *self.now() = Some(Box::new(end));
    }

    /// Says that nothing is under way.
    pub(crate) fn rest(&self) {
        *self.now() = None;
    }

    /// Waits for a call of the cache, which another thread may give up.
    ///
    /// # Errors
    /// Those of the call; [`ErrorCode::Cancelled`].
    pub(crate) fn wait<T>(&self, call: impl Future<Output = pillion::Result<T>>) -> pillion::Result<T> {
        self.wait_or(call, || {
            Error::new(ErrorCode::Cancelled, "the statement was cancelled before its answer came")
        })
    }

    /// Waits for a change, which another thread may give up. It may have committed by then.
    ///
    /// # Errors
    /// Those of the change; [`ErrorCode::OutcomeUnknown`] if it was given up.
    pub(crate) fn wait_for_change<T>(
        &self,
        change: impl Future<Output = pillion::Result<T>>,
    ) -> pillion::Result<T> {
        self.wait_or(change, || {
            let message = "the statement was cancelled, and may have committed; read before you repeat it";
            Error::new(ErrorCode::OutcomeUnknown, message)
        })
    }

    fn wait_or<T>(
        &self,
        call: impl Future<Output = pillion::Result<T>>,
        cancelled: impl FnOnce() -> Error,
    ) -> pillion::Result<T> {
        let (abort, registration) = AbortHandle::new_pair();
        self.begin(move || abort.abort());
        let done = pollster::block_on(Abortable::new(call, registration));
        self.rest();
        done.unwrap_or_else(|_| Err(cancelled()))
    }
}

impl CancelHandle for Cancelling {
    fn try_cancel(&self) -> Result<()> {
        match &*self.now() {
            Some(end) => {
                end();
                Ok(())
            }
            None => Err(refusal(Status::InvalidState, "nothing is under way that could be cancelled")),
        }
    }
}

/// The statements of a connection.
#[derive(Clone, Default)]
pub(crate) struct Statements {
    all: Arc<Mutex<Vec<Weak<Now>>>>,
}

impl Statements {
    /// What a new statement does.
    pub(crate) fn add(&self) -> Cancelling {
        let added = Cancelling::default();
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|statement| statement.strong_count() > 0);
        all.push(Arc::downgrade(&added.now));
        added
    }
}

impl CancelHandle for Statements {
    fn try_cancel(&self) -> Result<()> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = all.iter().filter_map(Weak::upgrade).map(|now| Cancelling { now }.try_cancel());
        // Every one is told to end, also after one that did nothing.
        if ended.filter(Result::is_ok).count() == 0 {
            return Err(refusal(Status::InvalidState, "nothing is under way that could be cancelled"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Work that another thread gives up, and that would never end.
    async fn given_up(cancelling: Cancelling) -> pillion::Result<()> {
        cancelling.try_cancel().unwrap();
        std::future::pending().await
    }

    #[test]
    fn only_a_change_that_is_cancelled_has_an_unknown_outcome() {
        let cancelling = Cancelling::default();
        let error = cancelling.wait(given_up(cancelling.clone())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Cancelled);
        let error = cancelling.wait_for_change(given_up(cancelling.clone())).unwrap_err();
        assert_eq!(error.code(), ErrorCode::OutcomeUnknown);
        assert_eq!(cancelling.wait_for_change(async { Ok(7) }).unwrap(), 7);
        assert!(cancelling.try_cancel().is_err(), "nothing is under way");
    }
}
