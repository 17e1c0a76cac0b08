//! Changes that are committed while others read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use pillion::Table;

use super::lookup::read_point;
use crate::Result;
use crate::data::Keys;
use crate::harness::{Forget, Histogram, timed};

/// Lookups between two pauses of a reader.
const BURST: u64 = 100;
/// A reader's pause: few enough lookups that readers and the writer do not fight for processors.
const PAUSE: Duration = Duration::from_millis(1);

/// The measurements of a stream of commits.
#[derive(Clone, Debug)]
pub struct Streamed {
    /// Time of each commit.
    pub commits: Histogram,
    /// Rows of all commits.
    pub rows: u64,
    /// Time of everything.
    pub elapsed: Duration,
}

impl Streamed {
    /// Rows per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub fn rows_per_second(&self) -> f64 {
        self.rows as f64 / self.elapsed.as_secs_f64()
    }
}

/// Upserts `changes` over and over for at least this time, as fast as possible. Ends with the last of them, so that the
/// content of the table does not depend on the time.
///
/// # Errors
/// The table refuses.
pub fn stream(table: &Table, changes: &[RecordBatch], time: Duration) -> Result<Streamed> {
    let (started, mut commits, mut rows) = (Instant::now(), Histogram::new(), 0);
    while started.elapsed() < time {
        for change in changes {
            timed(&mut commits, || Ok(table.upsert(change.clone())?))?;
            rows += change.num_rows() as u64;
        }
    }
    Ok(Streamed { commits, rows, elapsed: started.elapsed() })
}

/// Upserts `changes` over and over for this time, at a fixed number a second; it catches up after a late commit.
///
/// # Errors
/// The table refuses.
pub fn stream_paced(
    table: &Table,
    changes: &[RecordBatch],
    per_second: u32,
    time: Duration,
) -> Result<Streamed> {
    let (started, mut commits, mut rows) = (Instant::now(), Histogram::new(), 0);
    let mut next = Duration::ZERO;
    for change in changes.iter().cycle() {
        let now = started.elapsed();
        if now >= time {
            break;
        }
        if next > now {
            std::thread::sleep((next - now).max(PAUSE));
        }
        timed(&mut commits, || Ok(table.upsert(change.clone())?))?;
        rows += change.num_rows() as u64;
        next += Duration::from_secs(1) / per_second;
    }
    Ok(Streamed { commits, rows, elapsed: started.elapsed() })
}

/// Looks up rows for some time, in bursts, and reads every column; returns how many rows were not found, although all
/// exist.
///
/// # Errors
/// The table refuses.
pub fn read_for(table: &Table, keys: Keys, histogram: &mut Histogram, time: Duration) -> Result<u64> {
    let (started, mut missed) = (Instant::now(), 0);
    while started.elapsed() < time {
        missed += burst(table, keys, histogram)?;
        std::thread::sleep(PAUSE);
    }
    Ok(missed)
}

/// The same as [`read_for`], until `stop` is set.
///
/// # Errors
/// The table refuses.
pub fn read_until(table: &Table, keys: Keys, histogram: &mut Histogram, stop: &AtomicBool) -> Result<u64> {
    let mut missed = 0;
    while !stop.load(Ordering::Relaxed) {
        missed += burst(table, keys, histogram)?;
        std::thread::sleep(PAUSE);
    }
    Ok(missed)
}

/// Looks some rows up and reads every column; returns how many were not found.
pub(super) fn burst(table: &Table, keys: Keys, histogram: &mut Histogram) -> Result<u64> {
    let mut missed = 0;
    for _ in 0..BURST {
        let key = keys.present(histogram.count());
        let found = timed(histogram, || match table.get(key)? {
            Some(row) => read_point(Some(&row), &mut Forget).map(|()| true),
            None => Ok(false),
        })?;
        missed += u64::from(!found);
    }
    Ok(missed)
}
