//! How many bytes a call sends and receives: a go-between counts them, so that no constant has to follow the protocol.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use pillion::{Attach, Cache, ConnectOptions};

use super::Sidecar;
use crate::Result;
use crate::harness::{Contestant, Forget};

/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// Bytes that a call sends and receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the request.
    pub request: u64,
    /// Bytes of the answer.
    pub reply: u64,
}

impl Sizes {
    /// The sizes of the second call of a contestant; the first call also fetches what a client then remembers. The
    /// go-between passes no descriptors, so the sizes are right only for calls whose answers are short enough to come
    /// through the socket.
    ///
    /// # Errors
    /// The sidecar does not answer, or the contestant fails.
    pub fn of<C: Contestant>(sidecar: &Sidecar, make: impl FnOnce(&Cache) -> Result<C>) -> Result<Self> {
        let run = tempfile::tempdir()?;
        let socket = run.path().join("between.sock");
        let listener = UnixListener::bind(&socket)?;
        let far = UnixStream::connect(sidecar.socket())?;
        let counts = [Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0))];
        let [sent, received] = counts.clone();
        let between = move || -> Result<()> {
            let (near, _) = listener.accept()?;
            let (back_from, back_to) = (far.try_clone()?, near.try_clone()?);
            let back = std::thread::Builder::new().name("back".to_owned());
            let back = back.spawn(move || carry(back_from, back_to, &received))?;
            carry(near, far, &sent)?;
            back.join().map_err(|_| "the way back panicked")?
        };
        let between = std::thread::Builder::new().name("between".to_owned()).spawn(between)?;
        let cache = ConnectOptions::new().attach(Attach::Never).deadline(DEADLINE).connect(&socket)?;
        let mut contestant = make(&cache)?;
        let mut call = |call| -> Result<[u64; 2]> {
            contestant.prepare(call)?;
            contestant.call(call, &mut Forget)?;
            contestant.finish()?;
            Ok(counts.each_ref().map(|count| count.load(Ordering::Relaxed)))
        };
        let (before, after) = (call(0)?, call(1)?);
        drop((contestant, cache));
        between.join().map_err(|_| "the go-between panicked")??;
        Ok(Self { request: after[0] - before[0], reply: after[1] - before[1] })
    }
}

/// Carries bytes from one end to the other until the first closes, and counts them before they arrive.
fn carry(mut from: UnixStream, mut to: UnixStream, count: &AtomicU64) -> Result<()> {
    let mut bytes = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut bytes)?;
        if read == 0 {
            to.shutdown(Shutdown::Write)?;
            return Ok(());
        }
        count.fetch_add(read as u64, Ordering::Relaxed);
        to.write_all(&bytes[..read])?;
    }
}
