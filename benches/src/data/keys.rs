//! Which keys are asked for.

use super::random::{below, mix};
use super::{Points, SEED, Trip, Trips};

/// Random keys of [`Points`]: the same for every contestant, as call numbers are.
#[derive(Clone, Copy, Debug)]
pub struct Keys {
    rows: u64,
}

impl Keys {
    /// Keys of the rows of `points`.
    pub fn new(points: Points) -> Self {
        Self { rows: points.rows() }
    }

    /// The key of a row.
    #[inline]
    pub fn present(self, call: u64) -> i64 {
        2 * below(mix(!SEED ^ call), self.rows).cast_signed()
    }

    /// A key between two rows.
    #[inline]
    pub fn absent(self, call: u64) -> i64 {
        self.present(call) + 1
    }

    /// The first key of a range of `rows` rows, and the first key behind the range.
    #[inline]
    pub fn range(self, call: u64, rows: u64) -> (i64, i64) {
        let first = 2 * below(mix(!SEED ^ call), self.rows.saturating_sub(rows).max(1)).cast_signed();
        (first, first + 2 * rows.cast_signed())
    }

    /// The keys of `count` rows.
    pub fn many(self, call: u64, count: u64) -> impl Iterator<Item = i64> {
        (call * count..(call + 1) * count).map(move |call| self.present(call))
    }
}

/// Random keys of [`Trips`].
#[derive(Clone, Copy, Debug)]
pub struct TripKeys {
    trips: Trips,
}

impl TripKeys {
    /// Keys of the rows of `trips`.
    pub fn new(trips: Trips) -> Self {
        Self { trips }
    }

    /// A row, of which the first three columns are the key.
    pub fn present(self, call: u64) -> Trip {
        self.trips.trip(below(mix(!SEED ^ call), self.trips.rows()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_within_the_table_and_absent_ones_between_its_rows() {
        let keys = Keys::new(Points::new(1000));
        for call in 0..10_000 {
            let (key, absent) = (keys.present(call), keys.absent(call));
            assert!((0..2000).contains(&key) && key % 2 == 0);
            assert!((0..2000).contains(&absent) && absent % 2 == 1);
            let (from, to) = keys.range(call, 100);
            assert!(from >= 0 && to <= 2000 && to - from == 200);
        }
        assert_eq!(
            keys.many(3, 10).collect::<Vec<_>>(),
            (30..40).map(|call| keys.present(call)).collect::<Vec<_>>()
        );
    }
}
