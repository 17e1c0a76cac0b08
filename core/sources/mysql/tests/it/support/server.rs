//! A MariaDB server of one test. It is stopped when the test ends, also when it fails.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use pillion_mysql::MySql;
use tempfile::TempDir;

use super::report::not_run;

/// The password of the user `reader` of the server. Tests search for it where it must not be.
pub(crate) const SECRET: &str = "Very/Secret@4711";
pub(crate) const SECRET_IN_URL: &str = "Very%2FSecret%404711";

/// Small files, and nothing is forced to disk.
const SMALL: &[&str] = &[
    "--innodb-log-file-size=4M",
    "--debug-no-sync",
    "--aria-log-file-size=8M",
    "--innodb-flush-method=fsync",
    "--innodb-use-native-aio=0", // the kernel has few of these for all processes together
];

const SETTINGS: &[&str] = &[
    "--bind-address=127.0.0.1",
    "--innodb-buffer-pool-size=16M",
    "--key-buffer-size=1M",
    "--max-connections=40",
    "--skip-log-bin",
    "--skip-name-resolve",
    "--innodb-fast-shutdown=2",
    "--max-allowed-packet=64M",
];

pub(crate) struct Server {
    process: Child,
    dir: TempDir,
    port: u16,
}

impl Server {
    /// A new server; `None` where MariaDB is not installed, which is reported.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        Self::start_with(|_| Vec::new())
    }

    /// A new server with settings, which may name files that the function puts into the directory.
    #[track_caller]
    pub(crate) fn start_with(settings: impl FnOnce(&Path) -> Vec<String>) -> Option<Self> {
        let (Some(install), Some(server), Some(_)) =
            (program("mariadb-install-db"), program("mariadbd"), program("mariadb"))
        else {
            not_run("MariaDB is not installed");
            return None;
        };
        let dir = tempfile::Builder::new().prefix("mariadb").tempdir().unwrap();
        let mut users = std::fs::File::create(dir.path().join("users.sql")).unwrap();
        writeln!(users, "CREATE USER IF NOT EXISTS reader IDENTIFIED BY '{SECRET}';").unwrap();
        writeln!(users, "GRANT SELECT, SHOW VIEW, EXECUTE, INSERT, UPDATE, DELETE, FILE ON *.* TO reader;")
            .unwrap();
        writeln!(users, "CREATE DATABASE IF NOT EXISTS shop CHARACTER SET utf8mb4;").unwrap();
        // A server that starts removes what others left in its folder of temporary tables.
        let temporary = dir.path().join("temporary");
        std::fs::create_dir(&temporary).unwrap();
        let more = settings(dir.path());
        own(dir.path());
        let data = format!("--datadir={}", dir.path().join("data").display());
        let made = as_server(&install)
            .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db", &data])
            .args(SMALL)
            .env("TMPDIR", &temporary)
            .output()
            .unwrap();
        assert!(made.status.success(), "mariadb-install-db: {}", String::from_utf8_lossy(&made.stdout));
        for _ in 0..3 {
            // Somebody else may take the port in between; then another one is tried.
            let port = free_port();
            let mut command = as_server(&server);
            command
                .args(["--no-defaults", &data, &format!("--port={port}")])
                .args(SMALL)
                .args(SETTINGS)
                .args(&more);
            command.arg(format!("--socket={}", dir.path().join("socket").display()));
            command.arg(format!("--init-file={}", dir.path().join("users.sql").display()));
            command.env("TMPDIR", &temporary);
            let mut process = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
            let mut said = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
            if said.by_ref().any(|line| line.contains("ready for connections")) {
                // The server stops when nobody reads what it writes.
                let drain = move || said.for_each(drop);
                std::thread::Builder::new().name("server's log".into()).spawn(drain).unwrap();
                return Some(Self { process, dir, port });
            }
            let _ = process.wait();
        }
        panic!("MariaDB does not start");
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn socket(&self) -> String {
        self.dir.path().join("socket").display().to_string()
    }

    /// The URL of the server behind a port, its own or that of a proxy, followed by parameters.
    pub(crate) fn url_at(&self, port: u16, parameters: &str) -> String {
        format!("mysql://reader:{SECRET_IN_URL}@127.0.0.1:{port}/shop?{parameters}")
    }

    pub(crate) fn source(&self) -> MySql {
        MySql::from_url(&self.url_at(self.port, "ssl-mode=disable")).unwrap()
    }

    /// What the server's own client prints for the user `root`, without headings, columns separated by `|`.
    pub(crate) fn sql(&self, script: &str) -> String {
        let mut process = self.client().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
        let output = process.wait_with_output().unwrap();
        assert!(output.status.success(), "the client fails on {script}");
        String::from_utf8(output.stdout).unwrap().trim_end().replace('\t', "|")
    }

    /// Starts the client and lets it be.
    pub(crate) fn sql_beside(&self, script: &str) -> Child {
        let mut command = self.client();
        command.args(["-e", script]).stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap()
    }

    fn client(&self) -> Command {
        let mut command = Command::new("mariadb");
        command.args(["--no-defaults", "-u", "root", "-N", "-B", "--default-character-set=utf8mb4"]);
        command.arg("-S").arg(self.socket()).arg("shop");
        command
    }

    /// Waits until no session of a source is left.
    pub(crate) fn wait_until_left_alone(&self) {
        self.wait_for(
            "SELECT count(*) FROM information_schema.processlist WHERE user NOT IN ('root', 'system user')",
            "0",
        );
    }

    /// Asks until the answer is the expected one. The runner of the tests ends a test that waits for ever.
    pub(crate) fn wait_for(&self, query: &str, answer: &str) {
        while self.sql(query) != answer {
            std::thread::yield_now();
        }
    }

    /// Stops the server at once, as a crash would.
    pub(crate) fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(crate) fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn program(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .chain(["/usr/sbin".into(), "/usr/bin".into()])
        .map(|dir| dir.join(name))
        .find(|path| path.exists())
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
