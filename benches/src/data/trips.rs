//! The table of the lookups by several columns: moment, carrier and number are the key.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};

use super::random::{below, mix, permutation};
use super::{INPUT_BATCH_ROWS, SEED};
use crate::Result;

/// Trips that start at the same moment, each of another carrier.
const CARRIERS: u64 = 16;
/// 2026-01-01, in microseconds since 1970.
const FIRST_MOMENT: i64 = 1_767_225_600_000_000;
/// Microseconds from one moment to the next.
const MINUTE: i64 = 60_000_000;

/// The table of the lookups by several columns.
#[derive(Clone, Copy, Debug)]
pub struct Trips {
    rows: u64,
}

/// A row of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Trip {
    /// First part of the key: microseconds since 1970.
    pub moment: i64,
    /// Second part of the key: two letters.
    pub carrier: String,
    /// Third part of the key: below ten thousand.
    pub number: i64,
    /// A multiple of a quarter.
    pub delay: f64,
    /// Three letters.
    pub origin: String,
}

impl Trips {
    /// A table of this many rows.
    pub fn new(rows: u64) -> Self {
        Self { rows }
    }

    /// Number of rows.
    pub fn rows(self) -> u64 {
        self.rows
    }

    /// Name of the table.
    pub const NAME: &str = "trips";

    /// Its columns; the first three are the key.
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("moment", DataType::Timestamp(TimeUnit::Microsecond, None), false),
            Field::new("carrier", DataType::Utf8, false),
            Field::new("number", DataType::Int64, false),
            Field::new("delay", DataType::Float64, false),
            Field::new("origin", DataType::Utf8, false),
        ]))
    }

    /// Row `number` in the order of the moments.
    pub fn trip(self, number: u64) -> Trip {
        let random = mix(SEED ^ mix(!number));
        #[expect(clippy::cast_precision_loss, reason = "below ten thousand")]
        let delay = below(mix(random ^ 2), 10_000) as f64 * 0.25;
        Trip {
            moment: FIRST_MOMENT + (number / CARRIERS).cast_signed() * MINUTE,
            carrier: letters(number % CARRIERS * 37, 2),
            number: below(mix(random ^ 1), 10_000).cast_signed(),
            delay,
            origin: letters(below(mix(random ^ 3), 200) * 83, 3),
        }
    }

    /// All rows in random order, as batches in memory.
    ///
    /// # Errors
    /// None that is expected.
    pub fn batches(self) -> Result<Vec<RecordBatch>> {
        let batch = |numbers: &[u64]| {
            let trips: Vec<Trip> = numbers.iter().map(|&number| self.trip(number)).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(TimestampMicrosecondArray::from_iter_values(trips.iter().map(|trip| trip.moment))),
                Arc::new(StringArray::from_iter_values(trips.iter().map(|trip| &trip.carrier))),
                Arc::new(trips.iter().map(|trip| trip.number).collect::<Int64Array>()),
                Arc::new(trips.iter().map(|trip| trip.delay).collect::<Float64Array>()),
                Arc::new(StringArray::from_iter_values(trips.iter().map(|trip| &trip.origin))),
            ];
            Ok(RecordBatch::try_new(Self::schema(), columns)?)
        };
        permutation(self.rows, !SEED).chunks(INPUT_BATCH_ROWS).map(batch).collect()
    }
}

/// The last `count` digits of a number, written in letters.
fn letters(number: u64, count: u32) -> String {
    (0..count).rev().map(|digit| char::from(b'A' + (number / 26_u64.pow(digit) % 26) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn keys_are_unique() {
        let trips = Trips::new(10_000);
        let key = |number| {
            let Trip { moment, carrier, number, .. } = trips.trip(number);
            (moment, carrier, number)
        };
        assert_eq!((0..10_000).map(key).collect::<HashSet<_>>().len(), 10_000);
        assert_eq!(trips.batches().unwrap().iter().map(RecordBatch::num_rows).sum::<usize>(), 10_000);
    }
}
