//! An Azure Blob server: Azurite, Microsoft's own emulator, from the npm package `azurite`.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use object_store::azure::{MicrosoftAzure, MicrosoftAzureBuilder};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pillion_object_store::Location;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::report;

/// The account that every such server has, with its key.
const ACCOUNT: &str = "devstoreaccount1";
pub(crate) const KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// The server may be slow on a busy machine.
const STARTED_WITHIN: Duration = Duration::from_secs(120);
/// Makes the container, which the client library cannot.
const CREATE: &str = include_str!("azure.py");

/// A server with one container, `files`, and a client that writes to it. Ends when dropped.
pub(crate) struct Server {
    child: Child,
    address: SocketAddr,
    store: Arc<MicrosoftAzure>,
    runtime: Runtime,
    _dir: TempDir,
}

impl Server {
    /// `None`, after a report, if the program is not installed.
    #[track_caller]
    pub(crate) fn start() -> Option<Self> {
        let program =
            std::env::var_os("PILLION_TEST_AZURITE").map_or_else(|| "azurite-blob".into(), PathBuf::from);
        if Command::new(&program)
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            report::not_run("no `azurite-blob` (npm package azurite) to have an Azure server");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Command::new(&program)
            .args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()])
            .args(["--inMemoryPersistence", "--silent", "--skipApiVersionCheck", "--disableTelemetry"])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let address: SocketAddr = ([127, 0, 0, 1], port).into();
        let store = MicrosoftAzureBuilder::new()
            .with_container_name("files")
            .with_account(ACCOUNT)
            .with_access_key(KEY)
            .with_endpoint(format!("http://{address}/{ACCOUNT}"))
            .with_allow_http(true)
            .build()
            .unwrap();
        let server =
            Self { child, address, store: Arc::new(store), runtime: Runtime::new().unwrap(), _dir: dir };
        server.wait();
        Some(server)
    }

    /// Waits until the server has made the container.
    fn wait(&self) {
        let begun = Instant::now();
        loop {
            let create = || {
                let at = self.address.to_string();
                Command::new("python3").args(["-c", CREATE, &at, ACCOUNT, KEY]).output().unwrap()
            };
            match TcpStream::connect(self.address).ok().map(|_| create()) {
                Some(done) if done.status.success() => return,
                other if begun.elapsed() > STARTED_WITHIN => panic!("Azurite does not start: {other:?}"),
                _ => std::thread::park_timeout(Duration::from_millis(50)),
            }
        }
    }

    pub(crate) fn put(&self, path: &str, bytes: impl Into<PutPayload>) {
        self.runtime.block_on(self.store.put(&Path::from(path), bytes.into())).unwrap();
    }

    /// A location without credentials.
    pub(crate) fn bare(&self, url: &str) -> Location {
        Location::new(url)
            .option("account", ACCOUNT)
            .option("endpoint", format!("http://{}/{ACCOUNT}", self.address))
            .option("allow_http", "true")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}
