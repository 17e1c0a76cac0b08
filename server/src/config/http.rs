//! The door `[http]`, and the tokens of all doors.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use pillion_access::{Permissions, Tables, TokenConfig};

use super::document::At;
use super::keys;
use super::section::Section;
use crate::doors;

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";
/// What stands for the address of this machine.
const LOCALHOST: &str = "localhost:";

/// The HTTP door. Fields that are `None` have the defaults of the door.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HttpConfig {
    /// Where it listens.
    pub listen: HttpListen,
    /// Names by which clients reach it.
    pub hosts: Vec<String>,
    /// Encryption.
    pub tls: Option<HttpTls>,
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

/// Where the door listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpListen {
    /// At an address.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for HttpListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Files of encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpTls {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// Authorities of clients.
    pub client_authorities: Option<PathBuf>,
}

impl HttpConfig {
    /// Reads it. Problems are reported to the document.
    pub(super) fn of(section: &mut Section<'_>, folder: &Path, has_tokens: bool) -> Option<Self> {
        if !doors::HAS_HTTP {
            section.problem(section.line(), "this build has no HTTP door: build it with the feature `http`");
        }
        let listen = section.required_text("listen");
        let listen_line = listen.as_ref().map_or_else(|| section.line(), |listen| listen.line);
        let listen = listen.and_then(|listen| self::listen(section, &listen, folder));
        let tls = tls(section, folder);
        let is_plaintext_wanted = section.boolean("plaintext") == Some(true);
        if let Some(HttpListen::Tcp(address)) = &listen
            && !address.ip().is_loopback()
            && tls.is_none()
            && !is_plaintext_wanted
        {
            section.problem(
                listen_line,
                "others on the network could read tokens and rows: give a `certificate` and its `private_key`, or set `plaintext = true` if something in front encrypts",
            );
        }
        let anonymous = section.section("anonymous", keys::PERMISSIONS).map(|mut it| permissions(&mut it));
        if !has_tokens && anonymous.is_none() {
            section.problem(
                section.line(),
                "nobody could use [http]: define a token in [tokens.NAME], or say what everyone may do in [http.anonymous]",
            );
        }
        let http = Self {
            listen: HttpListen::Unix(PathBuf::new()),
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

/// Reads a token. Problems are reported to the document.
pub(super) fn token(name: String, section: &mut Section<'_>, folder: &Path) -> TokenConfig {
    if name.is_empty() || name == "anonymous" {
        section.problem(section.line(), "a token needs a name, other than `anonymous`");
    }
    let file = section.required_text("file").map(|file| folder.join(file.value)).unwrap_or_default();
    TokenConfig { name, file, permissions: permissions(section) }
}

fn permissions(section: &mut Section<'_>) -> Permissions {
    let mut tables = |name| Tables::of(section.texts(name).into_iter().map(|table| table.value));
    let (read, write, refresh) = (tables("read"), tables("write"), tables("refresh"));
    Permissions { read, write, refresh, administer: section.boolean("administer") == Some(true) }
}

fn listen(section: &Section<'_>, text: &At<String>, folder: &Path) -> Option<HttpListen> {
    if let Some(path) = text.value.strip_prefix(UNIX) {
        return Some(HttpListen::Unix(folder.join(path)));
    }
    let address = match text.value.strip_prefix(LOCALHOST) {
        Some(port) => port.parse().ok().map(|port| (Ipv4Addr::LOCALHOST, port).into()),
        None => text.value.parse().ok(),
    };
    if address.is_none() {
        let message = format!(
            "`listen` is `{}`, not an address such as 127.0.0.1:8080 or [::1]:8080, nor unix:PATH",
            text.value
        );
        section.problem(text.line, message);
    }
    address.map(HttpListen::Tcp)
}

fn tls(section: &mut Section<'_>, folder: &Path) -> Option<HttpTls> {
    let lines = ["certificate", "private_key", "client_authorities"].map(|name| section.line_of(name));
    let mut file = |name| section.text(name).map(|file| folder.join(file.value));
    let (certificate, key) = (file("certificate"), file("private_key"));
    let client_authorities = file("client_authorities");
    match (certificate, key) {
        (Some(certificate), Some(private_key)) => {
            return Some(HttpTls { certificate, private_key, client_authorities });
        }
        (None, None) => {
            if let [_, _, Some(line)] = lines {
                section.problem(line, "`client_authorities` is for doors with a `certificate`");
            }
        }
        _ => {
            let line = lines.into_iter().flatten().next().unwrap_or_else(|| section.line());
            section.problem(line, "`certificate` and `private_key` go together");
        }
    }
    None
}
