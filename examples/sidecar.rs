//! Sidecar: one process owns the tables, another asks it.
//!
//! ```sh
//! cargo run --release -p pillion-examples --example sidecar [DIRECTORY]
//! ```
//!
//! This program starts itself a second time as `pillion serve`, with a configuration that it writes, so that it needs
//! no other binary. It connects while the sidecar still loads its tables, asks, ends the sidecar with SIGTERM as a
//! service manager does, and starts it once more to show that nothing is loaded again.

use std::error::Error;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use pillion::{Cache, Value};

type Result<T, E = Box<dyn Error>> = std::result::Result<T, E>;

/// Makes this program the sidecar; its value is the path of the configuration.
const SIDECAR: &str = "PILLION_EXAMPLE_SIDECAR";
/// The data comes with the repository: https://github.com/tidyverse/nycflights13.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data");
/// How long a client waits for the sidecar, which loads all tables at its first start.
const PATIENCE: Duration = Duration::from_secs(120);

const CONFIGURATION: &str = r#"
dir = "cache"
socket = "run/pillion.sock"
# This example prints; the sidecar is to be heard only if something is wrong.
log = "warn"

[tables.flights]
files = "${DATA}/flights.parquet"
primary_key = ["time_hour", "carrier", "flight"]

[tables.airlines]
files = "${DATA}/airlines.parquet"
primary_key = "carrier"
"#;

fn main() -> ExitCode {
    // All of the `pillion` command is a library, so any program can be a sidecar.
    if let Some(config) = std::env::var_os(SIDECAR) {
        return pillion_server::run([
            "pillion".as_ref(),
            "serve".as_ref(),
            "--config".as_ref(),
            config.as_os_str(),
        ]);
    }
    match application() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn application() -> Result<()> {
    let default = || std::env::temp_dir().join("pillion-sidecar");
    let dir = std::env::args_os().nth(1).map_or_else(default, PathBuf::from);
    fs::create_dir_all(&dir)?;
    let config = dir.join("pillion.toml");
    File::create(&config)?.write_all(CONFIGURATION.as_bytes())?;
    let socket = dir.join("run/pillion.sock");

    for start in ["first", "second"] {
        let started = Instant::now();
        let mut sidecar = Sidecar::start(&config)?;
        // There is no socket yet: `connect` waits until the tables are there.
        let cache = Cache::connect(&socket, PATIENCE)?;
        println!(
            "The {start} start: process {} serves after {}",
            sidecar.process.id(),
            time(started.elapsed())
        );
        ask(&cache)?;
        sidecar.end()?;
        println!("  ended by SIGTERM with exit code 0; the socket is {}\n", gone(&socket));
    }
    Ok(())
}

/// Asks the sidecar. The same calls work on a directory: what differs is how the cache was opened.
fn ask(cache: &Cache) -> Result<()> {
    for table in cache.tables()? {
        println!("  {:8} {:>7} rows, {}", table.name, table.rows, cache.way());
    }
    let started = Instant::now();
    let flight = cache.table("flights")?.get(("2013-01-01T10:00:00", "UA", 1545))?;
    let took = time(started.elapsed());
    let delay: Option<i64> = flight.ok_or("there is no such flight")?.get("arr_delay")?;
    println!("  UA 1545 arrived {} min late, found by its key in {took}", delay.unwrap_or_default());

    let started = Instant::now();
    let late = "SELECT a.name FROM flights f JOIN airlines a ON a.carrier = f.carrier
                WHERE f.dest = $1 GROUP BY a.name ORDER BY avg(f.arr_delay) DESC LIMIT 1";
    let answer = cache.sql(late, &[Value::from("ORD")])?.concat()?;
    let took = time(started.elapsed());
    let airline = arrow::util::display::array_value_to_string(answer.column(0), 0)?;
    println!("  to Chicago, {airline} was latest on average, found by SQL in {took}");
    Ok(())
}

/// The other process; killed if this one fails.
struct Sidecar {
    process: Child,
}

impl Sidecar {
    fn start(config: &Path) -> Result<Self> {
        let program = std::env::current_exe()?;
        let process = Command::new(program).env(SIDECAR, config).env("DATA", DATA).spawn()?;
        Ok(Self { process })
    }

    /// Asks it to end and waits until it has.
    fn end(&mut self) -> Result<()> {
        Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status()?;
        match self.process.wait()? {
            status if status.success() => Ok(()),
            status => Err(format!("the sidecar ended with {status}").into()),
        }
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        // It has ended already, or this ends it; both are fine.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn gone(socket: &Path) -> &'static str {
    if socket.exists() { "still there" } else { "gone" }
}

/// A duration in a unit that fits it.
fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    match seconds {
        _ if seconds < 1e-3 => format!("{:.1} µs", seconds * 1e6),
        _ if seconds < 1.0 => format!("{:.1} ms", seconds * 1e3),
        _ => format!("{seconds:.1} s"),
    }
}
