//! Real servers on loopback, which end with the bench.

mod postgres;
mod s3;

pub(crate) use postgres::PostgresServer;
pub(crate) use s3::S3Server;

use std::net::TcpListener;
use std::process::Child;
use std::time::{Duration, Instant};

use pillion_benches::Result;

/// How long a server may take until it answers.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ports that were free just now, each another.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let held: Vec<TcpListener> =
        (0..N).map(|_| TcpListener::bind("127.0.0.1:0")).collect::<std::io::Result<_>>()?;
    let ports: Vec<u16> = held
        .iter()
        .map(|held| held.local_addr().map(|address| address.port()))
        .collect::<std::io::Result<_>>()?;
    ports.try_into().map_err(|_| "no ports".into())
}

/// Asks until a server answers.
fn wait(child: &mut Child, mut answers: impl FnMut() -> bool) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while !answers() {
        if let Some(status) = child.try_wait()? {
            return Err(format!("the server ended before it answered: {status}").into());
        }
        if Instant::now() > deadline {
            return Err("the server does not answer".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
