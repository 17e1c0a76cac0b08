//! Signals that ask the process to end.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use super::{Event, spawn};
use crate::exit::Exit;
use crate::failure::Failure;

/// Turns the first SIGTERM or SIGINT into an event, from now on; the second does what it does to a process that does not
/// care: it ends it at once.
///
/// # Errors
/// Those of the operating system.
pub(super) fn watch(events: &Sender<Event>) -> Result<Handle, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Report, "cannot watch for signals").because(&error);
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: at the first signal the flag is not set yet when the default would be asked for.
        flag::register_conditional_default(signal, asked.clone()).map_err(failed)?;
        flag::register(signal, asked.clone()).map_err(failed)?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(failed)?;
    let handle = signals.handle();
    let sender = events.clone();
    spawn("pillion-signals", events, move || {
        for signal in signals.forever() {
            tracing::debug!(signal, "signal");
            if sender.send(Event::Signal).is_err() {
                return;
            }
        }
    })?;
    Ok(handle)
}
