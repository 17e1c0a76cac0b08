//! The memory of a refresh.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::scope;
use std::time::Duration;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Points, write_parquet};
use pillion_benches::harness::{Histogram, Phase, Subject, timed};

use super::Size;
use super::tables::{cache_of, folder, followed};

const REFRESH: Subject = Subject {
    figure: "S6",
    name: "refresh, large",
    state: "from local files of Parquet, keys in random order within each; its memory is above the table",
};
/// Rows of one file.
const FILE_ROWS: u64 = 1_000_000;
/// How often memory is looked at.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) fn memory(bench: &mut Bench, size: &Size) -> Result<()> {
    if !bench.wants(&[REFRESH]) {
        return Ok(());
    }
    eprintln!("running {}", REFRESH.title());
    let files = tempfile::tempdir()?;
    let rows = size.large.rows();
    for first in (0..rows).step_by(usize::try_from(FILE_ROWS)?) {
        let batches = size.large.batches_between(first, rows.min(first + FILE_ROWS))?;
        write_parquet(&files.path().join(format!("{first:010}.parquet")), &batches)?;
    }
    let (cache, _dir) = cache_of(folder(files.path())?)?;
    let (before, peak, stop) = (anonymous()?, AtomicU64::new(0), AtomicBool::new(false));
    let mut took = Histogram::new();
    scope(|scope| {
        let watch = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous()?, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            Result::Ok(())
        });
        let defined = timed(&mut took, || Ok(cache.define_table(Points::NAME, followed("*.parquet"))?));
        stop.store(true, Ordering::Relaxed);
        watch.join().map_err(|_| "the watch panicked")??;
        defined
    })?;
    let loaded = cache.table(Points::NAME)?.info()?.rows;
    if loaded != rows {
        return Err(format!("{loaded} of {rows} rows were loaded").into());
    }
    bench.set("rows of the large refresh", &rows);
    bench.set("anonymous MiB before it", &(before >> 20));
    bench.set("anonymous MiB at most during it", &(peak.into_inner() >> 20));
    bench.measured(Phase::row(REFRESH, &[Phase::new("refresh", took)]));
    Ok(())
}

/// Anonymous memory of this process that is resident, in bytes.
fn anonymous() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
