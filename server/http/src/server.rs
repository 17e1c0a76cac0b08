//! The door as a whole: opened, and closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use pillion::Cache;
use pillion_access::Access;
use pillion_door::{Admission, DoorError, DoorServer, Entered, Gate, Protocol, Refusal, Stream, Users};

use crate::door::{Counts, DOOR, Door};
use crate::options::HttpOptions;
use crate::routes;
use crate::socket;

/// What a client gets that comes when as many are here as are allowed.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nretry-after: 1\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// What a user gets who may not connect.
const DENIED: &[u8] = b"HTTP/1.1 403 Forbidden\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// HTTP/1.1.
struct Http {
    door: Arc<Door>,
    router: Router<()>,
}

impl Protocol for Http {
    const NAME: &'static str = DOOR;
    const ALPN: &'static [u8] = b"http/1.1";

    fn refused(refusal: Refusal) -> &'static [u8] {
        match refusal {
            Refusal::Denied => DENIED,
            Refusal::TooMany => TOO_MANY,
        }
    }

    async fn speak(self: Arc<Self>, stream: Box<dyn Stream>, entered: Arc<Entered>) {
        socket::speak(self.door.clone(), self.router.clone(), stream, &entered).await;
    }
}

/// An open door. Dropping it closes it without waiting for anything.
#[derive(Debug)]
pub struct HttpServer {
    server: DoorServer,
}

impl HttpServer {
    /// Opens a door to a cache and returns; threads of its own serve it.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn start(cache: &Cache, options: HttpOptions, access: Arc<Access>) -> Result<Self, DoorError> {
        let server = DoorServer::start(cache, options.socket(), access, |gate: Arc<Gate>| {
            let door = Arc::new(Door {
                requests: Admission::new("requests", options.requests_max, options.requests_waiting_max),
                streams: Admission::new("streams of changes", options.streams_max, 0),
                uploads: Admission::new("uploads", options.uploads_max, 0),
                counts: Counts::default(),
                gate,
                options,
            });
            Http { router: routes::router(door.clone()), door }
        })?;
        Ok(Self { server })
    }

    /// Finds out whether a door could be opened, before there is a cache for it: whether its socket can be bound and its
    /// certificate can be used.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn check(options: &HttpOptions) -> Result<(), DoorError> {
        DoorServer::check(&options.socket())
    }

    /// From now on, these users may connect to the Unix socket. Connections that are open stay.
    pub fn set_users(&self, users: Users) {
        self.server.set_users(users);
    }

    /// The address at which it listens; `None` for a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.address()
    }

    /// Connections that are open.
    pub fn connections(&self) -> usize {
        self.server.connections()
    }

    /// Accepts no more connections and no more requests, and returns at once. Requests under way go on.
    pub fn begin_to_stop(&self) {
        self.server.begin_to_stop();
    }

    /// Closes it: waits for requests under way, for at most as long as `patience`. What is left then ends with the process.
    pub fn stop(self, patience: Duration) {
        self.server.stop(patience);
    }

    /// Why it no longer serves, if its thread ended by itself, which is a defect.
    pub fn failure(&self) -> Option<String> {
        self.server.failure()
    }
}
