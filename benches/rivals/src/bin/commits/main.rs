//! Commits and what they do to readers: the stream of upserts, paced commits of one row, lookups afterwards, the cost of a
//! commit, and the start after a crash. SQLite stands beside what it has too.

mod cost;
mod lookups;
mod restarts;
mod streams;

use std::time::Duration;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Points, SEED};
use pillion_benches::harness::Histogram;
use pillion_benches::options::{Options, USAGE};
use pillion_benches::process;
use pillion_benches::workload;

/// How much is done, and for how long.
#[derive(Clone, Copy, Debug)]
struct Size {
    /// Rows of each table.
    points: Points,
    /// Rows of the large table.
    large: Points,
    /// Commits of the stream, which are made over and over.
    changes: u64,
    /// Rows of each.
    change_rows: u64,
    /// Time of what is compared with a stream.
    idle: Duration,
    /// Time of a stream.
    stream: Duration,
    /// Time of the paced stream.
    paced: Duration,
    /// Time of the stream before lookups.
    before_lookups: Duration,
}

const SIZE: Size = Size {
    points: workload::points(false),
    large: workload::points_large(false),
    changes: 1_000,
    change_rows: 1_000,
    idle: Duration::from_secs(5),
    stream: Duration::from_secs(20),
    paced: Duration::from_secs(60),
    before_lookups: Duration::from_secs(60),
};
/// In a trial run.
const SIZE_QUICK: Size = Size {
    points: workload::points(true),
    large: workload::points_large(true),
    changes: 100,
    change_rows: 1_000,
    idle: Duration::from_millis(100),
    stream: Duration::from_millis(500),
    paced: Duration::from_millis(500),
    before_lookups: Duration::from_millis(500),
};
/// With `--large`: the time of the stream before lookups.
const BEFORE_LOOKUPS_LARGE: Duration = Duration::from_secs(600);

fn main() -> Result<()> {
    if process::play()? {
        return Ok(());
    }
    let options = Options::parse(std::env::args().skip(1))?;
    if options.help {
        println!("{USAGE}");
        return Ok(());
    }
    let mut size = if options.quick { SIZE_QUICK } else { SIZE };
    if options.large && !options.quick {
        size.before_lookups = BEFORE_LOOKUPS_LARGE;
    }
    let mut bench = Bench::new("Pillion: commits, and reads while they come", options);
    bench.set("rows", &size.points.rows());
    bench.set("rows of the large table", &size.large.rows());
    bench.set("seed", &SEED);
    bench.set("SQLite", &pillion_benches_rivals::sqlite::version());
    bench.set("load at the start", &load());
    let missed = streams::streams(&mut bench, &size)?;
    lookups::lookups(&mut bench, &size)?;
    cost::cost(&mut bench, &size)?;
    restarts::restarts(&mut bench, &size)?;
    bench.set("load at the end", &load());
    bench.finish("commits")?;
    match missed {
        0 => Ok(()),
        _ => Err(format!("readers did not find, or found twice, {missed} rows").into()),
    }
}

/// Processes that wanted a processor in the last minute, others than this bench's included.
fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().unwrap_or("unknown").to_owned()
}

/// The latencies of several.
fn merged<'a>(histograms: impl IntoIterator<Item = &'a Histogram>) -> Histogram {
    histograms.into_iter().fold(Histogram::new(), |mut all, one| {
        all.merge(one);
        all
    })
}
