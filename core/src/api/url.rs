//! URLs of caches.

use std::time::Duration;

use super::error::{Error, ErrorCode, Result, suggestion};

/// Limit of a remote call unless the URL says otherwise.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a URL names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Url<'a> {
    /// A directory.
    Directory { dir: &'a str, read_only: bool },
    /// The socket of a sidecar.
    Socket { socket: &'a str, deadline: Duration },
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
        let options = query.split('&').filter(|option| !option.is_empty());
        match scheme {
            "file" => {
                let mut read_only = false;
                for option in options {
                    match option {
                        "mode=ro" => read_only = true,
                        "mode=rw" => read_only = false,
                        _ => return Err(unknown_option(option, "mode", "`mode=ro` or `mode=rw`")),
                    }
                }
                Ok(Self::Directory { dir: path, read_only })
            }
            "unix" => {
                let mut deadline = DEADLINE;
                for option in options {
                    let seconds = option.strip_prefix("deadline=").and_then(|seconds| seconds.parse().ok());
                    deadline = match seconds {
                        Some(seconds) if seconds > 0 => Duration::from_secs(seconds),
                        _ => return Err(unknown_option(option, "deadline", "`deadline=SECONDS`")),
                    };
                }
                Ok(Self::Socket { socket: path, deadline })
            }
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

fn unknown_option(option: &str, known: &str, usage: &str) -> Error {
    let name = option.split('=').next().unwrap_or(option);
    let hint = if name == known { String::new() } else { suggestion(name, [known]) };
    Error::new(
        ErrorCode::InvalidArgument,
        format!("`{option}` is not an option of this cache URL{hint}; use {usage}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_directory_or_a_socket() {
        for (url, dir, read_only) in [
            ("cache", "cache", false),
            ("/var/lib/pillion", "/var/lib/pillion", false),
            ("./with:colon", "./with:colon", false),
            ("file:/var/lib/pillion?mode=ro", "/var/lib/pillion", true),
            ("file:///var/lib/pillion?mode=rw", "/var/lib/pillion", false),
        ] {
            assert_eq!(Url::parse(url).unwrap(), Url::Directory { dir, read_only }, "{url}");
        }
        let socket = "/run/pillion.sock";
        assert_eq!(Url::parse("unix:/run/pillion.sock").unwrap(), Url::Socket { socket, deadline: DEADLINE });
        let deadline = Duration::from_secs(5);
        assert_eq!(
            Url::parse("unix:///run/pillion.sock?deadline=5").unwrap(),
            Url::Socket { socket, deadline }
        );
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is_near() {
        for (url, message) in [
            ("fiel:cache", "did you mean `file`?"),
            ("http:cache", "`http` is not a scheme"),
            ("cache?mod=ro", "did you mean `mode`?"),
            ("cache?mode=readonly", "use `mode=ro` or `mode=rw`"),
            ("unix:x?deadline=soon", "use `deadline=SECONDS`"),
        ] {
            let error = Url::parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.to_string().contains(message), "{url}: {error}");
        }
    }
}
