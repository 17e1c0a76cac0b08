//! Lookups beside refreshes.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points, write_parquet};
use pillion_benches::harness::{Histogram, Phase, Subject};
use pillion_benches::workload::{read_for, read_until};

use super::Size;
use super::tables::{cache_of, folder, followed, wait_until_idle};

const GETS: Subject = Subject {
    figure: "S3",
    name: "get beside ten refreshes",
    state: "bursts of lookups in one thread, while ten other tables are loaded from local files; goal: p99 to p99",
};
/// Tables that are refreshed at once, as far as the cache lets them.
const TABLES: usize = 10;
/// The p99 beside refreshes may be this much of that without.
const AT_MOST: f64 = 2.0;
const IDLE: Duration = Duration::from_secs(5);

pub(super) fn beside(bench: &mut Bench, size: &Size) -> Result<()> {
    if !bench.wants(&[GETS]) {
        return Ok(());
    }
    eprintln!("running {}", GETS.title());
    let idle_time = if bench.is_quick() { Duration::from_millis(50) } else { IDLE };
    let files = tempfile::tempdir()?;
    let batches = size.points.batches()?;
    write_parquet(&files.path().join("points.parquet"), &batches)?;
    (0..TABLES).try_for_each(|number| {
        std::fs::copy(files.path().join("points.parquet"), files.path().join(format!("{number}.parquet")))
            .map(drop)
    })?;
    let (cache, _dir) = cache_of(folder(files.path())?)?;
    let table = cache.define_table(Points::NAME, followed("points.parquet"))?;
    let keys = Keys::new(size.points);
    let (mut idle, mut during, stop) = (Histogram::new(), Histogram::new(), AtomicBool::new(false));
    // Once to map and check what lookups need.
    let mut missed = read_for(&table, keys, &mut Histogram::new(), idle_time)?;
    missed += read_for(&table, keys, &mut idle, idle_time)?;
    missed += scope(|scope| {
        let reads = scope.spawn(|| read_until(&table, keys, &mut during, &stop));
        let refreshed = (0..TABLES)
            .try_for_each(|number| {
                cache.follow_table(&format!("t{number}"), followed(&format!("{number}.parquet")))
            })
            .map_err(Into::into)
            .and_then(|()| wait_until_idle(&cache));
        stop.store(true, Ordering::Relaxed);
        let missed = reads.join().map_err(|_| "the reader panicked")??;
        refreshed.map(|()| missed)
    })?;
    for number in 0..TABLES {
        if cache.table(&format!("t{number}"))?.info()?.rows != size.points.rows() {
            return Err("a refresh did not load its table".into());
        }
    }
    if missed > 0 {
        return Err("a row was not found".into());
    }
    let idle = Phase::new("idle", idle);
    let during = Phase::new("ten refreshes", during).at_most(AT_MOST, 99.0, &idle);
    bench.measured(Phase::row(GETS, &[idle, during]));
    Ok(())
}
