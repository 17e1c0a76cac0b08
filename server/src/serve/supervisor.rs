//! What systemd, or another supervisor with its protocol, is told. Without one (`NOTIFY_SOCKET` is not set), nothing is.

use sd_notify::NotifyState;

/// How much longer the start may take, counted from each time that this is told.
const START_MICROSECONDS: u32 = 60_000_000;

/// Clients are served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The sidecar ends.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// The thread that runs the sidecar lives: the supervisor's watchdog may wait again.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// The start goes on, so that a long load does not exceed the time that a start may take.
pub(super) fn still_starting() {
    tell(&[NotifyState::ExtendTimeoutUsec(START_MICROSECONDS)]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "the supervisor could not be told");
    }
}
