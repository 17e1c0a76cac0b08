//! Opening a cache.

use criterion::Criterion;
use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::data::Points;
use pillion_benches::workload::Stored;

use super::ROWS;

/// Opens a cache as the owner, including its closing, and for reading.
pub(super) fn run(criterion: &mut Criterion) -> Result<()> {
    let stored = Stored::create()?;
    let batches = Points::new(ROWS).batches()?;
    stored.load_points(batches)?;
    let dir = stored.close()?;
    let mut group = criterion.benchmark_group("open");
    group.sample_size(20);
    group.bench_function("owner, with close", |bencher| {
        bencher.iter(|| Cache::open(dir.path()).and_then(|cache| cache.close()));
    });
    group.bench_function("read only", |bencher| bencher.iter(|| Cache::open_read_only(dir.path())));
    group.finish();
    Ok(())
}
