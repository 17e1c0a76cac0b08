//! URLs of files.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::time::Duration;

use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;
use crate::options::SqliteOptions;

const PARAMETERS: &[&str] = &["busy_timeout", "immutable"];

pub(crate) fn parse(url: &str) -> Result<SqliteOptions> {
    let rest = url.strip_prefix("sqlite://").ok_or_else(|| invalid("it does not begin with `sqlite://`"))?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = decoded(path)?;
    if path.is_empty() {
        return Err(invalid("it names no file: write `sqlite:///path/to/file.db`"));
    }
    if path == ":memory:" || path == "/:memory:" {
        return Err(invalid("a database in memory belongs to one connection: name a file"));
    }
    let mut options = SqliteOptions::new(OsString::from_vec(path.into_bytes()));
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or_else(|| invalid("a parameter has no value"))?;
        match (name, value) {
            ("busy_timeout", seconds) => {
                let limit =
                    seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                let limit = limit.ok_or_else(|| invalid("`busy_timeout` is not a number of seconds"))?;
                options = options.busy_timeout(limit);
            }
            ("immutable", "1" | "true") => options = options.immutable(),
            ("immutable", "0" | "false") => {}
            ("immutable", _) => return Err(invalid("`immutable` is neither 0 nor 1")),
            (unknown, _) => {
                let hint = suggestion(unknown, PARAMETERS.iter().copied());
                return Err(invalid(&format!("there is no parameter `{unknown}`{hint}")));
            }
        }
    }
    Ok(options)
}

/// The text with its `%XX` replaced.
fn decoded(text: &str) -> Result<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2).unwrap_or((rest, &[]));
        let value = std::str::from_utf8(digits).ok().filter(|digits| digits.len() == 2);
        let value = value.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(
            value.ok_or_else(|| invalid("two hexadecimal digits must follow `%`; write `%25` for `%`"))?,
        );
        rest = tail;
    }
    let text = String::from_utf8(bytes).map_err(|_| invalid("it is not UTF-8"))?;
    if text.contains('\0') { Err(invalid("it contains a zero byte")) } else { Ok(text) }
}

fn invalid(why: &str) -> Error {
    Error::new(ErrorCode::InvalidArgument, format!("the URL of a SQLite file cannot be used: {why}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_url_names_a_file() {
        for (url, path) in [
            ("sqlite:///var/lib/shop.db", "/var/lib/shop.db"),
            ("sqlite://shop.db", "shop.db"),
            ("sqlite:///a%20b%3f%25.db?busy_timeout=2.5&immutable=1", "/a b?%.db"),
            ("sqlite:////double.db", "//double.db"),
        ] {
            assert_eq!(parse(url).unwrap().path, Path::new(path));
        }
        let options = parse("sqlite:///x?busy_timeout=2.5&immutable=1").unwrap();
        assert_eq!(options.place(), "sqlite:///x");
        assert_eq!((options.busy_timeout, options.is_immutable), (Duration::from_millis(2500), true));
        for (url, why) in [
            ("sqlite:/x", "does not begin"),
            ("sqlite://", "names no file"),
            ("sqlite://:memory:", "name a file"),
            ("sqlite:///x?busy_timout=1", "did you mean `busy_timeout`?"),
            ("sqlite:///x?busy_timeout=-1", "number of seconds"),
            ("sqlite:///x?immutable=yes", "neither 0 nor 1"),
            ("sqlite:///x?immutable", "no value"),
            ("sqlite:///x%2", "hexadecimal"),
            ("sqlite:///x%00", "zero byte"),
            ("sqlite:///x%ff", "UTF-8"),
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidArgument);
            assert!(error.message().contains(why), "{url}: {error}");
        }
    }
}
