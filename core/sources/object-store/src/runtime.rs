//! The threads that talk to a store, and how a blocking call waits for them.

use std::any::Any;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, mpsc};

use futures::FutureExt;
use pillion::source::Call;
use pillion::{Error, ErrorCode, Result};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

/// Threads of one source. They wait for answers most of the time.
const THREADS: usize = 2;

/// Runs futures on threads of its own, so that a call can be made from any thread. Clones share the threads.
#[derive(Clone)]
pub(crate) struct Driver {
    runtime: Arc<Owned>,
}

/// Ends without waiting for what still runs.
struct Owned(Option<Runtime>);

/// A future that runs already. Dropping it ends it.
pub(crate) struct Ahead<T>(JoinHandle<Result<T>>);

impl Driver {
    /// # Errors
    /// [`ErrorCode::Internal`] if the system gives no threads.
    pub(crate) fn new() -> Result<Self> {
        let built = Builder::new_multi_thread()
            .worker_threads(THREADS)
            .thread_name("pillion-files")
            .enable_all()
            .build();
        let runtime = built.map_err(|error| {
            Error::new(ErrorCode::Internal, "cannot start threads for object storage").with_source(error)
        })?;
        Ok(Self { runtime: Arc::new(Owned(Some(runtime))) })
    }

    /// Waits for a future until the call ends.
    ///
    /// # Errors
    /// Those of the future, and of the call.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        call: &Call,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        call.check()?;
        let (sender, receiver) = mpsc::channel();
        let on_end = sender.clone();
        let _hook = call.on_cancel(move || drop(on_end.send(None)));
        let task = self.spawn(async move {
            let answer = AssertUnwindSafe(future).catch_unwind().await;
            drop(sender.send(Some(answer.unwrap_or_else(|cause| Err(panicked(&*cause))))));
            Ok(())
        })?;
        let answer = match call.remaining() {
            Some(limit) => receiver.recv_timeout(limit).ok().flatten(),
            None => receiver.recv().ok().flatten(),
        };
        drop(task);
        if let Some(answer) = answer {
            return answer;
        }
        call.check()?;
        Err(Error::new(ErrorCode::Timeout, "the store did not answer in time"))
    }

    /// Starts a future.
    ///
    /// # Errors
    /// [`ErrorCode::Closed`] at the end of the process.
    pub(crate) fn spawn<T: Send + 'static>(
        &self,
        future: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<Ahead<T>> {
        match &self.runtime.0 {
            Some(runtime) => Ok(Ahead(runtime.spawn(future))),
            None => Err(Error::new(ErrorCode::Closed, "the source was closed")),
        }
    }
}

impl<T> Ahead<T> {
    /// # Errors
    /// Those of the future.
    pub(crate) async fn get(mut self) -> Result<T> {
        match (&mut self.0).await {
            Ok(answer) => answer,
            Err(error) => {
                Err(Error::new(ErrorCode::Internal, "a read from object storage ended").with_source(error))
            }
        }
    }
}

impl<T> Drop for Ahead<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Driver")
    }
}

fn panicked(cause: &(dyn Any + Send)) -> Error {
    let text =
        cause.downcast_ref::<String>().map(String::as_str).or_else(|| cause.downcast_ref::<&str>().copied());
    Error::new(ErrorCode::Internal, format!("a read from object storage panicked: {}", text.unwrap_or("")))
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn a_wait_ends_with_its_call() {
        let driver = Driver::new().unwrap();
        let call = Call::new();
        let canceller = call.clone();
        let thread = std::thread::Builder::new().spawn(move || canceller.cancel()).unwrap();
        let error = driver.run(&call, std::future::pending::<Result<()>>()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Cancelled);
        thread.join().unwrap();
        let begun = Instant::now();
        let call = Call::within(Duration::from_millis(50));
        let error = driver.run(&call, std::future::pending::<Result<()>>()).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Timeout);
        assert!(begun.elapsed() >= Duration::from_millis(50));
        let error = driver.run::<()>(&Call::new(), async { panic!("no") }).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Internal);
        assert_eq!(driver.run(&Call::new(), async { Ok(7) }).unwrap(), 7);
    }
}
