//! The socket that clients connect to.

use std::io;
use std::net::SocketAddr;

use pillion_ipc::{BindError, PeerCredentials};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::connections::Peer;
use crate::options::Listen;

/// A connection of either kind.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A socket that is bound: whoever connects waits to be accepted.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(pillion_ipc::Listener),
}

/// A connection, and whose it is.
pub(crate) struct Accepted {
    pub(crate) stream: Box<dyn Stream>,
    pub(crate) peer: Peer,
    /// The user and the groups at the other end of a Unix socket, if the system says so.
    pub(crate) user: Option<PeerCredentials>,
}

impl Bound {
    /// Finds out whether a socket can be bound, although it is bound later.
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub(crate) fn check(listen: &Listen) -> io::Result<()> {
        match listen {
            Listen::Tcp(address) => std::net::TcpListener::bind(address).map(drop),
            Listen::Unix(path) => pillion_ipc::Listener::check(path).map_err(failed),
        }
    }

    /// Binds it. The folder of a Unix socket is made if there is none, and a socket that a process left behind is replaced.
    ///
    /// # Errors
    /// Those of the system: an address that is in use, above all.
    pub(crate) fn new(listen: &Listen, socket_mode: u32) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = std::net::TcpListener::bind(address)?;
                listener.set_nonblocking(true)?;
                Ok(Self::Tcp(listener))
            }
            Listen::Unix(path) => {
                pillion_ipc::Listener::bind(path, socket_mode).map(Self::Unix).map_err(failed)
            }
        }
    }

    /// Where it listens, if that is at an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(_) => None,
        }
    }

    /// The same on the runtime that this is called on.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(bound) => {
                Listener::Unix(UnixListener::from_std(bound.try_clone_nonblocking()?)?, bound)
            }
        })
    }
}

fn failed(error: BindError) -> io::Error {
    match error {
        BindError::InUse(_) => io::Error::new(io::ErrorKind::AddrInUse, error),
        BindError::Io(_, error) => error,
        other => io::Error::other(other),
    }
}

/// A socket that accepts connections. A Unix socket is removed when it is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(
        UnixListener,
        #[expect(dead_code, reason = "removes the socket when it is dropped")] pillion_ipc::Listener,
    ),
}

impl Listener {
    /// The next connection.
    ///
    /// # Errors
    /// Those of the system, such as too many open files.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small answers are not held back. If it is refused, they are only later.
                let _ = stream.set_nodelay(true);
                Ok(Accepted { stream: Box::new(stream), peer: Peer::at(address.ip()), user: None })
            }
            Self::Unix(listener, _) => {
                let stream = listener.accept().await?.0.into_std()?;
                let user = PeerCredentials::of(&stream).ok();
                let peer = user.as_ref().map_or(Peer::Unknown, |user| Peer::User(user.uid));
                Ok(Accepted { stream: Box::new(UnixStream::from_std(stream)?), peer, user })
            }
        }
    }
}
