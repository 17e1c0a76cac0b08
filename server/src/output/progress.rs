//! Shows how far a long command is, and how it ended, on a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::units;

/// Time between two updates: often enough to be read, too seldom to cost anything.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error that is updated in place; shows nothing if standard error is not a terminal.
pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    shown: Option<Instant>,
    terminal: bool,
    started: Instant,
}

impl Progress {
    /// Progress of the work that is called `label` and ends at `total` rows, if that number is known.
    pub(crate) fn new(label: impl Into<String>, total: Option<u64>) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { label: label.into(), total, shown: None, terminal, started: Instant::now() }
    }

    /// Shows nothing, because the user watches the answer itself.
    pub(crate) fn silent() -> Self {
        let mut silent = Self::new("", None);
        silent.terminal = false;
        silent
    }

    /// Shows that `rows` rows are done and `bytes` bytes written (0 if unknown).
    pub(crate) fn at(&mut self, rows: u64, bytes: u64) {
        let last = self.shown.unwrap_or(self.started);
        if !self.terminal || last.elapsed() < INTERVAL {
            return;
        }
        self.shown = Some(Instant::now());
        let mut line = format!("{}: {}", self.label, units::rows(rows));
        if let Some(total) = self.total.filter(|total| *total > 0) {
            line += &format!(" of {} ({} %)", units::count(total), rows.min(total) * 100 / total);
        }
        if bytes > 0 {
            line += &format!(", {}", units::bytes(bytes));
        }
        // If progress cannot be shown, the command still goes on.
        let _ = write!(io::stderr(), "\r\x1b[K{line}").and_then(|()| io::stderr().flush());
    }

    /// Time since the start.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.shown.is_some() {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// Prints one line about what was done on standard error, if that is a terminal.
pub(crate) fn summary(line: impl FnOnce() -> String) {
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "{}", line());
    }
}
