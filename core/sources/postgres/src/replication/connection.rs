//! A connection for streaming, before it streams.

use std::sync::Arc;

use bytes::BytesMut;
use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use tokio::io::AsyncWriteExt;
use tokio::task::spawn_blocking;

use super::command::Rows;
use super::dial::dial;
use super::login::Login;
use super::messages::Messages;
use crate::options::{PostgresOptions, SslMode};
use crate::session::{GOODBYE, VERSION_MIN, place_of, version_of};

/// A connection on which changes can be streamed, and that takes commands until then. Dropping it closes it.
pub(crate) struct Connection {
    pub(super) messages: Messages,
    version: u32,
    pub(super) process: i32,
    canceller: Canceller,
}

/// What it takes to stop a command: another connection to the same host.
#[derive(Clone)]
struct Canceller {
    host: (String, u16),
    mode: SslMode,
    tls: Arc<ClientConfig>,
    process: i32,
    secret: i32,
    place: Arc<str>,
}

impl Connection {
    /// Connects to the first host that accepts a session and is a primary.
    pub(crate) async fn open(options: Arc<PostgresOptions>) -> Result<Self> {
        let read = options.clone();
        let credentials = spawn_blocking(move || {
            Ok::<_, Error>((
                read.password.as_ref().map(Secret::read).transpose()?,
                crate::tls::config(&read)?,
            ))
        });
        let (password, tls) = credentials.await.map_err(|error| {
            Error::new(ErrorCode::Internal, "the password could not be read").with_source(error)
        })??;
        let mut failure = None;
        for (host, port) in &options.hosts {
            let place: Arc<str> = place_of(host, *port).into();
            let opening = open_at(&options, (host, *port), password.as_deref(), tls.clone(), &place);
            let opened = match tokio::time::timeout(options.connect_timeout, opening).await {
                Ok(opened) => opened,
                Err(_) => Err(Error::new(
                    ErrorCode::SourceUnavailable,
                    format!("{place} did not accept a session within {:?}", options.connect_timeout),
                )),
            };
            match opened {
                Ok(connection) => return Ok(connection),
                Err(error) if error.code() != ErrorCode::SourceUnavailable => return Err(error),
                // The first failure is shown: it is of the host that was meant to serve.
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        Err(failure
            .unwrap_or_else(|| Error::new(ErrorCode::InvalidArgument, "no host of PostgreSQL is named")))
    }

    /// Where the server is, for messages to people.
    pub(crate) fn place(&self) -> &Arc<str> {
        self.messages.place()
    }

    /// The first part of the server's version.
    pub(crate) fn version(&self) -> u32 {
        self.version
    }

    /// The number of the process at the server.
    pub(crate) fn process(&self) -> i32 {
        self.process
    }

    /// The answer to a command or a query.
    pub(super) async fn query(&mut self, text: &str) -> Result<Rows> {
        let answer = self.messages.query(text).await;
        answer.map_err(|failure| failure.into_error(self.messages.place()))
    }

    /// Stops the command that runs, when it is dropped.
    pub(super) fn stop_on_drop(&self) -> StopOnDrop {
        StopOnDrop(Some(self.canceller.clone()))
    }
}

/// Stops the command of a connection unless it ended.
pub(super) struct StopOnDrop(Option<Canceller>);

impl StopOnDrop {
    /// The command has ended.
    pub(super) fn unneeded(mut self) {
        self.0 = None;
    }
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        // A server that waits for a lock does not notice that a connection was closed.
        if let Some(canceller) = self.0.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            drop(runtime.spawn(async move {
                // Failing to reach it changes nothing here.
                let _ = tokio::time::timeout(GOODBYE, canceller.cancel()).await;
            }));
        }
    }
}

impl Canceller {
    async fn cancel(self) -> Result<()> {
        let (host, port) = &self.host;
        let mut line = dial((host, *port), self.mode, self.tls, &self.place).await?;
        let mut request = BytesMut::new();
        frontend::cancel_request(self.process, self.secret, &mut request);
        let sent = async {
            line.stream.write_all(&request).await?;
            line.stream.shutdown().await
        };
        sent.await.map_err(|error| crate::failures::cut_off(&self.place, error))
    }
}

async fn open_at(
    options: &PostgresOptions,
    host: (&str, u16),
    password: Option<&str>,
    tls: Arc<ClientConfig>,
    place: &Arc<str>,
) -> Result<Connection> {
    let line = dial(host, options.ssl_mode, tls.clone(), place).await?;
    let mut messages = Messages::new(line.stream, place.clone());
    let own_name;
    let user = match &options.user {
        Some(user) => user,
        None => {
            own_name = whoami::username().map_err(|error| {
                Error::new(
                    ErrorCode::SourceRefused,
                    "no user of PostgreSQL is named, and the process has none",
                )
                .with_source(error)
            })?;
            &own_name
        }
    };
    let login = Login {
        user,
        password,
        database: options.database.as_deref(),
        application_name: &options.application_name,
        session_options: options.session_options.as_deref(),
        binding: line.binding,
    };
    let welcome = login.run(&mut messages).await?;
    let version = version_of(&welcome.version).unwrap_or(VERSION_MIN);
    if version < VERSION_MIN {
        return Err(Error::new(
            ErrorCode::Unsupported,
            format!(
                "{place} has version {}, and the oldest that can be read is {VERSION_MIN}",
                welcome.version
            ),
        ));
    }
    let canceller = Canceller {
        host: (host.0.to_owned(), host.1),
        mode: options.ssl_mode,
        tls,
        process: welcome.process,
        secret: welcome.secret,
        place: place.clone(),
    };
    let mut connection = Connection { messages, version, process: welcome.process, canceller };
    is_primary(&mut connection).await?;
    Ok(connection)
}

/// Succeeds if the server is a primary. Standbys before version 16 stream no changes, and slots are rarely on later ones.
async fn is_primary(connection: &mut Connection) -> Result<()> {
    let rows = connection.query("SELECT pg_catalog.pg_is_in_recovery()").await?;
    if rows.concat() == [Some("f".to_owned())] {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::SourceUnavailable,
        format!("{}: the server is a standby, and changes come from its primary", connection.place()),
    ))
}
