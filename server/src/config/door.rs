//! What the sections of all doors have, and the tokens of all doors.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use pillion_access::{Permissions, Tables, TokenConfig};

use super::document::At;
use super::keys;
use super::section::Section;

/// What stands before the path of a Unix socket.
const UNIX: &str = "unix:";
/// What stands for the address of this machine.
const LOCALHOST: &str = "localhost:";

/// Where the door listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoorListen {
    /// At an address.
    Tcp(SocketAddr),
    /// On a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for DoorListen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "{UNIX}{}", path.display()),
        }
    }
}

/// Files of encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DoorTls {
    /// The certificate.
    pub certificate: PathBuf,
    /// Its key.
    pub private_key: PathBuf,
    /// Authorities of clients.
    pub client_authorities: Option<PathBuf>,
}

/// Where a door listens, how it encrypts, and what it lets clients do that show no token.
pub(super) struct DoorConfig {
    /// `None` if it is not an address.
    pub(super) listen: Option<DoorListen>,
    pub(super) tls: Option<DoorTls>,
    pub(super) anonymous: Option<Permissions>,
}

impl DoorConfig {
    /// Reads it from the section of a door. Problems are reported to the document.
    pub(super) fn of(section: &mut Section<'_>, name: &str, folder: &Path, has_tokens: bool) -> Self {
        let listen = section.required_text("listen");
        let listen_line = listen.as_ref().map_or_else(|| section.line(), |listen| listen.line);
        let listen = listen.and_then(|listen| self::listen(section, &listen, folder));
        let tls = tls(section, folder);
        let is_plaintext_wanted = section.boolean("plaintext") == Some(true);
        if let Some(DoorListen::Tcp(address)) = &listen
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
                format!("nobody could use [{name}]: define a token in [tokens.NAME], or say what everyone may do in [{name}.anonymous]"),
            );
        }
        Self { listen, tls, anonymous }
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

fn listen(section: &Section<'_>, text: &At<String>, folder: &Path) -> Option<DoorListen> {
    if let Some(path) = text.value.strip_prefix(UNIX) {
        return Some(DoorListen::Unix(folder.join(path)));
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
    address.map(DoorListen::Tcp)
}

fn tls(section: &mut Section<'_>, folder: &Path) -> Option<DoorTls> {
    let lines = ["certificate", "private_key", "client_authorities"].map(|name| section.line_of(name));
    let mut file = |name| section.text(name).map(|file| folder.join(file.value));
    let (certificate, key) = (file("certificate"), file("private_key"));
    let client_authorities = file("client_authorities");
    match (certificate, key) {
        (Some(certificate), Some(private_key)) => {
            return Some(DoorTls { certificate, private_key, client_authorities });
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
