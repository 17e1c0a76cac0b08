//! The table of the lookups: two 64-bit integers, a double and two short strings, keyed by the first.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::random::{below, mix, permutation};
use super::{INPUT_BATCH_ROWS, SEED};
use crate::Result;

/// Different cities, which queries group by.
const CITIES: u64 = 100;

/// The table of the lookups.
#[derive(Clone, Copy, Debug)]
pub struct Points {
    rows: u64,
}

/// A row of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The key: an even number, so that the odd ones between are absent.
    pub id: i64,
    /// Up to a million on either side of zero.
    pub amount: i64,
    /// A multiple of a quarter, so that sums are exact in any order and engines can be compared.
    pub price: f64,
    /// One of a hundred.
    pub city: String,
    /// Eight characters.
    pub code: String,
}

impl Points {
    /// A table of this many rows.
    pub const fn new(rows: u64) -> Self {
        Self { rows }
    }

    /// Number of rows.
    pub fn rows(self) -> u64 {
        self.rows
    }

    /// Name of the table.
    pub const NAME: &str = "points";

    /// Its columns; the first is the key.
    pub fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![
            Field::new("id", DataType::Int64, false),
            Field::new("amount", DataType::Int64, false),
            Field::new("price", DataType::Float64, false),
            Field::new("city", DataType::Utf8, false),
            Field::new("code", DataType::Utf8, false),
        ]))
    }

    /// The row with the smallest key but `number`.
    pub fn point(self, number: u64) -> Point {
        Self::made_from(number, mix(SEED ^ mix(number)))
    }

    /// A row with the same key and different values in all other columns; `change` distinguishes such rows.
    pub fn changed(self, number: u64, change: u64) -> Point {
        Self::made_from(number, mix(SEED ^ mix(number ^ mix(!change))))
    }

    fn made_from(number: u64, random: u64) -> Point {
        #[expect(clippy::cast_precision_loss, reason = "below a million")]
        let price = below(mix(random ^ 2), 1_000_000) as f64 * 0.25;
        Point {
            id: 2 * number.cast_signed(),
            amount: below(mix(random ^ 1), 2_000_001).cast_signed() - 1_000_000,
            price,
            city: format!("city {:02}", below(mix(random ^ 3), CITIES)),
            code: format!("{:08x}", random >> 32),
        }
    }

    /// All rows in random order, as batches in memory.
    ///
    /// # Errors
    /// None that is expected.
    pub fn batches(self) -> Result<Vec<RecordBatch>> {
        self.batches_of(&permutation(self.rows, SEED))
    }

    /// All rows in the order of their keys, as batches in memory.
    ///
    /// # Errors
    /// None that is expected.
    pub fn sorted_batches(self) -> Result<Vec<RecordBatch>> {
        self.batches_of(&(0..self.rows).collect::<Vec<_>>())
    }

    /// The rows with the keys of these numbers in random order, as batches in memory.
    ///
    /// # Errors
    /// None that is expected.
    pub fn batches_between(self, first: u64, end: u64) -> Result<Vec<RecordBatch>> {
        let numbers: Vec<u64> =
            permutation(end.saturating_sub(first), SEED).into_iter().map(|number| first + number).collect();
        self.batches_of(&numbers)
    }

    /// Changed rows with random keys, as `count` batches of `rows` rows each; no key occurs twice in a batch.
    ///
    /// # Errors
    /// There are fewer keys than rows of a batch.
    pub fn changes(self, count: u64, rows: u64) -> Result<Vec<RecordBatch>> {
        if rows > self.rows {
            return Err("a batch of changes has more rows than the table".into());
        }
        let batch = |change: u64| {
            let (mut numbers, mut seen) = (Vec::new(), HashSet::new());
            for at in 0.. {
                if numbers.len() as u64 == rows {
                    break;
                }
                let number = below(mix(mix(SEED ^ mix(change)) ^ at), self.rows);
                if seen.insert(number) {
                    numbers.push(number);
                }
            }
            Self::batch(numbers.iter().map(|&number| self.changed(number, change)))
        };
        (0..count).map(batch).collect()
    }

    fn batches_of(self, numbers: &[u64]) -> Result<Vec<RecordBatch>> {
        let batch = |numbers: &[u64]| Self::batch(numbers.iter().map(|&number| self.point(number)));
        numbers.chunks(INPUT_BATCH_ROWS).map(batch).collect()
    }

    fn batch(points: impl Iterator<Item = Point>) -> Result<RecordBatch> {
        let points: Vec<Point> = points.collect();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(points.iter().map(|point| point.id).collect::<Int64Array>()),
            Arc::new(points.iter().map(|point| point.amount).collect::<Int64Array>()),
            Arc::new(points.iter().map(|point| point.price).collect::<Float64Array>()),
            Arc::new(StringArray::from_iter_values(points.iter().map(|point| &point.city))),
            Arc::new(StringArray::from_iter_values(points.iter().map(|point| &point.code))),
        ];
        Ok(RecordBatch::try_new(Self::schema(), columns)?)
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::data::read_batches;
    use crate::harness::Collect;

    #[test]
    fn rows_come_in_random_order_and_are_those_of_the_keys() {
        let points = Points::new(20_000);
        let [random, sorted] = [points.batches().unwrap(), points.sorted_batches().unwrap()];
        assert_eq!(random.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [8192, 8192, 3616]);
        let rows = |batches: &[RecordBatch]| {
            let mut sink = Collect::default();
            read_batches([concat_batches(&Points::schema(), batches).unwrap()], &mut sink).unwrap();
            sink.into_rows()
        };
        assert_eq!(rows(&random), rows(&sorted));
        assert_ne!(random[0], sorted[0]);
        assert_eq!(points.point(7), points.point(7));
        assert_eq!(points.point(7).id, 14);
    }
    #[test]
    fn changes_keep_keys_and_no_key_comes_twice_in_a_batch() {
        let points = Points::new(1_000);
        let batches = points.changes(3, 900).unwrap();
        assert_eq!(batches.iter().map(RecordBatch::num_rows).collect::<Vec<_>>(), [900; 3]);
        for batch in &batches {
            let keys: HashSet<i64> =
                batch.column(0).as_primitive::<Int64Type>().values().iter().copied().collect();
            assert_eq!(keys.len(), 900);
            assert!(keys.iter().all(|key| key % 2 == 0 && (0..2_000).contains(key)));
        }
        assert_ne!(batches[0], batches[1]);
        let [old, new, newer] = [points.point(7), points.changed(7, 0), points.changed(7, 1)];
        assert_eq!([old.id, new.id, newer.id], [14; 3]);
        assert!(old.code != new.code && new.code != newer.code);
        assert!(points.changes(1, 1_001).is_err());
    }
}
