//! Threads on which SQLite works, and what ends their work.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use parking_lot::Mutex;
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use rusqlite::InterruptHandle;

/// How often somebody who waits looks whether the call has ended.
const TICK: Duration = Duration::from_millis(50);

/// What a thread at work looks at: whether anybody still wants its result. Clones are of the same work.
#[derive(Clone)]
pub(crate) struct Watch {
    call: Call,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_unwanted: AtomicBool,
    interrupt: Mutex<Option<InterruptHandle>>,
}

impl Watch {
    fn new(call: &Call) -> Self {
        Self { call: call.clone(), shared: Arc::new(Shared::default()) }
    }

    /// Succeeds while somebody wants the result.
    ///
    /// # Errors
    /// Those of the call; [`ErrorCode::Cancelled`] if nobody takes rows any more.
    pub(crate) fn check(&self) -> Result<()> {
        self.call.check()?;
        if self.shared.is_unwanted.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorCode::Cancelled, "nobody takes the rows any more"));
        }
        Ok(())
    }

    /// Says how the work of a connection is interrupted.
    pub(crate) fn interrupts(&self, handle: InterruptHandle) {
        *self.shared.interrupt.lock() = Some(handle);
    }

    /// Ends the work soon. It may go on for a while where the system makes it wait.
    fn leave(&self) {
        self.shared.is_unwanted.store(true, Ordering::Relaxed);
        if let Some(handle) = self.shared.interrupt.lock().take() {
            handle.interrupt();
        }
    }
}

/// What a thread at work sends, one after another. Dropping it ends the work.
pub(crate) struct Work<T> {
    results: Receiver<Result<T>>,
    watch: Watch,
}

/// Starts work on a thread of its own, which stays at most `ahead` results ahead of whoever takes them.
///
/// # Errors
/// Those of the call, and [`ErrorCode::Io`] if the system gives no thread.
pub(crate) fn start<T: Send + 'static>(
    call: &Call,
    ahead: usize,
    work: impl FnOnce(&Watch, &SyncSender<Result<T>>) -> Result<()> + Send + 'static,
) -> Result<Work<T>> {
    call.check()?;
    let (sender, results) = sync_channel(ahead);
    let watch = Watch::new(call);
    let of_thread = watch.clone();
    let run = move || {
        if let Err(error) = work(&of_thread, &sender) {
            // Nobody may want to know it any more.
            let _ = sender.send(Err(error));
        }
    };
    std::thread::Builder::new()
        .name("pillion-sqlite".to_owned())
        .spawn(run)
        .map_err(|error| Error::new(ErrorCode::Io, "cannot start a thread for SQLite").with_source(error))?;
    Ok(Work { results, watch })
}

/// Waits for work of one result.
///
/// # Errors
/// Those of the call and of the work.
pub(crate) fn run<T: Send + 'static>(
    call: &Call,
    work: impl FnOnce(&Watch) -> Result<T> + Send + 'static,
) -> Result<T> {
    let work = start(call, 1, move |watch, sender| {
        let result = work(watch)?;
        let _ = sender.send(Ok(result)); // nobody may want it any more
        Ok(())
    })?;
    work.next()
}

impl<T> Work<T> {
    /// The next result. Waits for it until the call ends, whatever the thread is doing.
    ///
    /// # Errors
    /// Those of the call and of the work.
    pub(crate) fn next(&self) -> Result<T> {
        loop {
            self.watch.call.check()?;
            let left = self.watch.call.remaining().unwrap_or(TICK);
            match self.results.recv_timeout(left.min(TICK)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    self.watch.call.check()?;
                    return Err(Error::new(
                        ErrorCode::Internal,
                        "the thread of SQLite ended without a result",
                    ));
                }
            }
        }
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.watch.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_call() {
        let call = Call::new();
        let canceller = call.clone();
        let (stuck, end) = sync_channel::<()>(0);
        let work = move |_: &Watch| {
            canceller.cancel();
            // Until the test is over: as a system call that does not return.
            let _ = end.recv();
            Ok(())
        };
        assert_eq!(run(&call, work).unwrap_err().code(), ErrorCode::Cancelled);
        drop(stuck);
        let late = run::<()>(&Call::within(Duration::from_millis(20)), |watch| {
            loop {
                watch.check()?;
            }
        });
        assert_eq!(late.unwrap_err().code(), ErrorCode::Timeout);
        assert_eq!(run(&Call::new(), |_| Ok(7)).unwrap(), 7);
        let failed = run::<()>(&Call::new(), |_| Err(Error::new(ErrorCode::SourceInvalid, "no")));
        assert_eq!(failed.unwrap_err().code(), ErrorCode::SourceInvalid);
    }

    #[test]
    fn work_ends_when_nobody_takes_its_results() {
        let (ended, end) = sync_channel(1);
        let work = start(&Call::new(), 1, move |watch, sender| {
            let mut number = 0;
            while watch.check().is_ok() && sender.send(Ok(number)).is_ok() {
                number += 1;
            }
            ended.send(()).unwrap();
            Ok(())
        });
        let work = work.unwrap();
        assert_eq!((work.next().unwrap(), work.next().unwrap()), (0, 1));
        drop(work);
        end.recv().unwrap();
    }
}
