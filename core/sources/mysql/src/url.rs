//! URLs of servers. No message contains any part of one but names of parameters, because a password may stand anywhere.

use std::time::Duration;

use pillion::source::Secret;
use pillion::{Error, ErrorCode, Result};
use pillion_connect::host_and_port;

use crate::names::suggestion;
use crate::options::{Address, MySqlOptions, SslMode};

const PORT: u16 = 3306;

const PARAMETERS: &[&str] = &[
    "socket",
    "user",
    "password",
    "ssl-mode",
    "ssl-ca",
    "ssl-name",
    "ssl-cert",
    "ssl-key",
    "connect-timeout",
];

/// Modes, in our words and in those of the servers' own clients.
const SSL_MODES: &[(&str, SslMode)] = &[
    ("disable", SslMode::Disable),
    ("require-unverified", SslMode::RequireUnverified),
    ("verify-full", SslMode::VerifyFull),
    ("disabled", SslMode::Disable),
    ("verify-identity", SslMode::VerifyFull),
];

pub(crate) fn parse(url: &str) -> Result<MySqlOptions> {
    let rest = url
        .strip_prefix("mysql://")
        .or_else(|| url.strip_prefix("mariadb://"))
        .ok_or_else(|| invalid("it does not begin with `mysql://` or `mariadb://`"))?;
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    if query.contains('@') && !rest.contains('@') {
        return Err(invalid("write `%3F` for a `?` in a password, and `%40` for a `@` behind `?`"));
    }
    // A password may contain a slash that nobody encoded, so the last `@` ends the user.
    let (user_info, rest) = match rest.rsplit_once('@') {
        Some((user_info, rest)) => (Some(user_info), rest),
        None => (None, rest),
    };
    let (host, database) = rest.split_once('/').unwrap_or((rest, ""));

    let mut options = MySqlOptions::new(host_of(host)?);
    if let Some(user_info) = user_info {
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        options.user = Some(decoded(user)?).filter(|user| !user.is_empty());
        options.password = password.map(decoded).transpose()?.map(Secret::Text);
    }
    options.database = Some(decoded(database)?).filter(|name| !name.is_empty());
    parameters(query, &mut options)?;
    match &options.address {
        Address::Tcp(host, _) if host.is_empty() => {
            Err(invalid("it names no host; for a Unix socket, add `?socket=` and its path"))
        }
        _ => Ok(options),
    }
}

fn host_of(text: &str) -> Result<Address> {
    if text.contains(',') {
        return Err(invalid("it names several hosts; name one"));
    }
    let (host, port) = host_and_port(text);
    let port = port.filter(|port| !port.is_empty()).map_or(Ok(PORT), port_of)?;
    Ok(Address::Tcp(decoded(host)?, port))
}

fn parameters(query: &str, options: &mut MySqlOptions) -> Result<()> {
    let (mut certificate, mut key) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| invalid("a parameter has no value"))?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        match name.as_str() {
            "socket" if !value.starts_with('/') => {
                return Err(invalid("`socket` is not a path from the root"));
            }
            "socket" => options.address = Address::Socket(value.into()),
            "user" => options.user = Some(value),
            "password" => options.password = Some(Secret::Text(value)),
            "ssl-mode" => options.ssl_mode = ssl_mode(&value)?,
            "ssl-ca" => options.roots = (value != "system").then(|| value.into()),
            "ssl-name" => options.certificate_name = Some(value),
            "ssl-cert" => certificate = Some(value.into()),
            "ssl-key" => key = Some(value.into()),
            "connect-timeout" => {
                let seconds: u64 =
                    value.parse().map_err(|_| invalid("`connect-timeout` is not a number of seconds"))?;
                options.connect_timeout =
                    if seconds == 0 { Duration::MAX } else { Duration::from_secs(seconds) };
            }
            unknown => {
                let hint = suggestion(unknown, PARAMETERS.iter().copied());
                return Err(invalid(&format!("there is no parameter `{unknown}`{hint}")));
            }
        }
    }
    options.identity = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => return Err(invalid("`ssl-cert` and `ssl-key` belong together")),
    };
    Ok(())
}

fn ssl_mode(value: &str) -> Result<SslMode> {
    let word = value.to_ascii_lowercase().replace('_', "-");
    if let Some((_, mode)) = SSL_MODES.iter().find(|(text, _)| *text == word) {
        return Ok(*mode);
    }
    Err(invalid(match word.as_str() {
        "require" | "required" | "prefer" | "preferred" => {
            "that `ssl-mode` verifies nothing of the server; write `verify-full`, or `require-unverified` if that is meant"
        }
        "verify-ca" => {
            "`ssl-mode` cannot be `verify-ca`; write `verify-full`, and with `ssl-name` the name in the certificate if it is not that of the host"
        }
        _ => "`ssl-mode` is none of disable, require-unverified, verify-full",
    }))
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
    Error::new(ErrorCode::InvalidArgument, format!("the URL of a MySQL server cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str) -> Address {
        parse(url).unwrap().address
    }

    #[test]
    fn a_url_names_host_user_and_database() {
        let options =
            parse("mysql://re%40der:p%2Fss:w@db/shop?ssl-mode=disable&connect-timeout=3&ssl-name=other")
                .unwrap();
        assert_eq!(options.address, Address::Tcp("db".to_owned(), 3306));
        assert_eq!(options.user.as_deref(), Some("re@der"));
        assert_eq!(options.password.as_ref().unwrap().read().unwrap(), "p/ss:w");
        assert_eq!(options.database.as_deref(), Some("shop"));
        assert_eq!(options.ssl_mode, SslMode::Disable);
        assert_eq!(options.certificate_name.as_deref(), Some("other"));
        assert_eq!(options.connect_timeout, Duration::from_secs(3));
        assert!(!format!("{options:?}").contains("p/ss"));
        assert_eq!(options.place(), "mysql://db:3306/shop");
        assert_eq!(parse("mariadb://db?ssl-mode=VERIFY_IDENTITY").unwrap().ssl_mode, SslMode::VerifyFull);
        assert_eq!(parse("mariadb://db").unwrap().ssl_mode, SslMode::VerifyFull);
    }

    #[test]
    fn a_host_is_a_name_an_address_or_a_socket() {
        assert_eq!(address("mysql://db:6000"), Address::Tcp("db".to_owned(), 6000));
        assert_eq!(address("mysql://[::1]:7000/x"), Address::Tcp("::1".to_owned(), 7000));
        assert_eq!(address("mysql://u@/x?socket=/run/m.sock"), Address::Socket("/run/m.sock".into()));
    }

    #[test]
    fn a_wrong_url_is_refused_without_its_secrets() {
        for (url, why) in [
            ("postgresql://u:SECRET@h/d", "does not begin"),
            ("mysql://u:SECRET@/d", "names no host"),
            ("mysql://u:SECRET@a,b/d", "several hosts"),
            ("mysql://u:SECRET@h:SECRET/d", "is not a port"),
            ("mysql://u:SECRET@h/d?ssl-mod=disable", "did you mean `ssl-mode`?"),
            ("mysql://u:SECRET@h/d?ssl-mode=SECRET", "is none of disable"),
            ("mysql://u:SECRET@h/d?ssl-mode=require", "verifies nothing"),
            ("mysql://u:SECRET@h/d?ssl-mode=PREFERRED", "verifies nothing"),
            ("mysql://u:SECRET@h/d?ssl-mode=verify-ca", "`ssl-name`"),
            ("mysql://u:SECRET@h/d?socket=SECRET", "path from the root"),
            ("mysql://u:SECRET%4@h/d", "hexadecimal"),
            ("mysql://u:SECRET%00@h/d", "zero byte"),
            ("mysql://u:SECRET@h/d?ssl-cert=x", "belong together"),
            ("mysql://u:1?SECRET=2@h/d", "`%3F`"),
            ("mysql://u:SECRET/d", "is not a port"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            let shown = format!("{error:?}");
            assert!(shown.contains(why) && !shown.contains("SECRET"), "{url}: {shown}");
        }
    }
}
