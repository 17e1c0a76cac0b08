//! A network between a client and a server that fails when told to.

#![allow(dead_code, reason = "each connector needs a part of it")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// What happens to a connection once the server has sent so many bytes.
#[derive(Clone, Copy)]
pub(crate) enum Fate {
    /// It is closed at both ends.
    CutAfter(u64),
    /// Nothing is forwarded any more, and it stays open.
    HangAfter(u64),
}

/// Forwards connections to a port of this machine.
pub(crate) struct Proxy {
    port: u16,
    open: Arc<Mutex<Vec<TcpStream>>>,
    passed: Arc<AtomicU64>,
    fate: Arc<Mutex<Fate>>,
}

impl Proxy {
    pub(crate) fn start(upstream: u16, fate: Fate) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let open = Arc::new(Mutex::new(Vec::new()));
        let passed = Arc::new(AtomicU64::new(0));
        let fate = Arc::new(Mutex::new(fate));
        let (kept, count, of_next) = (open.clone(), passed.clone(), fate.clone());
        thread(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Ok(server) = TcpStream::connect(("127.0.0.1", upstream)) else { continue };
                kept.lock().unwrap().extend([client.try_clone().unwrap(), server.try_clone().unwrap()]);
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread(move || forward(from, to, None, &AtomicU64::new(0)));
                let (count, fate) = (count.clone(), *of_next.lock().unwrap());
                thread(move || forward(server, client, Some(fate), &count));
            }
        });
        Self { port, open, passed, fate }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// How many bytes the server sent through it.
    pub(crate) fn passed(&self) -> u64 {
        self.passed.load(Ordering::SeqCst)
    }

    /// Closes all connections, and decides what happens to later ones.
    pub(crate) fn cut(&self, fate: Fate) {
        *self.fate.lock().unwrap() = fate;
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        for stream in self.open.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn thread(work: impl FnOnce() + Send + 'static) {
    std::thread::Builder::new().name("proxy".into()).spawn(work).unwrap();
}

fn forward(mut from: TcpStream, mut to: TcpStream, fate: Option<Fate>, count: &AtomicU64) {
    let mut buffer = [0; 8192];
    let mut passed = 0;
    loop {
        let left = match fate {
            Some(Fate::CutAfter(limit) | Fate::HangAfter(limit)) => limit - passed,
            None => u64::MAX,
        };
        if left == 0 {
            break;
        }
        let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let Ok(len @ 1..) = from.read(&mut buffer[..most]) else { break };
        if to.write_all(&buffer[..len]).is_err() {
            break;
        }
        passed += len as u64;
        count.fetch_add(len as u64, Ordering::SeqCst);
    }
    if !matches!(fate, Some(Fate::HangAfter(limit)) if limit == passed) {
        let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    }
}
