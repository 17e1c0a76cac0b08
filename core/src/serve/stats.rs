//! What a server holds for its clients now.

use std::sync::{Arc, Weak};

use super::state::ServerState;

/// What a server holds for its clients now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ServerStats {
    /// Clients that are connected.
    pub connections: usize,
    /// Uploads that are under way.
    pub uploads: usize,
    /// Bytes of shared memory that clients may map.
    pub shared_memory: usize,
}

/// Looks at a server, as long as there is one. Keeps neither the server nor its cache. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct ServerMonitor(Weak<ServerState>);

impl ServerMonitor {
    pub(super) fn of(server: &Arc<ServerState>) -> Self {
        Self(Arc::downgrade(server))
    }

    /// What the server holds now; `None` if it has stopped.
    pub fn stats(&self) -> Option<ServerStats> {
        let server = self.0.upgrade()?;
        Some(ServerStats {
            connections: server.connected.taken(),
            uploads: server.uploads.taken(),
            shared_memory: server.arenas.taken(),
        })
    }
}
