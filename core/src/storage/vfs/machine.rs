//! What storage asks of the machine beside files: the time of day, and numbers that nobody else draws.
//!
//! Tests replace both, so that a replayed history writes the same bytes. Timeouts do not come from here: no file
//! depends on them.

use std::fmt;
use std::io;
use std::time::SystemTime;

/// The time of day.
pub(crate) trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> SystemTime;
}

/// Numbers that nobody can guess and nobody else draws.
pub(crate) trait Randomness: fmt::Debug + Send + Sync {
    /// The next number; all are equally likely.
    fn number(&self) -> io::Result<u64>;
}

/// The clock and the random numbers of the operating system.
#[derive(Debug)]
pub(crate) struct OsMachine;

impl Clock for OsMachine {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

impl Randomness for OsMachine {
    fn number(&self) -> io::Result<u64> {
        getrandom::u64().map_err(io::Error::other)
    }
}

/// Derives both from a seed and a counter, so that a replay gets the same ones.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct CountedMachine {
    seed: u64,
    asked: std::sync::atomic::AtomicU64,
}

#[cfg(test)]
impl CountedMachine {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, asked: std::sync::atomic::AtomicU64::new(0) }
    }

    fn next(&self) -> u64 {
        self.asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
    }
}

#[cfg(test)]
impl Clock for CountedMachine {
    /// Starts on a day in 2023 and is at least a millisecond later at every call.
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_700_000_000_000 + self.next())
    }
}

#[cfg(test)]
impl Randomness for CountedMachine {
    fn number(&self) -> io::Result<u64> {
        Ok(crate::storage::key::hash(&(self.seed ^ self.next().rotate_left(32)).to_le_bytes()))
    }
}
