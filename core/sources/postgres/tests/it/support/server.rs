//! A PostgreSQL server of one test. It is stopped when the test ends, also when it fails.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pillion_postgres::Postgres;
use tempfile::TempDir;

use super::report::not_run;

/// The password of the user `postgres` of the server. Tests search for it where it must not be.
pub(crate) const SECRET: &str = "Very/Secret@4711";
pub(crate) const SECRET_IN_URL: &str = "Very%2FSecret%404711";

const SETTINGS: &[&str] = &[
    "fsync=off",
    "shared_buffers=16MB",
    "max_connections=40",
    "autovacuum=off",
    "listen_addresses=127.0.0.1",
    "max_wal_senders=0",
    "wal_level=minimal",
    "jit=off",
    "log_checkpoints=off",
];

pub(crate) struct Server {
    process: Child,
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
}

impl Server {
    /// A new server; `None` where PostgreSQL is not installed, which is reported.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| Vec::new())
    }

    /// A new server with settings, which may name files that the function puts into the directory.
    #[track_caller]
    pub(crate) fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let Some(programs) = programs() else {
            not_run("PostgreSQL is not installed");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("pg").tempdir().unwrap();
        let mut password = std::fs::File::create(dir.path().join("password")).unwrap();
        writeln!(password, "{SECRET}").unwrap();
        let more = settings(dir.path());
        own(dir.path());
        let data = dir.path().join("data");
        let made = as_server(&programs.join("initdb"))
            .args(["-N", "--no-locale", "-E", "UTF8", "-A", "scram-sha-256", "-U", "postgres", "--pwfile"])
            .arg(dir.path().join("password"))
            .arg("-D")
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success(), "initdb");
        let settings: Vec<String> = SETTINGS.iter().map(ToString::to_string).chain(more).collect();
        for _ in 0..3 {
            // Somebody else may take the port in between; then another one is tried.
            let port = free_port();
            if let Some(process) = launch(&programs, dir.path(), port, &settings) {
                return Some(Self { process, dir, port, settings });
            }
        }
        panic!("PostgreSQL does not start");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn process_id(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A URL of the server at another port, such as that of a proxy, followed by parameters.
    pub(crate) fn url_at(&self, port: u16, parameters: &str) -> String {
        format!("postgresql://postgres:{SECRET_IN_URL}@127.0.0.1:{port}/postgres?{parameters}")
    }

    pub(crate) fn source(&self) -> Postgres {
        Postgres::from_url(&self.url_at(self.port, "sslmode=disable")).unwrap()
    }

    /// What `psql` prints, without headings, columns separated by `|`.
    pub(crate) fn psql(&self, script: &str) -> String {
        let mut process = self.psql_command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "psql fails on {script}");
        String::from_utf8(output.stdout).unwrap().trim_end().to_owned()
    }

    /// Starts `psql` and lets it be.
    pub(crate) fn psql_beside(&self, script: &str) -> Child {
        let mut command = self.psql_command();
        command.args(["-c", script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    pub(crate) fn psql_command(&self) -> Command {
        let mut command = Command::new("psql");
        command.args([
            "-X",
            "-q",
            "-A",
            "-t",
            "-v",
            "ON_ERROR_STOP=1",
            "-h",
            "127.0.0.1",
            "-U",
            "postgres",
            "-p",
        ]);
        command
            .arg(self.port.to_string())
            .env("PGPASSWORD", SECRET)
            .env("PGTZ", "UTC")
            .env("PGOPTIONS", "-c client_min_messages=warning");
        command
    }

    /// Waits until no session of a source is left.
    pub(crate) fn wait_until_left_alone(&self) {
        self.wait_for("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pillion'", "0");
    }

    /// Asks until the answer is the expected one. The runner of the tests ends a test that waits for ever.
    pub(crate) fn wait_for(&self, query: &str, answer: &str) {
        while self.psql(query) != answer {
            std::thread::yield_now();
        }
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        // The server's process is `setpriv`'s successor, so it has the number of the child.
        let _ = Command::new("kill").args(["-QUIT", &self.process.id().to_string()]).status();
        let _ = self.process.wait();
    }
}

impl Server {
    /// Stops the server as a crash would, and starts it again at the same port.
    pub(crate) fn crash(&mut self) {
        self.stop();
        let programs = programs().unwrap();
        self.process = launch(&programs, self.dir.path(), self.port, &self.settings).unwrap();
    }
}

/// A server on the data of a directory, once it accepts connections; `None` if it does not start.
fn launch(programs: &Path, dir: &Path, port: u16, settings: &[String]) -> Option<Child> {
    let mut command = as_server(&programs.join("postgres"));
    command.arg("-D").arg(dir.join("data")).args(["-p", &port.to_string(), "-k"]).arg(dir);
    for setting in settings {
        command.args(["-c", setting]);
    }
    let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
    if said.by_ref().any(|line| line.contains("ready to accept connections")) {
        // The server stops when nobody reads what it writes.
        let drain = move || said.for_each(drop);
        std::thread::Builder::new().name("server's log".into()).spawn(drain).unwrap();
        return Some(process);
    }
    let _ = process.wait();
    None
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The folder of the newest installed server.
fn programs() -> Option<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()))
        .filter(|dir| dir.join("postgres").exists() && dir.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

fn is_root() -> bool {
    let output = Command::new("id").arg("-u").output().unwrap();
    output.stdout == b"0\n"
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

fn own(dir: &Path) {
    if is_root() {
        let status = Command::new("chown").args(["-R", "nobody:nogroup"]).arg(dir).status();
        assert!(status.unwrap().success(), "chown");
    }
}
