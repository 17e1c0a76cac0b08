//! The server, which ends with the bench.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pillion_benches::Result;
use pillion_benches::data::Points;
use redis::{Client, Connection};
use tempfile::TempDir;

use super::lookup::key;
use crate::packed;

/// How long it may take until it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows that are sent before answers are waited for.
const PIPELINE_ROWS: u64 = 10_000;

/// A `redis-server` with all rows. It ends when this is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    socket: PathBuf,
    // After the process, whose socket is in it.
    _run: TempDir,
}

impl Server {
    /// Starts one and stores all rows; `None` if `redis-server` is not installed.
    ///
    /// # Errors
    /// It does not listen, or refuses the rows.
    pub fn start(points: Points) -> Result<Option<Self>> {
        let run = tempfile::tempdir()?;
        let socket = run.path().join("redis.sock");
        let child = match command(run.path(), &socket).spawn() {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut server = Self { child, socket, _run: run };
        let mut connection = server.wait()?;
        let mut number = 0;
        while number < points.rows() {
            let end = points.rows().min(number + PIPELINE_ROWS);
            let mut pipeline = redis::pipe();
            for number in number..end {
                let point = points.point(number);
                pipeline.cmd("SET").arg(key(point.id)).arg(packed::write(&point)?).ignore();
            }
            pipeline.query::<()>(&mut connection)?;
            number = end;
        }
        Ok(Some(server))
    }

    /// Its version.
    ///
    /// # Errors
    /// It does not answer.
    pub fn version(&self) -> Result<String> {
        let info: String = redis::cmd("INFO").arg("server").query(&mut self.connect()?)?;
        let version = info.lines().find_map(|line| line.strip_prefix("redis_version:"));
        Ok(version.unwrap_or("unknown").to_owned())
    }

    pub(super) fn connect(&self) -> Result<Connection> {
        let url = format!("unix://{}", self.socket.display());
        Ok(Client::open(url)?.get_connection()?)
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<Connection> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.connect() {
                Ok(connection) => return Ok(connection),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => {}
            }
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("redis-server ended before it listened: {status}").into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Either fails only if it has ended already, and there is nothing that it should save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn command(run: &Path, socket: &Path) -> Command {
    let mut command = Command::new("redis-server");
    command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
    command.arg("--unixsocket").arg(socket).arg("--dir").arg(run);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}
