//! Settings of a server.

use std::path::PathBuf;
use std::time::Duration;

use pillion_ipc::SOCKET_MODE;

use super::access::Access;
/// Settings of a [`Server`](crate::Server).
#[derive(Clone, Debug)]
pub struct ServerOptions {
    pub(crate) socket: PathBuf,
    pub(crate) connections_max: usize,
    pub(crate) handshake_timeout: Duration,
    pub(crate) socket_mode: u32,
    pub(super) access: Access,
    pub(crate) attach: bool,
    pub(super) arena_len: usize,
    pub(super) arenas_len: usize,
    pub(super) uploads_max: usize,
    pub(super) upload_timeout: Duration,
    /// Unless told otherwise, what [`most_of`] gives.
    pub(super) connections_of_user: Option<usize>,
    pub(super) arenas_len_of_user: Option<usize>,
}

/// What one user may have of something unless told otherwise: others always find some left.
pub(super) fn most_of(all: usize) -> usize {
    all - all / 4
}

impl ServerOptions {
    /// Serves on the Unix socket at `socket`, with the defaults.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            connections_max: 1024,
            handshake_timeout: Duration::from_secs(10),
            socket_mode: SOCKET_MODE,
            access: Access::default(),
            attach: true,
            arena_len: 32 << 20,
            arenas_len: 1 << 30,
            uploads_max: 32,
            upload_timeout: Duration::from_secs(3600),
            connections_of_user: None,
            arenas_len_of_user: None,
        }
    }

    /// Bytes of shared memory for the answers of all connections together; 1 GiB unless told otherwise. They cost memory
    /// when they are first written to, and are released with their connection. An answer that finds no room goes through
    /// the socket; 0 sends all of them that way.
    #[must_use]
    pub fn shared_memory(mut self, bytes: usize) -> Self {
        self.arenas_len = bytes;
        self
    }

    /// Bytes of shared memory of one connection; 32 MiB unless told otherwise. A connection for which less is left of
    /// [`shared_memory`](Self::shared_memory) gets none.
    #[must_use]
    pub fn shared_memory_per_connection(mut self, bytes: usize) -> Self {
        self.arena_len = bytes;
        self
    }

    /// Connections at a time; 1024 unless told otherwise. Each costs a thread. One more is refused with
    /// [`TooMany`](crate::ErrorCode::TooMany).
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Connections of one user at a time; three quarters of [`connections_max`](Self::connections_max) unless told
    /// otherwise, so that no user keeps the others out. One more is refused with [`TooMany`](crate::ErrorCode::TooMany).
    #[must_use]
    pub fn connections_per_user(mut self, connections: usize) -> Self {
        self.connections_of_user = Some(connections);
        self
    }

    /// Bytes of shared memory for the connections of one user; three quarters of [`shared_memory`](Self::shared_memory)
    /// unless told otherwise, and that of one connection at least. Connections beyond it get none.
    #[must_use]
    pub fn shared_memory_per_user(mut self, bytes: usize) -> Self {
        self.arenas_len_of_user = Some(bytes);
        self
    }

    /// How long a client may take for its first call, for the rest of any frame that it began, and for reading what it
    /// asked for; 10 s unless told otherwise. Then its connection is closed.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Uploads of all connections at a time, of which one user has three quarters at most; 32 unless told otherwise. Each
    /// costs a thread and [`load_memory`](crate::CacheOptions::load_memory) while its rows are sorted. One more is refused with
    /// [`TooMany`](crate::ErrorCode::TooMany). Rows that fit into one message need none.
    #[must_use]
    pub fn uploads_max(mut self, uploads: usize) -> Self {
        self.uploads_max = uploads;
        self
    }

    /// How long an upload may take from its beginning until its last rows are read, however often it sends some; an hour
    /// unless told otherwise. Then it fails with [`Timeout`](crate::ErrorCode::Timeout), and nothing of it is committed. An upload
    /// that sends nothing for a minute fails before.
    #[must_use]
    pub fn upload_timeout(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
        self
    }

    /// Mode of the socket's file, which the kernel asks first: whoever may write it may connect. `0o660`, the owner and
    /// its group, unless told otherwise. Root connects whatever the mode.
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket_mode = mode;
        self
    }

    /// Users that are let in, of those that the socket's mode lets connect; everyone of those unless this or
    /// [`allow_gids`](Self::allow_gids) names somebody. Nobody is allowed implicitly, not even root
    /// or the server's own user.
    /// Others get [`PermissionDenied`](crate::ErrorCode::PermissionDenied).
    #[must_use]
    pub fn allow_uids(mut self, uids: impl IntoIterator<Item = u32>) -> Self {
        self.access.uids = uids.into_iter().collect();
        self
    }

    /// Groups whose members are let in beside the users of [`allow_uids`](Self::allow_uids); supplementary groups
    /// count, such as the one that the containers of a pod share.
    #[must_use]
    pub fn allow_gids(mut self, gids: impl IntoIterator<Item = u32>) -> Self {
        self.access.gids = gids.into_iter().collect();
        self
    }

    /// Whether clients are told the directory, so that those that can open it read it without messages; yes unless
    /// told otherwise. Who can open the directory can read every table of it, told or not.
    #[must_use]
    pub fn attach(mut self, attach: bool) -> Self {
        self.attach = attach;
        self
    }
}
