//! The bytes by which a change of a file is noticed.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use crate::stamps::Stamps;

/// Changes when marks are made in another way, so that no older mark equals a newer one.
const VERSION: u8 = 1;
const NEVER: u8 = 0;

/// The mark of a file. `published` says how far readers see its write-ahead log: a commit is written before it is shown, and
/// stamps alone would not tell the moment between.
pub(crate) fn of(stamps: &Stamps, published: (i64, i64)) -> Vec<u8> {
    let mut mark = vec![VERSION];
    stamps.encode(&mut mark);
    mark.extend(published.0.to_le_bytes());
    mark.extend(published.1.to_le_bytes());
    // A machine that lost its power may have bytes of a later time than it has times.
    mark.extend(fs::read("/proc/sys/kernel/random/boot_id").unwrap_or_default());
    mark
}

/// A mark that no other one equals.
pub(crate) fn never() -> Vec<u8> {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let mut mark = vec![NEVER];
    mark.extend(since.as_nanos().to_le_bytes());
    mark.extend(std::process::id().to_le_bytes());
    mark.extend(NUMBER.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    mark
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_that_nothing_equals_does_not_equal_itself() {
        assert_ne!(never(), never());
    }
}
