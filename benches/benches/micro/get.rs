//! `get` and `get_many`, without reading the rows.

use criterion::{BatchSize, Criterion, Throughput};
use pillion_benches::Result;
use pillion_benches::data::{Keys, Points};
use pillion_benches::workload::{MANY, Stored};

use super::ROWS;

/// Lookups of present keys, of absent keys, and of many keys.
pub(super) fn run(criterion: &mut Criterion) -> Result<()> {
    let points = Points::new(ROWS);
    let keys = Keys::new(points);
    let stored = Stored::create()?;
    let table = stored.load_points(points.batches()?)?;
    let snapshot = stored.cache().snapshot()?;
    let held = snapshot.table(Points::NAME)?;
    let mut group = criterion.benchmark_group("get");
    let mut call = 0;
    let mut next = move || {
        call += 1;
        call
    };
    group.bench_function("present", |bencher| bencher.iter(|| table.get(keys.present(next()))));
    group.bench_function("present, snapshot", |bencher| bencher.iter(|| held.get(keys.present(next()))));
    group.bench_function("absent", |bencher| bencher.iter(|| table.get(keys.absent(next()))));
    group.throughput(Throughput::Elements(MANY));
    group.bench_function("many", |bencher| {
        bencher.iter_batched(
            || keys.many(next(), MANY).collect::<Vec<i64>>(),
            |keys| table.get_many(&keys),
            BatchSize::SmallInput,
        );
    });
    group.finish();
    Ok(())
}
