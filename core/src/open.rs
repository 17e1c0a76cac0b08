//! Every way to get a [`Cache`], and to give one to other processes: the only place that knows all ways in.

use std::path::Path;
use std::sync::Arc;

use crate::api::cache::Cache;
#[cfg(feature = "sidecar")]
use crate::api::connect::{Attach, ConnectOptions};
use crate::refresh::Owner;
#[cfg(feature = "sidecar")]
use crate::remote::Remote;
#[cfg(feature = "sidecar")]
use crate::serve::{Server, ServerOptions};
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::options::CacheOptions;
use crate::url::Url;
use crate::way::attached::Attached;
use crate::way::embedded::Embedded;

impl Cache {
    /// Opens a cache directory with the default [`CacheOptions`] and becomes its owner, or creates it.
    ///
    /// Reads the manifest and the end of the log, and no data, so the time does not grow with the tables. Holds
    /// the directory's lock until the cache is closed or this process dies.
    ///
    /// # Errors
    /// [`DirectoryLocked`](ErrorCode::DirectoryLocked) if it has an owner; [`NotACache`](ErrorCode::NotACache) if
    /// it holds other files; [`NewerFormat`](ErrorCode::NewerFormat);
    /// [`UnsupportedFileSystem`](ErrorCode::UnsupportedFileSystem) for network file systems;
    /// [`Corrupt`](ErrorCode::Corrupt), [`DiskFull`](ErrorCode::DiskFull), [`Io`](ErrorCode::Io).
    pub fn open(dir: impl AsRef<Path>) -> Result<Self> {
        CacheOptions::new().open(dir)
    }

    /// Opens a cache directory for reading, whether or not another process owns it.
    ///
    /// Takes no lock and writes nothing, so a read-only mount is enough. Each call reads the newest commit of the
    /// owner: one load of shared memory finds out that there is no new one, and following a new one costs its edits.
    /// Mapped data stays readable when the owner replaces it, stops or dies; [`Status::owner`](crate::Status::owner)
    /// says when it was last seen. Writes are refused with [`ReadOnly`](ErrorCode::ReadOnly). If the owner's machine
    /// crashed and lost commits that this handle had seen, one call of this handle fails with
    /// [`WentBack`](ErrorCode::WentBack).
    ///
    /// # Errors
    /// [`NotACache`](ErrorCode::NotACache) if there is none; [`NewerFormat`](ErrorCode::NewerFormat);
    /// [`Corrupt`](ErrorCode::Corrupt); [`Io`](ErrorCode::Io).
    pub fn open_read_only(dir: impl AsRef<Path>) -> Result<Self> {
        CacheOptions::new().open_read_only(dir)
    }

    /// Connects to a sidecar on a Unix socket with the default [`ConnectOptions`]; waits for one that is still
    /// starting.
    ///
    /// A client that can read the sidecar's directory is [`Attached`](crate::Way::Attached): it maps the files and
    /// reads them without a message, even while the sidecar is stopped, as [`open_read_only`](Self::open_read_only)
    /// does. It sends writes to the sidecar, and its next read sees them. Any other client is
    /// [`Remote`](crate::Way::Remote): each call is a message. A call takes at most `deadline`, connecting included.
    /// If the sidecar was restarted, a call that only reads is repeated on a new connection; a write whose answer was
    /// lost fails with [`OutcomeUnknown`](ErrorCode::OutcomeUnknown).
    ///
    /// # Errors
    /// [`Unavailable`](ErrorCode::Unavailable) or [`Timeout`](ErrorCode::Timeout) if no sidecar answers in time. At
    /// once [`PermissionDenied`](ErrorCode::PermissionDenied) if this user may not open the socket, or the sidecar
    /// does not let them in; [`InvalidArgument`](ErrorCode::InvalidArgument) if the path is not a socket or is too
    /// long; [`Unsupported`](ErrorCode::Unsupported) if what answers does not speak a protocol that this client
    /// speaks.
    #[cfg(feature = "sidecar")]
    pub fn connect(socket: impl AsRef<Path>, deadline: std::time::Duration) -> Result<Self> {
        ConnectOptions::new().deadline(deadline).connect(socket)
    }

    /// Opens the cache that a URL names, so that a setting decides how a program reaches its cache:
    ///
    /// - `file:DIR` or a plain path is [`open`](Self::open), with `?mode=ro` [`open_read_only`](Self::open_read_only);
    /// - `unix:SOCKET` is [`connect`](Self::connect), with `?attach=require` or `?attach=never`, `?dir=DIR` if this process
    ///   sees the directory elsewhere than the sidecar does, and `?deadline=SECONDS` for another limit than 60 seconds; `&`
    ///   joins several options.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for an unknown scheme or option; those of the call that the
    /// URL stands for.
    pub fn from_url(url: &str) -> Result<Self> {
        match Url::parse(url)? {
            Url::Directory { dir, read_only: false } => Self::open(dir),
            Url::Directory { dir, read_only: true } => Self::open_read_only(dir),
            #[cfg(feature = "sidecar")]
            Url::Socket { socket, options } => options.connect(socket),
        }
    }

    /// As [`from_url`](Self::from_url), for a program that only reads: opens a directory read-only, so another
    /// process may own it.
    ///
    /// # Errors
    /// As [`from_url`](Self::from_url).
    pub fn from_url_to_read(url: &str) -> Result<Self> {
        match Url::parse(url)? {
            Url::Directory { dir, .. } => Self::open_read_only(dir),
            #[cfg(feature = "sidecar")]
            Url::Socket { socket, options } => options.connect(socket),
        }
    }

    /// Opens the cache that the environment variable `PILLION_URL` names; see [`from_url`](Self::from_url).
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) if it is not set; those of [`from_url`](Self::from_url).
    pub fn from_env() -> Result<Self> {
        let url = std::env::var("PILLION_URL").map_err(|error| {
            Error::new(
                ErrorCode::InvalidArgument,
                "set PILLION_URL to a cache URL, such as `file:/var/lib/pillion`",
            )
            .with_source(error)
        })?;
        Self::from_url(&url)
    }

    /// Serves this cache to other processes on a Unix socket until the returned server is dropped. Starts threads of its
    /// own and returns at once.
    ///
    /// # Errors
    /// [`DirectoryLocked`](ErrorCode::DirectoryLocked) if another process listens on the socket;
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) if its path is too long or names another kind of file;
    /// [`Io`](ErrorCode::Io).
    #[cfg(feature = "sidecar")]
    pub fn serve(&self, options: ServerOptions) -> Result<Server> {
        Server::start(self.backend.clone(), options)
    }

    /// As [`serve`](Self::serve), on a socket that a supervisor such as systemd bound and listens on. The socket's file and mode
    /// are the supervisor's: they stay when the server stops, and clients that connect then wait for the next one.
    ///
    /// # Errors
    /// [`Io`](ErrorCode::Io).
    #[cfg(feature = "sidecar")]
    pub fn serve_on(
        &self,
        listener: std::os::unix::net::UnixListener,
        options: ServerOptions,
    ) -> Result<Server> {
        Server::adopt(self.backend.clone(), listener, options)
    }
}

impl CacheOptions {
    /// Opens or creates a cache directory and becomes its owner; see [`Cache::open`].
    ///
    /// # Errors
    /// Those of [`Cache::open`]; [`InvalidArgument`](ErrorCode::InvalidArgument) for a setting of zero.
    pub fn open(self, dir: impl AsRef<Path>) -> Result<Cache> {
        self.check()?;
        let refreshes_at_once = self.refreshes_at_once;
        Ok(Cache::new(Arc::new(Owner::new(Embedded::open(dir.as_ref(), self)?, refreshes_at_once))))
    }

    /// Opens a cache directory for reading; see [`Cache::open_read_only`].
    ///
    /// # Errors
    /// Those of [`Cache::open_read_only`]; [`InvalidArgument`](ErrorCode::InvalidArgument) for a setting of zero.
    pub fn open_read_only(self, dir: impl AsRef<Path>) -> Result<Cache> {
        self.check()?;
        Ok(Cache::new(Arc::new(Attached::open(dir.as_ref(), self)?)))
    }
}

#[cfg(feature = "sidecar")]
impl ConnectOptions {
    /// Connects to the sidecar on a Unix socket; see [`Cache::connect`].
    ///
    /// # Errors
    /// Those of [`Cache::connect`]. With [`Attach::Require`] also [`Unsupported`](ErrorCode::Unsupported) if the
    /// sidecar does not say where its directory is, and [`NotACache`](ErrorCode::NotACache) if this process sees
    /// another directory there, or none.
    pub fn connect(self, socket: impl AsRef<Path>) -> Result<Cache> {
        self.attached.check()?;
        let (remote, place) = Remote::connect(
            socket.as_ref(),
            self.dir.as_deref(),
            self.attach != Attach::Never,
            self.deadline,
        )?;
        if self.attach == Attach::Never {
            return Ok(Cache::new(Arc::new(remote)));
        }
        let dir = match place {
            Some(dir) => dir,
            None if self.attach == Attach::Require => return Err(remote.cannot_attach()),
            None => {
                tracing::debug!(reason = %remote.cannot_attach(), "not attached");
                return Ok(Cache::new(Arc::new(remote)));
            }
        };
        match Attached::open(&dir, self.attached) {
            Ok(attached) => Ok(Cache::new(Arc::new(attached.with_writer(Arc::new(remote))))),
            Err(error) if self.attach == Attach::Require => Err(error),
            // The sidecar may be able to read what this process cannot.
            Err(error) => {
                tracing::warn!(%error, "not attached");
                // This connection has no shared memory for answers; one that is to answer gets some.
                drop(remote);
                let (remote, _) =
                    Remote::connect(socket.as_ref(), self.dir.as_deref(), false, self.deadline)?;
                Ok(Cache::new(Arc::new(remote)))
            }
        }
    }
}

#[cfg(feature = "sidecar")]
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
