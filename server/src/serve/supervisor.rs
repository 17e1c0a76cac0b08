//! What systemd, or another supervisor with its protocol, is told, and the sockets that it passes. Without one (`NOTIFY_SOCKET` is not set), nothing is.

use std::net::TcpListener;
use std::os::unix::net::UnixListener;

use listenfd::ListenFd;
use sd_notify::NotifyState;

use crate::exit::Exit;
use crate::failure::Failure;

/// How much longer the start may take, counted from each time that this is told.
const START_MICROSECONDS: u32 = 60_000_000;

/// Clients are served.
pub(super) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The configuration is read again; [`ready`] follows.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::debug!(%error, "the supervisor could not be told"),
    }
}

/// The sockets that the supervisor bound for this process: one for clients, and one for probes.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    pub(super) clients: Option<UnixListener>,
    pub(super) probes: Option<TcpListener>,
}

impl Sockets {
    /// Takes them, if there are any (`LISTEN_FDS`).
    ///
    /// # Errors
    /// If one is neither a Unix socket nor a TCP socket that listens, or there are two of a kind.
    pub(super) fn take() -> Result<Self, Failure> {
        let mut passed = ListenFd::from_env();
        let mut sockets = Self::default();
        for number in 0..passed.len() {
            if sockets.clients.is_none()
                && let Ok(Some(socket)) = passed.take_unix_listener(number)
            {
                sockets.clients = Some(socket);
            } else if sockets.probes.is_none()
                && let Ok(Some(socket)) = passed.take_tcp_listener(number)
            {
                sockets.probes = Some(socket);
            } else {
                return Err(Failure::new(
                    Exit::Usage,
                    format!("socket {number} of the supervisor is not wanted"),
                )
                .hint("pass one Unix stream socket for clients, and at most one TCP socket for [health]"));
            }
        }
        Ok(sockets)
    }
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
