//! `pillion serve`: the sidecar.

mod config_file;
mod descriptors;
mod log;
mod reload;
mod reloader;
mod sidecar;
mod signals;
mod supervisor;
mod tables;

use std::os::unix::net::UnixListener;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;

use clap::Args;
use pillion::{Cache, Server};

use self::config_file::ConfigFile;
use self::log::LogHandle;
use self::sidecar::Sidecar;
use self::supervisor::Sockets;
use crate::config::{Config, notes};
use crate::doors::Doors;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sources;

pub(crate) use log::begin as begin_log;
pub(crate) use tables::load as load_files;

/// Arguments of `pillion serve`.
#[derive(Args, Debug)]
#[command(after_long_help = AFTER_HELP)]
pub struct ServeArgs {
    /// The configuration; docs/configuration.md describes every key
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
}

const AFTER_HELP: &str = "\
The smallest configuration:
  dir = \"/var/lib/pillion\"
  socket = \"/run/pillion/pillion.sock\"

  [tables.flights]
  files = \"flights-*.parquet\"
  primary_key = [\"time_hour\", \"carrier\", \"flight\"]

Examples:
  pillion config check --config pillion.toml
  pillion serve --config pillion.toml
  pillion status --url unix:/run/pillion/pillion.sock";

/// What the thread that runs the sidecar waits for.
enum Event {
    /// The system asks the process to end.
    Signal,
    /// The system asks to read the configuration again.
    Reload,
    /// A configuration was read and holds, but for the limits of the socket.
    TakenIn,
    /// The start ended: clients are served, or the start failed, or a signal made it give up.
    Started(Result<Option<Serving>, Failure>),
    /// Every call has ended.
    Stopped,
    /// A thread of the sidecar panicked.
    Panicked(&'static str),
}

/// What clients reach.
struct Serving {
    server: Server,
    doors: Doors,
}

/// Reads a configuration and runs a sidecar until the process is asked to end; logs to standard error.
///
/// # Errors
/// Those of [`Config::read`] and [`serve_with`].
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    // Looked at first: a file that changes while it is read is read again.
    let file = ConfigFile::new(args.config.clone());
    let config = Config::read(&args.config)?;
    let log = log::begin(config.log);
    run(&config, Some(file), log)
}

/// Runs a sidecar until the process gets SIGTERM or SIGINT: opens the cache, loads its tables, listens. It logs by
/// `tracing`.
///
/// Clients that connect while tables are loaded wait, because there is no socket yet. So a connected client sees all
/// tables. At the signal the sidecar stops accepting, lets calls finish for as long as the configuration says, and
/// closes the cache. If the signal comes while tables are loaded, the loaded tables stay and the rest ends with the
/// process. A second signal ends the process at once, without losing acknowledged commits.
///
/// It knows no file of the configuration, so SIGHUP changes nothing; [`serve`] reads its file again.
///
/// If the disk fails, so that nothing can be written any more, the sidecar ends in the same way; the next start
/// recovers what is there.
///
/// Call it in a process of its own: it installs handlers of the two signals, which stay, and raises the soft limit of
/// open files to the hard one.
///
/// # Errors
/// Of opening the cache, of loading a table, of the socket, of the disk while it serves, and of closing the cache.
pub fn serve_with(config: &Config) -> Result<(), Failure> {
    run(config, None, LogHandle::none())
}

fn run(config: &Config, file: Option<ConfigFile>, log: LogHandle) -> Result<(), Failure> {
    descriptors::raise_limit();
    let sockets = Sockets::take()?;
    let (sender, events) = mpsc::channel();
    let signals = signals::watch(&sender)?;
    let outcome = Sidecar::new(config, file, log, &sender, &events).run(sockets);
    signals.close();
    outcome
}

/// Loads the tables and listens. Gives up between two tables if `stopping` is set.
fn start(
    config: &Config,
    cache: &Cache,
    socket: Option<UnixListener>,
    stopping: &AtomicBool,
) -> Result<Option<Serving>, Failure> {
    sources::add_all(cache, config)?;
    // Tables from sources appear one by one; a source that is down keeps nobody waiting.
    for table in &config.tables {
        if let Some(definition) = table.fed_definition() {
            tables::follow(cache, table, definition)?;
        }
    }
    for table in config.tables.iter().filter(|table| table.source.is_none()) {
        tables::load(cache, table)?;
        if stopping.load(Ordering::SeqCst) {
            return Ok(None);
        }
    }
    tables::name_others(cache, config)?;
    let options = config.server_options();
    let server = match socket {
        Some(socket) => cache.serve_on(socket, options)?,
        None => cache.serve(options)?,
    };
    let doors = Doors::open(cache, config)?;
    // After the socket is bound, because binding makes its folder.
    for note in notes(config) {
        tracing::warn!("{note}");
    }
    Ok(Some(Serving { server, doors }))
}

/// Starts a thread that sends an event if it panics.
fn spawn(
    name: &'static str,
    events: &Sender<Event>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    let events = events.clone();
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            if catch_unwind(AssertUnwindSafe(work)).is_err() {
                tracing::error!(thread = name, "a thread of the sidecar panicked");
                let _ = events.send(Event::Panicked(name));
            }
        })
        .map(drop)
        .map_err(|error| Failure::new(Exit::Report, "cannot start a thread").because(&error))
}
