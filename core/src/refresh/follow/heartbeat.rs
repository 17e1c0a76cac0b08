//! Asks the source now and then where it is, so that rows that do not change are known to be fresh.

use std::time::{Duration, Instant, SystemTime};

use super::follower::Follower;
use crate::types::error::Result;

/// How often the source is asked if no table must be fresh.
const INTERVAL: Duration = Duration::from_secs(30);
/// How often at most.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// How long it may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(5);

/// What the source said, and when it is asked again.
#[derive(Debug)]
pub(super) struct Heartbeat {
    interval: Duration,
    next: Instant,
    /// When it is asked what it keeps.
    names_next: Instant,
    /// Everything up to here was there at a moment.
    expected: Option<(Vec<u8>, SystemTime)>,
}

impl Heartbeat {
    /// `bound`: how old rows may be, if there is a limit.
    pub(super) fn new(bound: Option<Duration>) -> Self {
        let interval = bound.map_or(INTERVAL, |bound| (bound / 4).clamp(INTERVAL_MIN, INTERVAL));
        let now = Instant::now();
        Self { interval, next: now, names_next: now, expected: None }
    }

    /// Asks if it is time to. Returns the newest moment whose changes are all applied at a position, once.
    pub(super) fn beat(&mut self, follower: &Follower, reached: &[u8]) -> Result<Option<SystemTime>> {
        let shared = &follower.shared;
        if self.next <= Instant::now() && self.expected.is_none() {
            let moment = SystemTime::now();
            let call = shared.call(Some(TIMEOUT), false)?;
            match shared.source.newest_position(&call) {
                Ok(position) => self.expected = Some((position, moment)),
                Err(error) => tracing::debug!(
                    source = shared.source_name,
                    "the source does not say where it is: {error:#}"
                ),
            }
            self.next = Instant::now() + self.interval;
            if self.names_next <= Instant::now() {
                self.names_next = Instant::now() + INTERVAL;
                follower.look_at_names()?;
            }
        }
        let Some((expected, moment)) = &self.expected else { return Ok(None) };
        let behind = shared.source.behind(reached, expected)?;
        shared.state.lock().lag = Some(behind);
        if behind > 0 {
            return Ok(None);
        }
        let moment = *moment;
        self.expected = None;
        follower.confirm(moment);
        Ok(Some(moment))
    }
}
