//! Settings of the socket of a door.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use pillion_ipc::PeerCredentials;

use crate::tls::Tls;

/// Where the door listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// At an address; port 0 takes a free one.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

/// How an address is shown.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Files of PEM for TLS. They are looked at every second; new connections use what they have then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate of the door, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Authorities of clients. With them, only clients with a certificate are admitted; they need a token all the same.
    pub client_authorities: Option<PathBuf>,
}

impl TlsFiles {
    /// Reads the files as [`DoorServer::start`](crate::DoorServer::start) does.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub fn check(&self) -> Result<(), String> {
        Tls::new(self.clone(), b"").map(drop)
    }
}

/// Users of the machine who may connect to a Unix socket: everyone if it names none. Addresses have no users.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Users {
    /// Their numbers.
    pub uids: Vec<u32>,
    /// Groups whose members may: as their primary or as a supplementary one.
    pub gids: Vec<u32>,
}

impl Users {
    /// Whether somebody may connect; `None` is somebody of whom the system does not say who it is.
    pub(crate) fn admit(&self, user: Option<&PeerCredentials>) -> bool {
        let everyone = self.uids.is_empty() && self.gids.is_empty();
        let is_named = |user: &PeerCredentials| {
            self.uids.contains(&user.uid) || self.gids.iter().any(|gid| user.has_group(*gid))
        };
        everyone || user.is_some_and(is_named)
    }
}

/// The socket of a door, and who gets a connection.
#[derive(Clone, Debug)]
pub struct SocketOptions {
    /// Where it listens.
    pub listen: Listen,
    /// What it encrypts with.
    pub tls: Option<TlsFiles>,
    /// Mode of a Unix socket.
    pub socket_mode: u32,
    /// Users who may connect to a Unix socket.
    pub users: Users,
    /// Connections at a time, of which one address or user has at most three quarters.
    pub connections_max: usize,
    /// How long a client may take for a TLS handshake.
    pub handshake_timeout: Duration,
    /// Most threads for work that blocks, which start as they are needed.
    pub blocking_threads: usize,
}

impl SocketOptions {
    /// Listens there, without encryption and with the default limits.
    pub fn new(listen: Listen) -> Self {
        Self {
            listen,
            tls: None,
            socket_mode: 0o660,
            users: Users::default(),
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            blocking_threads: 1,
        }
    }
}

/// What one token may have of something, so that others always find some left.
pub fn most_of(all: usize) -> usize {
    (all - all / 4).max(1)
}
