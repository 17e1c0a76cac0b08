//! The memory of a refresh.

use std::path::Path;
use std::process::Command;
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

/// Names the folder of files to a process that only refreshes a table from them: memory that this one used before would count.
const FOLDER: &str = "PILLION_BENCH_MEMORY";

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
    let mut took = Histogram::new();
    let done = timed(&mut took, || {
        Ok(Command::new(std::env::current_exe()?).env(FOLDER, files.path()).output()?)
    })?;
    let said = String::from_utf8(done.stdout)?;
    let numbers = said.split_whitespace().map(str::parse).collect::<std::result::Result<Vec<u64>, _>>()?;
    let [loaded, before, peak] = numbers.as_slice() else {
        return Err(format!("the refresh failed: {}", String::from_utf8_lossy(&done.stderr)).into());
    };
    if *loaded != rows {
        return Err(format!("{loaded} of {rows} rows were loaded").into());
    }
    bench.set("rows of the large refresh", &rows);
    bench.set("anonymous MiB before it", &(before >> 20));
    bench.set("anonymous MiB at most during it", &(peak >> 20));
    bench.measured(Phase::row(REFRESH, &[Phase::new("refresh", took)]));
    Ok(())
}

/// Refreshes a table if this process was started for that. Prints the rows, the memory before and the most during it.
pub(super) fn refresh_only() -> Result<bool> {
    let Some(files) = std::env::var_os(FOLDER) else { return Ok(false) };
    let (cache, _dir) = cache_of(folder(Path::new(&files))?)?;
    let (before, peak, stop) = (anonymous()?, AtomicU64::new(0), AtomicBool::new(false));
    scope(|scope| {
        let watch = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous()?, Ordering::Relaxed);
                std::thread::sleep(PAUSE);
            }
            Result::Ok(())
        });
        let defined = cache.define_table(Points::NAME, followed("*.parquet"));
        stop.store(true, Ordering::Relaxed);
        watch.join().map_err(|_| "the watch panicked")??;
        Result::Ok(defined?)
    })?;
    println!("{} {before} {}", cache.table(Points::NAME)?.info()?.rows, peak.into_inner());
    Ok(true)
}

/// Anonymous memory of this process that is resident, in bytes.
fn anonymous() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib << 10)
}
