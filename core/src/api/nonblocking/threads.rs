//! Threads for work that blocks, so that async code need not.
//!
//! They are started as needed and end when they are idle. No crate does this without an async runtime or a share of one.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, unbounded};
use futures::channel::oneshot;

/// Threads at most; further work waits. Each waits for a sidecar, so they are many for the processors there are.
const THREADS_MAX: usize = 128;
/// How long a thread waits for work before it ends.
const IDLE_TIME: Duration = Duration::from_secs(10);

type Work = Box<dyn FnOnce() + Send>;

struct Pool {
    /// A forked child has none of the threads.
    process: u32,
    work: Sender<Work>,
    waiting: Receiver<Work>,
    threads: AtomicUsize,
    idle: AtomicUsize,
}

/// The pool of this process.
fn pool() -> &'static Pool {
    static POOL: OnceLock<Pool> = OnceLock::new();
    POOL.get_or_init(|| {
        let (work, waiting) = unbounded();
        Pool {
            process: std::process::id(),
            work,
            waiting,
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
        }
    })
}

/// Does work on a thread of the pool. If it panics, so does the future.
pub(crate) async fn run<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    if pool().process != std::process::id() {
        return work();
    }
    let (done, outcome) = oneshot::channel();
    pool().submit(Box::new(move || {
        let outcome = catch_unwind(AssertUnwindSafe(work));
        // Whoever dropped the future needs no outcome.
        drop(done.send(outcome));
    }));
    match outcome.await {
        Ok(Ok(value)) => value,
        Ok(Err(panic)) => resume_unwind(panic),
        // The sender goes only with its work, which sends.
        Err(oneshot::Canceled) => futures::future::pending().await,
    }
}

impl Pool {
    fn submit(&'static self, work: Work) {
        // Never fails: the receiver lives as long as the process.
        drop(self.work.send(work));
        let is_short = self.idle.load(Ordering::Acquire) < self.waiting.len();
        if is_short && self.threads.fetch_add(1, Ordering::AcqRel) < THREADS_MAX {
            let started =
                std::thread::Builder::new().name("pillion-blocking".to_owned()).spawn(|| self.serve());
            if let Err(error) = started {
                self.threads.fetch_sub(1, Ordering::AcqRel);
                tracing::warn!(%error, "no thread for work that blocks; it waits for another one");
                self.help_out();
            }
        } else if is_short {
            self.threads.fetch_sub(1, Ordering::AcqRel);
        }
    }

    fn serve(&self) {
        loop {
            self.idle.fetch_add(1, Ordering::AcqRel);
            let next = self.waiting.recv_timeout(IDLE_TIME);
            self.idle.fetch_sub(1, Ordering::AcqRel);
            match next {
                Ok(work) => work(),
                Err(_) => {
                    self.threads.fetch_sub(1, Ordering::AcqRel);
                    // Work that came in between counted on this thread.
                    self.help_out();
                    return;
                }
            }
        }
    }

    /// Does what waits if no thread is left to do it.
    fn help_out(&self) {
        while self.threads.load(Ordering::Acquire) == 0
            && let Ok(work) = self.waiting.try_recv()
        {
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
