//! Addresses of servers: those of URLs, and those that a server gives for its rows.

use std::fmt;
use std::path::PathBuf;

use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::host_and_port;

use crate::options::FlightSqlOptions;

/// The port of encrypted connections where none is named.
const TLS_PORT: u16 = 443;
/// What a server writes where rows are to be fetched over the connection that asked for them.
const REUSE_SCHEME: &str = "arrow-flight-reuse-connection";

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp {
        host: String,
        port: u16,
        is_encrypted: bool,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

/// A place for rows, as a server names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The connection that asked for them.
    Same,
    Other(Address),
    /// Of a kind that is not known here, such as a file on an HTTP server.
    Unknown,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Options of a URL. No message contains any part of the URL, because a password may stand anywhere.
pub(crate) fn parse(url: &str) -> Result<FlightSqlOptions> {
    let (scheme, rest) = url.split_once("://").ok_or_else(unknown_scheme)?;
    if rest.contains(['?', '#']) {
        return Err(invalid("nothing may follow the port: options are set apart from the URL"));
    }
    if scheme == "grpc+unix" {
        let path = decoded(rest)?;
        if !path.starts_with('/') {
            return Err(invalid("write the whole path of the socket, as in `grpc+unix:///run/server.sock`"));
        }
        return Ok(FlightSqlOptions::new(Address::Unix(path.into())));
    }
    let is_encrypted = is_encrypted(scheme).ok_or_else(unknown_scheme)?;
    // A password may contain a slash that nobody encoded, so the last `@` ends the user.
    let (user_info, authority) = match rest.rsplit_once('@') {
        Some((user_info, authority)) => (Some(user_info), authority),
        None => (None, rest),
    };
    let address = tcp(authority.strip_suffix('/').unwrap_or(authority), is_encrypted)?;
    let mut options = FlightSqlOptions::new(address);
    if let Some(user_info) = user_info {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        options.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        options.password = password.map(decoded).transpose()?.map(Secret::Text);
    }
    Ok(options)
}

/// A location of an endpoint.
pub(crate) fn place(uri: &str) -> Place {
    let Some((scheme, rest)) = uri.split_once("://") else { return Place::Unknown };
    match scheme {
        REUSE_SCHEME => Place::Same,
        "grpc+unix" => decoded(rest).map_or(Place::Unknown, |path| Place::Other(Address::Unix(path.into()))),
        _ => match is_encrypted(scheme) {
            Some(is_encrypted) => {
                tcp(rest.strip_suffix('/').unwrap_or(rest), is_encrypted).map_or(Place::Unknown, Place::Other)
            }
            None => Place::Unknown,
        },
    }
}

fn is_encrypted(scheme: &str) -> Option<bool> {
    match scheme {
        "grpc" | "grpc+tcp" => Some(false),
        "grpc+tls" => Some(true),
        _ => None,
    }
}

fn tcp(authority: &str, is_encrypted: bool) -> Result<Address> {
    let (host, port) = host_and_port(authority);
    if host.is_empty() {
        return Err(invalid("it names no host"));
    }
    if host.contains(|character: char| {
        !character.is_ascii_alphanumeric() && !matches!(character, '.' | '-' | '_' | ':')
    }) {
        return Err(invalid("its host has letters that no host has"));
    }
    let port = match port {
        Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
            invalid("what follows `:` is not a port; write `%3A`, `%40` and `%2F` for `:`, `@` and `/` in a password")
        })?,
        None if is_encrypted => TLS_PORT,
        None => return Err(invalid("it names no port, and there is no usual one")),
    };
    Ok(Address::Tcp { host: host.to_ascii_lowercase(), port, is_encrypted })
}

/// The text with its `%XX` replaced.
fn decoded(text: &str) -> Result<String> {
    pillion_connect::decoded(text).map_err(invalid)
}

fn unknown_scheme() -> Error {
    invalid("it does not begin with `grpc://`, `grpc+tls://` or `grpc+unix://`")
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the URL of a Flight SQL server cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(host: &str, port: u16, is_encrypted: bool) -> Address {
        Address::Tcp { host: host.to_owned(), port, is_encrypted }
    }

    #[test]
    fn a_url_names_one_server() {
        for (url, address) in [
            ("grpc://Db:31337", at("db", 31337, false)),
            ("grpc+tcp://[::1]:1/", at("::1", 1, false)),
            ("grpc+tls://db.example.org", at("db.example.org", 443, true)),
            ("grpc+unix:///run/a%20b.sock", Address::Unix("/run/a b.sock".into())),
        ] {
            assert_eq!(parse(url).unwrap().address, address, "{url}");
        }
        let options = parse("grpc+tls://re%40der:p/ss:w%40@db:1").unwrap();
        assert_eq!(options.user.as_deref(), Some("re@der"));
        assert_eq!(options.password.as_ref().unwrap().read().unwrap(), "p/ss:w@");
        assert!(!format!("{options:?}").contains("p/ss"));
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_secrets() {
        for (url, why) in [
            ("http://u:SECRET@h:1", "does not begin"),
            ("SECRET", "does not begin"),
            ("grpc://u:SECRET@h", "names no port"),
            ("grpc://u:SECRET@:1", "names no host"),
            ("grpc://u:SECRET@h:SECRET", "is not a port"),
            ("grpc://u:SECRET/h", "is not a port"),
            ("grpc://h:1?token=SECRET", "options are set apart"),
            ("grpc+tls://h SECRET", "letters"),
            ("grpc+tls://u:SECRET%4@h", "hexadecimal"),
            ("grpc+unix://SECRET", "whole path"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            let shown = format!("{error:?}");
            assert!(shown.contains(why) && !shown.contains("SECRET"), "{url}: {shown}");
        }
    }

    #[test]
    fn a_location_is_this_connection_another_server_or_unknown() {
        assert_eq!(place("arrow-flight-reuse-connection://?"), Place::Same);
        assert_eq!(place("grpc+tls://w1:5"), Place::Other(at("w1", 5, true)));
        assert_eq!(place("grpc+tcp://127.0.0.1"), Place::Unknown);
        assert_eq!(place("https://bucket/rows.arrow"), Place::Unknown);
        assert_eq!(place("grpc+unix:///s"), Place::Other(Address::Unix("/s".into())));
    }
}
