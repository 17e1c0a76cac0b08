//! A session on a server, for one call.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_postgres::{CancelToken, Client, Config, config};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::failures;
use crate::options::{PostgresOptions, SslMode};

/// The oldest version of the server whose catalogs the statements here know.
pub(crate) const VERSION_MIN: u32 = 13;
/// How long the end of a session may take, in which the server is asked to stop what it does.
pub(crate) const GOODBYE: Duration = Duration::from_secs(2);
/// After this time without a word the kernel asks whether the other end is still there.
pub(crate) const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
pub(crate) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
pub(crate) const KEEPALIVES: u32 = 3;

/// One state of all rows, no writes, and values as texts in one form whatever the settings of the user.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
const SETTINGS: &str = "SET LOCAL TimeZone = 'UTC'; SET LOCAL DateStyle = 'ISO, YMD'; SET LOCAL IntervalStyle = 'postgres'; \
    SET LOCAL bytea_output = 'hex'; SET LOCAL extra_float_digits = 1; SET LOCAL standard_conforming_strings = on";

/// Of tables that are followed, all rows come with the changes, so none may be kept back before. The server refuses instead.
const WHOLE: &str = "SET LOCAL row_security = off";

/// A standby has the rows of the moment up to which it replayed its primary.
const CLOCK: &str = "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() \
    THEN pg_catalog.pg_last_xact_replay_timestamp() ELSE pg_catalog.now() END";

/// A connection. Dropping it stops what the server does for it, and closes it.
pub(crate) struct Session {
    client: Option<Client>,
    driver: Option<JoinHandle<()>>,
    cancel: CancelToken,
    tls: MakeRustlsConnect,
    runtime: Arc<Runtime>,
    /// Whether the server may be at work when the session ends.
    is_busy: bool,
    place: String,
}

impl Session {
    /// Connects to the first host that accepts a session.
    pub(crate) async fn open(options: Arc<PostgresOptions>, runtime: Arc<Runtime>) -> Result<Self> {
        let read = options.clone();
        // On a thread of its own: files may be slow, and a function of the user's may do anything.
        let (password, tls) = spawn_blocking(move || {
            Ok::<_, Error>((
                read.password.as_ref().map(Secret::read).transpose()?,
                crate::tls::connector(&read)?,
            ))
        })
        .await
        .map_err(|error| {
            Error::new(ErrorCode::Internal, "the password could not be read").with_source(error)
        })??;
        let mut failure = None;
        for (host, port) in &options.hosts {
            let place = place_of(host, *port);
            let config = config_of(&options, host, *port, password.as_deref());
            let connecting = connect(&config, tls.clone(), &place);
            let connected = match tokio::time::timeout(options.connect_timeout, connecting).await {
                Ok(connected) => connected,
                Err(_) => Err(Error::new(
                    ErrorCode::SourceUnavailable,
                    format!("{place} did not accept a session within {:?}", options.connect_timeout),
                )),
            };
            match connected {
                Ok((client, driver)) => {
                    let cancel = client.cancel_token();
                    let (client, driver) = (Some(client), Some(driver));
                    return Ok(Self { client, driver, cancel, tls, runtime, is_busy: true, place });
                }
                Err(error) if error.code() != ErrorCode::SourceUnavailable => return Err(error),
                // The first failure is shown: it is of the host that was meant to serve.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::new(ErrorCode::InvalidArgument, "no host of PostgreSQL is named")))
    }

    /// Begins the transaction in which everything is read, and says at which moment its rows were those of the source. With the name
    /// of a snapshot, they are those of the snapshot, which is older, and policies leave none out.
    pub(crate) async fn begin(&self, snapshot: Option<&str>) -> Result<Option<SystemTime>> {
        let moment = self.clock().await?;
        let import =
            snapshot.map(|name| format!("SET TRANSACTION SNAPSHOT '{}'; ", name.replace('\'', "''")));
        let begin = match import {
            Some(import) => format!("{BEGIN}; {import}{SETTINGS}; {WHOLE}"),
            None => format!("{BEGIN}; {SETTINGS}"),
        };
        self.client()?.batch_execute(&begin).await.map_err(|error| self.failure(error))?;
        Ok(moment)
    }

    /// The moment of which a transaction that begins now sees the rows.
    pub(crate) async fn clock(&self) -> Result<Option<SystemTime>> {
        let row = self.client()?.query_typed_one(CLOCK, &[]).await.map_err(|error| self.failure(error))?;
        row.try_get(0).map_err(|error| self.failure(error))
    }

    pub(crate) fn client(&self) -> Result<&Client> {
        self.client.as_ref().ok_or_else(|| Error::new(ErrorCode::Internal, "the session was closed"))
    }

    /// Where this session is, for messages.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn failure(&self, error: tokio_postgres::Error) -> Error {
        failures::of_session(&self.place, error)
    }

    /// Says that the server has nothing to do any more, so nothing need be stopped.
    pub(crate) fn done(mut self) {
        self.is_busy = false;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(client), Some(driver)) = (self.client.take(), self.driver.take()) else { return };
        let (cancel, tls, is_busy) =
            (self.cancel.clone(), self.tls.clone(), self.is_busy && !client.is_closed());
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            let abort = driver.abort_handle();
            if is_busy {
                // A server notices a closed connection only when it writes to it. Failing to reach it changes nothing here.
                let _ = tokio::time::timeout(GOODBYE, cancel.cancel_query(tls)).await;
            }
            drop(client); // sends that the session ends
            if tokio::time::timeout(GOODBYE, driver).await.is_err() {
                abort.abort();
            }
            drop(runtime); // kept until here, even if nobody has the source any more
        });
    }
}

async fn connect(config: &Config, tls: MakeRustlsConnect, place: &str) -> Result<(Client, JoinHandle<()>)> {
    let (client, connection) =
        config.connect(tls).await.map_err(|error| failures::of_connecting(place, error))?;
    let version = connection.parameter("server_version").unwrap_or_default().to_owned();
    let driver = tokio::spawn(async move {
        // A failure is reported to whoever waits for an answer of the session.
        let _ = connection.await;
    });
    match version_of(&version) {
        Some(major) if major < VERSION_MIN => Err(Error::new(
            ErrorCode::Unsupported,
            format!("{place} has version {version}, and the oldest that can be read is {VERSION_MIN}"),
        )),
        _ => Ok((client, driver)),
    }
}

/// The first number of a version.
pub(crate) fn version_of(version: &str) -> Option<u32> {
    version.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
}

fn config_of(options: &PostgresOptions, host: &str, port: u16, password: Option<&str>) -> Config {
    let mut config = Config::new();
    config.host(host).port(port).application_name(&options.application_name);
    config.keepalives(true).keepalives_idle(KEEPALIVE_IDLE).keepalives_interval(KEEPALIVE_INTERVAL);
    config.keepalives_retries(KEEPALIVES).target_session_attrs(options.target);
    config.ssl_mode(match options.ssl_mode {
        SslMode::Disable => config::SslMode::Disable,
        SslMode::Prefer => config::SslMode::Prefer,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => config::SslMode::Require,
    });
    if host.starts_with('/') {
        config.ssl_mode(config::SslMode::Disable);
    }
    if let Some(user) = &options.user {
        config.user(user);
    }
    if let Some(password) = password {
        config.password(password);
    }
    if let Some(database) = &options.database {
        config.dbname(database);
    }
    if let Some(settings) = &options.session_options {
        config.options(settings);
    }
    config
}

/// How messages call a host.
pub(crate) fn place_of(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("PostgreSQL at [{host}]:{port}")
    } else if host.starts_with('/') {
        format!("PostgreSQL at {host}/.s.PGSQL.{port}")
    } else {
        format!("PostgreSQL at {host}:{port}")
    }
}
