//! The door as a whole: opened, and closed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use pillion::Cache;
use pillion_access::Access;
use pillion_door::{DoorError, DoorServer, Entered, Protocol, Refusal, Stream, Users};

use crate::call::connection;
use crate::door::{DOOR, Door};
use crate::options::FlightOptions;

/// Flight SQL over HTTP/2.
struct Flight {
    door: Arc<Door>,
}

impl Protocol for Flight {
    const NAME: &'static str = DOOR;
    const ALPN: &'static [u8] = b"h2";

    fn refused(_: Refusal) -> &'static [u8] {
        // Without a word: whoever speaks HTTP/2 begins with settings, and reads no text.
        b""
    }

    async fn speak(self: Arc<Self>, stream: Box<dyn Stream>, entered: Arc<Entered>) {
        self.door.begin_to_look();
        connection::speak(self.door.clone(), stream, entered).await;
    }
}

/// An open door. Dropping it closes it without waiting for anything.
#[derive(Debug)]
pub struct FlightServer {
    server: DoorServer,
}

impl FlightServer {
    /// Opens a door to a cache and returns; threads of its own serve it.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn start(cache: &Cache, options: FlightOptions, access: Arc<Access>) -> Result<Self, DoorError> {
        let socket = options.socket();
        let server = DoorServer::start(cache, socket, access, |gate| Flight {
            door: Arc::new(Door::new(gate, options)),
        })?;
        Ok(Self { server })
    }

    /// Finds out whether a door could be opened, before there is a cache for it: whether its socket can be bound and its
    /// certificate can be used.
    ///
    /// # Errors
    /// [`DoorError`].
    pub fn check(options: &FlightOptions) -> Result<(), DoorError> {
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

    /// Accepts no more connections and no more calls, and returns at once. Calls under way go on.
    pub fn begin_to_stop(&self) {
        self.server.begin_to_stop();
    }

    /// Closes it: waits for calls under way, for at most as long as `patience`. What is left then ends with the process.
    pub fn stop(self, patience: Duration) {
        self.server.stop(patience);
    }

    /// Why it no longer serves, if its thread ended by itself, which is a defect.
    pub fn failure(&self) -> Option<String> {
        self.server.failure()
    }
}
