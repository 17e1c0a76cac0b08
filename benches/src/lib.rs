//! Benches of Pillion: an interleaved harness, seeded data, and Pillion's side of every comparison.
//!
//! A [`Row`](harness::Row) of a report has contestants that do the same work. They run in rounds, one after another (A
//! B C, A B C, …), so that other load on the machine affects all of them. They must give equal answers before the first
//! call is timed. [`Report`](report::Report) prints the table and writes it as JSON and as a chart.
//!
//! - [`mod@bench`]: a program that runs rows and reports them.
//! - [`harness`]: contestants, rounds, latencies.
//! - [`report`]: the machine, the table, the JSON, the chart.
//! - [`data`]: the rows that are stored and the keys that are asked for.
//! - [`process`]: the sidecar and the bare socket, which are processes of their own.
//! - [`workload`]: Pillion's work in each row of the report; the rivals' side is in a crate of its own.
//! - [`rows`]: rows that several programs report.
//!
//! `cargo bench -p pillion-benches` measures Pillion alone, `cargo run --release -p pillion-benches-rivals`
//! beside its rivals. Both take `--quick`, which ends after seconds and says nothing about speed, and `--out DIR`.

pub mod bench;
pub mod data;
pub mod harness;
pub mod options;
#[cfg(feature = "ways")]
pub mod process;
pub mod report;
#[cfg(feature = "ways")]
pub mod rows;
pub mod workload;

use std::error::Error;

/// A result whose error is only ever shown.
pub type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;
