//! How long to wait after failures.

use std::time::{Duration, Instant};

/// The wait after the first failure.
const FIRST: Duration = Duration::from_secs(1);
/// The shortest and the longest time between two refreshes.
const INTERVAL_MIN: Duration = Duration::from_millis(1);
const INTERVAL_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// The longest wait.
pub(super) const LONGEST: Duration = Duration::from_secs(300);
/// A source is left alone after this many failures in a row to reach it, of whatever tables.
const FAILURES_TO_OPEN: u32 = 3;

/// The wait after `failures` failures in a row: twice as long each time up to five minutes, of which a random half is left out.
pub(super) fn wait_after(failures: u32, share: f64) -> Duration {
    let doubled = FIRST.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LONGEST).mul_f64(0.5 + share / 2.0)
}

/// `interval`, up to `jitter` of it shorter or longer.
pub(super) fn jittered(interval: Duration, jitter: f64, share: f64) -> Duration {
    interval.clamp(INTERVAL_MIN, INTERVAL_MAX).mul_f64(1.0 + jitter * (2.0 * share - 1.0))
}

/// Keeps refreshes from a source that is out of reach: after some failures it lets one through at a time, as a probe, until
/// one succeeds.
#[derive(Debug, Default)]
pub(super) struct Breaker {
    failures: u32,
    closed_from: Option<Instant>,
}

impl Breaker {
    /// Whether a refresh may begin now, while `running` others of this source do.
    pub(super) fn admits(&self, now: Instant, running: usize) -> bool {
        self.closed_from.is_none_or(|from| from <= now && running == 0)
    }

    /// When the next probe may begin; `None` if the source is not left alone.
    pub(super) fn opens_at(&self) -> Option<Instant> {
        self.closed_from
    }

    pub(super) fn reached(&mut self) {
        *self = Self::default();
    }

    /// A refresh did not reach the source; `share` is a random one.
    pub(super) fn out_of_reach(&mut self, now: Instant, share: f64) {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= FAILURES_TO_OPEN {
            let wait = wait_after(self.failures - FAILURES_TO_OPEN + 1, share);
            self.closed_from = now.checked_add(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_and_differ() {
        assert_eq!(wait_after(1, 1.0), FIRST);
        assert_eq!(wait_after(1, 0.0), FIRST / 2);
        assert_eq!(wait_after(4, 1.0), FIRST * 8);
        assert_eq!(wait_after(u32::MAX, 1.0), LONGEST);
        assert_eq!(jittered(FIRST * 10, 0.1, 0.0), FIRST * 9);
        assert_eq!(jittered(FIRST * 10, 0.1, 1.0), FIRST * 11);
    }

    #[test]
    fn a_source_out_of_reach_gets_one_probe_at_a_time() {
        let mut breaker = Breaker::default();
        let now = Instant::now();
        for _ in 0..FAILURES_TO_OPEN - 1 {
            breaker.out_of_reach(now, 0.5);
            assert!(breaker.admits(now, 5));
        }
        breaker.out_of_reach(now, 0.5);
        assert!(!breaker.admits(now, 0));
        let later = now + LONGEST;
        assert!(breaker.admits(later, 0) && !breaker.admits(later, 1));
        breaker.reached();
        assert!(breaker.admits(now, 5));
    }
}
