//! Rows of a report whose contestants do not take turns: the same work before, during and after something else.

use std::time::{Duration, Instant};

use super::clock::nanoseconds;
use super::row::{Latency, ratio};
use super::{Histogram, Measured, Measurement, Plan, Reached, Subject};

/// The latencies of one phase.
#[derive(Clone, Debug)]
pub struct Phase {
    /// What went on in this phase.
    pub name: &'static str,
    /// The latencies.
    pub histogram: Histogram,
    /// How it compares with its goal.
    pub goal: Option<Reached>,
}

impl Phase {
    /// A phase without a goal.
    pub fn new(name: &'static str, histogram: Histogram) -> Self {
        Self { name, histogram, goal: None }
    }

    /// Sets the goal that a percentile is at most a multiple of that of an earlier phase.
    #[must_use]
    pub fn at_most(mut self, times: f64, percent: f64, before: &Self) -> Self {
        let value = ratio(self.histogram.percentile(percent), before.histogram.percentile(percent));
        self.goal = Some(Reached { to: Some(before.name), value, low: value, high: value, at_most: times });
        self
    }

    /// Sets the goal that a call takes at most this long; the report shows the mean.
    #[must_use]
    pub fn mean_at_most(mut self, mean: Duration, at_most: Duration) -> Self {
        let [value, at_most] = [mean, at_most].map(|time| time.as_secs_f64() * 1e9);
        self.goal = Some(Reached { to: None, value, low: value, high: value, at_most });
        self
    }

    /// The row of some phases, in their order; ratios are to the first.
    pub fn row(subject: Subject, phases: &[Self]) -> Measured {
        let nanoseconds = |phase: &Self| phase.histogram.percentile(50.0);
        let first = phases.first().map_or(0, nanoseconds);
        let contestants = phases.iter().map(|phase| {
            let (histogram, p50_ns) = (&phase.histogram, nanoseconds(phase));
            let ratio_to_first = ratio(p50_ns, first);
            let latency = Latency {
                p50_ns,
                p99_ns: histogram.percentile(99.0),
                min_ns: histogram.min(),
                max_ns: histogram.max(),
                calls: histogram.count(),
                calls_per_second: ratio(histogram.count(), histogram.sum()) * 1e9,
                ratio: ratio_to_first,
                ratio_low: ratio_to_first,
                ratio_high: ratio_to_first,
            };
            let latency = (histogram.count() > 0).then_some(latency);
            Measurement { name: phase.name, latency, goal: phase.goal }
        });
        let plan = Plan {
            checked_calls: 0,
            warm_up_rounds: 0,
            rounds: 1,
            round_time: Duration::ZERO,
            round_calls_min: 0,
        };
        Measured { subject, plan, contestants: contestants.collect() }
    }
}

/// Runs something and counts how long it took.
///
/// # Errors
/// Those of what is run.
#[inline]
pub fn timed<T>(histogram: &mut Histogram, run: impl FnOnce() -> crate::Result<T>) -> crate::Result<T> {
    let before = Instant::now();
    let result = run()?;
    histogram.record(nanoseconds(before, Instant::now()));
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_compared_with_the_first() {
        let of = |values: [u64; 3]| {
            let mut histogram = Histogram::new();
            values.iter().for_each(|&value| histogram.record(value));
            histogram
        };
        let before = Phase::new("before", of([10, 20, 30]));
        let during = Phase::new("during", of([20, 40, 90])).at_most(2.0, 99.0, &before);
        let subject = Subject { figure: "P0", name: "get", state: "in memory" };
        let row = Phase::row(subject, &[before, during]);
        let latency = row.contestants[1].latency.unwrap();
        assert_eq!((latency.p50_ns, latency.p99_ns, latency.calls), (40, 90, 3));
        assert!((latency.ratio - 2.0).abs() < 1e-9);
        let goal = row.contestants[1].goal.unwrap();
        assert!((goal.value - 3.0).abs() < 1e-9 && !goal.is_met() && goal.to == Some("before"));
        assert!(row.contestants[0].goal.is_none());
    }
}
