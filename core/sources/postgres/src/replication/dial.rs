//! Reaching a host: TCP or a Unix socket, and TLS.

use std::sync::Arc;

use bytes::BytesMut;
use pillion::{Error, ErrorCode, Result};
use postgres_protocol::message::frontend;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::binding::channel_binding;
use super::messages::Duplex;
use crate::options::SslMode;
use crate::session::{KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVES};

/// A connection on which nothing was said yet.
pub(super) struct Line {
    pub(super) stream: Box<dyn Duplex>,
    /// What SCRAM binds the login to, on an encrypted connection.
    pub(super) binding: Option<Vec<u8>>,
}

/// Connects to a host, and encrypts as far as is asked for.
pub(super) async fn dial(
    (host, port): (&str, u16),
    mode: SslMode,
    tls: Arc<ClientConfig>,
    place: &str,
) -> Result<Line> {
    let unreachable = |error| {
        Error::new(ErrorCode::SourceUnavailable, format!("{place} cannot be reached")).with_source(error)
    };
    if host.starts_with('/') {
        return local(host, port).await.map_err(unreachable);
    }
    let mut stream = TcpStream::connect((host, port)).await.map_err(unreachable)?;
    keep_alive(&stream).map_err(unreachable)?;
    if mode == SslMode::Disable {
        return Ok(Line { stream: Box::new(stream), binding: None });
    }
    let mut request = BytesMut::new();
    frontend::ssl_request(&mut request);
    stream.write_all(&request).await.map_err(unreachable)?;
    // One byte, so that nothing is taken of what comes encrypted.
    match stream.read_u8().await.map_err(unreachable)? {
        b'S' => encrypted(host, stream, tls, place).await,
        _ if mode == SslMode::Prefer => Ok(Line { stream: Box::new(stream), binding: None }),
        _ => Err(unencrypted(place, "the server does not offer it")),
    }
}

async fn encrypted(host: &str, stream: TcpStream, tls: Arc<ClientConfig>, place: &str) -> Result<Line> {
    let name =
        ServerName::try_from(host.to_owned()).map_err(|error| unencrypted(place, &error.to_string()))?;
    let stream = TlsConnector::from(tls)
        .connect(name, stream)
        .await
        .map_err(|error| unencrypted(place, &error.to_string()))?;
    let binding = stream.get_ref().1.peer_certificates().and_then(|chain| channel_binding(chain.first()?));
    Ok(Line { stream: Box::new(stream), binding })
}

fn unencrypted(place: &str, why: &str) -> Error {
    Error::new(ErrorCode::SourceUnavailable, format!("{place}: there is no encrypted connection: {why}"))
}

#[cfg(unix)]
async fn local(dir: &str, port: u16) -> std::io::Result<Line> {
    let path = std::path::Path::new(dir).join(format!(".s.PGSQL.{port}"));
    let stream = tokio::net::UnixStream::connect(path).await?;
    Ok(Line { stream: Box::new(stream), binding: None })
}

#[cfg(not(unix))]
async fn local(_: &str, _: u16) -> std::io::Result<Line> {
    Err(std::io::ErrorKind::Unsupported.into())
}

fn keep_alive(stream: &TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_IDLE)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVES);
    SockRef::from(stream).set_tcp_keepalive(&keepalive)
}
