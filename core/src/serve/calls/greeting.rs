//! Calls about the connection itself: hello, what is shared over it, what it gives back.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;

use super::Request;
use crate::serve::session::Session;
use crate::serve::sharing::Sharing;
use crate::types::error::{Error, ErrorCode, Result};
use crate::types::version::Version;
use crate::wire::{
    Cancel, DirIdentity, Empty, Hello, HelloReply, Return, Seen, Share, ShareReply, decode, encode, version,
};

impl Session {
    pub(super) fn answer_hello(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        self.greet(&decode(body)?)
    }

    pub(super) fn answer_share(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, descriptor, .. } = request;
        self.share_memory(&decode(body)?, descriptor)
    }

    pub(super) fn answer_return(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Return { leases } = decode(body)?;
        self.give_back(&leases);
        encode(&Empty {})
    }

    pub(super) fn answer_cancel(&self, request: Request<'_>) -> Result<Vec<u8>> {
        let Request { body, .. } = request;
        let Cancel { request } = decode(body)?;
        let released = self.held.lock().cancel(request);
        self.give_back(&released.leases);
        encode(&Empty {})
    }

    fn greet(&self, hello: &Hello) -> Result<Vec<u8>> {
        if hello.protocol < version::FIRST {
            let message =
                format!("{} speaks protocol {}, which does not exist", hello.client, hello.protocol);
            return Err(Error::new(ErrorCode::Unsupported, message));
        }
        let _ = self.greeted.set(hello.tiers);
        let identity = if self.attach { self.backend.identity() } else { None };
        let dir = match identity {
            Some(_) => self.backend.status()?.dir.display().to_string(),
            None => String::new(),
        };
        encode(&HelloReply {
            protocol: hello.protocol.min(version::NEWEST),
            server: format!("pillion {}", env!("CARGO_PKG_VERSION")),
            dir,
            identity: identity.map(|(device, inode)| DirIdentity { device, inode }),
            version: Some(self.backend.version()?.into()),
            seen: hello.seen.map(|version| self.seen(version.into())).transpose()?,
            bounds: true,
        })
    }

    fn seen(&self, version: Version) -> Result<Seen> {
        Ok(match self.backend.includes(version)? {
            Some(true) => Seen::Included,
            Some(false) => Seen::Lost,
            None => Seen::Unknown,
        })
    }

    fn share_memory(&self, share: &Share, descriptor: &OnceCell<OwnedFd>) -> Result<Vec<u8>> {
        let twice = || Error::new(ErrorCode::InvalidArgument, "a connection can share only once");
        if self.sharing.get().is_some() {
            return Err(twice());
        }
        // Without memory, or without a descriptor for it, answers go through the socket.
        let arena = if share.memory { self.arenas.take(self.uid) } else { None };
        let handed = arena.as_ref().map(|share| share.arena().descriptor().try_clone_to_owned());
        let arena = match handed {
            Some(Ok(handed)) => {
                // Nobody else sets it, so this cannot fail.
                drop(descriptor.set(handed));
                arena
            }
            Some(Err(error)) => {
                tracing::warn!(%error, "no shared memory for a connection; its answers go through the socket");
                None
            }
            None => None,
        };
        let maps = if share.files { self.backend.maps() } else { None };
        self.sharing.set(Sharing::new(arena, maps)).map_err(|_| twice())?;
        let arena = self.sharing.get().and_then(Sharing::arena);
        encode(&ShareReply { memory: arena.map_or(0, |arena| arena.capacity() as u64) })
    }
}
