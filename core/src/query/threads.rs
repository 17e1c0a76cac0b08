//! The threads that run queries.

use std::mem::ManuallyDrop;
use std::sync::OnceLock;

use parking_lot::Mutex;

use super::limits::STACK_MAX;
use super::stack::BASE_STACK;
use crate::types::error::{Error, ErrorCode, Result};

/// The threads that queries run on, started by the first query.
pub(super) struct Threads {
    /// A forked child has none of the threads, and may find locks that nobody will release.
    process: u32,
    count: usize,
    runtime: OnceLock<tokio::runtime::Runtime>,
    starting: Mutex<()>,
}

impl Threads {
    /// `count` threads, which are not started yet.
    pub(super) fn new(count: usize) -> Self {
        Self { process: std::process::id(), count, runtime: OnceLock::new(), starting: Mutex::new(()) }
    }

    /// Fails in a forked child, before it waits for anything.
    pub(super) fn check_process(&self) -> Result<()> {
        if self.process == std::process::id() {
            return Ok(());
        }
        let message = "queries cannot be run after fork; open or connect again in the child";
        Err(Error::new(ErrorCode::Closed, message))
    }

    /// The runtime of the threads.
    pub(super) fn handle(&self) -> Result<&tokio::runtime::Handle> {
        self.check_process()?;
        if let Some(runtime) = self.runtime.get() {
            return Ok(runtime.handle());
        }
        let _starting = self.starting.lock();
        if self.runtime.get().is_none() {
            let started = start_threads(self.count)?;
            self.runtime.get_or_init(|| started);
        }
        self.runtime.get().map(tokio::runtime::Runtime::handle).ok_or_else(|| Error::internal("no threads"))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let Some(runtime) = self.runtime.take() else { return };
        if self.check_process().is_err() {
            // The threads are the parent's: dropping the runtime would wait for them for ever.
            let _leaked = ManuallyDrop::new(runtime);
        } else {
            // Async code may drop the last handle, and must not wait.
            runtime.shutdown_background();
        }
    }
}

/// Starts the threads; their names show that they are the cache's.
fn start_threads(count: usize) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(count)
        .thread_name("pillion-query")
        .thread_stack_size(BASE_STACK + STACK_MAX)
        .enable_time()
        .build()
        .map_err(|error| Error::new(ErrorCode::Io, "cannot start threads for queries").with_source(error))
}
