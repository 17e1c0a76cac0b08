//! How far a refresh is.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Counts what a refresh has fetched; shared by whoever fetches and whoever watches.
#[derive(Debug)]
pub(super) struct Progress {
    began: Instant,
    rows: AtomicU64,
    bytes: AtomicU64,
    /// Rows that are expected, plus one; zero if that is not known.
    expected: AtomicU64,
    /// Milliseconds from the beginning to the last sign of life.
    last: AtomicU64,
    /// Whether the source was asked something and has not answered. Otherwise the load is busy.
    is_asked: AtomicBool,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            last: AtomicU64::new(0),
            is_asked: AtomicBool::new(false),
        }
    }

    /// Asks the source something: it is silent until `question` returns or panics.
    pub(super) fn ask<T>(&self, question: impl FnOnce() -> T) -> T {
        self.alive();
        self.is_asked.store(true, Ordering::Release);
        let _answered = Answered(&self.is_asked);
        question()
    }

    pub(super) fn expect(&self, rows: Option<u64>) {
        self.expected.store(rows.map_or(0, |rows| rows.saturating_add(1)), Ordering::Relaxed);
        self.alive();
    }

    pub(super) fn add(&self, rows: usize, bytes: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        self.alive();
    }

    fn alive(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// How long the source has not answered; zero while nothing is asked of it.
    pub(super) fn silent_for(&self) -> Duration {
        if !self.is_asked.load(Ordering::Acquire) {
            return Duration::ZERO;
        }
        self.began.elapsed().saturating_sub(Duration::from_millis(self.last.load(Ordering::Relaxed)))
    }

    pub(super) fn rows(&self) -> u64 {
        self.rows.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(super) fn expected_rows(&self) -> Option<u64> {
        self.expected.load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

/// Ends a question.
struct Answered<'a>(&'a AtomicBool);

impl Drop for Answered<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_source_that_was_asked_is_silent() {
        let progress = Progress::new();
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(20));
            assert_eq!(progress.silent_for(), Duration::ZERO, "the refresh is busy");
            progress.ask(|| {
                assert!(progress.silent_for() < Duration::from_secs(10));
                std::thread::sleep(Duration::from_millis(20));
                assert!(progress.silent_for() >= Duration::from_millis(10));
            });
        }
    }
}
