//! How a sidecar is reached.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cache::Cache;
use super::error::{Error, ErrorCode, Result};
use super::options::CacheOptions;
use crate::attached::Attached;
use crate::remote::Remote;

/// Whether a client of a sidecar maps the files of the cache instead of asking for their rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Attach {
    /// It does where it can read the directory, and asks else.
    #[default]
    IfPossible,
    /// It does, or connecting fails and says why it cannot.
    Require,
    /// It asks.
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
    attach: Attach,
    dir: Option<PathBuf>,
    deadline: Duration,
    attached: CacheOptions,
}

impl ConnectOptions {
    /// The defaults, which [`Cache::connect`] uses.
    pub fn new() -> Self {
        Self {
            attach: Attach::default(),
            dir: None,
            deadline: Duration::from_secs(60),
            attached: CacheOptions::new(),
        }
    }

    /// Whether to map the files of the cache; where possible unless told otherwise.
    #[must_use]
    pub fn attach(mut self, attach: Attach) -> Self {
        self.attach = attach;
        self
    }

    /// Where this process sees the directory of the sidecar, if that is not where the sidecar does, as in another
    /// container. It is checked to be the same.
    #[must_use]
    pub fn dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.dir = Some(dir.into());
        self
    }

    /// How long each call may take, connecting included; 60 s unless told otherwise.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Settings of the queries that an attached client runs itself: their memory, threads and spill directory.
    #[must_use]
    pub fn attached(mut self, options: CacheOptions) -> Self {
        self.attached = options;
        self
    }

    /// Connects to the sidecar on a Unix socket; see [`Cache::connect`].
    ///
    /// # Errors
    /// Those of [`Cache::connect`]; of [`Attach::Require`] also [`Unsupported`](ErrorCode::Unsupported) if the sidecar
    /// does not say where its directory is, and [`NotACache`](ErrorCode::NotACache) if it is not the one that this
    /// process sees there.
    pub fn connect(self, socket: impl AsRef<Path>) -> Result<Cache> {
        self.attached.check()?;
        let (remote, place) = Remote::connect(
            socket.as_ref(),
            self.dir.as_deref(),
            self.attach != Attach::Never,
            self.deadline,
        )?;
        if self.attach == Attach::Never {
            return Ok(Cache { backend: Arc::new(remote) });
        }
        let dir = match place {
            Some(dir) => dir,
            None if self.attach == Attach::Require => return Err(remote.cannot_attach()),
            None => {
                tracing::debug!(reason = %remote.cannot_attach(), "not attached");
                return Ok(Cache { backend: Arc::new(remote) });
            }
        };
        match Attached::open(&dir, self.attached) {
            Ok(attached) => Ok(Cache { backend: Arc::new(attached.with_writer(remote)) }),
            Err(error) if self.attach == Attach::Require => Err(error),
            // The sidecar may be able to read what this process cannot.
            Err(error) => {
                tracing::warn!(%error, "not attached");
                // A connection that is for answers has shared memory for them.
                drop(remote);
                let (remote, _) =
                    Remote::connect(socket.as_ref(), self.dir.as_deref(), false, self.deadline)?;
                Ok(Cache { backend: Arc::new(remote) })
            }
        }
    }
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl Remote {
    /// Why this process does not map the files of the sidecar.
    fn cannot_attach(&self) -> Error {
        match self.told_dir() {
            None => Error::new(
                ErrorCode::Unsupported,
                "the sidecar does not let its clients attach; ask it remotely with `attach=never`, or set `attach = true` \
                 in its configuration",
            ),
            Some(dir) => Error::new(
                ErrorCode::NotACache,
                format!(
                    "the sidecar's directory {} is not there for this process, or is another; mount it, and name it with \
                     `dir=` if it is mounted elsewhere",
                    dir.display()
                ),
            ),
        }
    }
}
