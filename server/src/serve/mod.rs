//! `pillion serve`: the sidecar.

mod descriptors;
mod log;
mod signals;
mod supervisor;
mod tables;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use pillion::{Cache, Server};
use pillion_ipc::{BindError, Listener};

use crate::config::{Config, notes};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::health::{HealthListener, Monitor, Phase};
use crate::metrics::Metrics;
use crate::sources;

pub(crate) use log::begin as begin_log;
pub(crate) use tables::load as load_files;

/// How long a start may take to end after the process was asked to end; then the process ends without it.
const START_GRACE: Duration = Duration::from_secs(1);

/// How often to look around: whether the disk failed, and so that probes see that this thread lives.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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
    /// The start ended: clients are served, or the start failed, or a signal made it give up.
    Started(Result<Option<Server>, Failure>),
    /// Every call has ended.
    Stopped,
    /// A thread of the sidecar panicked.
    Panicked(&'static str),
}

/// Why a sidecar that serves ends.
enum Ending {
    /// It was asked to.
    Asked,
    /// Nothing can be written any more.
    Poisoned(String),
    /// A thread that serving depends on ended.
    ThreadEnded(String),
}

/// Reads a configuration and runs a sidecar until the process is asked to end; logs to standard error.
///
/// # Errors
/// Those of [`Config::read`] and [`serve_with`].
pub fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let config = Config::read(&args.config)?;
    log::begin(config.log);
    serve_with(&config)
}

/// Runs a sidecar until the process gets SIGTERM or SIGINT: opens the cache, loads its tables, listens. It logs by
/// `tracing`.
///
/// Clients that connect while tables are loaded wait, because there is no socket yet. So a connected client sees all
/// tables. At the signal the sidecar stops accepting, lets calls finish for as long as the configuration says, and
/// closes the cache. If the signal comes while tables are loaded, the loaded tables stay and the rest ends with the
/// process. A second signal ends the process at once, without losing acknowledged commits.
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
    descriptors::raise_limit();
    let (sender, events) = mpsc::channel();
    let signals = signals::watch(&sender)?;
    let metrics = Arc::new(Metrics::new());
    let monitor = Arc::new(Monitor::new(config, metrics.clone()));
    let sidecar = Sidecar { config, metrics, monitor, sender: &sender, events: &events };
    let outcome = sidecar.run();
    signals.close();
    outcome
}

/// A sidecar that runs, as the thread sees it that called [`serve_with`].
struct Sidecar<'a> {
    config: &'a Config,
    metrics: Arc<Metrics>,
    monitor: Arc<Monitor>,
    sender: &'a Sender<Event>,
    events: &'a Receiver<Event>,
}

impl Sidecar<'_> {
    fn run(&self) -> Result<(), Failure> {
        let (config, sender) = (self.config, self.sender);
        // Checked now, although it is bound later, so that a problem is reported before long loads.
        Listener::check(&config.socket).map_err(|error| {
            let exit = match &error {
                BindError::InUse(_) => Exit::Retry,
                BindError::Io(..) => Exit::Report,
                _ => Exit::Usage,
            };
            Failure::new(exit, error.to_string())
        })?;
        // Before the cache is opened, so that probes see a start that takes long.
        let health = config.health.listen.map(|address| HealthListener::start(address, self.monitor.clone()));
        let _health = health.transpose()?.inspect(|health| {
            tracing::info!(address = %health.address(), "probes and metrics are answered");
        });
        let cache = config.cache_options().recorder(self.metrics.clone()).open(&config.dir)?;
        self.monitor.opened(&cache);
        tracing::info!(dir = %config.dir.display(), version = %cache.version()?, "opened");
        // On a thread of its own, so that a signal ends the process even while a large table is loaded.
        let stopping = Arc::new(AtomicBool::new(false));
        spawn("pillion-start", sender, {
            let (config, cache, sender, stopping) =
                (config.clone(), cache.clone(), sender.clone(), stopping.clone());
            move || {
                let started = start(&config, &cache, &stopping);
                // If a signal came first, nobody receives this.
                let _ = sender.send(Event::Started(started));
            }
        })?;
        let server = match self.next()? {
            Event::Started(started) => started,
            Event::Panicked(thread) => Err(Failure::new(Exit::Report, ended(thread))),
            _ => {
                tracing::info!("asked to end while tables are loaded");
                stopping.store(true, Ordering::SeqCst);
                self.stopping();
                let Ok(Event::Started(started)) = self.events.recv_timeout(START_GRACE) else {
                    // Not closed: the load under way would go on writing after the directory's lock was released.
                    cache.sync()?;
                    return Ok(());
                };
                started
            }
        };
        let mut ending = Ending::Asked;
        match server {
            Err(failure) => {
                // Only logged: the reason why the start failed is more important.
                if let Err(error) = cache.close() {
                    tracing::error!(%error, "the cache could not be closed");
                }
                return Err(failure);
            }
            Ok(Some(server)) => {
                if !stopping.load(Ordering::SeqCst) {
                    self.monitor.served(server.monitor());
                    supervisor::ready();
                    tracing::info!(socket = %server.path().display(), tables = cache.tables()?.len(), "ready");
                    ending = self.serve_until(&cache, &server)?;
                }
                self.stopping();
                match &ending {
                    Ending::Asked => tracing::info!(connections = server.connections(), "asked to end"),
                    Ending::Poisoned(cause) => {
                        tracing::error!(%cause, "nothing can be written any more; ending, so that the next start recovers");
                    }
                    Ending::ThreadEnded(cause) => {
                        tracing::error!(%cause, "ending, so that the next start serves again");
                    }
                }
                self.stop(server)?;
            }
            Ok(None) => {}
        }
        if let Ending::Poisoned(cause) = ending {
            return Err(Failure::new(Exit::Report, format!("nothing can be written any more: {cause}")).hint(
            "mend the disk if it failed, and start the sidecar again: it recovers what is there, and clients reconnect",
        ));
        }
        cache.close()?;
        tracing::info!("closed");
        match ending {
            Ending::ThreadEnded(cause) => Err(Failure::new(Exit::Report, cause)
                .hint("start the sidecar again: nothing is lost, and clients reconnect")),
            _ => Ok(()),
        }
    }

    /// Lets calls finish, for at most the configured time.
    fn stop(&self, server: Server) -> Result<(), Failure> {
        let (limit, stopped) = (self.config.stop_timeout, self.sender.clone());
        let until = Instant::now() + limit;
        spawn("pillion-stop", self.sender, move || {
            server.stop();
            let _ = stopped.send(Event::Stopped);
        })?;
        loop {
            supervisor::alive();
            let left = until.saturating_duration_since(Instant::now());
            match self.events.recv_timeout(left.min(LOOK_INTERVAL)) {
                Ok(Event::Stopped) => return Ok(()),
                Ok(Event::Panicked(thread)) => return Err(Failure::new(Exit::Report, ended(thread))),
                // A second signal ends the process by itself.
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) if !left.is_zero() => {}
                Err(RecvTimeoutError::Timeout) => {
                    tracing::warn!(after = ?limit, "calls that still run are given up");
                    return Ok(());
                }
                Err(RecvTimeoutError::Disconnected) => return Err(defect()),
            }
        }
    }

    /// Waits for the signal to end, for a failure of the disk or for the end of a thread, and returns which of these came.
    fn serve_until(&self, cache: &Cache, server: &Server) -> Result<Ending, Failure> {
        loop {
            self.look_around();
            match self.events.recv_timeout(LOOK_INTERVAL) {
                Ok(Event::Panicked(thread)) => return Ok(Ending::ThreadEnded(ended(thread))),
                Ok(_) => return Ok(Ending::Asked),
                Err(RecvTimeoutError::Disconnected) => return Err(defect()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(poisoned) = cache.status()?.poisoned {
                        return Ok(Ending::Poisoned(poisoned));
                    }
                    if let Some(failure) = server.failure() {
                        return Ok(Ending::ThreadEnded(failure));
                    }
                }
            }
        }
    }

    /// The next event, while the sidecar starts.
    fn next(&self) -> Result<Event, Failure> {
        loop {
            self.look_around();
            supervisor::still_starting();
            match self.events.recv_timeout(LOOK_INTERVAL) {
                Ok(event) => return Ok(event),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Err(defect()),
            }
        }
    }

    /// Shows probes and the supervisor that this thread lives.
    fn look_around(&self) {
        self.monitor.beat();
        supervisor::alive();
    }

    /// From now on the sidecar is not ready.
    fn stopping(&self) {
        self.monitor.at(Phase::Stopping);
        supervisor::stopping();
    }
}

/// Loads the tables and listens. Gives up between two tables if `stopping` is set.
fn start(config: &Config, cache: &Cache, stopping: &AtomicBool) -> Result<Option<Server>, Failure> {
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
    let server = cache.serve(config.server_options())?;
    // After the socket is bound, because binding makes its folder.
    for note in notes(config) {
        tracing::warn!("{note}");
    }
    Ok(Some(server))
}

fn defect() -> Failure {
    Failure::new(Exit::Report, "a thread of the sidecar ended without a word; this is a defect")
}

fn ended(thread: &str) -> String {
    format!("the thread {thread} panicked, which is a defect")
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
