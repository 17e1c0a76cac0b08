//! The HTTP door.

use std::sync::Arc;

use pillion::Cache;
use pillion_access::Access;
use pillion_http::{HttpError, HttpOptions, HttpServer, Listen, TlsFiles, Users};

use crate::config::{Config, DoorListen, HttpConfig};
use crate::exit::Exit;
use crate::failure::Failure;

/// Opens it.
///
/// # Errors
/// Of binding, and of certificates that cannot be used.
pub(super) fn open(
    cache: &Cache,
    config: &Config,
    http: &HttpConfig,
    access: Arc<Access>,
) -> Result<HttpServer, Failure> {
    let server =
        HttpServer::start(cache, options(config, http), access).map_err(|error| failed(http, &error))?;
    // The port is another one than in the configuration if that leaves it to the system.
    let listen = server.address().map_or_else(|| http.listen.to_string(), |address| address.to_string());
    tracing::info!(%listen, tls = http.tls.is_some(), tokens = config.tokens.len(), "HTTP door open");
    Ok(server)
}

/// Finds out whether it could be opened.
///
/// # Errors
/// As [`open`].
pub(super) fn check_socket(config: &Config, http: &HttpConfig) -> Result<(), Failure> {
    HttpServer::check(&options(config, http)).map_err(|error| failed(http, &error))
}

fn failed(http: &HttpConfig, error: &HttpError) -> Failure {
    let exit = match error {
        HttpError::Bind(error) if error.kind() == std::io::ErrorKind::AddrInUse => Exit::Retry,
        HttpError::Tls(_) => Exit::Usage,
        _ => Exit::Report,
    };
    Failure::new(exit, format!("the HTTP door at {} cannot be opened: {error}", http.listen))
}

/// Users who may connect to its Unix socket: those of the socket of the sidecar.
pub(super) fn users(config: &Config) -> Users {
    Users { uids: config.access.allow_uids.clone(), gids: config.access.allow_gids.clone() }
}

/// Checks its certificate.
///
/// # Errors
/// [`Exit::Usage`].
pub(super) fn check(http: &HttpConfig) -> Result<(), Failure> {
    match tls(http) {
        Some(files) => files.check().map_err(|message| Failure::new(Exit::Usage, message)),
        None => Ok(()),
    }
}

fn tls(http: &HttpConfig) -> Option<TlsFiles> {
    http.tls.as_ref().map(|tls| TlsFiles {
        certificate: tls.certificate.clone(),
        key: tls.private_key.clone(),
        client_authorities: tls.client_authorities.clone(),
    })
}

fn options(config: &Config, http: &HttpConfig) -> HttpOptions {
    let listen = match &http.listen {
        DoorListen::Tcp(address) => Listen::Tcp(*address),
        DoorListen::Unix(path) => Listen::Unix(path.clone()),
    };
    let mut options = HttpOptions::new(listen).hosts(&http.hosts).users(users(config));
    if let Some(files) = tls(http) {
        options = options.tls(files);
    }
    if let Some(mode) = config.access.socket_mode {
        options = options.socket_mode(mode);
    }
    if let Some(connections) = http.connections_max {
        options = options.connections_max(connections);
    }
    if let Some(requests) = http.requests_max {
        options = options.requests_max(requests);
    }
    if let Some(requests) = http.requests_waiting_max {
        options = options.requests_waiting_max(requests);
    }
    if let Some(streams) = http.streams_max {
        options = options.streams_max(streams);
    }
    if let Some(uploads) = http.uploads_max {
        options = options.uploads_max(uploads);
    }
    if let Some(bytes) = http.request_size {
        options = options.request_bytes_max(bytes);
    }
    if let Some(bytes) = http.upload_size {
        options = options.upload_bytes_max(bytes as u64);
    }
    if let Some(timeout) = http.client_timeout {
        options = options.head_timeout(timeout);
    }
    if let Some(timeout) = http.idle_timeout {
        options = options.idle_timeout(timeout);
    }
    if let Some(timeout) = http.request_timeout {
        options = options.request_timeout(timeout);
    }
    if let Some(timeout) = http.upload_timeout {
        options = options.upload_timeout(timeout);
    }
    match &config.spill_dir {
        Some(dir) => options.upload_dir(dir),
        None => options,
    }
}
