//! The table and the key that the path of a request names.

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use crate::problem::Problem;

const TABLES: &str = "/v1/tables/";

/// The name of the table in `/v1/tables/{table}…`.
///
/// # Errors
/// 400 for a name that is not UTF-8.
pub(crate) fn table(uri: &Uri) -> Result<String, Problem> {
    let (table, _) = parts(uri);
    Ok(decoded(table)?.into_owned())
}

/// The parts of the key in `/v1/tables/{table}/{key}`: a comma separates them, and `%2C` is one within a part.
///
/// # Errors
/// 400 for text that is not UTF-8.
pub(crate) fn key(uri: &Uri) -> Result<Vec<String>, Problem> {
    let (_, key) = parts(uri);
    key.split(',').map(|part| decoded(part).map(Cow::into_owned)).collect()
}

/// What stands behind `/v1/tables/`, before and behind the next slash, not decoded yet.
fn parts(uri: &Uri) -> (&str, &str) {
    let rest = uri.path().strip_prefix(TABLES).unwrap_or_default();
    rest.split_once('/').unwrap_or((rest, ""))
}

fn decoded(text: &str) -> Result<Cow<'_, str>, Problem> {
    percent_decode_str(text).decode_utf8().map_err(|_| {
        Problem::bad_request("InvalidPath", "the path has bytes that are not UTF-8 once %XX is decoded")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_separate_the_parts_of_a_key() {
        let uri = |text: &'static str| Uri::from_static(text);
        assert_eq!(table(&uri("/v1/tables/a%2Fb/rows?mode=append")).unwrap(), "a/b");
        assert_eq!(table(&uri("/v1/tables/flights")).unwrap(), "flights");
        for (path, parts) in [
            ("/v1/tables/t/1", vec!["1"]),
            ("/v1/tables/t/2013-01-01T10:00:00,UA,1545", vec!["2013-01-01T10:00:00", "UA", "1545"]),
            ("/v1/tables/t/a%2Cb,%20", vec!["a,b", " "]),
            ("/v1/tables/t/a%2Fb", vec!["a/b"]),
            ("/v1/tables/t/%63hanges", vec!["changes"]),
            ("/v1/tables/t/,", vec!["", ""]),
            ("/v1/tables/t/", vec![""]),
        ] {
            assert_eq!(key(&uri(path)).unwrap(), parts, "{path}");
        }
        assert!(key(&uri("/v1/tables/t/%FF")).is_err());
    }
}
