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
    Socket { socket: &'a str, attach: UrlAttach, dir: Option<&'a str>, deadline: Duration },
}

/// What a URL says of attaching.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UrlAttach {
    IfPossible,
    Require,
    Never,
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
                        _ => return Err(unknown_option(option, &["mode"], "`mode=ro` or `mode=rw`")),
                    }
                }
                Ok(Self::Directory { dir: path, read_only })
            }
            "unix" => {
                let (mut attach, mut dir, mut deadline) = (UrlAttach::IfPossible, None, DEADLINE);
                for option in options {
                    match option.split_once('=') {
                        Some(("attach", "require")) => attach = UrlAttach::Require,
                        Some(("attach", "never")) => attach = UrlAttach::Never,
                        Some(("dir", path)) if !path.is_empty() => dir = Some(path),
                        Some(("deadline", seconds))
                            if seconds.parse().is_ok_and(|seconds: u64| seconds > 0) =>
                        {
                            deadline = Duration::from_secs(seconds.parse().unwrap_or(u64::MAX));
                        }
                        _ => {
                            let usage = "`attach=require`, `attach=never`, `dir=DIR` or `deadline=SECONDS`";
                            return Err(unknown_option(option, &["attach", "dir", "deadline"], usage));
                        }
                    }
                }
                Ok(Self::Socket { socket: path, attach, dir, deadline })
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
        let socket = |attach, dir, seconds| Url::Socket {
            socket: "/run/pillion.sock",
            attach,
            dir,
            deadline: Duration::from_secs(seconds),
        };
        for (url, expected) in [
            ("unix:/run/pillion.sock", socket(UrlAttach::IfPossible, None, 60)),
            ("unix:///run/pillion.sock?deadline=5", socket(UrlAttach::IfPossible, None, 5)),
            ("unix:/run/pillion.sock?attach=never", socket(UrlAttach::Never, None, 60)),
            (
                "unix:/run/pillion.sock?attach=require&dir=/data&deadline=1",
                socket(UrlAttach::Require, Some("/data"), 1),
            ),
        ] {
            assert_eq!(Url::parse(url).unwrap(), expected, "{url}");
        }
    }

    #[test]
    fn what_is_not_known_is_answered_with_what_is_near() {
        for (url, message) in [
            ("fiel:cache", "did you mean `file`?"),
            ("http:cache", "`http` is not a scheme"),
            ("cache?mod=ro", "did you mean `mode`?"),
            ("cache?mode=readonly", "use `mode=ro` or `mode=rw`"),
            ("unix:x?deadline=soon", "or `deadline=SECONDS`"),
            ("unix:x?atach=never", "did you mean `attach`?"),
            ("unix:x?attach=maybe", "use `attach=require`, `attach=never`"),
        ] {
            let error = Url::parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.to_string().contains(message), "{url}: {error}");
        }
    }
}
