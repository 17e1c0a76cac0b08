//! URLs of servers. No message contains any part of one but names of parameters, because a password may stand anywhere.

use std::time::Duration;

use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::host_and_port;
use tokio_postgres::config::TargetSessionAttrs;

use crate::names::suggestion;
use crate::options::{PostgresOptions, SslMode};

const PORT: u16 = 5432;

const PARAMETERS: &[&str] = &[
    "host",
    "port",
    "user",
    "password",
    "dbname",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "connect_timeout",
    "application_name",
    "options",
    "target_session_attrs",
];

const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

const TARGETS: &[(&str, TargetSessionAttrs)] = &[
    ("any", TargetSessionAttrs::Any),
    ("read-write", TargetSessionAttrs::ReadWrite),
    ("read-only", TargetSessionAttrs::ReadOnly),
];

pub(crate) fn parse(url: &str) -> Result<PostgresOptions> {
    let rest = url
        .strip_prefix("postgresql://")
        .or_else(|| url.strip_prefix("postgres://"))
        .ok_or_else(|| invalid("it does not begin with `postgresql://`"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.contains('@') && !rest.contains('@') {
        return Err(invalid("write `%3F` for a `?` in a password, and `%40` for a `@` behind `?`"));
    }
    // A password may contain a slash that nobody encoded, so the last `@` ends the user.
    let (user_info, rest) = match rest.rsplit_once('@') {
        Some((user_info, rest)) => (Some(user_info), rest),
        None => (None, rest),
    };
    let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));

    let mut options = PostgresOptions::new();
    if let Some(user_info) = user_info {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        options.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        options.password = password.map(decoded).transpose()?.map(Secret::Text);
    }
    options.database = Some(decoded(database)?).filter(|name| !name.is_empty());
    let mut addresses = hosts_of(hosts)?;
    parameters(query, &mut options, &mut addresses)?;
    options.hosts = addresses.paired()?;
    Ok(options)
}

/// Hosts and ports as they are written: a list of ports may stand apart from that of hosts.
struct Addresses {
    hosts: Vec<String>,
    ports: Vec<Option<u16>>,
}

impl Addresses {
    fn paired(self) -> Result<Vec<(String, u16)>> {
        let Self { hosts, ports } = self;
        if hosts.is_empty() {
            return Err(invalid("it names no host; for a Unix socket, add `?host=` and its directory"));
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            return Err(invalid("it has another number of ports than of hosts"));
        }
        let port =
            |index: usize| ports.get(index).or_else(|| ports.first()).copied().flatten().unwrap_or(PORT);
        Ok(hosts.into_iter().enumerate().map(|(index, host)| (host, port(index))).collect())
    }
}

fn hosts_of(text: &str) -> Result<Addresses> {
    let mut addresses = Addresses { hosts: Vec::new(), ports: Vec::new() };
    for address in text.split(',').filter(|address| !address.is_empty()) {
        let (host, port) = host_and_port(address);
        addresses.hosts.push(decoded(host)?);
        addresses.ports.push(port.filter(|port| !port.is_empty()).map(port_of).transpose()?);
    }
    Ok(addresses)
}

fn parameters(query: &str, options: &mut PostgresOptions, addresses: &mut Addresses) -> Result<()> {
    let (mut certificate, mut key) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| invalid("a parameter has no value"))?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        match name.as_str() {
            "host" => addresses.hosts = value.split(',').map(str::to_owned).collect(),
            "port" => {
                addresses.ports =
                    value.split(',').map(|port| port_of(port).map(Some)).collect::<Result<_>>()?;
            }
            "user" => options.user = Some(value),
            "password" => options.password = Some(Secret::Text(value)),
            "dbname" => options.database = Some(value),
            "sslmode" => options.ssl_mode = one_of("sslmode", &value, SSL_MODES)?,
            "sslrootcert" => options.roots = (value != "system").then(|| value.into()),
            "sslcert" => certificate = Some(value.into()),
            "sslkey" => key = Some(value.into()),
            "connect_timeout" => {
                let seconds: u64 =
                    value.parse().map_err(|_| invalid("`connect_timeout` is not a number of seconds"))?;
                options.connect_timeout =
                    if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) };
            }
            "application_name" => options.application_name = value,
            "options" => options.session_options = Some(value),
            "target_session_attrs" => options.target = one_of("target_session_attrs", &value, TARGETS)?,
            unknown => {
                let hint = suggestion(unknown, PARAMETERS.iter().copied());
                return Err(invalid(&format!("there is no parameter `{unknown}`{hint}")));
            }
        }
    }
    options.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(invalid("`sslcert` and `sslkey` belong together")),
    };
    Ok(())
}

fn one_of<T: Copy>(name: &str, value: &str, known: &[(&str, T)]) -> Result<T> {
    known.iter().find(|(text, _)| *text == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
        let words: Vec<_> = known.iter().map(|(text, _)| *text).collect();
        invalid(&format!("`{name}` is none of {}", words.join(", ")))
    })
}

fn port_of(text: &str) -> Result<u16> {
    text.parse().ok().filter(|port| *port != 0).ok_or_else(|| {
        invalid(
            "what follows `:` is not a port; write `%3A`, `%40` and `%2F` for `:`, `@` and `/` in a password",
        )
    })
}

/// The text with its `%XX` replaced.
fn decoded(text: &str) -> Result<String> {
    pillion_connect::decoded(text).map_err(invalid)
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the URL of a PostgreSQL server cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Vec<(String, u16)> {
        parse(url).unwrap().hosts
    }

    #[test]
    fn a_url_names_hosts_user_and_database() {
        let options = parse(
            "postgresql://re%40der:p%2Fss:w@db/shop?sslmode=verify-ca&connect_timeout=3&options=-c%20a%3Db",
        )
        .unwrap();
        assert_eq!(options.hosts, [("db".to_owned(), 5432)]);
        assert_eq!(options.user.as_deref(), Some("re@der"));
        assert_eq!(options.password.as_ref().unwrap().read().unwrap(), "p/ss:w");
        assert_eq!(options.database.as_deref(), Some("shop"));
        assert_eq!(options.ssl_mode, SslMode::VerifyCa);
        assert_eq!(options.connect_timeout, Duration::from_secs(3));
        assert_eq!(options.session_options.as_deref(), Some("-c a=b"));
        assert!(!format!("{options:?}").contains("p/ss"));
        assert_eq!(options.place(), "postgresql://db:5432/shop?-c a=b");
    }

    #[test]
    fn hosts_are_a_list_a_socket_or_an_address() {
        let of = |host: &str, port| (host.to_owned(), port);
        assert_eq!(hosts("postgres://a,b:6000,c"), [of("a", 5432), of("b", 6000), of("c", 5432)]);
        assert_eq!(hosts("postgresql://[::1]:7000,[fe80::1]/x"), [of("::1", 7000), of("fe80::1", 5432)]);
        assert_eq!(hosts("postgresql:///x?host=/run/pg&port=7000"), [of("/run/pg", 7000)]);
        assert_eq!(hosts("postgresql://%2Frun%2Fpg/x"), [of("/run/pg", 5432)]);
        assert_eq!(hosts("postgresql:///x?host=a,b&port=1,2"), [of("a", 1), of("b", 2)]);
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_secrets() {
        for (url, why) in [
            ("mysql://u:SECRET@h/d", "does not begin"),
            ("postgresql://u:SECRET@/d", "names no host"),
            ("postgresql://u:SECRET@h:SECRET/d", "is not a port"),
            ("postgresql://u:SECRET@h/d?sslmod=disable", "did you mean `sslmode`?"),
            ("postgresql://u:SECRET@h/d?sslmode=SECRET", "is none of disable, prefer"),
            ("postgresql://u:SECRET%4@h/d", "hexadecimal"),
            ("postgresql://u:SECRET%00@h/d", "zero byte"),
            ("postgresql://u:SECRET@h/d?sslcert=x", "belong together"),
            ("postgresql://u:SECRET@a,b,c/d?port=1,2", "number of ports"),
            ("postgresql://u:1?SECRET=2@h/d", "`%3F`"),
            ("postgresql://u:SECRET/d", "is not a port"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            let shown = format!("{error:?}");
            assert!(shown.contains(why) && !shown.contains("SECRET"), "{url}: {shown}");
        }
    }
}
