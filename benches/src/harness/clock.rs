//! The clock that calls are timed with.

use std::time::Instant;

use serde::Serialize;

/// How many readings measure the clock.
const READINGS: usize = 100_000;

/// The resolution and the cost of the clock. Reports show latencies as they were read: nothing is subtracted.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Clock {
    /// The smallest difference of two readings above zero, in nanoseconds.
    pub step_ns: u64,
    /// Mean time of a reading, in nanoseconds: what it adds to every latency.
    pub reading_ns: f64,
}

impl Clock {
    /// Measures the clock.
    pub fn measure() -> Self {
        let mut step_ns = u64::MAX;
        let started = Instant::now();
        let mut last = started;
        for _ in 0..READINGS {
            let now = Instant::now();
            let difference = nanoseconds(last, now);
            if difference > 0 {
                step_ns = step_ns.min(difference);
            }
            last = now;
        }
        #[expect(clippy::cast_precision_loss, reason = "a time of milliseconds")]
        let reading_ns = nanoseconds(started, last) as f64 / READINGS as f64;
        Self { step_ns, reading_ns }
    }
}

/// Nanoseconds from one reading to another.
pub(super) fn nanoseconds(from: Instant, to: Instant) -> u64 {
    u64::try_from(to.duration_since(from).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_takes_time_and_the_step_is_one() {
        let clock = Clock::measure();
        assert!(clock.reading_ns > 0.0);
        assert!(clock.step_ns > 0 && clock.step_ns < u64::MAX);
    }
}
