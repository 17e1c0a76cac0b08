//! The kinds of stores, by the scheme of their URL, and what can be set for each.

use std::collections::BTreeMap;

use pillion::{Error, ErrorCode, Result};

use crate::names::suggestion;

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    Local,
    #[cfg(feature = "aws")]
    S3,
    #[cfg(feature = "gcp")]
    Google,
    #[cfg(feature = "azure")]
    Azure,
    #[cfg(feature = "http")]
    Http,
}

/// The values of all options, secrets among them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) secrets: Vec<String>,
}

impl Scheme {
    /// # Errors
    /// [`ErrorCode::InvalidArgument`]; [`ErrorCode::Unsupported`] for one that this build does not have.
    pub(crate) fn of(name: &str) -> Result<Self> {
        match name {
            "file" => Ok(Self::Local),
            #[cfg(feature = "aws")]
            "s3" | "s3a" => Ok(Self::S3),
            #[cfg(feature = "gcp")]
            "gs" => Ok(Self::Google),
            #[cfg(feature = "azure")]
            "az" | "azure" | "abfs" | "abfss" | "adl" => Ok(Self::Azure),
            #[cfg(feature = "http")]
            "http" | "https" => Ok(Self::Http),
            #[cfg(not(feature = "aws"))]
            "s3" | "s3a" => lacks(name, "aws"),
            #[cfg(not(feature = "gcp"))]
            "gs" => lacks(name, "gcp"),
            #[cfg(not(feature = "azure"))]
            "az" | "azure" | "abfs" | "abfss" | "adl" => lacks(name, "azure"),
            #[cfg(not(feature = "http"))]
            "http" | "https" => lacks(name, "http"),
            _ => {
                let known = ["file", "s3", "gs", "az", "http", "https"];
                let message = format!("`{name}://` is not a kind of store{}", suggestion(name, known));
                Err(Error::new(ErrorCode::InvalidArgument, message))
            }
        }
    }

    /// Names of its options.
    pub(crate) fn options(self) -> &'static [&'static str] {
        match self {
            Self::Local => &[],
            #[cfg(feature = "aws")]
            Self::S3 => &[
                "access_key_id",
                "allow_http",
                "anonymous",
                "ca_file",
                "endpoint",
                "region",
                "request_payer",
                "secret_access_key",
                "session_token",
                "virtual_hosted_style",
            ],
            #[cfg(feature = "gcp")]
            Self::Google => &[
                "allow_http",
                "anonymous",
                "ca_file",
                "endpoint",
                "service_account_key",
                "service_account_path",
            ],
            #[cfg(feature = "azure")]
            Self::Azure => &[
                "access_key",
                "account",
                "allow_http",
                "anonymous",
                "ca_file",
                "client_id",
                "client_secret",
                "endpoint",
                "sas_token",
                "tenant_id",
            ],
            #[cfg(feature = "http")]
            Self::Http => &["ca_file", "password", "user"],
        }
    }

    /// Whether the server may be one that gives files only as a whole, and lists none.
    pub(crate) fn is_plain_http(self) -> bool {
        #[cfg(feature = "http")]
        return self == Self::Http;
        #[cfg(not(feature = "http"))]
        false
    }

    /// Whether a file can be changed while it is open: a store replaces objects as a whole.
    pub(crate) fn changes_in_place(self) -> bool {
        self == Self::Local
    }
}

impl Settings {
    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "on" | "1"))
    }

    /// A text without the secrets.
    #[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
    pub(crate) fn hide(&self, text: &str) -> String {
        hide(&self.secrets, text)
    }
}

#[cfg(not(all(feature = "aws", feature = "gcp", feature = "azure", feature = "http")))]
fn lacks(name: &str, feature: &str) -> Result<Scheme> {
    let message = format!(
        "this build cannot read `{name}://`: build pillion-object-store with its feature `{feature}`"
    );
    Err(Error::new(ErrorCode::Unsupported, message))
}

/// A text without secrets, and without the queries of URLs, which may have signatures.
pub(crate) fn hide(secrets: &[String], text: &str) -> String {
    let mut shown = text.to_owned();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        shown = shown.replace(secret.as_str(), "…").replace(&escaped(secret), "…");
    }
    let words = shown.split_inclusive(char::is_whitespace).map(|word| {
        let query = word.find("://").and_then(|scheme| Some(scheme + word[scheme..].find('?')?));
        match query {
            Some(at) => format!("{}?… ", &word[..at]),
            None => word.to_owned(),
        }
    });
    words.collect::<String>().trim_end().to_owned()
}

/// A text as it stands in a URL.
fn escaped(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_shows_a_secret() {
        let secrets = vec!["p/ss word".to_owned(), String::new()];
        let text = "GET http://u:p%2Fss%20word@host/x?sig=abc failed: p/ss word";
        assert_eq!(hide(&secrets, text), "GET http://u:…@host/x?… failed: …");
    }
}
