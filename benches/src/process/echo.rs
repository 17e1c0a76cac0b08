//! A bare round trip: the cost of a socket between two processes that carries nothing but bytes.

use std::hint::black_box;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Placed, Placement, Process, SOCKET, Sizes, serve_until_told};
use crate::Result;
use crate::harness::{Contestant, Sink};

pub(super) const ROLE: &str = "echo";

/// A process that answers bytes with bytes, on a thread for each connection that blocks on its socket, as the sidecar
/// does.
#[derive(Debug)]
pub struct Echo {
    socket: PathBuf,
    process: Process,
    // After the process, which has its socket in it.
    _run: TempDir,
}

impl Echo {
    /// Starts it.
    ///
    /// # Errors
    /// The process cannot be started.
    pub fn start() -> Result<Self> {
        let run = tempfile::tempdir()?;
        let socket = run.path().join("echo.sock");
        let process = Process::start(ROLE, &[(SOCKET, socket.as_os_str())])?;
        Ok(Self { socket, process, _run: run })
    }

    /// A contestant whose calls this process answers, with a placement.
    pub fn placed<C>(&self, contestant: C, placement: Placement) -> Placed<C> {
        Placed::new(contestant, self.process.id(), placement)
    }
}

/// A round trip with a given number of bytes in each direction: one write and blocking reads at either end.
#[derive(Debug)]
pub struct RoundTrip {
    stream: UnixStream,
    request: Vec<u8>,
    reply: Vec<u8>,
}

impl RoundTrip {
    /// Round trips to `echo`, which must outlive them.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn new(echo: &Echo, sizes: Sizes) -> Result<Self> {
        let mut stream = UnixStream::connect(&echo.socket)?;
        for len in [sizes.request, sizes.reply] {
            stream.write_all(&len.to_le_bytes())?;
        }
        let bytes = |len: u64| usize::try_from(len).map(|len| vec![7; len]);
        Ok(Self { stream, request: bytes(sizes.request)?, reply: bytes(sizes.reply)? })
    }
}

impl Contestant for RoundTrip {
    fn call(&mut self, _: u64, _: &mut impl Sink) -> Result<()> {
        self.stream.write_all(black_box(&self.request))?;
        self.stream.read_exact(&mut self.reply)?;
        black_box(&self.reply);
        Ok(())
    }
}

/// Runs in the process. Its threads end with the process, or with their connections.
pub(super) fn play(socket: &Path) -> Result<()> {
    let listener = UnixListener::bind(socket)?;
    let accept = move || {
        for stream in listener.incoming().map_while(std::result::Result::ok) {
            let answers = std::thread::Builder::new().name("echo".to_owned()).spawn(move || answer(stream));
            if let Err(error) = answers {
                eprintln!("no thread for a connection: {error}");
            }
        }
    };
    drop(std::thread::Builder::new().name("accept".to_owned()).spawn(accept)?);
    serve_until_told()
}

/// Answers until the other end closes.
fn answer(mut stream: UnixStream) -> Result<()> {
    let mut len = || {
        let mut bytes = [0; 8];
        stream.read_exact(&mut bytes)?;
        Result::Ok(usize::try_from(u64::from_le_bytes(bytes))?)
    };
    let (mut request, reply) = (vec![0; len()?], vec![7; len()?]);
    loop {
        stream.read_exact(&mut request)?;
        stream.write_all(black_box(&reply))?;
    }
}
