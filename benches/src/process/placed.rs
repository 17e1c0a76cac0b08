//! Round trips with their ends on chosen processors.
//!
//! Half of the time of a round trip depends on where the kernel wakes the other end: on the processor of the caller,
//! which is about to sleep, or on another one, which sleeps already. The kernel chooses freely, so two round trips can
//! be compared only if both have the same placement.

use std::process::{Command, Stdio};

use crate::Result;
use crate::harness::{Contestant, Sink};

/// Where the two ends run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Both on the first processor.
    Together,
    /// On the first and the second.
    Apart,
}

impl Placement {
    /// Whether this machine supports the placement: it needs `taskset` and enough processors.
    pub fn is_possible(self) -> bool {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let has_taskset = Command::new("taskset").arg("--version").stdout(Stdio::null()).status();
        has_taskset.is_ok_and(|status| status.success()) && (self == Self::Together || processors > 1)
    }
}

/// A contestant whose calls another process answers; both are placed for the time of a round.
#[derive(Debug)]
pub struct Placed<C> {
    contestant: C,
    answers: u32,
    placement: Placement,
}

impl<C> Placed<C> {
    /// The process `answers` answers the calls of `contestant`.
    pub(super) fn new(contestant: C, answers: u32, placement: Placement) -> Self {
        Self { contestant, answers, placement }
    }

    fn place(&self, here: &str, there: &str) -> Result<()> {
        // Places only the calling thread, so that other threads of the bench are not in its way, and all threads of the
        // other process.
        let own = std::fs::read_link("/proc/thread-self")?;
        let own = own.file_name().and_then(|name| name.to_str()).ok_or("a thread has no number")?;
        set(&["--cpu-list", "--pid", here, own])?;
        set(&["--all-tasks", "--cpu-list", "--pid", there, &self.answers.to_string()])
    }
}

fn set(arguments: &[&str]) -> Result<()> {
    let done = Command::new("taskset").args(arguments).stdout(Stdio::null()).status()?;
    if done.success() { Ok(()) } else { Err(format!("taskset {}: {done}", arguments.join(" ")).into()) }
}

impl<C: Contestant> Contestant for Placed<C> {
    fn call(&mut self, call: u64, sink: &mut impl Sink) -> Result<()> {
        self.contestant.call(call, sink)
    }

    fn begin_round(&mut self) -> Result<()> {
        match self.placement {
            Placement::Together => self.place("0", "0"),
            Placement::Apart => self.place("0", "1"),
        }
    }

    fn end_round(&mut self) -> Result<()> {
        let all = std::thread::available_parallelism().map_or(1, usize::from) - 1;
        let all = format!("0-{all}");
        self.place(&all, &all)
    }
}
