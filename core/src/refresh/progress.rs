//! How far a refresh is.

use std::sync::atomic::{AtomicU64, Ordering};
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
}

impl Progress {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            rows: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            expected: AtomicU64::new(0),
            last: AtomicU64::new(0),
        }
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

    /// The source answered, or it is not its turn.
    pub(super) fn alive(&self) {
        let since = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(since, Ordering::Relaxed);
    }

    /// How long the source has not answered.
    pub(super) fn silent_for(&self) -> Duration {
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
