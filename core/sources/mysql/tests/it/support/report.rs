//! Tests that cannot run here.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

/// Reports that a test cannot run here, with its location; fails if every test must run. `.ci/test` prints the lines
/// at its end.
#[track_caller]
pub(crate) fn not_run(why: impl Display) {
    assert!(std::env::var_os("PILLION_TEST_ALL").is_none(), "not run, and PILLION_TEST_ALL is set: {why}");
    let line = format!("not run: {why} ({})", std::panic::Location::caller());
    println!("{line}");
    let Some(path) = std::env::var_os("PILLION_TEST_REPORT") else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one write: other tests add their lines at the same time.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
