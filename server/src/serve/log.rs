//! The log on standard error.

use std::io;

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::config::{LogConfig, LogFormat, LogLevel};

/// Changes how much is logged.
#[derive(Clone, Debug)]
pub(crate) struct LogHandle(Option<reload::Handle<LevelFilter, Registry>>);

/// From now on every event is a line on standard error. If the process logs already, this changes nothing.
pub(crate) fn begin(config: LogConfig) -> LogHandle {
    let (filter, handle) = reload::Layer::new(filter(config.level));
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let lines = match config.format {
        LogFormat::Text => lines.with_ansi(false).boxed(),
        LogFormat::Json => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    match tracing_subscriber::registry().with(filter).with(lines).try_init() {
        Ok(()) => LogHandle(Some(handle)),
        Err(error) => {
            tracing::debug!(%error, "the process logs already");
            LogHandle(None)
        }
    }
}

impl LogHandle {
    /// Changes nothing.
    pub(super) fn none() -> Self {
        Self(None)
    }

    /// From now on so much is logged.
    pub(crate) fn set_level(&self, level: LogLevel) {
        if let Some(handle) = &self.0
            && let Err(error) = handle.reload(filter(level))
        {
            tracing::error!(%error, "the level of the log could not be changed");
        }
    }
}

fn filter(level: LogLevel) -> LevelFilter {
    LevelFilter::from_level(match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    })
}
