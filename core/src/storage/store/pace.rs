//! How fast rows are moved in the background, so that the disk is left to others.

use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

/// Limits whoever moves rows to a number of bytes a second, unless somebody waits for the move.
#[derive(Debug)]
pub(crate) struct Pace {
    state: Mutex<PaceState>,
    changed: Condvar,
}

#[derive(Debug)]
struct PaceState {
    bytes_a_second: u64,
    /// When the next bytes may be written.
    next: Instant,
    /// How many wait for moves to end.
    hurried: usize,
    /// Whether commits will have to wait for moves soon.
    urgent: bool,
}

impl PaceState {
    fn is_limited(&self) -> bool {
        self.bytes_a_second != u64::MAX && self.hurried == 0 && !self.urgent
    }
}

impl Pace {
    /// No limit.
    pub(crate) fn new() -> Self {
        let state = PaceState { bytes_a_second: u64::MAX, next: Instant::now(), hurried: 0, urgent: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Sets the limit; `u64::MAX` for none.
    pub(crate) fn limit(&self, bytes_a_second: u64) {
        self.state.lock().bytes_a_second = bytes_a_second.max(1);
    }

    /// Lifts the limit until the returned guard is dropped.
    pub(crate) fn hurry(&self) -> Hurry<'_> {
        self.state.lock().hurried += 1;
        self.changed.notify_all();
        Hurry { pace: self }
    }

    /// Sets whether commits will have to wait for moves soon, which lifts the limit.
    pub(crate) fn set_urgent(&self, urgent: bool) {
        self.state.lock().urgent = urgent;
        self.changed.notify_all();
    }

    /// Whether the limit applies now.
    pub(crate) fn is_limited(&self) -> bool {
        self.state.lock().is_limited()
    }

    /// Takes note that `bytes` were written, and blocks until more may be.
    pub(crate) fn wrote(&self, bytes: u64) {
        let mut state = self.state.lock();
        let nanoseconds = u128::from(bytes) * 1_000_000_000 / u128::from(state.bytes_a_second);
        let time = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        // Idle time is not saved up for later calls.
        let now = Instant::now();
        state.next = state.next.checked_add(time).unwrap_or(now).max(now);
        while state.is_limited() {
            let next = state.next;
            if self.changed.wait_until(&mut state, next).timed_out() {
                return;
            }
        }
        state.next = Instant::now();
    }

    /// Whether a mover has to wait.
    #[cfg(test)]
    pub(crate) fn is_holding(&self) -> bool {
        self.state.lock().next > Instant::now()
    }
}

/// Lifts the limit while somebody waits for moves.
#[derive(Debug)]
pub(crate) struct Hurry<'a> {
    pace: &'a Pace,
}

impl Drop for Hurry<'_> {
    fn drop(&mut self) {
        self.pace.state.lock().hurried -= 1;
    }
}
