//! Many processes, one cache: an owner that writes, and readers that map its files and follow its commits.
//!
//! ```sh
//! cargo run --release -p pillion-examples --example many_processes [DIRECTORY]
//! ```
//!
//! The program starts itself again as its readers. They send the owner no message and keep no copy of the rows. The
//! program measures that eight readers need the memory of one, and how soon they see what the owner commits.

use std::error::Error;
use std::ffi::OsStr;
use std::hint::black_box;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::{Int64Type, TimeUnit, TimestampMicrosecondType};
use pillion::{Cache, Table, TableDefinition, ValueRef};

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

/// The data comes with the repository: https://github.com/tidyverse/nycflights13.
const FLIGHTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/flights.parquet");

/// The first argument of a reader.
const READER: &str = "--reader";
/// How long readers look up rows.
const TIME: Duration = Duration::from_secs(1);
/// About how often the owner commits.
const PAUSE: Duration = Duration::from_millis(10);
/// Rows of a commit.
const EVENTS: i64 = 10;
/// Lookups between two looks at the version and the clock.
const GETS: u64 = 100;

fn main() -> Result<()> {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    match arguments.as_slice() {
        [role, dir] if role == READER => read(Path::new(dir)),
        [dir] => own(Path::new(dir)),
        _ => own(&std::env::temp_dir().join("pillion-many-processes")),
    }
}

// The owner.

/// Owns the cache, writes to it, and starts readers beside it.
fn own(dir: &Path) -> Result<()> {
    let cache = Cache::open(dir)?;
    let keys = ["time_hour", "carrier", "flight"];
    let flights =
        cache.define_table("flights", TableDefinition::parquet(FLIGHTS).primary_key(keys))?.info()?;
    if cache.tables()?.iter().any(|table| table.name == "events") {
        cache.drop_table("events")?;
    }
    let none_yet = events(0)?.slice(0, 0);
    let table =
        cache.define_table("events", TableDefinition::new(none_yet).primary_key(["commit", "number"]))?;
    let (rows, size) = (thousands(flights.rows), mib(flights.bytes));
    println!("An owner with {rows} flights in {size} of files, in {}", dir.display());

    let (stop, stopped) = mpsc::channel();
    let writer = thread::Builder::new().name("writer".into()).spawn(move || write(&table, &stopped))?;

    // What was optimised of it: see build.rs.
    let build = env!("PILLION_BUILD");
    let processors = thread::available_parallelism()?;
    println!("\nReaders look up random flights while the owner commits ({build}, {processors} processors):");
    println!("  processes  gets per second  commits that each saw  seen after");
    let mut memory = None;
    for processes in [1, 2, 8] {
        let mut readers = (0..processes).map(|_| Reader::start(dir)).collect::<Result<Vec<_>>>()?;
        readers.iter_mut().try_for_each(Reader::go)?;
        let reports = readers.iter_mut().map(Reader::report).collect::<Result<Vec<_>>>()?;

        let gets: f64 = reports.iter().map(|report| report.gets_per_second).sum();
        let mut delays: Vec<_> = reports.into_iter().flat_map(|report| report.delays).collect();
        let commits = delays.len() / processes;
        println!("  {processes:>9}{:>17}{commits:>23}{:>12}", thousands(gets as u64), median(&mut delays));

        // They wait, and everything that they touched is still mapped.
        let mapped = readers.iter().map(|reader| Memory::of(reader.process.id(), dir));
        memory = mapped.reduce(|sum, one| Some(sum?.plus(one?))).flatten();
        readers.into_iter().try_for_each(Reader::end)?;
    }
    drop(stop);
    let mut commits = writer.join().map_err(|_| "the writer panicked")??;
    let (times, commit) = (commits.len(), median(&mut commits));
    println!(
        "  Seen after: from the making of a row until a reader has it (p50). The owner's commit, a part of it,"
    );
    println!("  takes {commit} (p50 of {times}).");

    match memory {
        Some(Memory { rss, pss }) => {
            println!("\nMemory of the eight readers in mapped files of tables (/proc/PID/smaps):");
            println!("  {:>10}  the sum of what each has in memory (RSS)", mib(rss));
            println!("  {:>10}  with a page that n processes share as 1/n of it in each (PSS)", mib(pss));
        }
        None => println!("\nOnly Linux reports how much memory the readers share."),
    }
    cache.close()?;
    Ok(())
}

/// Commits events until told to stop; returns how long each commit took.
fn write(table: &Table, stopped: &mpsc::Receiver<()>) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    // The owner drops the other end at the end, and also if something fails.
    while stopped.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
        let commit = i64::try_from(times.len())?;
        let started = Instant::now();
        table.append(events(commit)?)?;
        times.push(started.elapsed());
    }
    Ok(times)
}

/// The rows of a commit. They say when they were made, by the clock that all processes of a machine share.
fn events(commit: i64) -> Result<RecordBatch> {
    let column = |value: &dyn Fn(i64) -> i64| {
        Arc::new(Int64Array::from_iter_values((0..EVENTS).map(value))) as ArrayRef
    };
    let now = now()?;
    let columns = [
        ("commit", column(&|_| commit)),
        ("number", column(&|number| number)),
        ("made_at", column(&|_| now)),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// A process that reads, as its parent sees it.
struct Reader {
    process: Child,
    answers: BufReader<ChildStdout>,
}

/// What a reader found.
struct Report {
    gets_per_second: f64,
    /// From the making of a row to the moment that the reader had it.
    delays: Vec<Duration>,
}

impl Reader {
    fn start(dir: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args([OsStr::new(READER), dir.as_os_str()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn()?;
        let answers = process.stdout.take().ok_or("the reader has no output")?;
        let mut reader = Self { process, answers: BufReader::new(answers) };
        reader.line()?;
        Ok(reader)
    }

    fn go(&mut self) -> Result<()> {
        Ok(self.process.stdin.as_mut().ok_or("the reader has no input")?.write_all(b"go\n")?)
    }

    fn report(&mut self) -> Result<Report> {
        let line = self.line()?;
        let (gets_per_second, delays) = line.trim().split_once(':').ok_or("not a report")?;
        let delays = delays.split_whitespace().map(|nanos| Ok(Duration::from_nanos(nanos.parse()?)));
        Ok(Report { gets_per_second: gets_per_second.parse()?, delays: delays.collect::<Result<_>>()? })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        match self.answers.read_line(&mut line)? {
            0 => Err("a reader failed".into()),
            _ => Ok(line),
        }
    }

    fn end(mut self) -> Result<()> {
        drop(self.process.stdin.take());
        if self.process.wait()?.success() { Ok(()) } else { Err("a reader failed".into()) }
    }
}

// A reader.

/// Looks up random flights, follows the commits of the owner, and tells its parent what it saw.
fn read(dir: &Path) -> Result<()> {
    let cache = Cache::open_read_only(dir)?;
    let (flights, events) = (cache.table("flights")?, cache.table("events")?);
    let delay = flights.schema().index_of("arr_delay")?;
    let keys = Keys::of(&flights)?;
    println!("{}", cache.way());
    let mut commands = std::io::stdin().lines();
    if commands.next().is_none() {
        return Ok(());
    }

    let mut version = cache.version()?;
    let mut commit = 0;
    while events.get((commit, 0))?.is_some() {
        commit += 1;
    }
    let mut random = u64::from(std::process::id());
    let (mut gets, mut delays) = (0_u64, Vec::new());
    let started = Instant::now();
    while started.elapsed() < TIME {
        for _ in 0..GETS {
            let row = flights.get(keys.random(&mut random))?.ok_or("a flight is missing")?;
            black_box(row.get::<Option<i64>>(delay)?);
        }
        gets += GETS;

        // Every call reads the newest commit of the owner. To find that there is none costs one load of memory.
        let newest = cache.version()?;
        if newest == version {
            continue;
        }
        if newest.includes(version) != Some(true) {
            return Err(format!("version {newest} came after {version}").into());
        }
        version = newest;
        while let Some(event) = events.get((commit, 0))? {
            delays.push(now()? - event.get::<i64>("made_at")?);
            // Rows of one commit are seen together.
            events.get((commit, EVENTS - 1))?.ok_or("half of a commit is missing")?;
            commit += 1;
        }
    }
    let rate = gets as f64 / started.elapsed().as_secs_f64();
    let delays: Vec<String> = delays.iter().map(i64::to_string).collect();
    println!("{rate}:{}", delays.join(" "));
    // Stays until the parent has seen how much memory this process has mapped.
    commands.next();
    Ok(())
}

/// The keys of all flights.
struct Keys(RecordBatch);

impl Keys {
    fn of(flights: &Table) -> Result<Self> {
        Ok(Self(flights.scan_columns(["time_hour", "carrier", "flight"])?.concat()?))
    }

    /// One of them; a linear congruential generator is random enough for that.
    fn random(&self, state: &mut u64) -> [ValueRef<'_>; 3] {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let row = (*state >> 33) as usize % self.0.num_rows();
        let hour = self.0.column(0).as_primitive::<TimestampMicrosecondType>().value(row);
        let carrier = self.0.column(1).as_string::<i32>().value(row);
        let number = self.0.column(2).as_primitive::<Int64Type>().value(row);
        let hour = ValueRef::Timestamp { value: hour, unit: TimeUnit::Microsecond };
        [hour, ValueRef::Str(carrier), ValueRef::Int(number)]
    }
}

// What both need.

/// Bytes of mapped files that are in memory.
#[derive(Clone, Copy)]
struct Memory {
    rss: u64,
    pss: u64,
}

impl Memory {
    /// What a process has mapped of the files of tables; `None` if the system does not report it.
    fn of(process: u32, dir: &Path) -> Option<Self> {
        let tables = std::path::absolute(dir).ok()?.join("tables");
        let smaps = std::fs::read_to_string(format!("/proc/{process}/smaps")).ok()?;
        let mut sum = Self { rss: 0, pss: 0 };
        let mut counts = false;
        for line in smaps.lines() {
            // A mapping begins with a line that ends in the path of its file; then come its figures.
            match line.split_once(':') {
                Some(("Rss", size)) if counts => sum.rss += kib(size)?,
                Some(("Pss", size)) if counts => sum.pss += kib(size)?,
                Some((name, _)) if name.contains(' ') => {
                    counts = line.find('/').is_some_and(|path| Path::new(&line[path..]).starts_with(&tables));
                }
                _ => {}
            }
        }
        Some(sum)
    }

    fn plus(self, other: Self) -> Self {
        Self { rss: self.rss + other.rss, pss: self.pss + other.pss }
    }
}

/// Bytes of a size such as `132 kB`, which means 132 × 1024 bytes in /proc.
fn kib(size: &str) -> Option<u64> {
    Some(size.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// A number such as 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Nanoseconds since 1970.
fn now() -> Result<i64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_nanos().try_into()?)
}

fn median(times: &mut [Duration]) -> String {
    times.sort_unstable();
    match times.get(times.len() / 2) {
        Some(median) => format!("{:.2} ms", median.as_secs_f64() * 1e3),
        None => "never".to_owned(),
    }
}
