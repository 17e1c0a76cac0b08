//! A session on a server, for one call.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures::FutureExt;
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, SslOpts};
use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::Runtime;
use tokio::task::spawn_blocking;

use crate::failures;
use crate::options::{Address, MySqlOptions};

/// How long the end of a session may take, in which the server is asked to stop what it does.
const GOODBYE: Duration = Duration::from_secs(2);
/// After this time without a word the kernel asks whether the other end is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// The largest packet of the protocol: the server's own limit decides how large rows are.
const PACKET_LEN_MAX: usize = 1 << 30;

/// One state of all rows, no writes, and the same meaning of texts and values whatever the settings of the user. The server
/// gives up writing to a client that reads nothing for `net_write_timeout`, one minute by default; a cache that commits takes
/// longer. `sql_select_limit` would leave out rows in silence.
const BEGIN: &str = "SET NAMES utf8mb4; \
    SET SESSION time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', \
    sql_select_limit = 18446744073709551615, net_write_timeout = 86400, sql_auto_is_null = 0; \
    SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ";

/// Before the state is taken, so that rows are at least as new.
const CLOCK: &str = "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)";

const SNAPSHOT: &str = "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";

/// What tells a server from those that share its name.
const SERVER: &str = "SELECT CONCAT_WS(' ', @@hostname, @@port, @@server_id)";

/// A connection. Dropping it stops what the server does for it, and closes it.
pub(crate) struct Session {
    conn: Option<Conn>,
    /// By which another connection reaches the same server. They hold the password.
    opts: Opts,
    server: String,
    runtime: Arc<Runtime>,
    /// Whether the server may be at work when the session ends.
    is_busy: bool,
    place: Arc<str>,
}

impl Session {
    pub(crate) async fn open(options: Arc<MySqlOptions>, runtime: Arc<Runtime>) -> Result<Self> {
        let place = place(&options.address);
        let limit = options.connect_timeout;
        let connecting = connect(options, &place);
        let (mut conn, opts) = match tokio::time::timeout(limit, connecting).await {
            Ok(connected) => connected?,
            Err(_) => {
                return Err(Error::new(
                    ErrorCode::SourceUnavailable,
                    format!("{place} did not accept a session within {limit:?}"),
                ));
            }
        };
        let server: Option<String> =
            conn.query_first(SERVER).await.map_err(|error| failures::of_session(&place, error))?;
        let server = server.unwrap_or_default();
        Ok(Self { conn: Some(conn), opts, server, runtime, is_busy: true, place: place.into() })
    }

    /// Begins the transaction in which everything is read, and says at which moment its rows were those of the source.
    pub(crate) async fn begin(&mut self) -> Result<Option<SystemTime>> {
        let place = self.place.clone();
        let failure = |error| failures::of_session(&place, error);
        let conn = self.conn()?;
        conn.query_drop(BEGIN).await.map_err(failure)?;
        let clock: Option<u64> = conn.query_first(CLOCK).await.map_err(failure)?;
        conn.query_drop(SNAPSHOT).await.map_err(failure)?;
        Ok(clock.and_then(|clock| SystemTime::UNIX_EPOCH.checked_add(Duration::from_micros(clock))))
    }

    pub(crate) fn conn(&mut self) -> Result<&mut Conn> {
        self.conn.as_mut().ok_or_else(|| Error::new(ErrorCode::Internal, "the session was closed"))
    }

    /// Where this session is, for messages.
    pub(crate) fn place(&self) -> &Arc<str> {
        &self.place
    }

    /// Says that the server has nothing to do any more, so nothing need be stopped.
    pub(crate) fn done(mut self) {
        self.is_busy = false;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let Some(conn) = self.conn.take() else { return };
        let (opts, server, is_busy) = (self.opts.clone(), std::mem::take(&mut self.server), self.is_busy);
        let runtime = self.runtime.clone();
        self.runtime.spawn(async move {
            if is_busy {
                // A server notices a closed connection only when it writes to it. Failing to reach it changes nothing here.
                let _ = tokio::time::timeout(GOODBYE, stop(opts, conn.id(), &server)).await;
                // Polled once: this marks the connection as ended, and dropping it closes it. Otherwise the library would
                // read all rows that are left before it says goodbye.
                drop(conn.disconnect().now_or_never());
            } else {
                let _ = tokio::time::timeout(GOODBYE, conn.disconnect()).await;
            }
            drop(runtime); // kept until here, even if nobody has the source any more
        });
    }
}

/// Ends a connection, and with it the statement that it executes. `KILL QUERY` would let a statement run that is
/// still on its way.
async fn stop(opts: Opts, connection: u32, server: &str) -> mysql_async::Result<()> {
    let mut conn = Conn::new(opts).await?;
    let reached: Option<String> = conn.query_first(SERVER).await?;
    // Numbers of connections mean nothing to another server behind the same address.
    if reached.as_deref() == Some(server) {
        conn.query_drop(format!("KILL CONNECTION {connection}")).await?;
    }
    conn.disconnect().await
}

/// Connects, and says how the same server is reached again.
async fn connect(options: Arc<MySqlOptions>, place: &str) -> Result<(Conn, Opts)> {
    let read = options.clone();
    // On a thread of its own: files may be slow, and a function of the user's may do anything.
    let (password, encryption) = spawn_blocking(move || {
        Ok::<_, Error>((
            read.password.as_ref().map(Secret::read).transpose()?,
            crate::tls::encryption(&read)?,
        ))
    })
    .await
    .map_err(|error| {
        Error::new(ErrorCode::Internal, "the password could not be read").with_source(error)
    })??;
    let builder = builder(&options, password, encryption);
    let (host, port) = match &options.address {
        Address::Socket(path) => {
            return connect_by(builder.socket(Some(path.display().to_string())), place).await;
        }
        Address::Tcp(host, port) => (host, *port),
    };
    let found = tokio::net::lookup_host((host.as_str(), port)).await.map_err(|error| {
        Error::new(ErrorCode::SourceUnavailable, format!("{place}: the host is not known")).with_source(error)
    })?;
    let mut failure = None;
    for address in found.map(|address: SocketAddr| address.ip()) {
        let of_address = builder.clone().resolved_ips(Some(Vec::<IpAddr>::from([address])));
        match connect_by(of_address, place).await {
            // The first failure is shown. Another address may be another server, but not one for another answer.
            Err(error) if error.code() == ErrorCode::SourceUnavailable => failure = failure.or(Some(error)),
            other => return other,
        }
    }
    Err(failure.unwrap_or_else(|| {
        Error::new(ErrorCode::SourceUnavailable, format!("{place}: the host has no address"))
    }))
}

async fn connect_by(builder: OptsBuilder, place: &str) -> Result<(Conn, Opts)> {
    let opts = Opts::from(builder);
    let conn = Conn::new(opts.clone()).await.map_err(|error| failures::of_connecting(place, error))?;
    Ok((conn, opts))
}

fn builder(options: &MySqlOptions, password: Option<String>, encryption: Option<SslOpts>) -> OptsBuilder {
    let mut builder = OptsBuilder::default()
        .user(options.user.as_deref())
        .pass(password)
        .db_name(options.database.as_deref())
        .ssl_opts(encryption)
        .tcp_keepalive(Some(KEEPALIVE))
        // The library would leave an encrypted connection for a socket of the same path as the server's.
        .prefer_socket(false)
        // Otherwise the library asks the server for these.
        .max_allowed_packet(Some(PACKET_LEN_MAX))
        .wait_timeout(Some(0))
        .stmt_cache_size(0);
    if let Address::Tcp(host, port) = &options.address {
        builder = builder.ip_or_hostname(host.as_str()).tcp_port(*port);
    }
    builder
}

fn place(address: &Address) -> String {
    match address {
        Address::Socket(path) => format!("MySQL at {}", path.display()),
        Address::Tcp(host, port) if host.contains(':') => format!("MySQL at [{host}]:{port}"),
        Address::Tcp(host, port) => format!("MySQL at {host}:{port}"),
    }
}
