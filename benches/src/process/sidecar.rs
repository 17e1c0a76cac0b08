//! The sidecar: a process that owns a cache and serves it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion::{Attach, Cache, ConnectOptions, ServerOptions, Way};
use tempfile::TempDir;

use super::{DIRECTORY, Placed, Placement, Process, SOCKET, serve_until_told};
use crate::Result;

pub(super) const ROLE: &str = "sidecar";
/// How long a client waits for an answer.
const DEADLINE: Duration = Duration::from_secs(60);

/// A process that owns a cache and serves it, until this is dropped.
#[derive(Debug)]
pub struct Sidecar {
    process: Process,
    socket: PathBuf,
    // After the process, which has its socket in it.
    _run: TempDir,
}

impl Sidecar {
    /// Serves the cache in `dir`, which nobody owns.
    ///
    /// # Errors
    /// The process cannot be started, or does not begin to serve.
    pub fn start(dir: &Path) -> Result<Self> {
        let run = tempfile::tempdir()?;
        let socket = run.path().join("sidecar.sock");
        let process = Process::start(ROLE, &[(DIRECTORY, dir.as_os_str()), (SOCKET, socket.as_os_str())])?;
        Ok(Self { process, socket, _run: run })
    }

    /// A contestant whose calls the sidecar answers, with a placement.
    pub fn placed<C>(&self, contestant: C, placement: Placement) -> Placed<C> {
        Placed::new(contestant, self.process.id(), placement)
    }

    /// Its socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client that maps its files.
    ///
    /// # Errors
    /// It does not answer, or its files cannot be mapped.
    pub fn attached(&self) -> Result<Cache> {
        self.connect(Attach::Require, Way::Attached)
    }

    /// A client that sends it every call.
    ///
    /// # Errors
    /// It does not answer.
    pub fn remote(&self) -> Result<Cache> {
        self.connect(Attach::Never, Way::Remote)
    }

    fn connect(&self, attach: Attach, way: Way) -> Result<Cache> {
        let cache = ConnectOptions::new().attach(attach).deadline(DEADLINE).connect(&self.socket)?;
        match cache.way() == way {
            true => Ok(cache),
            false => Err(format!("the way in is {}, not {way}", cache.way()).into()),
        }
    }

    /// Ends it and checks that it served without an error.
    ///
    /// # Errors
    /// It failed, or does not end.
    pub fn stop(mut self) -> Result<()> {
        self.process.end()
    }
}

/// Runs in the process.
pub(super) fn play(dir: &Path, socket: &Path) -> Result<()> {
    let cache = Cache::open(dir)?;
    let server = cache.serve(ServerOptions::new(socket))?;
    serve_until_told()?;
    server.stop();
    cache.close()?;
    Ok(())
}
