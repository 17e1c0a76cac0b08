//! Quickstart: all flights that left New York in 2013, next to the program that asks about them.
//!
//! ```sh
//! cargo run --release -p pillion-examples --example quickstart [DIRECTORY]
//! ```
//!
//! The first run loads five Parquet files into a cache directory. Every later run finds them there. The same program then
//! reads the same tables in all three ways: embedded in its own process; attached to a sidecar, whose files it maps; and
//! remote, where the sidecar answers every call.

use std::error::Error;
use std::hint::black_box;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, TimeUnit, TimestampMicrosecondType};
use arrow::util::display::array_value_to_string;
use pillion::{Attach, Cache, ConnectOptions, Row, ServerOptions, Table, TableDefinition, Value};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// The data comes with the repository: https://github.com/tidyverse/nycflights13.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");

/// The key of a flight: its hour in universal time, its airline and its number.
const FLIGHT: (&str, &str, i64) = ("2013-01-01T10:00:00", "UA", 1545);

/// Makes this program the sidecar; its value is the path of the socket.
const SIDECAR: &str = "PILLION_QUICKSTART_SIDECAR";

fn main() -> Result<()> {
    let default = || std::env::temp_dir().join("pillion-quickstart");
    let dir = std::env::args_os().nth(1).map_or_else(default, PathBuf::from);
    if let Some(socket) = std::env::var_os(SIDECAR) {
        return be_the_sidecar(&dir, socket.into());
    }

    let cache = open(&dir)?;
    look_up(&cache)?;
    ask(&cache)?;
    let embedded = measure(&cache)?;
    cache.close()?;
    drop(cache);

    let sidecar = Sidecar::start(&dir)?;
    let attached = measure(&sidecar.connect(Attach::Require)?)?;
    let remote = measure(&sidecar.connect(Attach::Never)?)?;
    drop(sidecar);
    print_latencies(&embedded, &attached, &remote);
    open_again(&dir)
}

/// Opens the cache and defines its tables.
fn open(dir: &Path) -> Result<Cache> {
    let started = Instant::now();
    let cache = Cache::open(dir)?;
    let start = if cache.tables()?.is_empty() { "cold" } else { "warm" };

    // A table that exists already stays as it is, and its file is not even opened. So a program can say what it needs
    // at every start, and only the first start loads.
    let file = |table: &str| TableDefinition::parquet(format!("{DATA}/{table}.parquet"));
    cache.define_table("flights", file("flights").primary_key(["time_hour", "carrier", "flight"]))?;
    cache.define_table("airlines", file("airlines").primary_key(["carrier"]))?;
    cache.define_table("airports", file("airports").primary_key(["faa"]))?;
    cache.define_table("planes", file("planes").primary_key(["tailnum"]))?;
    // Not every table needs a key. Queries ask for weather by time: because the table is sorted by time, a query about
    // a day reads little more than that day.
    cache.define_table("weather", file("weather").sort_by(["time_hour"]))?;

    let tables = cache.tables()?;
    let rows: u64 = tables.iter().map(|table| table.rows).sum();
    println!(
        "A {start} start in {}: {} tables, {} rows",
        time(started.elapsed()),
        tables.len(),
        thousands(rows)
    );
    println!("  in {}", dir.display());
    Ok(cache)
}

/// Looks up single rows by their keys: function calls, no query.
fn look_up(cache: &Cache) -> Result<()> {
    println!("\nOne flight by its key, and its airline, airports and plane by theirs:");
    let Some(flight) = cache.table("flights")?.get(FLIGHT)? else {
        println!("  there is no such flight");
        return Ok(());
    };
    // The cells of a row are read in place: this text is in the mapped file, not a copy.
    let carrier: &str = flight.get("carrier")?;
    let airline = name(&cache.table("airlines")?, carrier, "name")?;
    let airports = cache.table("airports")?;
    let origin = name(&airports, flight.get("origin")?, "name")?;
    let dest = name(&airports, flight.get("dest")?, "name")?;
    let plane = match flight.get::<Option<&str>>("tailnum")? {
        Some(tail) => format!("{tail}, {}", name(&cache.table("planes")?, tail, "model")?),
        None => "unknown".to_owned(),
    };
    println!("  {airline} {}, {origin} to {dest}, plane {plane}", flight.get::<i64>("flight")?);
    let (departed, arrived) = (clock(&flight, "dep_time")?, clock(&flight, "arr_time")?);
    let (dep_delay, arr_delay) = (delay(&flight, "dep_delay")?, delay(&flight, "arr_delay")?);
    println!("  departed at {departed}, {dep_delay}, and arrived at {arrived}, {arr_delay}");
    Ok(())
}

/// A text column of the row with a key, or the key itself if there is no such row.
fn name(table: &Table, key: &str, column: &str) -> Result<String> {
    match table.get(key)? {
        Some(row) => Ok(row.get(column)?),
        None => Ok(key.to_owned()),
    }
}

/// Asks all flights a question by SQL.
fn ask(cache: &Cache) -> Result<()> {
    let question = "
        SELECT month, origin, airline, flights, delay
        FROM (
            SELECT f.month, f.origin, a.name AS airline, count(*) AS flights,
                   CAST(avg(f.arr_delay) AS DECIMAL(6, 1)) AS delay,
                   row_number() OVER (PARTITION BY f.month ORDER BY avg(f.arr_delay) DESC) AS place
            FROM flights f JOIN airlines a ON a.carrier = f.carrier
            WHERE f.arr_delay IS NOT NULL
            GROUP BY f.month, f.origin, a.name
            HAVING count(*) >= $1
        )
        WHERE place = 1
        ORDER BY month";
    let at_least = 100;
    let started = Instant::now();
    let answer = cache.sql(question, &[at_least.into()])?.collect_all()?;
    let elapsed = time(started.elapsed());

    println!(
        "\nWhich airline was latest from which airport ({at_least} flights and more), by month, in {elapsed}:"
    );
    println!("  month  from  airline                     flights  mean delay");
    // An answer is a stream of Arrow batches: columns that any Arrow library reads. Here they are printed.
    for batch in &answer {
        for row in 0..batch.num_rows() {
            let cell = |column: usize| array_value_to_string(batch.column(column), row);
            let (month, origin, airline, flights, delay) = (cell(0)?, cell(1)?, cell(2)?, cell(3)?, cell(4)?);
            println!("  {month:>5}  {origin:4}  {airline:26}  {flights:>7}  {delay:>6} min");
        }
    }
    Ok(())
}

/// This program once more, as the process that owns the directory and serves it.
struct Sidecar {
    process: Child,
    socket: PathBuf,
}

impl Sidecar {
    fn start(dir: &Path) -> Result<Self> {
        let socket = std::env::temp_dir().join(format!("pillion-quickstart-{}.sock", std::process::id()));
        let mut command = Command::new(std::env::current_exe()?);
        // It ends when its input does, so that it never outlives this process.
        let process = command.arg(dir).env(SIDECAR, &socket).stdin(Stdio::piped()).spawn()?;
        Ok(Self { process, socket })
    }

    /// Connects; waits for a sidecar that is still starting.
    fn connect(&self, attach: Attach) -> Result<Cache> {
        Ok(ConnectOptions::new().attach(attach).connect(&self.socket)?)
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("the sidecar did not end: {error}");
        }
    }
}

/// What the sidecar does: five lines.
fn be_the_sidecar(dir: &Path, socket: PathBuf) -> Result<()> {
    let cache = Cache::open(dir)?;
    let server = cache.serve(ServerOptions::new(socket))?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    server.stop();
    Ok(cache.close()?)
}

/// What a call costs: its name, the median and the 99th percentile.
type Latency = (&'static str, Duration, Duration);

/// Measures what calls cost here and now, on keys from all over the table.
fn measure(cache: &Cache) -> Result<Vec<Latency>> {
    let mut latencies = Vec::new();
    let mut latency = |what, call: &dyn Fn(usize) -> Result<()>| -> Result<()> {
        latencies.push(time_calls(what, call)?);
        Ok(())
    };
    let flights = cache.table("flights")?;
    let keys = some_keys(&flights)?;
    let key = |call: usize| &keys[call % keys.len()];

    // Columns by position: their names are looked up once, not in every row.
    let names = ["year", "month", "day", "dep_delay", "arr_delay"];
    let columns = names.iter().map(|name| flights.schema().index_of(name)).collect::<Result<Vec<_>, _>>()?;
    latency("get by key and read five columns", &|call| {
        if let Some(row) = flights.get(key(call))? {
            for column in &columns {
                black_box(row.get::<Option<i64>>(column)?);
            }
        }
        Ok(())
    })?;

    let bundles: Vec<&[[Value; 3]]> = keys.chunks(1000).collect();
    latency("get_many of 1,000 keys", &|call| {
        black_box(flights.get_many(bundles[call % bundles.len()])?);
        Ok(())
    })?;

    let one_row = "SELECT year, month, day, dep_delay, arr_delay FROM flights
                   WHERE time_hour = $1 AND carrier = $2 AND flight = $3";
    let prepared = cache.prepare(one_row)?;
    latency("SQL for one row, prepared once", &|call| {
        black_box(prepared.execute(key(call))?.concat()?);
        Ok(())
    })?;
    latency("SQL for one row, as text", &|call| {
        black_box(cache.sql(one_row, key(call))?.concat()?);
        Ok(())
    })?;

    let groups = "SELECT carrier, count(*), avg(arr_delay) FROM flights GROUP BY carrier";
    latency("SQL that groups all flights by carrier", &|_| {
        black_box(cache.sql(groups, &[])?.concat()?);
        Ok(())
    })?;

    latency("all flights, to the last batch", &|_| {
        for batch in flights.scan()? {
            black_box(batch?);
        }
        Ok(())
    })?;
    Ok(latencies)
}

/// Prints what the ways in cost, side by side.
fn print_latencies(embedded: &[Latency], attached: &[Latency], remote: &[Latency]) {
    // What was optimised of it: see build.rs.
    let build = env!("PILLION_BUILD");
    println!("\nLatency of one call, median and 99th percentile ({build}):");
    println!("  {:40}{:>19}{:>21}{:>21}", "", "embedded", "attached", "remote");
    for (((what, p50, p99), attached), remote) in embedded.iter().zip(attached).zip(remote) {
        print!("  {what:40}{:>10}{:>9}", time(*p50), time(*p99));
        for (_, p50, p99) in [attached, remote] {
            print!("{:>12}{:>9}", time(*p50), time(*p99));
        }
        println!();
    }
}

/// Keys of 10,000 flights, in an order that jumps through the year.
fn some_keys(flights: &Table) -> Result<Vec<[Value; 3]>> {
    let all = flights.scan_columns(["time_hour", "carrier", "flight"])?.concat()?;
    let times = all.column(0).as_primitive::<TimestampMicrosecondType>();
    let carriers = all.column(1).as_string::<i32>();
    let numbers = all.column(2).as_primitive::<Int64Type>();
    let jumps = (0..10_000).map(|key| key * 7919 % all.num_rows());
    let keys = jumps.map(|row| {
        let time = Value::Timestamp { value: times.value(row), unit: TimeUnit::Microsecond };
        [time, carriers.value(row).into(), numbers.value(row).into()]
    });
    Ok(keys.collect())
}

/// Makes a call over and over, each timed on its own.
fn time_calls(what: &'static str, call: &dyn Fn(usize) -> Result<()>) -> Result<Latency> {
    // Enough calls for a percentile, but not longer than a reader wants to wait.
    const CALLS: RangeInclusive<usize> = 20..=100_000;
    const TIME: Duration = Duration::from_millis(300);

    let started = Instant::now();
    let mut times = Vec::new();
    while times.len() < *CALLS.start() || times.len() < *CALLS.end() && started.elapsed() < TIME {
        let called = Instant::now();
        call(times.len())?;
        times.push(called.elapsed());
    }
    times.sort_unstable();
    let percentile = |percent: usize| times[(times.len() - 1) * percent / 100];
    Ok((what, percentile(50), percentile(99)))
}

/// Opens the cache once more, as the next start of a program would.
fn open_again(dir: &Path) -> Result<()> {
    let started = Instant::now();
    let cache = Cache::open(dir)?;
    let opened = started.elapsed();
    let flight = cache.table("flights")?.get(FLIGHT)?;
    let found = started.elapsed() - opened;
    let what = if flight.is_some() { "the first lookup" } else { "a lookup of no row" };
    println!("\nOpened again in {}, and {what} took {}.", time(opened), time(found));
    Ok(())
}

/// A time of day such as 517 as 05:17.
fn clock(row: &Row, column: &str) -> Result<String> {
    Ok(match row.get::<Option<i64>>(column)? {
        Some(time) => format!("{:02}:{:02}", time / 100, time % 100),
        None => "never".to_owned(),
    })
}

/// A delay in words.
fn delay(row: &Row, column: &str) -> Result<String> {
    Ok(match row.get::<Option<i64>>(column)? {
        Some(0) => "on time".to_owned(),
        Some(minutes @ 1..) => format!("{minutes} min late"),
        Some(minutes) => format!("{} min early", -minutes),
        None => "delay unknown".to_owned(),
    })
}

/// A number such as 1234567 as 1,234,567.
fn thousands(number: u64) -> String {
    match number {
        0..1000 => number.to_string(),
        _ => format!("{},{:03}", thousands(number / 1000), number % 1000),
    }
}

/// A duration in a unit that fits it.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 1e-6 => format!("{:.0} ns", seconds * 1e9),
        _ if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}
