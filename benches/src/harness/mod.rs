//! Contestants, rounds and latencies.

mod clock;
mod histogram;
mod phase;
mod row;

pub use clock::Clock;
pub use histogram::Histogram;
pub use phase::{Phase, timed};
pub use row::{Goal, Latency, Measured, Measurement, Plan, Reached, Row, Subject};

use std::hint::black_box;

use crate::Result;

/// One way of doing the work of a row.
///
/// A call has a number, and the same number means the same work for every contestant of a row.
pub trait Contestant {
    /// Does the work of a call and hands every value of the answer to `sink`. This is what is timed.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()>;

    /// Prepares a call; not timed.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn prepare(&mut self, _call: u64) -> Result<()> {
        Ok(())
    }

    /// Cleans up after a call; not timed.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn finish(&mut self) -> Result<()> {
        Ok(())
    }

    /// Prepares the calls of a round; not timed.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn begin_round(&mut self) -> Result<()> {
        Ok(())
    }

    /// Cleans up after the calls of a round.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn end_round(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes a call whose answer is compared with those of the other contestants. Override this if a call's answer does
    /// not show what the call did.
    ///
    /// # Errors
    /// Whatever went wrong; it ends the bench.
    fn check(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.call(call, sink)
    }
}

/// Takes the values of an answer, row by row.
pub trait Sink {
    /// An integer.
    fn int(&mut self, value: i64);

    /// A floating-point number.
    fn float(&mut self, value: f64);

    /// A text.
    fn text(&mut self, value: &str);

    /// The end of a row.
    fn end_row(&mut self);
}

/// Takes values and forgets them, without the compiler knowing.
#[derive(Debug, Default)]
pub struct Forget;

impl Sink for Forget {
    #[inline]
    fn int(&mut self, value: i64) {
        black_box(value);
    }

    #[inline]
    fn float(&mut self, value: f64) {
        black_box(value);
    }

    #[inline]
    fn text(&mut self, value: &str) {
        // Reads the bytes; otherwise a contestant that leaves them in place would do less work.
        black_box((value.len(), value.bytes().fold(0_u8, |sum, byte| sum.wrapping_add(byte))));
    }

    #[inline]
    fn end_row(&mut self) {}
}

/// Keeps the rows of an answer as text.
#[derive(Debug, Default)]
pub struct Collect {
    rows: Vec<String>,
    row: Vec<String>,
}

impl Collect {
    /// The rows, sorted, because the order of an answer is not part of it.
    pub fn into_rows(mut self) -> Vec<String> {
        self.rows.sort_unstable();
        self.rows
    }
}

impl Sink for Collect {
    fn int(&mut self, value: i64) {
        self.row.push(value.to_string());
    }

    fn float(&mut self, value: f64) {
        // The debug form of two different numbers always differs.
        self.row.push(format!("{value:?}"));
    }

    fn text(&mut self, value: &str) {
        self.row.push(format!("{value:?}"));
    }

    fn end_row(&mut self) {
        self.rows.push(self.row.join(", "));
        self.row.clear();
    }
}
