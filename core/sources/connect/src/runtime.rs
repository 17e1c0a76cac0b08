//! The thread that drives the connections of a source, and how a blocking call waits for it.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc;

use futures::future::{Either, select};
use pillion::source::{Call, OnCancel};
use pillion::{Error, ErrorCode, Result};
use tokio::sync::Notify;

/// A runtime of one thread, shared by the clones of a source and by the fetches that are under way. It ends with its last owner,
/// and waits for nothing then.
#[derive(Debug)]
pub struct Runtime {
    inner: Option<tokio::runtime::Runtime>,
    server: &'static str,
}

impl Runtime {
    /// Starts the thread of connections to a `server`, such as `MySQL`; the thread has a name.
    ///
    /// # Errors
    /// [`Io`](ErrorCode::Io) if the system gives no thread.
    pub fn start(server: &'static str, thread: &str) -> Result<Arc<Self>> {
        let inner = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(4) // names of hosts are looked up, and files of credentials read, on these
            .thread_name(thread)
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorCode::Io, format!("cannot start the thread of connections to {server}"))
                    .with_source(error)
            })?;
        Ok(Arc::new(Self { inner: Some(inner), server }))
    }

    /// Starts work. It goes on without the caller.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        if let Some(inner) = &self.inner {
            drop(inner.spawn(work));
        }
    }

    /// Waits for work, and drops it when the call ends. Any thread may wait, also one of another runtime.
    ///
    /// # Errors
    /// Those of the work, and of the call.
    pub fn run<T: Send + 'static>(
        &self,
        call: &Call,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        call.check()?;
        let (sender, receiver) = mpsc::sync_channel(1);
        let end = CallEnd::of(call);
        self.spawn(async move {
            // The caller waits for this result; nobody else takes it.
            let _ = sender.send(end.unless(work).await.and_then(|result| result));
        });
        receiver.recv().map_err(|_| {
            Error::new(ErrorCode::Internal, format!("the thread of connections to {} ended", self.server))
        })?
    }

    /// Waits on this thread for work that borrows, and drops it when the call ends.
    ///
    /// # Errors
    /// That of the call.
    pub fn wait<T>(&self, call: &Call, work: impl Future<Output = T>) -> Result<T> {
        // Timers are those of the runtime.
        let _context = self.inner.as_ref().map(tokio::runtime::Runtime::enter);
        pollster::block_on(CallEnd::of(call).unless(work))
    }
}

impl Drop for Runtime {
    /// Waits for nothing: the last owner may be a task of this very runtime, or a thread of another one.
    fn drop(&mut self) {
        if let Some(inner) = self.inner.take() {
            inner.shutdown_background();
        }
    }
}

/// The end of a call, for async code.
#[derive(Debug)]
pub struct CallEnd {
    call: Call,
    cancelled: Arc<Notify>,
    _hook: OnCancel,
}

impl CallEnd {
    /// That of a call.
    pub fn of(call: &Call) -> Self {
        let cancelled = Arc::new(Notify::new());
        let notified = cancelled.clone();
        let hook = call.on_cancel(move || notified.notify_one());
        Self { call: call.clone(), cancelled, _hook: hook }
    }

    /// The output of `work`, unless the call ends before.
    ///
    /// # Errors
    /// That of the call.
    pub async fn unless<T>(&self, work: impl Future<Output = T>) -> Result<T> {
        match select(pin!(work), pin!(self.come())).await {
            Either::Left((output, _)) => Ok(output),
            Either::Right((error, _)) => Err(error),
        }
    }

    async fn come(&self) -> Error {
        loop {
            if let Err(error) = self.call.check() {
                return error;
            }
            match self.call.remaining() {
                // The deadline passed or somebody cancelled: either way the next check says what happened.
                Some(left) => drop(tokio::time::timeout(left, self.cancelled.notified()).await),
                None => self.cancelled.notified().await,
            }
        }
    }
}
