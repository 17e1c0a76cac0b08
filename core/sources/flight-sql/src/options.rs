//! How a server is reached.

use std::path::PathBuf;
use std::time::Duration;

use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use tonic::metadata::AsciiMetadataKey;

use crate::FlightSql;
use crate::address::{self, Address};
use crate::locations::Locations;

/// How long a connection may take to be made, with the login.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// The largest message of a server that is taken.
const MESSAGE_LEN_MAX: usize = 256 << 20;

/// How a Flight SQL server is reached: its address, the login, encryption.
///
/// ```
/// use std::time::Duration;
///
/// use pillion_flight_sql::{FlightSqlOptions, Secret};
///
/// let source = FlightSqlOptions::from_url("grpc+tls://warehouse.example.com:31337")?
///     .token(Secret::File("/run/secrets/warehouse".into()))
///     .header("database", "shop")
///     .connect_timeout(Duration::from_secs(3))
///     .build()?;
/// # let _ = source;
/// # Ok::<(), pillion::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct FlightSqlOptions {
    pub(crate) address: Address,
    pub(crate) user: Option<String>,
    pub(crate) password: Option<Secret>,
    pub(crate) token: Option<Secret>,
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) roots: Option<PathBuf>,
    pub(crate) certificate: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) server_name: Option<String>,
    pub(crate) connect_timeout: Duration,
    pub(crate) message_len_max: usize,
    pub(crate) locations: Locations,
}

impl FlightSqlOptions {
    /// Options of a URL, in the form that ADBC's driver for Flight SQL takes: `grpc+tls://HOST:PORT`, with verified
    /// encryption; `grpc://HOST:PORT` without encryption; `grpc+unix:///PATH` over a Unix socket. A user may stand in front
    /// of the host, as in `grpc+tls://USER:PASSWORD@HOST:PORT`.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument), without the text of the URL, which may hold a password.
    pub fn from_url(url: &str) -> Result<Self> {
        address::parse(url)
    }

    pub(crate) fn new(address: Address) -> Self {
        Self {
            address,
            user: None,
            password: None,
            token: None,
            headers: Vec::new(),
            roots: None,
            certificate: None,
            key: None,
            server_name: None,
            connect_timeout: CONNECT_TIMEOUT,
            message_len_max: MESSAGE_LEN_MAX,
            locations: Locations::default(),
        }
    }

    /// Shows this token with every call (`authorization: Bearer …`).
    #[must_use]
    pub fn token(mut self, token: impl Into<Secret>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Logs in with a name and a password, for every connection. The server gives a token for them.
    #[must_use]
    pub fn user(mut self, user: impl Into<String>, password: impl Into<Secret>) -> Self {
        self.user = Some(user.into());
        self.password = Some(password.into());
        self
    }

    /// Sends a header with every call, such as the name of a database.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<Secret>) -> Self {
        self.headers.push((name.into(), value.into()));
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
        self.certificate = Some(certificate.into());
        self.key = Some(key.into());
        self
    }

    /// Says which name the certificate of the server must have, if it is not the host of the URL.
    #[must_use]
    pub fn server_name(mut self, name: impl Into<String>) -> Self {
        self.server_name = Some(name.into());
        self
    }

    /// Says how long the server may take until it accepts the connection and the login. The default is 10 seconds. A short
    /// time notices soon that a server is gone; a long one allows for slow networks.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// Says how large a message of the server may be, in bytes; a batch of rows is one message. The default is 256 MiB. A
    /// fetch needs memory for about four messages.
    #[must_use]
    pub fn message_bytes_max(mut self, bytes: usize) -> Self {
        self.message_len_max = bytes;
        self
    }

    /// Says what happens where the server gives another address for rows. The default is an error.
    #[must_use]
    pub fn locations(mut self, locations: Locations) -> Self {
        self.locations = locations;
        self
    }

    /// The source. Nothing is connected yet.
    ///
    /// # Errors
    /// [`InvalidArgument`](ErrorCode::InvalidArgument) for options that contradict each other;
    /// [`Io`](ErrorCode::Io) if the thread of its connections cannot be started.
    pub fn build(self) -> Result<FlightSql> {
        self.check()?;
        FlightSql::new(self)
    }

    fn check(&self) -> Result<()> {
        if self.token.is_some() && self.user.is_some() {
            return Err(invalid("a login is either by `token` or by `user` and `password`, not by both"));
        }
        if self.password.is_some() && self.user.is_none() {
            return Err(invalid("there is a `password` and no `user`"));
        }
        if self.certificate.is_some() != self.key.is_some() {
            return Err(invalid("`client_certificate` and `client_key` belong together"));
        }
        let uses_tls = self.roots.is_some() || self.certificate.is_some() || self.server_name.is_some();
        if uses_tls && !matches!(self.address, Address::Tcp { is_encrypted: true, .. }) {
            return Err(invalid("certificates are for encrypted connections: write `grpc+tls://`"));
        }
        if self.message_len_max == 0 {
            return Err(invalid("`message_bytes_max` must be above 0"));
        }
        for (name, _) in &self.headers {
            let is_usable = AsciiMetadataKey::from_bytes(name.as_bytes()).is_ok();
            if !is_usable || name.starts_with("grpc-") || ["te", "content-type"].contains(&name.as_str()) {
                return Err(invalid(&format!(
                    "`{name}` cannot be the name of a header; use lower-case letters, digits and `-`"
                )));
            }
        }
        Ok(())
    }
}

pub(crate) fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("a Flight SQL source cannot be made: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> FlightSqlOptions {
        FlightSqlOptions::from_url(url).unwrap()
    }

    #[test]
    fn options_that_contradict_each_other_are_refused() {
        let plain = || options("grpc://db:1");
        for (made, why) in [
            (plain().token("t").user("u", "p"), "not by both"),
            (plain().secret("password", "p".into()).unwrap(), "no `user`"),
            (plain().root_certificates("root.pem"), "grpc+tls://"),
            (options("grpc+tls://db:1").option("client_key", "k").unwrap(), "belong together"),
            (plain().header("Grpc Timeout", "1"), "name of a header"),
            (plain().header("grpc-timeout", "1"), "name of a header"),
            (plain().message_bytes_max(0), "above 0"),
        ] {
            let error = made.build().unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(why), "{error}");
        }
    }
}
