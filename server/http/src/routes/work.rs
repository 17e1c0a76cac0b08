//! Writes on threads of their own, which go on when their clients are gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::StatusCode;
use pillion::Version;
use tokio::task::JoinHandle;

use crate::guard::Admitted;
use crate::problem::Problem;

/// A write on a thread that may block. It keeps the place of its request until it is done, whether or not anybody still waits for
/// it: who gives up and asks again gets no second thread meanwhile.
#[derive(Debug)]
pub(super) struct Work {
    done: JoinHandle<Result<Version, Problem>>,
    wanted: Wanted,
}

/// Whether somebody waits for a write.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted {
    given_up: Arc<AtomicBool>,
}

impl Work {
    /// Begins it.
    pub(super) fn begin(
        admitted: Admitted,
        work: impl FnOnce(&Wanted) -> Result<Version, Problem> + Send + 'static,
    ) -> Self {
        let wanted = Wanted::default();
        let asked = wanted.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = work(&asked);
            drop(admitted);
            done
        });
        Self { done, wanted }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Those of the work.
    pub(super) async fn end(mut self) -> Result<Version, Problem> {
        (&mut self.done).await.map_err(|_| defect())?
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        self.wanted.given_up.store(true, Ordering::Release);
    }
}

impl Wanted {
    /// Asked before a step that cannot be undone.
    ///
    /// # Errors
    /// Nobody waits any more, so nobody reads this.
    pub(super) fn check(&self) -> Result<(), Problem> {
        match self.given_up.load(Ordering::Acquire) {
            false => Ok(()),
            true => Err(Problem::bad_request("BrokenBody", "the client went away")),
        }
    }
}

/// A thread of the door panicked.
fn defect() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "Internal", "a thread of the door panicked")
        .hint("this is a defect of pillion: please report it with the log of the sidecar")
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use pillion_door::{Admission, Full};

    use super::*;

    #[test]
    fn a_write_that_nobody_waits_for_keeps_its_place_and_stops_before_it_writes() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let uploads = Admission::new("uploads", 1, 1);
            let enter = |patience| uploads.enter("it", patience);
            let place = enter(Duration::ZERO).await.unwrap();
            let ((begun, is_begun), (go_on, may_go_on), (told, is_told)) =
                (mpsc::channel(), mpsc::channel::<()>(), mpsc::channel());
            let work = Work::begin(Admitted::new(place), move |wanted| {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                told.send(wanted.check().is_ok()).unwrap();
                Ok(Version { incarnation: 1, sequence: 1 })
            });
            is_begun.recv().unwrap();
            drop(work);
            let late = enter(Duration::ZERO).await.unwrap_err();
            assert!(matches!(late, Full::TooLate { .. }), "the place is taken");
            go_on.send(()).unwrap();
            assert!(!is_told.recv().unwrap(), "it notices that nobody waits");
            drop(enter(Duration::from_secs(60)).await.unwrap());
        });
    }

    #[test]
    fn a_write_that_somebody_waits_for_ends_with_its_outcome() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let uploads = Admission::new("uploads", 1, 0);
            let place = uploads.enter("it", Duration::ZERO).await.unwrap();
            let version = Version { incarnation: 1, sequence: 7 };
            let work = Work::begin(Admitted::new(place), move |wanted| wanted.check().map(|()| version));
            assert_eq!(work.end().await.unwrap(), version);
            drop(uploads.enter("it", Duration::ZERO).await.unwrap());
        });
    }
}
