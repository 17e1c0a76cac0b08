//! Options and secrets by their names in configurations.

use std::time::Duration;

use pillion::source::Secret;
use pillion::{Error, Result};

use crate::locations::Locations;
use crate::names::suggestion;
use crate::options::{FlightSqlOptions, invalid};

/// Names of options, for configurations.
const OPTIONS: &[&str] = &[
    "client_certificate",
    "client_key",
    "connect_timeout",
    "locations",
    "message_bytes_max",
    "root_certificates",
    "server_name",
    "user",
];
/// Names of secrets, for configurations.
const SECRETS: &[&str] = &["password", "token"];
/// What stands in front of the names of headers.
const HEADER: &str = "header.";

impl FlightSqlOptions {
    /// Sets an option by its name in configurations: `user`, `root_certificates`, `client_certificate`, `client_key`,
    /// `server_name`, `connect_timeout` in seconds, `message_bytes_max`, `locations` (`own`, or hosts with commas between
    /// them) or `header.NAME`.
    ///
    /// # Errors
    /// [`InvalidArgument`](pillion::ErrorCode::InvalidArgument) for an unknown name, with the nearest known one, or an impossible value.
    pub fn option(mut self, name: &str, value: &str) -> Result<Self> {
        match name {
            "user" => self.user = Some(value.to_owned()),
            "root_certificates" => self.roots = Some(value.into()),
            "client_certificate" => self.certificate = Some(value.into()),
            "client_key" => self.key = Some(value.into()),
            "server_name" => self.server_name = Some(value.to_owned()),
            "connect_timeout" => self.connect_timeout = Duration::from_secs(number(name, value)?),
            "message_bytes_max" => {
                self.message_len_max = usize::try_from(number(name, value)?).unwrap_or(usize::MAX);
            }
            "locations" => self.locations = Locations::parse(value),
            _ => match name.strip_prefix(HEADER) {
                Some(header) => self.headers.push((header.to_owned(), value.into())),
                None => return Err(unknown("option", name, OPTIONS)),
            },
        }
        Ok(self)
    }

    /// Sets a secret by its name in configurations: `token`, `password` or `header.NAME`.
    ///
    /// # Errors
    /// [`InvalidArgument`](pillion::ErrorCode::InvalidArgument) for an unknown name, with the nearest known one.
    pub fn secret(mut self, name: &str, secret: Secret) -> Result<Self> {
        match name {
            "token" => self.token = Some(secret),
            "password" => self.password = Some(secret),
            _ => match name.strip_prefix(HEADER) {
                Some(header) => self.headers.push((header.to_owned(), secret)),
                None => return Err(unknown("secret", name, SECRETS)),
            },
        }
        Ok(self)
    }
}

fn number(name: &str, value: &str) -> Result<u64> {
    value.trim().parse().map_err(|_| invalid(&format!("`{name}` is not a whole number")))
}

fn unknown(what: &str, name: &str, known: &[&str]) -> Error {
    let hint = suggestion(name, known.iter().copied());
    let known = known.join(", ");
    invalid(&format!("there is no {what} `{name}`{hint}; there are {known} and {HEADER}NAME"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(url: &str) -> FlightSqlOptions {
        FlightSqlOptions::from_url(url).unwrap()
    }

    #[test]
    fn options_and_secrets_have_names() {
        let made = options("grpc+tls://db:1")
            .option("connect_timeout", "3")
            .and_then(|made| made.option("header.database", "shop"))
            .and_then(|made| made.option("locations", "w1, *.example.org"))
            .and_then(|made| made.secret("token", "hidden".into()))
            .unwrap();
        assert_eq!(made.connect_timeout, Duration::from_secs(3));
        assert_eq!(made.locations, Locations::Hosts(vec!["w1".into(), "*.example.org".into()]));
        assert!(made.clone().build().is_ok());
        let shown = format!("{made:?}");
        assert!(!shown.contains("hidden") && !shown.contains("shop"), "{shown}");
        let error = options("grpc://db:1").option("connect_time", "3").unwrap_err();
        assert!(error.message().contains("did you mean `connect_timeout`?"), "{error}");
        let error = options("grpc://db:1").secret("tokn", "hidden".into()).unwrap_err();
        assert!(error.message().contains("did you mean `token`?"), "{error}");
        assert!(options("grpc://db:1").option("connect_timeout", "soon").is_err());
    }
}
