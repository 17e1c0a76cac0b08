//! What the sidecar does now, as probes and scrapers see it.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;
use pillion::{Cache, ServerMonitor, ServerStats};

use super::readiness::{NotReady, not_ready};
use crate::config::Config;
use crate::metrics::Metrics;

/// The thread that runs the sidecar looks around every second. If it has not done so for this long, it is stuck.
const BEAT_MAX: Duration = Duration::from_secs(60);

/// How far the sidecar is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It opens the cache and loads tables.
    Starting,
    /// It serves clients.
    Serving,
    /// It was asked to end, or ends because of a failure.
    Stopping,
}

/// What the sidecar does now. Each question is answered without waiting for queries, loads or commits.
#[derive(Debug)]
pub(crate) struct Monitor {
    began: SystemTime,
    phase: Mutex<Phase>,
    beat: Mutex<Instant>,
    cache: OnceLock<Cache>,
    server: OnceLock<ServerMonitor>,
    config: Mutex<Arc<Config>>,
    metrics: Arc<Metrics>,
}

impl Monitor {
    /// A sidecar that begins to start.
    pub(crate) fn new(config: &Config, metrics: Arc<Metrics>) -> Self {
        let monitor = Self {
            began: SystemTime::now(),
            phase: Mutex::new(Phase::Starting),
            beat: Mutex::new(Instant::now()),
            cache: OnceLock::new(),
            server: OnceLock::new(),
            config: Mutex::new(Arc::new(config.clone())),
            metrics,
        };
        monitor.configured(config);
        monitor
    }

    /// The configuration holds from now on.
    pub(crate) fn configured(&self, config: &Config) {
        let fed =
            config.tables.iter().filter_map(|it| Some((it.name.as_str(), it.source.as_ref()?.source())));
        self.metrics.know(fed);
        self.metrics.log_statements(config.log.slow_query);
        *self.config.lock() = Arc::new(config.clone());
    }

    /// The cache is open.
    pub(crate) fn opened(&self, cache: &Cache) {
        let _ = self.cache.set(cache.clone());
    }

    /// Clients are served.
    pub(crate) fn served(&self, server: ServerMonitor) {
        let _ = self.server.set(server);
        self.at(Phase::Serving);
    }

    /// The sidecar has come so far.
    pub(crate) fn at(&self, phase: Phase) {
        *self.phase.lock() = phase;
        self.beat();
    }

    /// The thread that runs the sidecar looks around.
    pub(crate) fn beat(&self) {
        *self.beat.lock() = Instant::now();
    }

    /// How far the sidecar is.
    pub(crate) fn phase(&self) -> Phase {
        *self.phase.lock()
    }

    /// When the sidecar began.
    pub(crate) fn began(&self) -> SystemTime {
        self.began
    }

    /// The configuration that holds now.
    pub(crate) fn config(&self) -> Arc<Config> {
        self.config.lock().clone()
    }

    /// What is counted and timed.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The cache, once it is open.
    pub(crate) fn cache(&self) -> Option<&Cache> {
        self.cache.get()
    }

    /// What the socket holds for clients now.
    pub(crate) fn server_stats(&self) -> ServerStats {
        self.server.get().and_then(ServerMonitor::stats).unwrap_or_default()
    }

    /// Why the sidecar should be restarted, if it should.
    pub(crate) fn not_live(&self) -> Vec<NotReady> {
        // Recovery may take long, and whoever waits for the start has a limit of their own; so has the end.
        if self.phase() != Phase::Serving || self.beat.lock().elapsed() < BEAT_MAX {
            return Vec::new();
        }
        vec![NotReady::of_all("the thread that runs the sidecar is stuck")]
    }

    /// Why the sidecar has not started, if it has not.
    pub(crate) fn not_started(&self) -> Vec<NotReady> {
        match self.phase() {
            Phase::Starting => {
                vec![NotReady::of_all("the sidecar opens the cache and loads tables of files")]
            }
            Phase::Serving | Phase::Stopping => Vec::new(),
        }
    }

    /// Why the sidecar is not ready, if it is not.
    pub(crate) fn not_ready(&self) -> Vec<NotReady> {
        match (self.phase(), self.cache()) {
            (Phase::Serving, Some(cache)) => not_ready(cache, &self.config()),
            (Phase::Stopping, _) => vec![NotReady::of_all("the sidecar ends")],
            _ => self.not_started(),
        }
    }
}
