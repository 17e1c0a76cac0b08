//! The table of the lookups: two 64-bit integers, a double and two short strings, keyed by the first.

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
    pub fn new(rows: u64) -> Self {
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
        let random = mix(SEED ^ mix(number));
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

    fn batches_of(self, numbers: &[u64]) -> Result<Vec<RecordBatch>> {
        let batch = |numbers: &[u64]| {
            let points: Vec<Point> = numbers.iter().map(|&number| self.point(number)).collect();
            let columns: Vec<ArrayRef> = vec![
                Arc::new(points.iter().map(|point| point.id).collect::<Int64Array>()),
                Arc::new(points.iter().map(|point| point.amount).collect::<Int64Array>()),
                Arc::new(points.iter().map(|point| point.price).collect::<Float64Array>()),
                Arc::new(StringArray::from_iter_values(points.iter().map(|point| &point.city))),
                Arc::new(StringArray::from_iter_values(points.iter().map(|point| &point.code))),
            ];
            Ok(RecordBatch::try_new(Self::schema(), columns)?)
        };
        numbers.chunks(INPUT_BATCH_ROWS).map(batch).collect()
    }
}

#[cfg(test)]
mod tests {
    use arrow::compute::concat_batches;

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
}
