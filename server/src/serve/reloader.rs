//! Reads the configuration again, on a thread of its own: a file that answers slowly, or never, holds up nothing else.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use pillion::Cache;
use pillion_access::Access;

use super::config_file::ConfigFile;
use super::log::LogHandle;
use super::reload::{Missing, Running};
use super::{Event, spawn, supervisor};
use crate::config::Config;
use crate::failure::Failure;
use crate::health::{Monitor, Phase};

/// How often to look at the file.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How long to wait before what is missing is tried again: at first, and at most.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(300);

/// What the thread is asked for.
#[derive(Debug)]
pub(super) enum Asked {
    /// Read the configuration now.
    Read,
    /// Try again to load a table.
    AgainFor(String),
}

/// The thread that reads the configuration, as others see it. It ends when this is dropped and it is done.
#[derive(Debug)]
pub(super) struct Reloader(Sender<Asked>);

impl Reloader {
    /// Starts it. `monitor` has the configuration that holds now, and gets later ones.
    ///
    /// # Errors
    /// If the system starts no thread.
    pub(super) fn start(
        file: ConfigFile,
        cache: &Cache,
        access: Option<Arc<Access>>,
        log: &LogHandle,
        monitor: &Arc<Monitor>,
        events: &Sender<Event>,
    ) -> Result<Self, Failure> {
        let (asked, messages) = mpsc::channel();
        let running = Running {
            cache: cache.clone(),
            access,
            log: log.clone(),
            events: events.clone(),
            asked: asked.clone(),
        };
        let taken = monitor.config().as_ref().clone();
        let mut reading = Reading {
            file,
            running,
            monitor: monitor.clone(),
            wanted: taken.clone(),
            taken,
            again_at: None,
            pause: PAUSE_MIN,
        };
        spawn("pillion-reload", events, move || reading.run(&messages))?;
        Ok(Self(asked))
    }

    /// Asks to read the configuration now.
    pub(super) fn ask(&self) {
        // The thread is gone only after a panic, which ends the sidecar.
        let _ = self.0.send(Asked::Read);
    }
}

/// The thread itself.
struct Reading {
    file: ConfigFile,
    running: Running,
    monitor: Arc<Monitor>,
    /// The configuration that was read last and is right.
    wanted: Config,
    /// The same without what is missing.
    taken: Config,
    /// When to try again, if something is missing.
    again_at: Option<Instant>,
    /// How long to wait if something is still missing then.
    pause: Duration,
}

impl Reading {
    fn run(&mut self, messages: &Receiver<Asked>) {
        loop {
            match messages.recv_timeout(LOOK_INTERVAL) {
                Ok(Asked::Read) => self.read(),
                Ok(Asked::AgainFor(table)) => {
                    let missing = Missing { tables: [table].into(), ..Missing::default() };
                    // As if it were not in the configuration yet.
                    let before = Config { tables: Vec::new(), ..self.taken.clone() };
                    self.taken = missing.without(&before, self.taken.clone());
                    self.try_later();
                }
                Err(RecvTimeoutError::Timeout) => self.look(),
                Err(RecvTimeoutError::Disconnected) => return,
            }
            if self.monitor.phase() == Phase::Stopping {
                return;
            }
        }
    }

    fn look(&mut self) {
        if self.file.has_changed() {
            tracing::info!("the file of the configuration changed");
            self.read();
        } else if self.again_at.is_some_and(|at| at <= Instant::now()) {
            self.try_again();
        }
    }

    /// Reads the configuration and takes it in, whole or not at all.
    fn read(&mut self) {
        supervisor::reloading();
        self.file.taken();
        let taken_in = Config::read(self.file.path()).and_then(|next| {
            let taken_in = self.running.take_in(&self.taken, next)?;
            // What is missing of another configuration is forgotten.
            (self.again_at, self.pause) = (None, PAUSE_MIN);
            Ok(taken_in)
        });
        self.monitor.metrics().reloaded(taken_in.is_ok());
        match taken_in {
            Ok((config, missing)) => {
                self.hold(config, &missing);
                // Nobody listens any more if the sidecar ends.
                let _ = self.running.events.send(Event::TakenIn);
            }
            Err(failure) => {
                tracing::error!(
                    error = failure.to_string(),
                    "the configuration is wrong; everything stays as it was"
                );
                supervisor::ready();
            }
        }
    }

    /// Takes in again what is missing of the last configuration.
    fn try_again(&mut self) {
        self.again_at = None;
        match self.running.take_in(&self.taken, self.wanted.clone()) {
            Ok((config, missing)) => self.hold(config, &missing),
            Err(failure) => {
                tracing::error!(
                    error = failure.to_string(),
                    "something of the configuration is still missing"
                );
                self.try_later();
            }
        }
    }

    /// From now on a configuration holds, but for what is missing.
    fn hold(&mut self, config: Config, missing: &Missing) {
        self.taken = missing.without(&self.taken, config.clone());
        self.monitor.configured(&config);
        self.wanted = config;
        if !missing.is_empty() {
            self.try_later();
        }
    }

    fn try_later(&mut self) {
        if self.again_at.is_none() {
            tracing::info!(after = ?self.pause, "what is missing is tried again");
            self.again_at = Some(Instant::now() + self.pause);
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }
}
