//! The door `[flight_sql]`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion_access::Permissions;

use super::door::{DoorConfig, DoorListen, DoorTls};
use super::section::Section;
use crate::doors;

/// The Flight SQL door. Fields that are `None` have the defaults of the door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FlightSqlConfig {
    /// Where it listens.
    pub listen: DoorListen,
    /// Encryption.
    pub tls: Option<DoorTls>,
    /// What clients without a token may do; without it they are refused.
    pub anonymous: Option<Permissions>,
    /// Connections at a time.
    pub connections_max: Option<usize>,
    /// Calls at a time.
    pub requests_max: Option<usize>,
    /// Calls that wait.
    pub requests_waiting_max: Option<usize>,
    /// Statements that are prepared or wait to be fetched, at a time.
    pub statements_max: Option<usize>,
    /// Uploads at a time.
    pub uploads_max: Option<usize>,
    /// Bytes of a message, and of parameters.
    pub request_size: Option<usize>,
    /// Bytes of an upload.
    pub upload_size: Option<usize>,
    /// Time for a handshake and between two messages of a client.
    pub client_timeout: Option<Duration>,
    /// Time that a client may leave a part of an answer unread.
    pub read_timeout: Option<Duration>,
    /// Time between two calls of a connection.
    pub idle_timeout: Option<Duration>,
    /// Time until an answer begins.
    pub request_timeout: Option<Duration>,
    /// Time of an upload.
    pub upload_timeout: Option<Duration>,
    /// Time that a statement is kept which nobody uses.
    pub statement_timeout: Option<Duration>,
}

impl FlightSqlConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(section: &mut Section<'_>, folder: &Path, has_tokens: bool) -> Option<Self> {
        if !doors::HAS_FLIGHT_SQL {
            section.problem(
                section.line(),
                "this build has no Flight SQL door: build it with the feature `flight`",
            );
        }
        let DoorConfig { listen, tls, anonymous } = DoorConfig::of(section, "flight_sql", folder, has_tokens);
        let door = Self {
            listen: DoorListen::Unix(PathBuf::new()),
            tls,
            anonymous,
            connections_max: section.count("connections_max"),
            requests_max: section.count("requests_max"),
            requests_waiting_max: section.count("requests_waiting_max"),
            statements_max: section.count("statements_max"),
            uploads_max: section.count("uploads_max"),
            request_size: section.size("request_size"),
            upload_size: section.size("upload_size"),
            client_timeout: section.duration("client_timeout"),
            read_timeout: section.duration("read_timeout"),
            idle_timeout: section.duration("idle_timeout"),
            request_timeout: section.duration("request_timeout"),
            upload_timeout: section.duration("upload_timeout"),
            statement_timeout: section.duration("statement_timeout"),
        };
        listen.map(|listen| Self { listen, ..door })
    }
}
