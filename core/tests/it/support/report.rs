//! What a test that passes tells whoever looks at the end of a run; runners keep what such a test prints to themselves.

#![allow(dead_code, reason = "tests of connectors have it too, and need a part of it")]

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write;

/// Names the file that collects the lines; `.ci/test` prints it.
const REPORT: &str = "PILLION_TEST_REPORT";

/// Adds a line.
pub(crate) fn add(line: impl Display) {
    println!("{line}");
    let Some(path) = std::env::var_os(REPORT) else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one write: other tests add their lines at the same time.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}

/// Reports that a test cannot run here, with its location; fails if every test must run.
#[track_caller]
pub(crate) fn not_run(why: impl Display) {
    assert!(std::env::var_os("PILLION_TEST_ALL").is_none(), "not run, and PILLION_TEST_ALL is set: {why}");
    add(format_args!("not run: {why} ({})", std::panic::Location::caller()));
}
