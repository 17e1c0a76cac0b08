//! Places of sources: relative paths in them start at the folder of the configuration.

use std::path::Path;

/// Options of sources that are paths.
const PATH_OPTIONS: [&str; 5] =
    ["ca_file", "client_certificate", "client_key", "root_certificates", "service_account_path"];
/// Parameters of URLs that are paths.
const PATH_PARAMETERS: [&str; 6] = ["sslcert", "sslkey", "sslrootcert", "ssl-ca", "ssl-cert", "ssl-key"];
/// The value of some of these parameters that is no path.
const SYSTEM: &str = "system";

/// A URL or a folder, with absolute paths.
///
/// # Errors
/// What to do about a text that is neither. Shows nothing of it: a password may stand anywhere.
pub(super) fn absolute(url: &str, folder: &Path) -> Result<String, String> {
    let Some((scheme, rest)) = url.split_once("://") else {
        if is_mistyped(url) {
            let message = "`url` is neither a URL nor a path: write a URL as `scheme://…`, and `./` in front of a path that looks like one";
            return Err(message.to_owned());
        }
        return Ok(folder.join(url).to_string_lossy().into_owned());
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    let is_relative = !place.starts_with(['/', ':']) && !place.is_empty();
    let place = match scheme {
        "sqlite" if is_relative => format!("{}/{place}", escaped(folder)),
        "delta+file" if is_relative => folder.join(place).to_string_lossy().into_owned(),
        _ => place.to_owned(),
    };
    let Some(query) = query else { return Ok(format!("{scheme}://{place}")) };
    let query: Vec<String> =
        query.split('&').map(|parameter| absolute_parameter(parameter, folder)).collect();
    Ok(format!("{scheme}://{place}?{}", query.join("&")))
}

/// The value of an option of a source, absolute if it is a path.
pub(super) fn absolute_option(name: &str, value: String, folder: &Path) -> String {
    if PATH_OPTIONS.contains(&name) { folder.join(value).to_string_lossy().into_owned() } else { value }
}

fn absolute_parameter(parameter: &str, folder: &Path) -> String {
    match parameter.split_once('=') {
        Some((name, path)) if PATH_PARAMETERS.contains(&name) && is_relative_value(path) => {
            format!("{name}={}/{path}", escaped(folder))
        }
        _ => parameter.to_owned(),
    }
}

fn is_relative_value(path: &str) -> bool {
    let is_absolute =
        path.starts_with('/') || path.get(..3).is_some_and(|first| first.eq_ignore_ascii_case("%2f"));
    !is_absolute && !path.is_empty() && path != SYSTEM
}

/// A folder as it stands in a URL.
fn escaped(folder: &Path) -> String {
    let text = folder.to_string_lossy();
    let escape = |letter: char| match letter {
        '%' | '?' | '&' | '=' | '#' | '@' | '+' => format!("%{:02X}", u32::from(letter)),
        other => other.to_string(),
    };
    text.trim_end_matches('/').chars().map(escape).collect()
}

/// Whether a text without `://` was rather to be a URL than a path: it begins as `s3:/bucket`, or may hold a password as
/// `user:password@host`.
fn is_mistyped(text: &str) -> bool {
    let is_path = text.starts_with('.') || text.starts_with('/') && !text.starts_with("//");
    let after_colon = text.split_once(':').map_or("", |(_, rest)| rest);
    !is_path && (after_colon.starts_with('/') || after_colon.contains('@'))
}
