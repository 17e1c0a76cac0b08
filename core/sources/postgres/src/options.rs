//! How a server is reached.

use std::path::PathBuf;
use std::time::Duration;

use pillion::Result;
use pillion::source::Secret;
use tokio_postgres::config::TargetSessionAttrs;

use crate::Postgres;

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether a connection is encrypted, and what of the server's certificate is verified. Connections over Unix sockets
/// are never encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SslMode {
    /// Not encrypted.
    Disable,
    /// Encrypted if the server offers it; nothing is verified. Whoever can change the traffic can read all of it. The default,
    /// as with other clients of PostgreSQL.
    #[default]
    Prefer,
    /// Encrypted, or there is no connection. The certificate is not verified, so this protects against listeners and not
    /// against a server that pretends to be another. With [`root_certificates`](PostgresOptions::root_certificates) it is the
    /// same as [`VerifyCa`](Self::VerifyCa), as with other clients.
    Require,
    /// Encrypted; the certificate must be signed by one of the roots. Its name is not compared with the host.
    VerifyCa,
    /// Encrypted; the certificate must be signed by one of the roots, and be that of the host. Choose this.
    VerifyFull,
}

/// How a PostgreSQL server is reached: hosts, user, database, encryption.
///
/// ```
/// use std::time::Duration;
///
/// use pillion_postgres::{PostgresOptions, Secret};
///
/// let source = PostgresOptions::from_url("postgresql://reader@db1,db2:5433/shop?sslmode=verify-full")?
///     .password(Secret::File("/run/secrets/shop".into()))
///     .connect_timeout(Duration::from_secs(3))
///     .build()?;
/// # let _ = source;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    pub(crate) hosts: Vec<(String, u16)>,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) database: Option<String>,
    pub(crate) application_name: String,
    pub(crate) session_options: Option<String>,
    pub(crate) target: TargetSessionAttrs,
    pub(crate) ssl_mode: SslMode,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    pub(crate) connect_timeout: Duration,
}

impl PostgresOptions {
    /// Options of a URL, in the form that other clients of PostgreSQL take:
    /// `postgresql://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE?NAME=VALUE&…`.
    ///
    /// Hosts are tried in their order; the next one is tried if there is no connection, and not if the server refuses
    /// the user. For a Unix socket, name its directory: `postgresql:///shop?host=/var/run/postgresql`. Without a user it
    /// is that of the process, without a database that of the user's name.
    ///
    /// Names: `host`, `port`, `user`, `password`, `dbname`, `sslmode`, `sslrootcert` (a file, or `system`), `sslcert`,
    /// `sslkey`, `connect_timeout` (seconds), `application_name`, `options`, `target_session_attrs` (`any`,
    /// `read-write`, `read-only`).
    ///
    /// # Errors
    /// [`InvalidArgument`](pillion::ErrorCode::InvalidArgument), without the text of the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self> {
        crate::url::parse(url)
    }

    /// Which database this is, without who asks it. Options of the session may choose another schema.
    pub(crate) fn place(&self) -> String {
        let hosts = self.hosts.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>();
        let database = self.database.as_ref().or(self.user.as_ref()).map_or("", String::as_str);
        let options = self.session_options.as_deref().unwrap_or_default();
        format!("postgresql://{}/{database}?{options}", hosts.join(","))
    }

    pub(crate) fn new() -> Self {
        Self {
            hosts: Vec::new(),
            user: None,
            password: None,
            database: None,
            application_name: "pillion".to_owned(),
            session_options: None,
            target: TargetSessionAttrs::Any,
            ssl_mode: SslMode::default(),
            roots: None,
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

    /// Says what is verified of the server. The default is [`SslMode::Prefer`].
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

    /// Shows the server a certificate of ours, from PEM files that are read again for every connection.
    #[must_use]
    pub fn client_certificate(mut self, certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.identity = Some((certificate.into(), key.into()));
        self
    }

    /// Says how long one host may take until it accepts the session. The default is 10 seconds. A short time tries the next host
    /// soon; a long one allows for slow networks.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// The source. Nothing is connected yet.
    ///
    /// # Errors
    /// [`Io`](pillion::ErrorCode::Io) if the thread of its connections cannot be started.
    pub fn build(self) -> Result<Postgres> {
        Postgres::new(self)
    }
}
