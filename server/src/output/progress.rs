//! How far a long command is, and how it ended, for whoever watches.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

use super::units;

/// Time between two updates: often enough to be read, too seldom to cost anything.
const INTERVAL: Duration = Duration::from_millis(100);

/// A line on standard error that is updated in place; nothing at all if that is not a terminal.
pub(crate) struct Progress {
    label: String,
    total: Option<u64>,
    shown: Option<Instant>,
    terminal: bool,
    started: Instant,
}

impl Progress {
    /// Progress of something that is called `label` and is done at `total` rows, where that is known.
    pub(crate) fn new(label: impl Into<String>, total: Option<u64>) -> Self {
        let terminal = io::stderr().is_terminal();
        Self { label: label.into(), total, shown: None, terminal, started: Instant::now() }
    }

    /// Says nothing: the answer itself is what is watched.
    pub(crate) fn silent() -> Self {
        let mut silent = Self::new("", None);
        silent.terminal = false;
        silent
    }

    /// So many rows are done, and so many bytes written (0 if that is not known).
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
        // Progress that cannot be shown is no reason to stop.
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

/// One line about what was done, on standard error; nothing if that is not a terminal.
pub(crate) fn summary(line: impl FnOnce() -> String) {
    if io::stderr().is_terminal() {
        let _ = writeln!(io::stderr(), "{}", line());
    }
}
