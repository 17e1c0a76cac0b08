//! Signals that ask the process to end, or to read its configuration again.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle, Signals};

use super::{Event, spawn};
use crate::exit::Exit;
use crate::failure::Failure;

/// From now on, turns the first SIGTERM or SIGINT into an event. The second one has its default effect and ends the
/// process at once. Every SIGHUP becomes an event that asks for a reload.
///
/// # Errors
/// Those of the operating system.
pub(super) fn watch(events: &Sender<Event>) -> Result<Handle, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Report, "cannot watch for signals").because(&error);
    let asked = Arc::new(AtomicBool::new(false));
    for signal in [SIGTERM, SIGINT] {
        // In this order: at the first signal, the check for the default effect runs before the flag is set.
        flag::register_conditional_default(signal, asked.clone()).map_err(failed)?;
        flag::register(signal, asked.clone()).map_err(failed)?;
    }
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).map_err(failed)?;
    let handle = signals.handle();
    let sender = events.clone();
    spawn("pillion-signals", events, move || {
        for signal in signals.forever() {
            tracing::debug!(signal, "signal");
            let event = if signal == SIGHUP { Event::Reload } else { Event::Signal };
            if sender.send(event).is_err() {
                return;
            }
        }
    })?;
    Ok(handle)
}
