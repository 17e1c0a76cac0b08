//! Crashes at every operation, on a disk that loses whatever was not synced.
//!
//! A *workload* drives a cache through a file system that records what it does. The recording is cut before any of its
//! operations, and *images* are made of what a crash may leave there: everything that was synced and some of the rest,
//! by sectors and in any order. Each image is opened by the ordinary code, and what it holds is compared with a
//! *model*. The recovery is recorded as well, cut, and recovered from. `docs/architecture.md` says how to run it.

mod commit;
mod contents;
mod disk;
mod driver;
mod faults;
mod image;
mod model;
mod oracle;
mod planted;
mod recorder;
mod search;
mod stops;
mod workloads;
mod writes;

mod tests;

use std::io::Write;

/// Writes past the test runner, which captures what tests print.
fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").unwrap();
}
