//! Lookups, scans and sums in turn, to compare their times before, during and after something else.

use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int64Type;
use pillion::{Cache, Table};

use super::stream::burst;
use crate::Result;
use crate::data::{Keys, Points};
use crate::harness::{Histogram, timed};

/// The sum of [`Mixed`].
pub const SUM_SQL: &str = "SELECT sum(amount) FROM points";

/// Latencies of the three kinds of reads.
#[derive(Clone, Debug, Default)]
pub struct Mixed {
    /// Lookups.
    pub gets: Histogram,
    /// Whole tables, to the last batch.
    pub scans: Histogram,
    /// Sums of a column.
    pub sums: Histogram,
}

impl Mixed {
    /// Reads in turn until `stop` is set, and at least once.
    ///
    /// # Errors
    /// The cache refuses, or a scan does not give every row.
    pub fn read_until(cache: &Cache, points: Points, stop: &AtomicBool) -> Result<Self> {
        let (table, keys, mut seen) = (cache.table(Points::NAME)?, Keys::new(points), Self::default());
        loop {
            if burst(&table, keys, &mut seen.gets)? > 0 {
                return Err("a row is missing".into());
            }
            let rows = timed(&mut seen.scans, || scan(&table))?;
            if rows.iter().map(RecordBatch::num_rows).sum::<usize>() as u64 != points.rows() {
                return Err("a scan has not as many rows as the table".into());
            }
            drop(rows);
            timed(&mut seen.sums, || sum(cache))?;
            if stop.load(Ordering::Relaxed) {
                return Ok(seen);
            }
            std::thread::sleep(std::time::Duration::from_millis(2));
        }
    }
}

fn scan(table: &Table) -> Result<Vec<RecordBatch>> {
    Ok(table.scan()?.collect::<pillion::Result<_>>()?)
}

fn sum(cache: &Cache) -> Result<i64> {
    let batches = cache.sql(SUM_SQL, &[])?.collect::<pillion::Result<Vec<_>>>()?;
    let sums = batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().iter().flatten());
    Ok(sums.sum())
}
