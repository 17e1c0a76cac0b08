//! URLs of caches.

#[cfg(feature = "sidecar")]
use std::time::Duration;

#[cfg(feature = "sidecar")]
use crate::api::connect::{Attach, ConnectOptions};
use crate::types::error::{Error, ErrorCode, Result, suggestion};

/// What a URL names.
#[derive(Debug)]
#[cfg_attr(test, derive(PartialEq))]
pub(crate) enum Url<'a> {
    /// A directory.
    Directory { dir: &'a str, read_only: bool },
    /// The socket of a sidecar.
    #[cfg(feature = "sidecar")]
    Socket { socket: &'a str, options: ConnectOptions },
}

impl<'a> Url<'a> {
    /// Reads a URL; a plain path is a directory.
    ///
    /// # Errors
    /// [`ErrorCode::InvalidArgument`], naming the nearest scheme or option there is.
    pub(crate) fn parse(url: &'a str) -> Result<Self> {
        let (rest, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, path) = match rest.split_once(':') {
            Some((scheme, path)) if !scheme.contains('/') => (scheme, path),
            _ => ("file", rest),
        };
        let path = path.strip_prefix("//").unwrap_or(path);
        let mut options = query.split('&').filter(|option| !option.is_empty());
        match scheme {
            "file" => {
                let mut read_only = false;
                for option in options.by_ref() {
                    match option {
                        "mode=ro" => read_only = true,
                        "mode=rw" => read_only = false,
                        _ => return Err(unknown_option(option, &["mode"], "`mode=ro` or `mode=rw`")),
                    }
                }
                Ok(Self::Directory { dir: path, read_only })
            }
            #[cfg(feature = "sidecar")]
            "unix" => {
                let connect = options.try_fold(ConnectOptions::new(), connect_option)?;
                Ok(Self::Socket { socket: path, options: connect })
            }
            #[cfg(not(feature = "sidecar"))]
            "unix" => Err(Error::new(
                ErrorCode::Unsupported,
                "this build has no sidecar: enable the feature `sidecar` of the crate `pillion`",
            )),
            _ => Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "`{scheme}` is not a scheme of a cache URL{}; use `file:DIR`, `unix:SOCKET` or a path",
                    suggestion(scheme, ["file", "unix"])
                ),
            )),
        }
    }
}

/// The connection settings with one more option of the URL.
#[cfg(feature = "sidecar")]
fn connect_option(options: ConnectOptions, option: &str) -> Result<ConnectOptions> {
    let unknown = || {
        let usage = "`attach=require`, `attach=never`, `dir=DIR` or `deadline=SECONDS`";
        unknown_option(option, &["attach", "dir", "deadline"], usage)
    };
    Ok(match option.split_once('=') {
        Some(("attach", "require")) => options.attach(Attach::Require),
        Some(("attach", "never")) => options.attach(Attach::Never),
        Some(("dir", path)) if !path.is_empty() => options.dir(path),
        Some(("deadline", seconds)) => match seconds.parse() {
            Ok(seconds @ 1..) => options.deadline(Duration::from_secs(seconds)),
            _ => return Err(unknown()),
        },
        _ => return Err(unknown()),
    })
}

fn unknown_option(option: &str, known: &[&str], usage: &str) -> Error {
    let name = option.split('=').next().unwrap_or(option);
    let hint = if known.contains(&name) { String::new() } else { suggestion(name, known.iter().copied()) };
    Error::new(
        ErrorCode::InvalidArgument,
        format!("`{option}` is not an option of this cache URL{hint}; use {usage}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_directory() {
        for (url, dir, read_only) in [
            ("cache", "cache", false),
            ("/var/lib/pillion", "/var/lib/pillion", false),
            ("./with:colon", "./with:colon", false),
            ("file:/var/lib/pillion?mode=ro", "/var/lib/pillion", true),
            ("file:///var/lib/pillion?mode=rw", "/var/lib/pillion", false),
        ] {
            assert_eq!(Url::parse(url).unwrap(), Url::Directory { dir, read_only }, "{url}");
        }
    }

    #[cfg(feature = "sidecar")]
    #[test]
    fn a_url_names_a_socket_and_how_to_connect() {
        let plain = ConnectOptions::new();
        for (url, options) in [
            ("unix:/run/pillion.sock", plain.clone()),
            ("unix:///run/pillion.sock?deadline=5", plain.clone().deadline(Duration::from_secs(5))),
            ("unix:/run/pillion.sock?attach=never", plain.clone().attach(Attach::Never)),
            (
                "unix:/run/pillion.sock?attach=require&dir=/data&deadline=1",
                plain.attach(Attach::Require).dir("/data").deadline(Duration::from_secs(1)),
            ),
        ] {
            assert_eq!(
                Url::parse(url).unwrap(),
                Url::Socket { socket: "/run/pillion.sock", options },
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is_near() {
        for (url, message) in [
            ("fiel:cache", "did you mean `file`?"),
            ("http:cache", "`http` is not a scheme"),
            ("cache?mod=ro", "did you mean `mode`?"),
            ("cache?mode=readonly", "use `mode=ro` or `mode=rw`"),
            #[cfg(feature = "sidecar")]
            ("unix:x?deadline=soon", "or `deadline=SECONDS`"),
            #[cfg(feature = "sidecar")]
            ("unix:x?atach=never", "did you mean `attach`?"),
            #[cfg(feature = "sidecar")]
            ("unix:x?deadline=0", "or `deadline=SECONDS`"),
            #[cfg(feature = "sidecar")]
            ("unix:x?attach=maybe", "use `attach=require`, `attach=never`"),
        ] {
            let error = Url::parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.to_string().contains(message), "{url}: {error}");
        }
    }
}
