//! The Flight SQL door.

use std::sync::Arc;

use pillion::Cache;
use pillion_access::Access;
use pillion_flight::{DoorError, FlightOptions, FlightServer, Listen, TlsFiles, Users};

use crate::config::{Config, DoorListen, FlightSqlConfig};
use crate::exit::Exit;
use crate::failure::Failure;

/// Opens it.
///
/// # Errors
/// Of binding, and of certificates that cannot be used.
pub(super) fn open(
    cache: &Cache,
    config: &Config,
    door: &FlightSqlConfig,
    access: Arc<Access>,
) -> Result<FlightServer, Failure> {
    let server =
        FlightServer::start(cache, options(config, door), access).map_err(|error| failed(door, &error))?;
    // The port is another one than in the configuration if that leaves it to the system.
    let listen = server.address().map_or_else(|| door.listen.to_string(), |address| address.to_string());
    tracing::info!(%listen, tls = door.tls.is_some(), tokens = config.tokens.len(), "Flight SQL door open");
    Ok(server)
}

/// Finds out whether it could be opened.
///
/// # Errors
/// As [`open`].
pub(super) fn check_socket(config: &Config, door: &FlightSqlConfig) -> Result<(), Failure> {
    FlightServer::check(&options(config, door)).map_err(|error| failed(door, &error))
}

fn failed(door: &FlightSqlConfig, error: &DoorError) -> Failure {
    let exit = match error {
        DoorError::Bind(error) if error.kind() == std::io::ErrorKind::AddrInUse => Exit::Retry,
        DoorError::Tls(_) => Exit::Usage,
        _ => Exit::Report,
    };
    Failure::new(exit, format!("the Flight SQL door at {} cannot be opened: {error}", door.listen))
}

/// Users who may connect to its Unix socket: those of the socket of the sidecar.
pub(super) fn users(config: &Config) -> Users {
    Users { uids: config.access.allow_uids.clone(), gids: config.access.allow_gids.clone() }
}

/// Checks its certificate.
///
/// # Errors
/// [`Exit::Usage`].
pub(super) fn check(door: &FlightSqlConfig) -> Result<(), Failure> {
    match tls(door) {
        Some(files) => files.check().map_err(|message| Failure::new(Exit::Usage, message)),
        None => Ok(()),
    }
}

fn tls(door: &FlightSqlConfig) -> Option<TlsFiles> {
    door.tls.as_ref().map(|tls| TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.private_key.clone(),
        client_authorities: tls.client_authorities.clone(),
    })
}

fn options(config: &Config, door: &FlightSqlConfig) -> FlightOptions {
    let listen = match &door.listen {
        DoorListen::Tcp(address) => Listen::Tcp(*address),
        DoorListen::Unix(path) => Listen::Unix(path.clone()),
    };
    let mut options = FlightOptions::new(listen).users(users(config));
    if let Some(files) = tls(door) {
        options = options.tls(files);
    }
    if let Some(mode) = config.access.socket_mode {
        options = options.socket_mode(mode);
    }
    if let Some(connections) = door.connections_max {
        options = options.connections_max(connections);
    }
    if let Some(requests) = door.requests_max {
        options = options.requests_max(requests);
    }
    if let Some(requests) = door.requests_waiting_max {
        options = options.requests_waiting_max(requests);
    }
    if let Some(statements) = door.statements_max {
        options = options.statements_max(statements);
    }
    if let Some(uploads) = door.uploads_max {
        options = options.uploads_max(uploads);
    }
    if let Some(bytes) = door.request_size {
        options = options.request_bytes_max(bytes);
    }
    if let Some(bytes) = door.upload_size {
        options = options.upload_bytes_max(bytes as u64);
    }
    if let Some(timeout) = door.client_timeout {
        options = options.client_timeout(timeout);
    }
    if let Some(timeout) = door.read_timeout {
        options = options.read_timeout(timeout);
    }
    if let Some(timeout) = door.idle_timeout {
        options = options.idle_timeout(timeout);
    }
    if let Some(timeout) = door.request_timeout {
        options = options.request_timeout(timeout);
    }
    if let Some(timeout) = door.upload_timeout {
        options = options.upload_timeout(timeout);
    }
    if let Some(timeout) = door.statement_timeout {
        options = options.statement_timeout(timeout);
    }
    match &config.spill_dir {
        Some(dir) => options.upload_dir(dir),
        None => options,
    }
}
