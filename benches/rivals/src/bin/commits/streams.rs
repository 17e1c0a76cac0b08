//! Streams of upserts while others read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::Duration;

use pillion::Cache;
use pillion_benches::Result;
use pillion_benches::bench::Bench;
use pillion_benches::data::{Keys, Points};
use pillion_benches::harness::{Histogram, Phase, Subject};
use pillion_benches::process::{Reader, ReaderKind, Seen};
use pillion_benches::workload::{Mixed, Stored, Streamed, read_for, read_until, stream, stream_paced};

use super::{Size, merged};

/// Segments of the table, all of which overlap in their keys.
const SEGMENTS: usize = 8;
/// Processes that read.
const READERS: usize = 4;
/// A row of the stream may take so long: 500,000 rows a second.
const ROW_TIME: Duration = Duration::from_micros(2);
/// Commits of the paced stream a second: 500,000 rows.
const STREAM_PACE: u32 = 500;
/// Reads may take so many times as long as without a stream.
const READS_AT_MOST: f64 = 2.0;
/// Commits of one row a second.
const PACE: u32 = 10_000;

const STREAM: Subject = Subject {
    figure: "P11",
    name: "upsert stream",
    state: "commits of 1,000 rows with random keys, keyed table over 8 segments, `interval`; goal: mean time of a commit, 500 k rows/s",
};
const GETS: Subject = Subject {
    figure: "P11",
    name: "get beside the stream",
    state: "one thread of the owner, 100 lookups and 1 ms of pause, every column read, while 500,000 rows a second come, and as many as can; goal: p99 to p99",
};
const STREAM_ATTACHED: Subject = Subject {
    figure: "P11",
    name: "upsert stream, 4 attached readers",
    state: "as upsert stream, four other processes read",
};
const GETS_ATTACHED: Subject = Subject {
    figure: "P11",
    name: "get beside the stream, attached",
    state: "all lookups of four processes, 100 and 1 ms of pause each, as get beside the stream; goal: p99 to p99",
};
const FOLLOW: Subject = Subject {
    figure: "P11",
    name: "following the stream",
    state: "a process that only asks for the version, and pauses 1 ms",
};
const PACED: Subject = Subject {
    figure: "P11",
    name: "one-row commits",
    state: "10,000 commits of one row a second; goal: mean time between two that keeps this pace",
};
const PACED_GETS: Subject = Subject {
    figure: "P11",
    name: "get beside one-row commits",
    state: "lookups, scans and sums in turn in one thread of the owner; goal: p99 to p99",
};
const PACED_SCANS: Subject = Subject {
    figure: "P11",
    name: "scan beside one-row commits",
    state: "to the last batch; goal: p50 to p50",
};
const PACED_SUMS: Subject = Subject {
    figure: "P11",
    name: "sum beside one-row commits",
    state: "SELECT sum(amount) as text; goal: p50 to p50",
};

/// Returns how many rows were not found though all are there, or found twice.
pub(super) fn streams(bench: &mut Bench, size: &Size) -> Result<u64> {
    let mut missed = 0;
    if bench.wants(&[STREAM, GETS]) {
        eprintln!("running {}", STREAM.title());
        missed += embedded(bench, size)?;
    }
    if bench.wants(&[STREAM_ATTACHED, GETS_ATTACHED, FOLLOW]) {
        eprintln!("running {}", STREAM_ATTACHED.title());
        missed += attached(bench, size)?;
    }
    if bench.wants(&[PACED, PACED_GETS, PACED_SCANS, PACED_SUMS]) {
        eprintln!("running {}", PACED.title());
        paced(bench, size)?;
    }
    Ok(missed)
}

fn embedded(bench: &mut Bench, size: &Size) -> Result<u64> {
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(&size.points.batches()?, SEGMENTS)?;
    bench.set("segments before the stream", &table.info()?.segments);
    let (keys, changes) = (Keys::new(size.points), size.points.changes(size.changes, size.change_rows)?);
    let (mut idle, mut after, mut missed) = (Histogram::new(), Histogram::new(), 0);
    // Once to map and check what lookups need.
    missed += read_for(&table, keys, &mut Histogram::new(), size.idle)?;
    missed += read_for(&table, keys, &mut idle, size.idle)?;
    let mut beside = |stream: &dyn Fn() -> Result<Streamed>| {
        let (stop, mut during) = (AtomicBool::new(false), Histogram::new());
        let streamed = scope(|scope| {
            let reads = scope.spawn(|| read_until(&table, keys, &mut during, &stop));
            let streamed = stream();
            stop.store(true, Ordering::Relaxed);
            missed += reads.join().map_err(|_| "the reader panicked")??;
            streamed
        })?;
        Result::Ok((streamed, during))
    };
    let (kept, paced) = beside(&|| stream_paced(&table, &changes, STREAM_PACE, size.stream))?;
    let (streamed, during) = beside(&|| stream(&table, &changes, size.stream))?;
    missed += read_for(&table, keys, &mut after, size.idle)?;
    bench.set("segments after the stream", &table.info()?.segments);
    bench.set("rows upserted a second, one reader, paced", &format!("{:.0} k", kept.rows_per_second() / 1e3));
    tell(bench, STREAM, "one reader", &streamed);
    let idle = Phase::new("idle", idle);
    let paced = Phase::new("500,000 rows a second", paced).at_most(READS_AT_MOST, 99.0, &idle);
    let phases = [idle, paced, Phase::new("full speed", during), Phase::new("after", after)];
    bench.measured(Phase::row(GETS, &phases));
    Ok(missed)
}

fn attached(bench: &mut Bench, size: &Size) -> Result<u64> {
    let stored = Stored::create()?;
    let table = stored.load_points_in_commits(&size.points.batches()?, SEGMENTS)?;
    let changes = size.points.changes(size.changes, size.change_rows)?;
    let start = |kind| Reader::start(stored.dir(), size.points, kind);
    let mut readers = (0..READERS).map(|_| start(ReaderKind::Gets)).collect::<Result<Vec<_>>>()?;
    let mut follower = start(ReaderKind::Follows)?;
    // Once to map and check what lookups need.
    read_together(&mut readers, size.idle)?;
    let idle = read_together(&mut readers, size.idle)?;
    let idle_follower = read_together(std::slice::from_mut(&mut follower), size.idle)?;
    readers.iter_mut().try_for_each(|reader| reader.begin(size.stream))?;
    let kept = stream_paced(&table, &changes, STREAM_PACE, size.stream)?;
    let paced = readers.iter_mut().map(Reader::seen).collect::<Result<Vec<_>>>()?;
    bench.set(
        "rows upserted a second, 4 attached readers, paced",
        &format!("{:.0} k", kept.rows_per_second() / 1e3),
    );
    // The stream ends with the last of its changes, and so a little later than they.
    readers.iter_mut().chain([&mut follower]).try_for_each(|reader| reader.begin(size.stream))?;
    let streamed = stream(&table, &changes, size.stream)?;
    let during = readers.iter_mut().map(Reader::seen).collect::<Result<Vec<_>>>()?;
    let during_follower = vec![follower.seen()?];
    if during.iter().chain(&during_follower).any(|seen| seen.versions == 0) {
        return Err("a reader did not follow".into());
    }
    tell(bench, STREAM_ATTACHED, "4 attached readers", &streamed);
    for (name, seen, time) in [
        ("CPU of a reader, idle", &idle, size.idle),
        ("CPU of a reader, 500,000 rows a second", &paced, size.stream),
        ("CPU of a reader, stream", &during, size.stream),
        ("CPU of a follower, idle", &idle_follower, size.idle),
        ("CPU of a follower, stream", &during_follower, size.stream),
    ] {
        let cpu: f64 = seen.iter().map(|seen| seen.cpu.as_secs_f64()).sum();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let share = cpu / seen.len() as f64 / time.as_secs_f64() * 100.0;
        bench.set(name, &format!("{share:.1} %"));
    }
    let missed = paced.iter().chain(&during).map(|seen| seen.missed).sum::<u64>();
    bench.set("rows that attached readers did not find", &missed);
    // One that comes now reads the manifest and the log, and not what the others followed.
    let late = Cache::open_read_only(stored.dir())?.table(Points::NAME)?.scan()?;
    let rows = late.map(|batch| Ok(batch?.num_rows() as u64)).sum::<Result<u64>>()?;
    bench.set("rows in a scan of a late reader", &rows);
    let missed = missed + rows.abs_diff(size.points.rows());
    let phase = |name, seen: &[Seen]| Phase::new(name, merged(seen.iter().map(|seen| &seen.histogram)));
    let idle = phase("idle", &idle);
    let paced = phase("500,000 rows a second", &paced).at_most(READS_AT_MOST, 99.0, &idle);
    bench.measured(Phase::row(GETS_ATTACHED, &[idle, paced, phase("full speed", &during)]));
    let (idle, during) = (phase("idle", &idle_follower), phase("during", &during_follower));
    bench.measured(Phase::row(FOLLOW, &[idle, during]));
    Ok(missed)
}

fn read_together(readers: &mut [Reader], time: Duration) -> Result<Vec<Seen>> {
    readers.iter_mut().try_for_each(|reader| reader.begin(time))?;
    readers.iter_mut().map(Reader::seen).collect()
}

fn paced(bench: &mut Bench, size: &Size) -> Result<()> {
    let stored = Stored::create()?;
    let (cache, points) = (stored.cache(), size.points);
    let table = stored.load_points_in_commits(&points.batches()?, SEGMENTS)?;
    let changes = points.changes(u64::from(PACE), 1)?;
    let read = |time| {
        let stop = AtomicBool::new(false);
        scope(|scope| {
            let reads = scope.spawn(|| Mixed::read_until(cache, points, &stop));
            std::thread::sleep(time);
            stop.store(true, Ordering::Relaxed);
            reads.join().map_err(|_| "the reader panicked")?
        })
    };
    read(size.idle)?;
    let before = read(size.idle)?;
    let stop = AtomicBool::new(false);
    let (streamed, during) = scope(|scope| {
        let reads = scope.spawn(|| Mixed::read_until(cache, points, &stop));
        let streamed = stream_paced(&table, &changes, PACE, size.paced);
        stop.store(true, Ordering::Relaxed);
        let during = reads.join().map_err(|_| "the reader panicked")?;
        Result::Ok((streamed?, during?))
    })?;
    bench.set("rows in the log after one-row commits", &table.info()?.logged_rows);
    let after = read(size.idle)?;
    bench.set("one-row commits a second", &format!("{:.0}", streamed.rows_per_second()));
    let mean = streamed.elapsed / u32::try_from(streamed.rows)?.max(1);
    // A commit that a pause follows late by a little is still in pace.
    let commits =
        Phase::new("commit", streamed.commits).mean_at_most(mean, Duration::from_secs(1) * 101 / 100 / PACE);
    bench.measured(Phase::row(PACED, &[commits]));
    for (subject, percent, of) in [
        (PACED_GETS, 99.0, (|mixed: &Mixed| mixed.gets.clone()) as fn(&Mixed) -> Histogram),
        (PACED_SCANS, 50.0, |mixed| mixed.scans.clone()),
        (PACED_SUMS, 50.0, |mixed| mixed.sums.clone()),
    ] {
        let before = Phase::new("before", of(&before));
        let during = Phase::new("during", of(&during)).at_most(READS_AT_MOST, percent, &before);
        let after = Phase::new("right after", of(&after)).at_most(READS_AT_MOST, percent, &before);
        bench.measured(Phase::row(subject, &[before, during, after]));
    }
    Ok(())
}

/// Adds a stream to the report.
fn tell(bench: &mut Bench, subject: Subject, who: &str, streamed: &Streamed) {
    let rows = format!("{:.0} k", streamed.rows_per_second() / 1e3);
    bench.set(&format!("rows upserted a second, {who}"), &rows);
    let commits = streamed.commits.count().max(1);
    let mean = Duration::from_secs_f64(streamed.elapsed.as_secs_f64() / commits as f64);
    let rows_a_commit = u32::try_from(streamed.rows / commits).unwrap_or(u32::MAX);
    let commits = Phase::new("commit", streamed.commits.clone()).mean_at_most(mean, ROW_TIME * rows_a_commit);
    bench.measured(Phase::row(subject, &[commits]));
}
