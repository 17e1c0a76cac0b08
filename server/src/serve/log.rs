//! The log on standard error.

use std::io;

use tracing::Level;

use crate::config::LogLevel;

/// From now on every event is a line on standard error. If the process logs already, this changes nothing.
pub(crate) fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Error => Level::ERROR,
        LogLevel::Warn => Level::WARN,
        LogLevel::Info => Level::INFO,
        LogLevel::Debug => Level::DEBUG,
        LogLevel::Trace => Level::TRACE,
    };
    let begun = tracing_subscriber::fmt()
        .with_writer(io::stderr)
        .with_max_level(level)
        .with_ansi(false)
        .with_target(false)
        .try_init();
    if let Err(error) = begun {
        tracing::debug!(%error, "the process logs already");
    }
}
