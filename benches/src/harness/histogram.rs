//! Latencies, counted in buckets.

/// Buckets of equal width between a power of two and the next: no value is off by more than 1 / 128.
const SUB_BUCKETS: u64 = 1 << SUB_BITS;
const SUB_BITS: u32 = 7;
/// Values below `SUB_BUCKETS` have a bucket each; then come `SUB_BUCKETS` for each of the other powers of two.
const BUCKETS: usize = (64 - SUB_BITS as usize + 1) * SUB_BUCKETS as usize;

/// Counts of values; exact below 256, within 1 / 128 above.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    sum: u64,
    min: u64,
    max: u64,
}

impl Histogram {
    /// No values.
    pub fn new() -> Self {
        Self { counts: vec![0; BUCKETS], count: 0, sum: 0, min: u64::MAX, max: 0 }
    }

    /// Counts a value.
    #[inline]
    pub fn record(&mut self, value: u64) {
        self.counts[bucket(value)] += 1;
        self.count += 1;
        self.sum = self.sum.saturating_add(value);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
    }

    /// Counts a value `times` times.
    pub fn record_many(&mut self, value: u64, times: u64) {
        if times > 0 {
            self.counts[bucket(value)] += times;
            self.count += times;
            self.sum = self.sum.saturating_add(value.saturating_mul(times));
            self.min = self.min.min(value);
            self.max = self.max.max(value);
        }
    }

    /// One value for each bucket that is not empty, with its count.
    pub fn values(&self) -> Vec<(u64, u64)> {
        let counted = self.counts.iter().enumerate().filter(|&(_, &count)| count > 0);
        counted.map(|(bucket, &count)| (middle(bucket).clamp(self.min, self.max), count)).collect()
    }

    /// Adds the values of another.
    pub fn merge(&mut self, other: &Self) {
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Number of values.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Sum of the values.
    pub fn sum(&self) -> u64 {
        self.sum
    }

    /// The smallest value; 0 without values.
    pub fn min(&self) -> u64 {
        if self.count == 0 { 0 } else { self.min }
    }

    /// The largest value; 0 without values.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// The smallest value that `percent` of the values do not exceed; 0 without values. With few values a high
    /// percentile is the largest of them.
    pub fn percentile(&self, percent: f64) -> u64 {
        #[expect(clippy::cast_precision_loss, reason = "no histogram counts 2^53 values")]
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank among the values"
        )]
        let rank = ((percent / 100.0 * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (bucket, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return middle(bucket).clamp(self.min, self.max);
            }
        }
        0
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::cast_possible_truncation, reason = "bounded by the number of buckets")]
fn bucket(value: u64) -> usize {
    let shift = value.max(SUB_BUCKETS).ilog2() - SUB_BITS;
    // Values below `SUB_BUCKETS` and those of the first power above share the shift 0.
    (u64::from(shift) * SUB_BUCKETS + (value >> shift)) as usize
}

fn middle(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let shift = (bucket / SUB_BUCKETS).saturating_sub(1);
    let low = (bucket - shift * SUB_BUCKETS) << shift;
    low + ((1 << shift) - 1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_near_it() {
        let mut last = 0;
        for value in (0..2000).chain((0..64).flat_map(|bit| [(1_u64 << bit) - 1, 1 << bit])).chain([u64::MAX])
        {
            let found = middle(bucket(value));
            assert!(found.abs_diff(value) <= value / 128, "{value} is counted as {found}");
            assert!(bucket(value) < BUCKETS, "{value}");
            last = last.max(bucket(value));
        }
        assert_eq!(last, BUCKETS - 1);
    }

    #[test]
    fn buckets_follow_the_order_of_values() {
        let mut before = 0;
        for value in (1..100_000).map(|n| n * 37) {
            assert!(bucket(value) >= before, "{value}");
            before = bucket(value);
        }
    }

    #[test]
    fn percentiles_are_those_of_the_sorted_values() {
        let values: Vec<u64> = (1..=10_000).map(|n| n * n % 9973 + 100).collect();
        let mut sorted = values.clone();
        sorted.sort_unstable();
        let mut histogram = Histogram::new();
        values.iter().for_each(|&value| histogram.record(value));
        for (percent, rank) in [(0.0, 1), (1.0, 100), (50.0, 5_000), (99.0, 9_900), (100.0, 10_000)] {
            let expected: u64 = sorted[rank - 1];
            let found = histogram.percentile(percent);
            assert!(found.abs_diff(expected) <= expected / 128, "p{percent}: {found}, not {expected}");
        }
        assert_eq!((histogram.min(), histogram.max()), (sorted[0], sorted[9_999]));
        assert_eq!(histogram.sum(), values.iter().sum::<u64>());
    }

    #[test]
    fn small_values_and_few_values_are_exact() {
        let mut histogram = Histogram::new();
        assert_eq!((histogram.percentile(50.0), histogram.min(), histogram.max()), (0, 0, 0));
        [200, 7, 90].iter().for_each(|&value| histogram.record(value));
        assert_eq!((histogram.percentile(50.0), histogram.percentile(99.0)), (90, 200));
    }

    #[test]
    fn values_that_are_counted_again_give_the_same_percentiles() {
        let (mut histogram, mut again) = (Histogram::new(), Histogram::new());
        (1..5000_u64).for_each(|value| histogram.record(value * value));
        histogram.values().into_iter().for_each(|(value, times)| again.record_many(value, times));
        for percent in [1.0, 50.0, 99.0] {
            assert_eq!(histogram.percentile(percent), again.percentile(percent));
        }
        assert_eq!(histogram.count(), again.count());
    }

    #[test]
    fn merged_histograms_hold_the_values_of_both() {
        let (mut low, mut high, mut both) = (Histogram::new(), Histogram::new(), Histogram::new());
        for value in 0..1000 {
            low.record(value);
            high.record(value + 5000);
            both.record(value);
            both.record(value + 5000);
        }
        low.merge(&high);
        assert_eq!((low.count(), low.sum(), low.min(), low.max()), (2000, both.sum(), 0, 5999));
        assert_eq!(low.percentile(75.0), both.percentile(75.0));
    }
}
