//! A PostgreSQL server in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pillion_benches::Result;
use pillion_postgres::Postgres;
use tempfile::TempDir;

use super::{free_ports, wait};

/// A server whose user `postgres` needs no password. It writes to disk as servers do.
#[derive(Debug)]
pub(crate) struct PostgresServer {
    child: Child,
    port: u16,
    // After the process, whose files are in it.
    dir: TempDir,
}

impl PostgresServer {
    /// Starts one; `None` if PostgreSQL is not installed.
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(programs) = programs() else { return Ok(None) };
        let dir = tempfile::tempdir()?;
        let data = dir.path().join("data");
        let [port] = free_ports()?;
        give_away(dir.path())?;
        let made = as_server(&programs.join("initdb"))
            .args(["--no-locale", "-E", "UTF8", "-A", "trust", "-U", "postgres", "-D"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()?;
        if !made.success() {
            return Err("initdb fails".into());
        }
        let child = as_server(&programs.join("postgres"))
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-k"])
            .arg(dir.path())
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "shared_buffers=256MB"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut server = Self { child, port, dir };
        let mut ready = Command::new(programs.join("pg_isready"));
        ready.args(["-q", "-h", "127.0.0.1", "-p", &port.to_string()]);
        wait(&mut server.child, || ready.status().is_ok_and(|status| status.success()))?;
        Ok(Some(server))
    }

    /// Runs statements.
    pub(crate) fn run(&self, statements: &str) -> Result<()> {
        let status = Command::new("psql")
            .args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres", "-p"])
            .arg(self.port.to_string())
            .args(["-c", statements])
            .stdout(Stdio::null())
            .status()?;
        if status.success() { Ok(()) } else { Err(format!("psql fails: {statements}").into()) }
    }

    /// A folder that the server may write to.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The server as a source.
    pub(crate) fn source(&self) -> Result<Postgres> {
        let url = format!("postgresql://postgres@127.0.0.1:{}/postgres?sslmode=disable", self.port);
        Ok(Postgres::from_url(&url)?)
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        // Either fails only if it has ended already, and there is nothing that it should save.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

/// The folder of the newest installed server.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    versions.map(|entry| entry.path().join("bin")).filter(|dir| dir.join("initdb").exists()).max()
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n")
}

/// The server refuses to run as root, so root starts it as somebody else. It ends with the thread that started it.
fn as_server(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    if is_root() {
        command.args(["--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]);
    }
    command.arg(program).current_dir("/");
    command
}

fn give_away(dir: &Path) -> Result<()> {
    if is_root() && !Command::new("chown").arg("nobody:nogroup").arg(dir).status()?.success() {
        return Err("chown fails".into());
    }
    Ok(())
}
