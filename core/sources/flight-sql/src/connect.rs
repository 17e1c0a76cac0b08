//! Connections: over TCP, with encryption or without, and over Unix sockets.

use std::future::{Ready, ready};
use std::io;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use pillion::{Error, ErrorCode, Result};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::codegen::Service;
use tonic::codegen::http::Uri;
use tonic::transport::{Channel, Endpoint};

use crate::address::Address;
use crate::failures;

/// After this time without a word the kernel asks whether the other end is still there. Servers of HTTP/2 hang up on clients
/// that ask on that level.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVES: u32 = 3;
/// What a server may send before somebody took it, in bytes.
const WINDOW_LEN: u32 = 2 << 20;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Connects to a server. `tls` is for encrypted ones, and `name` what their certificate must say.
pub(crate) async fn connect(
    address: &Address,
    tls: Option<Arc<ClientConfig>>,
    name: Option<&str>,
    place: &str,
) -> Result<Channel> {
    let (stream, authority): (Box<dyn Stream>, String) = match address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path).await;
            let stream = stream.map_err(|error| failures::out_of_reach(place, error))?;
            (Box::new(stream), "localhost".to_owned())
        }
        Address::Tcp { host, .. } => {
            let authority = address.to_string();
            let stream = tcp(&authority, place).await?;
            match tls {
                None => (Box::new(stream), authority),
                Some(config) => (encrypted(stream, config, name.unwrap_or(host), place).await?, authority),
            }
        }
    };
    let scheme = if matches!(address, Address::Tcp { is_encrypted: true, .. }) { "https" } else { "http" };
    let origin: Uri = format!("{scheme}://{authority}").parse().map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, format!("{place}: this cannot be an address"))
            .with_source(error)
    })?;
    // Encryption is done below, so the channel need not know of it.
    Endpoint::from_static("http://connected")
        .origin(origin)
        .initial_stream_window_size(WINDOW_LEN)
        .initial_connection_window_size(WINDOW_LEN)
        .connect_with_connector(Once(Some(stream)))
        .await
        .map_err(|error| failures::out_of_reach(place, error))
}

async fn tcp(authority: &str, place: &str) -> Result<TcpStream> {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_keepalive(Some(KEEPALIVE_IDLE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVES));
    let uri: Uri = format!("http://{authority}").parse().map_err(|error| {
        Error::new(ErrorCode::InvalidArgument, format!("{place}: this cannot be an address"))
            .with_source(error)
    })?;
    let connected = connector.call(uri).await;
    Ok(connected.map_err(|error| failures::out_of_reach(place, error))?.into_inner())
}

async fn encrypted(
    stream: TcpStream,
    config: Arc<ClientConfig>,
    name: &str,
    place: &str,
) -> Result<Box<dyn Stream>> {
    let name = ServerName::try_from(name.to_owned()).map_err(|_| {
        Error::new(ErrorCode::InvalidArgument, format!("{place}: `{name}` cannot be the name of a server"))
    })?;
    let connected = TlsConnector::from(config).connect(name, stream).await;
    Ok(Box::new(connected.map_err(|error| failures::not_encrypted(place, error))?))
}

/// Gives the one connection that was made. A channel whose connection ended asks for another one, and gets an error: the
/// call has failed, and the next call makes a connection of its own.
struct Once(Option<Box<dyn Stream>>);

impl Service<Uri> for Once {
    type Response = TokioIo<Box<dyn Stream>>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let ended = || io::Error::new(io::ErrorKind::NotConnected, "the connection ended");
        ready(self.0.take().map(TokioIo::new).ok_or_else(ended))
    }
}
