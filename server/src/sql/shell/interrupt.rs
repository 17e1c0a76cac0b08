//! Ctrl-C while a statement runs.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::task::AtomicWaker;
use futures_timer::Delay;
use signal_hook::consts::SIGINT;
use signal_hook::iterator::Signals;

use crate::exit::Exit;
use crate::failure::Failure;

/// How often a person is told how long they wait.
const TICK: Duration = Duration::from_secs(1);

/// From its making on, SIGINT does not end the process; it ends what [`run`](Self::run) runs.
pub(super) struct Interrupt {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    is_pressed: AtomicBool,
    waker: AtomicWaker,
}

impl Interrupt {
    pub(super) fn watch() -> Result<Self, Failure> {
        let failed =
            |error: std::io::Error| Failure::new(Exit::Report, "cannot watch for signals").because(&error);
        let mut signals = Signals::new([SIGINT]).map_err(failed)?;
        let this = Self { state: Arc::default() };
        let state = this.state.clone();
        let watch = move || {
            for _ in signals.forever() {
                state.is_pressed.store(true, Ordering::Release);
                state.waker.wake();
            }
        };
        thread::Builder::new().name("pillion-interrupt".into()).spawn(watch).map_err(failed)?;
        Ok(this)
    }

    /// Forgets what was pressed before.
    pub(super) fn forget(&self) {
        self.state.is_pressed.store(false, Ordering::Release);
    }

    /// Waits for `work`, and calls `waited` about every second. If Ctrl-C is pressed, `work` is dropped, which cancels
    /// it, and there is no result.
    pub(super) fn run<T>(
        &self,
        work: impl Future<Output = T>,
        mut waited: impl FnMut(Duration),
    ) -> Option<T> {
        let (started, mut tick) = (Instant::now(), Delay::new(TICK));
        let mut work = pin!(work);
        futures::executor::block_on(poll_fn(|context| {
            // Registered before the flag is read, so that no press is missed.
            self.state.waker.register(context.waker());
            if self.state.is_pressed.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            while tick.poll_unpin(context).is_ready() {
                waited(started.elapsed());
                tick.reset(TICK);
            }
            Poll::Pending
        }))
    }
}
