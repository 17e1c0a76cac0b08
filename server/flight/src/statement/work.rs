//! Work on threads that may block: it keeps the place of its call until it is done, and is given up when nobody waits for it.

use pillion::Canceller;
use tokio::task::JoinHandle;
use tonic::Status;

use crate::call::guard::Admitted;
use crate::status;

/// Work on a thread of the door. Who gives up and asks again gets no second thread meanwhile.
#[derive(Debug)]
pub(super) struct Work<T> {
    done: JoinHandle<T>,
    canceller: Canceller,
}

impl<T: Send + 'static> Work<T> {
    /// Begins it. It is told what shows whether somebody still waits for it.
    pub(super) fn begin(admitted: Admitted, work: impl FnOnce(&Canceller) -> T + Send + 'static) -> Self {
        let canceller = Canceller::default();
        let asked = canceller.clone();
        let done = tokio::task::spawn_blocking(move || {
            let done = asked.run(|| work(&asked));
            drop(admitted);
            done
        });
        Self { done, canceller }
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// Its thread panicked.
    pub(super) async fn end(mut self) -> Result<T, Status> {
        (&mut self.done).await.map_err(|_| status::defect("a thread of the door panicked"))
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.canceller.cancel();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;
    use std::time::Duration;

    use pillion::{Cache, ErrorCode};
    use pillion_door::{Admission, Full};

    use super::*;

    #[test]
    fn work_that_nobody_waits_for_keeps_its_place_and_is_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(dir.path().join("cache")).unwrap();
        cache.execute("CREATE TABLE t (id BIGINT, PRIMARY KEY (id))", &[]).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let calls = Admission::new("calls", 1, 1);
            let enter = |patience| calls.enter("it", patience);
            let admitted = Admitted::new(enter(Duration::ZERO).await.unwrap());
            let ((begun, is_begun), (go_on, may_go_on), (told, is_told)) =
                (mpsc::channel(), mpsc::channel::<()>(), mpsc::channel());
            let work = Work::begin(admitted, move |_| {
                begun.send(()).unwrap();
                may_go_on.recv().unwrap();
                told.send(cache.execute("INSERT INTO t VALUES (1)", &[])).unwrap();
            });
            is_begun.recv().unwrap();
            drop(work);
            let late = enter(Duration::ZERO).await.unwrap_err();
            assert!(matches!(late, Full::TooLate { .. }), "the place is taken");
            go_on.send(()).unwrap();
            assert_eq!(is_told.recv().unwrap().unwrap_err().code(), ErrorCode::Cancelled);
            drop(enter(Duration::from_secs(60)).await.unwrap());
            let admitted = Admitted::new(enter(Duration::ZERO).await.unwrap());
            assert_eq!(
                Work::begin(admitted, |canceller| canceller.is_cancelled()).end().await.ok(),
                Some(false)
            );
        });
    }
}
