//! What a connection shares with its client, so that answers need not go through the socket.

use std::sync::Arc;

use pillion_ipc::Arena;

use super::quota::{Portion, Quota};
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
    quota: Arc<Quota>,
}

impl ArenaPool {
    /// Arenas of `arena_len` bytes each; all users together have at most `of_all` bytes of them, and each user
    /// `of_one`.
    pub(super) fn new(arena_len: usize, of_all: usize, of_one: usize) -> Self {
        Self { arena_len, quota: Arc::new(Quota::new(of_all, of_one)) }
    }

    /// Bytes of the arenas of all connections.
    pub(super) fn taken(&self) -> usize {
        self.quota.taken()
    }

    /// An arena for a user; `None` if the limits leave none, or there is no memory. Then answers go through the
    /// socket.
    pub(super) fn take(&self, uid: u32) -> Option<ArenaShare> {
        if self.arena_len == 0 {
            return None;
        }
        let portion = match self.quota.take(uid, self.arena_len) {
            Ok(portion) => portion,
            Err(limit) => {
                tracing::debug!(uid, ?limit, "no shared memory is left for a connection");
                return None;
            }
        };
        match Arena::create(self.arena_len) {
            Ok(arena) => Some(ArenaShare { arena, _portion: portion }),
            Err(error) => {
                tracing::warn!(%error, "no shared memory for a connection; its answers go through the socket");
                None
            }
        }
    }
}

/// An arena of the pool.
#[derive(Debug)]
pub(super) struct ArenaShare {
    arena: Arena,
    // Dropped after the memory that it stands for.
    _portion: Portion,
}

impl ArenaShare {
    pub(super) fn arena(&self) -> &Arena {
        &self.arena
    }
}
