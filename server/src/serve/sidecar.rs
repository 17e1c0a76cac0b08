//! A sidecar from its start to its end, on the thread that called for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use pillion::{Cache, Server};
use pillion_ipc::{BindError, Listener};

use super::config_file::ConfigFile;
use super::log::LogHandle;
use super::reloader::Reloader;
use super::supervisor::{self, Sockets};
use super::{Event, Serving, spawn, start};
use crate::config::Config;
use crate::doors::{self, Doors};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::health::{HealthListener, Monitor, Phase};
use crate::metrics::Metrics;

/// How long a start may take to end after the process was asked to end; then the process ends without it.
const START_GRACE: Duration = Duration::from_secs(1);

/// How often to look around: whether the disk failed, and so that probes see that this thread lives.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Why a sidecar that serves ends.
enum Ending {
    /// It was asked to.
    Asked,
    /// Nothing can be written any more.
    Poisoned(String),
    /// A thread that serving depends on ended.
    ThreadEnded(String),
}

/// A sidecar that runs, as the thread sees it that waits for its end.
pub(super) struct Sidecar<'a> {
    config: &'a Config,
    file: Option<ConfigFile>,
    log: LogHandle,
    metrics: Arc<Metrics>,
    monitor: Arc<Monitor>,
    sender: &'a Sender<Event>,
    events: &'a Receiver<Event>,
}

impl<'a> Sidecar<'a> {
    pub(super) fn new(
        config: &'a Config,
        file: Option<ConfigFile>,
        log: LogHandle,
        sender: &'a Sender<Event>,
        events: &'a Receiver<Event>,
    ) -> Self {
        let metrics = Arc::new(Metrics::new());
        let monitor = Arc::new(Monitor::new(config, metrics.clone()));
        Self { config, file, log, metrics, monitor, sender, events }
    }

    /// Runs the sidecar until its end.
    ///
    /// # Errors
    /// Those of [`serve_with`](super::serve_with).
    pub(super) fn run(mut self, sockets: Sockets) -> Result<(), Failure> {
        let (config, sender) = (self.config, self.sender);
        if sockets.clients.is_none() {
            check_socket(config)?;
        }
        doors::check_sockets(config)?;
        // Before the cache is opened, so that probes see a start that takes long.
        let monitor = || self.monitor.clone();
        let health = match (sockets.probes, config.health.listen) {
            (Some(socket), _) => Some(HealthListener::start(socket, monitor())),
            (None, address) => address.map(|address| HealthListener::bind(address, monitor())),
        };
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
            let socket = sockets.clients;
            move || {
                let started = start(&config, &cache, socket, &stopping);
                // If a signal came first, nobody receives this.
                let _ = sender.send(Event::Started(started));
            }
        })?;
        let serving = match self.next()? {
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
        match serving {
            Err(failure) => {
                // Only logged: the reason why the start failed is more important.
                if let Err(error) = cache.close() {
                    tracing::error!(%error, "the cache could not be closed");
                }
                return Err(failure);
            }
            Ok(Some(serving)) => {
                let Serving { server, doors } = &serving;
                if !stopping.load(Ordering::SeqCst) {
                    self.monitor.served(server.monitor());
                    supervisor::ready();
                    tracing::info!(socket = %server.path().display(), tables = cache.tables()?.len(), "ready");
                    ending = self.serve_until(&cache, server, doors)?;
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
                self.stop(serving)?;
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
    fn stop(&self, serving: Serving) -> Result<(), Failure> {
        let (limit, stopped) = (self.monitor.config().stop_timeout, self.sender.clone());
        let until = Instant::now() + limit;
        spawn("pillion-stop", self.sender, move || {
            let Serving { server, doors } = serving;
            doors.begin_to_stop();
            server.stop();
            doors.stop(limit);
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
    fn serve_until(&mut self, cache: &Cache, server: &Server, doors: &Doors) -> Result<Ending, Failure> {
        let file = self.file.take();
        let reloader = file
            .map(|file| Reloader::start(file, cache, doors.access(), &self.log, &self.monitor, self.sender))
            .transpose()?;
        loop {
            self.look_around();
            match self.events.recv_timeout(LOOK_INTERVAL) {
                Ok(Event::Panicked(thread)) => return Ok(Ending::ThreadEnded(ended(thread))),
                Ok(Event::Reload) => match &reloader {
                    Some(reloader) => reloader.ask(),
                    None => tracing::warn!("there is no file of the configuration to read again"),
                },
                Ok(Event::TakenIn) => {
                    let config = self.monitor.config();
                    server.adjust(&config.server_options());
                    doors.set_users(&config);
                    tracing::info!(tables = config.tables.len(), "the configuration was taken in");
                    supervisor::ready();
                }
                Ok(_) => return Ok(Ending::Asked),
                Err(RecvTimeoutError::Disconnected) => return Err(defect()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(poisoned) = cache.status()?.poisoned {
                        return Ok(Ending::Poisoned(poisoned));
                    }
                    if let Some(failure) = server.failure().or_else(|| doors.failure()) {
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
                // The file is looked at again once clients are served.
                Ok(Event::Reload) => tracing::info!("a reload is asked for while the sidecar starts"),
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

/// Finds out whether the socket can be bound, although it is bound later, so that a problem is reported before long loads.
fn check_socket(config: &Config) -> Result<(), Failure> {
    Listener::check(&config.socket).map_err(|error| {
        let exit = match &error {
            BindError::InUse(_) => Exit::Retry,
            BindError::Io(..) => Exit::Report,
            _ => Exit::Usage,
        };
        Failure::new(exit, error.to_string())
    })
}

fn defect() -> Failure {
    Failure::new(Exit::Report, "a thread of the sidecar ended without a word; this is a defect")
}

fn ended(thread: &str) -> String {
    format!("the thread {thread} panicked, which is a defect")
}
