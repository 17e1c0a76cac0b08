//! Calls that wait: other threads of Python run meanwhile, and Ctrl-C ends the wait.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Builder, ThreadId};
use std::time::Duration;

use std::cell::RefCell;

use pillion::{Error, ErrorCode, Result};
use pyo3::prelude::*;

use crate::errors::raise;
use crate::fork::generation;
use crate::gil::holds_gil;

/// How often a thread that waits looks for Ctrl-C.
pub(crate) const LOOK: Duration = Duration::from_millis(50);

/// The thread that runs the handlers of signals: the one that imported the module.
static MAIN: OnceLock<ThreadId> = OnceLock::new();

type Work = Box<dyn FnOnce() + Send>;

thread_local! {
    /// The helper of this thread, and the process that it is in.
    static HELPER: RefCell<Option<(u64, Sender<Work>)>> = const { RefCell::new(None) };
}

/// Remembers which thread runs the handlers of signals.
pub(crate) fn imported() {
    MAIN.get_or_init(|| std::thread::current().id());
}

/// Whether this thread runs the handlers of signals.
fn is_main() -> bool {
    MAIN.get().is_some_and(|main| *main == std::thread::current().id())
}

/// Does work while other threads of Python run.
pub(crate) fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T> + Send) -> PyResult<T> {
    py.detach(work).map_err(raise)
}

/// Does work that may take long while other threads of Python run. If Ctrl-C is pressed, calls `give_up` and returns with
/// `KeyboardInterrupt`; the work ends on its own, and its result is dropped.
pub(crate) fn interruptible<T: Send + 'static>(
    py: Python<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
    give_up: impl FnOnce(),
) -> PyResult<T> {
    if !is_main() {
        return detached(py, work);
    }
    let outcome = hand_over(work).map_err(raise)?;
    loop {
        // The receiver cannot be shared, so it goes and comes back.
        let received = py.detach(|| match outcome.recv_timeout(LOOK) {
            Ok(value) => Some(value),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => Some(Err(panicked())),
        });
        if let Some(value) = received {
            return value.map_err(raise);
        }
        if let Err(interrupt) = py.check_signals() {
            // The helper is still busy; the next call gets another one.
            HELPER.set(None);
            give_up();
            return Err(interrupt);
        }
    }
}

/// As [`interruptible`], for work that another library asks for: it may hold the GIL or not.
///
/// # Errors
/// Those of the work; [`ErrorCode::Cancelled`] after Ctrl-C, and `KeyboardInterrupt` comes when Python goes on.
pub(crate) fn interruptible_below<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
    give_up: impl FnOnce(),
) -> Result<T> {
    if !is_main() {
        return without_gil(work);
    }
    let outcome = hand_over(work)?;
    loop {
        match without_gil(|| Ok(outcome.recv_timeout(LOOK)))? {
            Ok(value) => return value,
            Err(RecvTimeoutError::Disconnected) => return Err(panicked()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        // Only the main thread gets here, so no thread that holds the GIL waits for this one.
        let looked = Python::try_attach(|py| py.check_signals().inspect_err(|_| interrupt_again(py)));
        if let Some(Err(_)) = looked {
            HELPER.set(None);
            give_up();
            return Err(Error::new(ErrorCode::Cancelled, "Ctrl-C ended the query"));
        }
    }
}

/// Waits without the GIL, which a library may hold while it asks for rows: no other thread of Python would run meanwhile.
fn without_gil<T: Send>(wait: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let (mut wait, mut waited) = (Some(wait), None);
    let mut once = || {
        if let Some(wait) = wait.take() {
            waited = Some(wait());
        }
    };
    // At the end of the interpreter, nobody else wants it.
    let is_released = holds_gil() && Python::try_attach(|py| py.detach(&mut once)).is_some();
    if !is_released {
        once();
    }
    waited.unwrap_or_else(|| Err(panicked()))
}

/// Lets `KeyboardInterrupt` come again: a library between us and the program has no place for it.
fn interrupt_again(py: Python<'_>) {
    let again = py.import("_thread").and_then(|thread| thread.call_method0("interrupt_main"));
    // Without it, the program sees only that the query was cancelled.
    drop(again);
}

/// What arrives when the work is done.
struct Outcome<T>(std::sync::Mutex<Receiver<Result<T>>>);

impl<T> Outcome<T> {
    fn recv_timeout(&self, timeout: Duration) -> std::result::Result<Result<T>, RecvTimeoutError> {
        match self.0.lock() {
            Ok(receiver) => receiver.recv_timeout(timeout),
            Err(_) => Err(RecvTimeoutError::Disconnected),
        }
    }
}

fn hand_over<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<Outcome<T>> {
    let (done, outcome) = channel();
    let work: Work = Box::new(move || {
        let result = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| Err(panicked()));
        // Nobody waits any more after Ctrl-C.
        drop(done.send(result));
    });
    HELPER.with_borrow_mut(|helper| {
        let sender = match helper {
            Some((process, sender)) if *process == generation() => sender.clone(),
            _ => {
                let sender = start()?;
                *helper = Some((generation(), sender.clone()));
                sender
            }
        };
        sender.send(work).map_err(|_| Error::new(ErrorCode::Internal, "the helper thread has ended"))
    })?;
    Ok(Outcome(std::sync::Mutex::new(outcome)))
}

/// Starts a thread that works until nobody can send it work any more.
fn start() -> Result<Sender<Work>> {
    let (sender, works) = channel::<Work>();
    let started = Builder::new().name("pillion-python".to_owned()).spawn(move || {
        for work in works {
            work();
        }
    });
    started.map_err(|error| {
        Error::new(ErrorCode::Io, "the system does not start another thread").with_source(error)
    })?;
    Ok(sender)
}

fn panicked() -> Error {
    Error::new(ErrorCode::Internal, "a thread of Pillion ended unexpectedly")
}
