//! How a server is reached.

use std::path::PathBuf;
use std::time::Duration;

use pillion::Result;
use pillion::source::Secret;

use crate::MySql;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a connection is encrypted, and what of the server's certificate is verified. Connections over Unix sockets
/// are never encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Not encrypted. Whoever can read the traffic reads the rows; whoever can change it can read the password too.
    Disable,
    /// Encrypted, or there is no connection. The certificate is **not verified**: whoever pretends to be the server
    /// reads the rows, and the password where the server's plugin asks for it. Protects only against listeners.
    RequireUnverified,
    /// Encrypted; the certificate must be signed by one of the roots, and be that of the host, or of the
    /// [name](MySqlOptions::certificate_name) that was given. The default.
    #[default]
    VerifyFull,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(String, u16),
    Socket(PathBuf),
}

/// How a MariaDB or MySQL server is reached: host, user, database, encryption.
///
/// ```
/// use std::time::Duration;
///
/// use pillion_mysql::{MySqlOptions, Secret};
///
/// let source = MySqlOptions::from_url("mysql://reader@db.example.com:3306/shop?ssl-mode=verify-full")?
///     .password(Secret::File("/run/secrets/shop".into()))
///     .connect_timeout(Duration::from_secs(3))
///     .build()?;
/// # let _ = source;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct MySqlOptions {
    pub(crate) address: Address,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) ssl_mode: SslMode,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) certificate_name: Option<String>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) connect_timeout: Duration,
}

impl MySqlOptions {
    /// Options of a URL: `mysql://USER:PASSWORD@HOST:PORT/DATABASE?NAME=VALUE&…`, or the same with `mariadb://`.
    ///
    /// For a Unix socket, name it: `mysql://reader@/shop?socket=/run/mysqld/mysqld.sock`. Without a database, names of
    /// tables must name theirs.
    ///
    /// Names: `socket`, `user`, `password`, `ssl-mode` (`disable`, `require-unverified`, `verify-full`), `ssl-ca` (a file,
    /// or `system`), `ssl-name`, `ssl-cert`, `ssl-key`, `connect-timeout` (seconds).
    ///
    /// # Errors
    /// [`InvalidArgument`](pillion::ErrorCode::InvalidArgument), without the text of the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self> {
        crate::url::parse(url)
    }

    /// Which database this is, without who asks it.
    pub(crate) fn place(&self) -> String {
        let database = self.database.as_deref().unwrap_or_default();
        match &self.address {
            Address::Tcp(host, port) => format!("mysql://{host}:{port}/{database}"),
            Address::Socket(path) => format!("mysql://{}/{database}", path.display()),
        }
    }

    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            user: None,
            password: None,
            database: None,
            ssl_mode: SslMode::default(),
            roots: None,
            certificate_name: None,
            identity: None,
            connect_timeout: CONNECT_TIMEOUT,
        }
    }

    /// Takes the password from there. This replaces the password of the URL.
    #[must_use]
    pub fn password(mut self, password: impl Into<Secret>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Says what is verified of the server. The default is [`SslMode::VerifyFull`].
    #[must_use]
    pub fn ssl_mode(mut self, mode: SslMode) -> Self {
        self.ssl_mode = mode;
        self
    }

    /// Takes the certificates that are trusted from a PEM file, instead of those of the system. The file is read again for
    /// every connection.
    #[must_use]
    pub fn root_certificates(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots = Some(file.into());
        self
    }

    /// Expects the certificate of this name instead of that of the host: for a host that is reached by an address or a
    /// tunnel.
    #[must_use]
    pub fn certificate_name(mut self, name: impl Into<String>) -> Self {
        self.certificate_name = Some(name.into());
        self
    }

    /// Shows the server a certificate of ours, from PEM files that are read again for every connection.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Says how long the server may take until it accepts the session. The default is 10 seconds. A short time reports soon
    /// that a server is gone; a long one allows for slow networks.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The source. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Io`](pillion::ErrorCode::Io) if the thread of its connections cannot be started.
    pub fn build(self) -> Result<MySql> {
        MySql::new(self)
    }
}
