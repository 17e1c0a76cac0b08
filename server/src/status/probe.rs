//! `pillion status --ready` and `--live` with a configuration: the same answers as those of the health listener.

use std::time::Duration;

use pillion::{Attach, Cache, ConnectOptions};

use crate::config::Config;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::health::not_ready;

/// How long a sidecar may take to answer a probe.
const DEADLINE: Duration = Duration::from_secs(3);
/// An owner whose heartbeat is older than this does not live; it renews the heartbeat every second.
const HEARTBEAT_MAX: Duration = Duration::from_secs(60);

/// Whether the sidecar of a configuration is ready, by what `[health]` says of its tables.
///
/// # Errors
/// [`Exit::Retry`] with everything that is missing, or if no sidecar answers.
pub(super) fn ready(config: &Config) -> Result<(), Failure> {
    let cache = ConnectOptions::new().attach(Attach::Never).deadline(DEADLINE).connect(&config.socket)?;
    let missing = not_ready(&cache, config);
    if missing.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = missing.iter().map(|it| format!("not ready: {it}")).collect();
    Err(Failure::new(Exit::Retry, lines.join("\n")))
}

/// Whether the sidecar of a configuration lives. Asks the directory, whose owner gives a sign of life every second, because
/// there is no socket while tables are loaded.
///
/// # Errors
/// [`Exit::Retry`] if the last sign of life is too old, or the owner closed the cache.
pub(super) fn live(config: &Config) -> Result<(), Failure> {
    let owner = Cache::open_read_only(&config.dir)?.status()?.owner;
    let is_alive = |at: std::time::SystemTime| at.elapsed().unwrap_or_default() < HEARTBEAT_MAX;
    match owner {
        Some(owner) if !owner.closed && is_alive(owner.at) => Ok(()),
        Some(owner) if owner.closed => {
            Err(Failure::new(Exit::Retry, "no sidecar runs: the last one closed the cache"))
        }
        _ => Err(Failure::new(Exit::Retry, "no sidecar gave a sign of life in the last minute")),
    }
}
