//! A network that fails: a proxy between a client and a server on this machine.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Passes bytes on until it is told not to. Ends when dropped.
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
}

struct State {
    server: SocketAddr,
    /// Bytes that came from the server.
    received: AtomicU64,
    /// Connections are cut when so many bytes came from the server.
    limit: AtomicU64,
    /// Connections are accepted, and nothing is passed on.
    hangs: AtomicBool,
    ended: AtomicBool,
}

impl Proxy {
    pub(crate) fn new(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(State {
            server,
            received: AtomicU64::new(0),
            limit: AtomicU64::new(u64::MAX),
            hangs: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        });
        let of_thread = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if of_thread.ended.load(Ordering::Acquire) {
                    return;
                }
                let state = of_thread.clone();
                std::thread::spawn(move || state.pass(client.unwrap()));
            }
        });
        Self { address, state }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that came from the server so far.
    pub(crate) fn received(&self) -> u64 {
        self.state.received.load(Ordering::Acquire)
    }

    /// Cuts all connections when `more` bytes came from the server, and new ones at once.
    pub(crate) fn cut_after(&self, more: u64) {
        self.state.limit.store(self.received() + more, Ordering::Release);
    }

    /// Stops to pass bytes on, without a word.
    pub(crate) fn hang(&self) {
        self.state.hangs.store(true, Ordering::Release);
    }

    /// Passes bytes on again, on new connections.
    pub(crate) fn mend(&self) {
        self.state.limit.store(u64::MAX, Ordering::Release);
        self.state.hangs.store(false, Ordering::Release);
    }
}

impl State {
    fn pass(self: Arc<Self>, client: TcpStream) {
        let Ok(server) = TcpStream::connect(self.server) else { return };
        let (mut from_client, mut to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let requests = self.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(read @ 1..) = from_client.read(&mut buffer) {
                if !requests.waits() || to_server.write_all(&buffer[..read]).is_err() {
                    break;
                }
            }
            drop(to_server.shutdown(Shutdown::Both));
        });
        let (mut from_server, mut to_client) = (server, client);
        let mut buffer = [0; 16 << 10];
        while let Ok(read @ 1..) = from_server.read(&mut buffer) {
            let received = self.received.fetch_add(read as u64, Ordering::AcqRel) + read as u64;
            let is_cut = received > self.limit.load(Ordering::Acquire);
            if is_cut || !self.waits() || to_client.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        drop(to_client.shutdown(Shutdown::Both));
        drop(from_server.shutdown(Shutdown::Both));
    }

    /// Waits while the network hangs. Returns whether the proxy is still there.
    fn waits(&self) -> bool {
        while self.hangs.load(Ordering::Acquire) && !self.ended.load(Ordering::Acquire) {
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        !self.ended.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.ended.store(true, Ordering::Release);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(self.address));
    }
}
