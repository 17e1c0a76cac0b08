//! What all connections of a server share.

use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use parking_lot::{Mutex, RwLock};

use super::access::Access;
use super::options::ServerOptions;
use super::quota::Quota;
use super::sharing::ArenaPool;
use super::upload::UploadLimits;
use crate::types::recorder::Recording;
use crate::way::Backend;

pub(super) struct ServerState {
    pub(super) backend: Arc<dyn Backend>,
    pub(super) options: ServerOptions,
    pub(super) recording: Recording,
    /// Who is let in now.
    pub(super) access: RwLock<Access>,
    pub(super) arenas: Arc<ArenaPool>,
    pub(super) uploads: Arc<UploadLimits>,
    pub(super) stopping: AtomicBool,
    pub(super) connected: Arc<Quota>,
    pub(super) denied: AtomicU64,
    /// Why the server accepts no more clients.
    pub(super) failure: OnceLock<String>,
    pub(super) refusals: AtomicUsize,
    /// The sockets, by number; shutting them down wakes the threads that wait for requests.
    pub(super) streams: Mutex<Vec<(u64, UnixStream)>>,
    pub(super) threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for ServerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerState").field("options", &self.options).finish_non_exhaustive()
    }
}

impl ServerState {
    /// Keeps a thread, to be joined at the end.
    pub(super) fn keep(&self, thread: JoinHandle<()>) {
        let mut threads = self.threads.lock();
        threads.retain(|thread| !thread.is_finished());
        threads.push(thread);
    }
}
