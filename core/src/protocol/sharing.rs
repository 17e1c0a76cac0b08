//! What a connection shares with its client, so that answers need not go through the socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use pillion_ipc::Arena;

use crate::storage::Maps;

/// Memory and files that a client can read.
#[derive(Debug)]
pub(super) struct Sharing {
    arena: Option<ArenaShare>,
    maps: Option<Arc<Maps>>,
}

impl Sharing {
    pub(super) fn new(arena: Option<ArenaShare>, maps: Option<Arc<Maps>>) -> Self {
        Self { arena, maps }
    }

    /// The memory that answers are written to.
    pub(super) fn arena(&self) -> Option<&Arena> {
        self.arena.as_ref().map(|share| &share.arena)
    }

    /// The files that can be named in answers.
    pub(super) fn maps(&self) -> Option<&Maps> {
        self.maps.as_deref()
    }
}

/// Memory for the arenas of all connections.
#[derive(Debug)]
pub(super) struct ArenaPool {
    arena_len: usize,
    left: AtomicUsize,
}

impl ArenaPool {
    /// Arenas of `arena_len` bytes each, of `len` bytes together.
    pub(super) fn new(arena_len: usize, len: usize) -> Self {
        Self { arena_len, left: AtomicUsize::new(len) }
    }

    /// An arena, if there is memory for one more; without one, answers go through the socket.
    pub(super) fn take(self: &Arc<Self>) -> Option<ArenaShare> {
        let len = self.arena_len;
        let taken = |left: usize| left.checked_sub(len).filter(|_| len > 0);
        self.left.fetch_update(Ordering::AcqRel, Ordering::Relaxed, taken).ok()?;
        match Arena::create(len) {
            Ok(arena) => Some(ArenaShare { arena, len, pool: self.clone() }),
            Err(error) => {
                tracing::warn!(%error, "no shared memory for a connection; its answers go through the socket");
                self.left.fetch_add(len, Ordering::AcqRel);
                None
            }
        }
    }
}

/// An arena of the pool.
#[derive(Debug)]
pub(super) struct ArenaShare {
    arena: Arena,
    len: usize,
    pool: Arc<ArenaPool>,
}

impl ArenaShare {
    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }
}

impl Drop for ArenaShare {
    fn drop(&mut self) {
        self.pool.left.fetch_add(self.len, Ordering::AcqRel);
    }
}
