//! How a sidecar is reached.

use std::path::PathBuf;
use std::time::Duration;

use crate::types::options::CacheOptions;

/// Whether a client of a sidecar maps the files of the cache instead of asking for their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attach {
    /// Maps the files if the directory is readable; otherwise asks the sidecar.
    #[default]
    IfPossible,
    /// Maps the files. If it cannot, connecting fails and says why.
    Require,
    /// Asks the sidecar.
    Never,
}

/// Settings of a connection to a sidecar.
///
/// ```no_run
/// use pillion::{Attach, ConnectOptions};
///
/// let cache = ConnectOptions::new().attach(Attach::Require).connect("/run/pillion/pillion.sock")?;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub struct ConnectOptions {
    pub(crate) attach: Attach,
    pub(crate) dir: Option<PathBuf>,
    pub(crate) deadline: Duration,
    pub(crate) attached: CacheOptions,
}

impl ConnectOptions {
    /// The defaults, which [`Cache::connect`](crate::Cache::connect) uses.
    pub fn new() -> Self {
        Self {
            attach: Attach::default(),
            dir: None,
            deadline: Duration::from_secs(60),
            attached: CacheOptions::new(),
        }
    }

    /// Whether to map the files of the cache; by default where possible.
    #[must_use]
    pub fn attach(mut self, attach: Attach) -> Self {
        self.attach = attach;
        self
    }

    /// The sidecar's directory as this process sees it, if the sidecar sees it elsewhere, as from another container.
    /// Connecting checks that both are the same directory.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// How long each call may take, connecting included; 60 s by default.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Settings of the queries that an attached client runs itself: memory, threads and spill directory.
    #[must_use]
    pub fn attached(mut self, options: CacheOptions) -> Self {
        self.attached = options;
        self
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}
