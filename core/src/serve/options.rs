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
    /// `None` stands for what [`most_of`] gives.
    pub(super) connections_of_user: Option<usize>,
    pub(super) arenas_len_of_user: Option<usize>,
}

/// What one user may have of something by default, so that others always find some left.
pub(super) fn most_of(all: usize) -> usize {
    all - all / 4
}

impl ServerOptions {
    /// Connections of all users, and of one.
    pub(super) fn connections(&self) -> (usize, usize) {
        let most = self.connections_max;
        (most, self.connections_of_user.unwrap_or_else(|| most_of(most)))
    }

    /// Uploads of all users, and of one.
    pub(super) fn uploads(&self) -> (usize, usize) {
        (self.uploads_max, most_of(self.uploads_max))
    }

    /// Serves on the Unix socket at `socket`, with the default settings.
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

    /// Bytes of shared memory for the answers of all connections together; 1 GiB by default. They cost memory once
    /// they are first written to, and are released with their connection. An answer that finds no room goes through
    /// the socket; with 0 all of them do.
    #[must_use]
    pub fn shared_memory(mut self, bytes: usize) -> Self {
        self.arenas_len = bytes;
        self
    }

    /// Bytes of shared memory of one connection; 32 MiB by default. If less than that is left of
    /// [`shared_memory`](Self::shared_memory), a new connection gets none.
    #[must_use]
    pub fn shared_memory_per_connection(mut self, bytes: usize) -> Self {
        self.arena_len = bytes;
        self
    }

    /// Connections at a time; 1024 by default. Each costs a thread. One more is refused with
    /// [`TooMany`](crate::ErrorCode::TooMany).
    #[must_use]
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections;
        self
    }

    /// Connections of one user at a time; by default three quarters of [`connections_max`](Self::connections_max), so
    /// that no user keeps the others out. One more is refused with [`TooMany`](crate::ErrorCode::TooMany).
    #[must_use]
    pub fn connections_per_user(mut self, connections: usize) -> Self {
        self.connections_of_user = Some(connections);
        self
    }

    /// Bytes of shared memory for the connections of one user; by default three quarters of
    /// [`shared_memory`](Self::shared_memory), but at least enough for one connection. Connections beyond it get
    /// none.
    #[must_use]
    pub fn shared_memory_per_user(mut self, bytes: usize) -> Self {
        self.arenas_len_of_user = Some(bytes);
        self
    }

    /// How long a client may take for its first call, for the rest of any frame that it began, and for reading what
    /// it asked for; 10 s by default. Then its connection is closed.
    #[must_use]
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.handshake_timeout = timeout;
        self
    }

    /// Uploads of all connections at a time, of which one user has three quarters at most; 32 by default. Each costs
    /// a thread and [`load_memory`](crate::CacheOptions::load_memory) while its rows are sorted. One more is refused
    /// with [`TooMany`](crate::ErrorCode::TooMany). Rows that fit into one message need no upload.
    #[must_use]
    pub fn uploads_max(mut self, uploads: usize) -> Self {
        self.uploads_max = uploads;
        self
    }

    /// How long an upload may take from its beginning until its last rows are read, however often it sends some; an
    /// hour by default. Then it fails with [`Timeout`](crate::ErrorCode::Timeout), and none of its rows are
    /// committed. An upload that sends nothing for a minute fails before.
    #[must_use]
    pub fn upload_timeout(mut self, timeout: Duration) -> Self {
        self.upload_timeout = timeout;
        self
    }

    /// Mode of the socket's file, which the kernel checks first: whoever may write the file may connect. The default
    /// `0o660` allows the owner and its group. Root connects whatever the mode.
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.socket_mode = mode;
        self
    }

    /// Users that are let in, of those that the socket's mode lets connect. If neither this nor
    /// [`allow_gids`](Self::allow_gids) names anybody, all of those are let in. Otherwise nobody is allowed
    /// implicitly, not even root or the server's own user, and others get
    /// [`PermissionDenied`](crate::ErrorCode::PermissionDenied).
    #[must_use]
    pub fn allow_uids(mut self, uids: impl IntoIterator<Item = u32>) -> Self {
        self.access.uids = uids.into_iter().collect();
        self
    }

    /// Groups whose members are let in, in addition to the users of [`allow_uids`](Self::allow_uids). Supplementary
    /// groups count, such as the one that the containers of a pod share.
    #[must_use]
    pub fn allow_gids(mut self, gids: impl IntoIterator<Item = u32>) -> Self {
        self.access.gids = gids.into_iter().collect();
        self
    }

    /// Whether to tell clients the directory, so that those that can open it read it without messages; yes by
    /// default. Whoever can open the directory can read every table in it, told or not.
    #[must_use]
    pub fn attach(mut self, attach: bool) -> Self {
        self.attach = attach;
        self
    }
}
