//! Whether the sidecar lives, has started and is ready, for probes and for people.

mod listener;
mod monitor;
mod readiness;

pub(crate) use self::listener::HealthListener;
pub(crate) use self::monitor::{Monitor, Phase};
pub(crate) use self::readiness::{is_stale, not_ready};
