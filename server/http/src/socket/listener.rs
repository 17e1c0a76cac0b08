//! The socket that clients connect to.

use std::fs::{self, Permissions};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::{Path, PathBuf};

use pillion_ipc::PeerCredentials;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};

use super::connections::Peer;
use crate::options::Listen;

/// A connection of either kind.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A socket that is bound: whoever connects waits to be accepted.
#[derive(Debug)]
pub(crate) enum Bound {
    Tcp(std::net::TcpListener),
    Unix(StdUnixListener, PathBuf),
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
            Listen::Unix(path) if !path.try_exists()? || is_left_behind(path) => {
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
                match folder.map(Path::is_dir) {
                    Some(false) => Err(io::Error::new(io::ErrorKind::NotFound, "its folder is not there")),
                    _ => Ok(()),
                }
            }
            Listen::Unix(_) => Err(io::ErrorKind::AddrInUse.into()),
        }
    }

    /// Binds it. A Unix socket that a process left behind is replaced.
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
                let listener = match StdUnixListener::bind(path) {
                    Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_left_behind(path) => {
                        fs::remove_file(path)?;
                        StdUnixListener::bind(path)?
                    }
                    bound => bound?,
                };
                fs::set_permissions(path, Permissions::from_mode(socket_mode))?;
                listener.set_nonblocking(true)?;
                Ok(Self::Unix(listener, path.clone()))
            }
        }
    }

    /// Where it listens, if that is at an address.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok(),
            Self::Unix(..) => None,
        }
    }

    /// The same on the runtime that this is called on.
    ///
    /// # Errors
    /// Those of the system.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        Ok(match self {
            Self::Tcp(listener) => Listener::Tcp(TcpListener::from_std(listener)?),
            Self::Unix(listener, path) => Listener::Unix(UnixListener::from_std(listener)?, path),
        })
    }
}

/// Whether a path is a socket on which nobody listens.
fn is_left_behind(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = StdUnixStream::connect(path).err().map(|error| error.kind());
    is_socket && refused == Some(io::ErrorKind::ConnectionRefused)
}

/// A socket that accepts connections. A Unix socket is removed when it is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
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

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            // If it is gone already, there is nothing to remove.
            let _ = fs::remove_file(path);
        }
    }
}
