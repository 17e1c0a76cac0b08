//! Who is at the other end of a socket.

use std::io;
use std::os::unix::net::UnixStream;

use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::os::unix::uds_local_socket as uds;

use crate::groups::peer_groups;

/// Who is at the other end of a socket, according to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCredentials {
    /// User.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// Supplementary groups. The group that containers of a pod share is one of these.
    pub groups: Vec<u32>,
}

impl PeerCredentials {
    /// Asks the kernel.
    ///
    /// # Errors
    /// Those of the operating system; [`io::ErrorKind::Unsupported`] where it does not report the peer.
    pub fn of(stream: &UnixStream) -> io::Result<Self> {
        let credentials = uds::Stream::from(stream.try_clone()?).peer_creds()?;
        match (credentials.euid(), credentials.egid()) {
            (Some(uid), Some(gid)) => Ok(Self { uid, gid, groups: peer_groups(stream)? }),
            _ => Err(io::Error::new(io::ErrorKind::Unsupported, "the system does not tell who connects")),
        }
    }

    /// Whether the process had this group, as its primary or as a supplementary one.
    pub fn has_group(&self, gid: u32) -> bool {
        self.gid == gid || self.groups.contains(&gid)
    }
}
