//! The conformance suite through a socket: an owner serves the cache, a client reads and writes it.

use std::time::Duration;

use pillion::{Cache, Server, ServerOptions, Version};
use pillion_conformance::{Opened, Opener};
use tempfile::TempDir;

#[cfg(feature = "sql")]
pillion_conformance::instantiate!(Client);
#[cfg(not(feature = "sql"))]
pillion_conformance::instantiate!(Client; base, following);

/// A client of a server in this process; what they say goes through the kernel all the same.
struct Client;

struct ClientOpened {
    client: Option<Cache>,
    server: Option<Server>,
    owner: Option<Cache>,
    dir: TempDir,
}

impl ClientOpened {
    fn open_all(&mut self) {
        let owner = Cache::open(self.dir.path().join("cache")).unwrap();
        let socket = self.dir.path().join("pillion.sock");
        self.server = Some(owner.serve(ServerOptions::new(&socket)).unwrap());
        self.client = Some(Cache::connect(&socket, Duration::from_secs(60)).unwrap());
        self.owner = Some(owner);
    }
}

impl Opener for Client {
    fn open(&self) -> Box<dyn Opened> {
        let mut opened =
            ClientOpened { client: None, server: None, owner: None, dir: tempfile::tempdir().unwrap() };
        opened.open_all();
        Box::new(opened)
    }
}

impl Opened for ClientOpened {
    fn writer(&self) -> &Cache {
        self.client.as_ref().unwrap()
    }

    fn reader(&self) -> &Cache {
        self.writer()
    }

    fn catch_up(&mut self, version: Version) {
        assert_eq!(
            self.reader().version().unwrap().includes(version),
            Some(true),
            "a client sees what it wrote"
        );
    }

    fn reopen(&mut self) {
        self.client = None;
        self.server = None;
        self.owner.take().unwrap().close().unwrap();
        self.open_all();
    }
}
