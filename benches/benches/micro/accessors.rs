//! Reading the columns of a row that was found.

use std::hint::black_box;

use criterion::Criterion;
use pillion::ValueRef;
use pillion_benches::Result;
use pillion_benches::data::Points;
use pillion_benches::workload::Stored;

use super::ROWS;

/// Reads by position and by name, of each type of the table.
pub(super) fn run(criterion: &mut Criterion) -> Result<()> {
    let stored = Stored::create()?;
    let batches = Points::new(ROWS).batches()?;
    let table = stored.load_points(batches)?;
    let row = table.get(78)?.ok_or("even numbers are there")?;
    let mut group = criterion.benchmark_group("row");
    group.bench_function("integer by position", |bencher| bencher.iter(|| black_box(&row).get::<i64>(1)));
    group.bench_function("integer by name", |bencher| bencher.iter(|| black_box(&row).get::<i64>("amount")));
    group
        .bench_function("optional integer", |bencher| bencher.iter(|| black_box(&row).get::<Option<i64>>(1)));
    group.bench_function("double", |bencher| bencher.iter(|| black_box(&row).get::<f64>(2)));
    group.bench_function("text", |bencher| bencher.iter(|| black_box(&row).get::<&str>(3).map(str::len)));
    group.bench_function("owned text", |bencher| bencher.iter(|| black_box(&row).get::<String>(3)));
    group.bench_function("any value", |bencher| {
        bencher.iter(|| matches!(black_box(&row).get::<ValueRef<'_>>(3), Ok(ValueRef::Str(_))));
    });
    group.bench_function("all as a batch", |bencher| bencher.iter(|| black_box(&row).to_batch()));
    group.bench_function("clone", |bencher| bencher.iter(|| black_box(&row).clone()));
    group.finish();
    Ok(())
}
