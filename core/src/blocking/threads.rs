//! Threads for work that blocks, so that async code need not.
//!
//! They start as needed and end when they are idle. No crate does this without bringing an async runtime or a part of
//! one.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use futures::channel::oneshot;
use parking_lot::{Condvar, Mutex, const_mutex};

/// Most threads; further work waits. Each of them mostly waits for a sidecar, so there may be many more than
/// processors.
const THREADS_MAX: usize = 128;
/// How long a thread waits for work before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

/// The threads of this process, which all async handles share.
static POOL: Pool = Pool { state: const_mutex(None), arrived: Condvar::new() };

struct Pool {
    state: Mutex<Option<PoolState>>,
    arrived: Condvar,
}

struct PoolState {
    /// A forked child has none of the threads, and does the work itself.
    process: u32,
    waiting: VecDeque<Work>,
    threads: usize,
    idle: usize,
}

/// Does work on a thread of the pool. If the work panics, so does the future.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, outcome) = oneshot::channel();
    POOL.submit(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // If the future was dropped, nobody needs the outcome.
        drop(done.send(outcome));
    }));
    match outcome.await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        // Only the work drops the sender, and it sends first.
        Err(oneshot::Canceled) => futures::future::pending().await,
    }
}

impl Pool {
    fn submit(&'static self, work: Work) {
        let process = std::process::id();
        let mut guard = self.state.lock();
        let state =
            guard.get_or_insert_with(|| PoolState { process, waiting: VecDeque::new(), threads: 0, idle: 0 });
        if state.process != process {
            drop(guard);
            return work();
        }
        state.waiting.push_back(work);
        if state.idle >= state.waiting.len() {
            self.arrived.notify_one();
            return;
        }
        if state.threads == THREADS_MAX {
            return;
        }
        let started = std::thread::Builder::new().name("pillion-blocking".to_owned()).spawn(|| self.serve());
        match started {
            Ok(_) => state.threads += 1,
            Err(error) if state.threads > 0 => {
                tracing::warn!(%error, "no thread for work that blocks; it waits for another one");
            }
            Err(error) => {
                tracing::warn!(%error, "no thread for work that blocks; it is done here");
                let work = state.waiting.pop_back();
                drop(guard);
                work.into_iter().for_each(|work| work());
            }
        }
    }

    fn serve(&self) {
        loop {
            let mut guard = self.state.lock();
            let work = loop {
                let Some(state) = guard.as_mut() else { return };
                if let Some(work) = state.waiting.pop_front() {
                    break work;
                }
                state.idle += 1;
                let timed_out = self.arrived.wait_for(&mut guard, IDLE_TIME).timed_out();
                let Some(state) = guard.as_mut() else { return };
                state.idle -= 1;
                if timed_out && state.waiting.is_empty() {
                    state.threads -= 1;
                    return;
                }
            };
            drop(guard);
            work();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use futures::executor::block_on;
    use futures::future::join_all;

    use super::*;

    #[test]
    fn work_is_done_side_by_side_and_its_value_comes_back() {
        for _ in 0..200 {
            // None of them ends before all have begun.
            let barrier = Arc::new(Barrier::new(16));
            let works = (0..16).map(|number| {
                let barrier = barrier.clone();
                run(move || {
                    barrier.wait();
                    number * 2
                })
            });
            assert_eq!(block_on(join_all(works)), (0..16).map(|number| number * 2).collect::<Vec<_>>());
        }
        let many = (0..1000).map(|number| run(move || number));
        assert_eq!(block_on(join_all(many)), (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn a_panic_is_that_of_its_future() {
        let panicked = catch_unwind(|| block_on(run(|| assert_eq!(1, 2, "as it should"))));
        assert!(panicked.is_err());
        assert_eq!(block_on(run(|| 7)), 7, "others are not affected");
    }
}
