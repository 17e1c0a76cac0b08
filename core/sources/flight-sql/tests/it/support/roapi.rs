//! A real Flight SQL server: ROAPI, a query engine over files, from the Python package `roapi`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::ipc::writer::FileWriter;
use pillion_flight_sql::FlightSql;
use tempfile::TempDir;

use super::report;

/// The server may be slow on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// A server with tables. Ends when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    _dir: TempDir,
}

impl Server {
    /// A server without a login. `None`, after a report, if the program is not installed.
    #[track_caller]
    pub(crate) fn start(tables: &[(&str, &[RecordBatch])]) -> Option<Self> {
        Self::start_with(tables, "")
    }

    /// The same with more of its configuration.
    #[track_caller]
    pub(crate) fn start_with(tables: &[(&str, &[RecordBatch])], settings: &str) -> Option<Self> {
        let program =
            std::env::var_os("PILLION_TEST_ROAPI").map_or_else(|| PathBuf::from("roapi"), PathBuf::from);
        let version =
            Command::new(&program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if version.is_err() {
            report::not_run("no `roapi` (Python package roapi) to have a Flight SQL server");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let mut config =
            "addr: {http: '127.0.0.1:0', postgres: '127.0.0.1:0', flight_sql: '127.0.0.1:0'}\ntables:\n"
                .to_owned();
        for (number, (name, batches)) in tables.iter().enumerate() {
            let file = File::create(dir.path().join(format!("{number}.arrow"))).unwrap();
            let mut writer = FileWriter::try_new(file, &batches[0].schema()).unwrap();
            batches.iter().for_each(|batch| writer.write(batch).unwrap());
            writer.finish().unwrap();
            config += &format!("  - {{name: '{name}', uri: '{number}.arrow', option: {{format: arrow}}}}\n");
        }
        std::fs::write(dir.path().join("config.yaml"), config + settings).unwrap();
        let mut child = Command::new(&program)
            .args(["-c", "config.yaml"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let address = told_address(&mut log);
        // The server waits if nobody reads what it says.
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while matches!(log.read(&mut buffer), Ok(1..)) {}
        });
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < STARTED_WITHIN, "the Flight SQL server does not start");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Some(Self { child, address, _dir: dir })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("grpc://{}", self.address)
    }

    pub(crate) fn source(&self) -> FlightSql {
        FlightSql::from_url(&self.url()).unwrap()
    }
}

/// The address at which the server says that it listens.
fn told_address(log: &mut impl BufRead) -> SocketAddr {
    let mut told = String::new();
    loop {
        let mut line = String::new();
        assert!(log.read_line(&mut line).unwrap() > 0, "the Flight SQL server ended: {told}");
        if let Some(line) = line.strip_suffix(" for FlightSQL traffic...\n") {
            return line.rsplit(' ').next().unwrap().parse().unwrap();
        }
        told += &line;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
