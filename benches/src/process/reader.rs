//! Processes that read a cache of this process: each maps its files and follows it by itself.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write, stdin, stdout};
use std::path::Path;
use std::process::ChildStdout;
use std::time::Duration;

use pillion::Cache;

use super::{DIRECTORY, Process, ROWS, say_ready};
use crate::Result;
use crate::data::{Keys, Points};
use crate::harness::Histogram;
use crate::workload::read_for;

pub(super) const ROLE: &str = "reader";
/// Names the kind of reader.
const KIND: &str = "PILLION_BENCH_READER";
/// The pause of a reader; a process that only follows has the same.
const PAUSE: Duration = Duration::from_millis(1);

/// What a reader does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReaderKind {
    /// Looks up a hundred rows, then pauses.
    Gets,
    /// Asks for the version once, then pauses.
    Follows,
}

/// A process that reads when it is asked to.
#[derive(Debug)]
pub struct Reader {
    // Before the process: it ends when its input closes.
    lines: BufReader<ChildStdout>,
    process: Process,
}

/// What a reader saw.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Latencies of its calls.
    pub histogram: Histogram,
    /// Time on a processor, of all its threads.
    pub cpu: Duration,
    /// Versions that it saw follow each other.
    pub versions: u64,
    /// Rows that it did not find, though all are there.
    pub missed: u64,
}

impl Reader {
    /// Starts a reader of the cache in `dir`, which has a table of `points`.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start(dir: &Path, points: Points, kind: ReaderKind) -> Result<Self> {
        let rows = points.rows().to_string();
        let kind = if kind == ReaderKind::Gets { "gets" } else { "follows" };
        let settings = [(DIRECTORY, dir.as_os_str()), (ROWS, OsStr::new(&rows)), (KIND, OsStr::new(kind))];
        let mut process = Process::start(ROLE, &settings)?;
        let out = process.child.stdout.take().ok_or("the reader has no output")?;
        Ok(Self { lines: BufReader::new(out), process })
    }

    /// Asks it to read for some time.
    ///
    /// # Errors
    /// It is gone.
    pub fn begin(&mut self, time: Duration) -> Result<()> {
        let to = self.process.child.stdin.as_mut().ok_or("the reader has no input")?;
        writeln!(to, "{}", time.as_millis())?;
        Ok(to.flush()?)
    }

    /// Waits until it is done.
    ///
    /// # Errors
    /// It failed.
    pub fn seen(&mut self) -> Result<Seen> {
        let mut line = String::new();
        self.lines.read_line(&mut line)?;
        let mut words = line.split_whitespace().map(str::parse::<u64>);
        let mut word = || words.next().ok_or_else(|| format!("the reader said `{}`", line.trim_end()));
        let (cpu, versions, missed, buckets) = (word()??, word()??, word()??, word()??);
        let mut histogram = Histogram::new();
        for _ in 0..buckets {
            let (value, count) = (word()??, word()??);
            histogram.record_many(value, count);
        }
        Ok(Seen { histogram, cpu: Duration::from_nanos(cpu), versions, missed })
    }
}

/// Runs in the process: reads as often as the bench asks for it.
pub(super) fn play(dir: &Path) -> Result<()> {
    let keys = Keys::new(Points::new(std::env::var(ROWS)?.parse()?));
    let follows = std::env::var(KIND)? == "follows";
    let cache = Cache::open_read_only(dir)?;
    let table = cache.table(Points::NAME)?;
    for batch in table.scan()? {
        batch?;
    }
    say_ready()?;
    for line in stdin().lock().lines() {
        let time = Duration::from_millis(line?.trim().parse()?);
        let (before, from) = (cpu()?, cache.version()?.sequence);
        let (mut histogram, mut missed) = (Histogram::new(), 0);
        if follows {
            let until = std::time::Instant::now() + time;
            while std::time::Instant::now() < until {
                crate::harness::timed(&mut histogram, || Ok(cache.version()?))?;
                std::thread::sleep(PAUSE);
            }
        } else {
            missed = read_for(&table, keys, &mut histogram, time)?;
        }
        let (used, to) = (cpu()?.saturating_sub(before), cache.version()?.sequence);
        let values = histogram.values();
        let mut out = stdout().lock();
        write!(out, "{} {} {missed} {}", used.as_nanos(), to - from, values.len())?;
        for (value, count) in values {
            write!(out, " {value} {count}")?;
        }
        writeln!(out)?;
        out.flush()?;
    }
    Ok(())
}

/// Time on a processor so far, of all threads.
fn cpu() -> Result<Duration> {
    let mut total = 0;
    for task in std::fs::read_dir("/proc/self/task")? {
        let text = std::fs::read_to_string(task?.path().join("schedstat"))?;
        total += text.split_whitespace().next().ok_or("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}
