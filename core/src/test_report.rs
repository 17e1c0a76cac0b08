//! What tests tell whoever reads the end of a run only.

use std::fmt::Display;
use std::io::Write;

/// Prints a line past the test runner, which captures what tests print, and adds it to the file that `.ci/test`
/// prints at its end.
pub(crate) fn add(line: impl Display) {
    writeln!(std::io::stderr(), "{line}").unwrap();
    let Some(path) = std::env::var_os("PILLION_TEST_REPORT") else { return };
    let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    // In one write: other tests add their lines at the same time.
    file.write_all(format!("{line}\n").as_bytes()).unwrap();
}
