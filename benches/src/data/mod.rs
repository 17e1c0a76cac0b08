//! The rows that are stored and the keys that are asked for: all made from a seed, none read from anywhere.

mod batches;
mod keys;
mod points;
mod random;
mod trips;

pub use batches::{read_batches, write_parquet};
pub use keys::{Keys, TripKeys};
pub use points::{Point, Points};
#[cfg(feature = "ways")]
pub(crate) use random::mix;
pub use trips::{Trip, Trips};

/// Seed of all tables and keys.
pub const SEED: u64 = 0x0070_696c_6c69_6f6e;

/// Rows of a batch that is loaded.
pub const INPUT_BATCH_ROWS: usize = 8192;
