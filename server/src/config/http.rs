//! The door `[http]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion_access::Permissions;

use super::door::{DoorConfig, DoorListen, DoorTls};
use super::section::Section;
use crate::doors;

/// The HTTP door. Fields that are `None` have the defaults of the door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: DoorListen,
    /// Names by which clients reach it.
    pub hosts: Vec<String>,
    /// Encryption.
    pub tls: Option<DoorTls>,
    /// What clients without a token may do; without it they are refused.
    pub anonymous: Option<Permissions>,
    /// Connections at a time.
    pub connections_max: Option<usize>,
    /// Requests at a time.
    pub requests_max: Option<usize>,
    /// Requests that wait.
    pub requests_waiting_max: Option<usize>,
    /// Streams of changes at a time.
    pub streams_max: Option<usize>,
    /// Uploads at a time.
    pub uploads_max: Option<usize>,
    /// Bytes of a request.
    pub request_size: Option<usize>,
    /// Bytes of an upload.
    pub upload_size: Option<usize>,
    /// Time for the head of a request and for each part of a body and an answer.
    pub client_timeout: Option<Duration>,
    /// Time between two requests of a connection.
    pub idle_timeout: Option<Duration>,
    /// Time until an answer begins.
    pub request_timeout: Option<Duration>,
    /// Time of an upload.
    pub upload_timeout: Option<Duration>,
}

impl HttpConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(section: &mut Section<'_>, folder: &Path, has_tokens: bool) -> Option<Self> {
        if !doors::HAS_HTTP {
            section.problem(section.line(), "this build has no HTTP door: build it with the feature `http`");
        }
        let DoorConfig { listen, tls, anonymous } = DoorConfig::of(section, "http", folder, has_tokens);
        let http = Self {
            listen: DoorListen::Unix(PathBuf::new()),
            hosts: section.texts("hosts").into_iter().map(|host| host.value).collect(),
            tls,
            anonymous,
            connections_max: section.count("connections_max"),
            requests_max: section.count("requests_max"),
            requests_waiting_max: section.count("requests_waiting_max"),
            streams_max: section.count("streams_max"),
            uploads_max: section.count("uploads_max"),
            request_size: section.size("request_size"),
            upload_size: section.size("upload_size"),
            client_timeout: section.duration("client_timeout"),
            idle_timeout: section.duration("idle_timeout"),
            request_timeout: section.duration("request_timeout"),
            upload_timeout: section.duration("upload_timeout"),
        };
        listen.map(|listen| Self { listen, ..http })
    }
}
