//! The kinds of stores, by the scheme of their URL, and what can be set for each.

use std::collections::BTreeMap;
use std::sync::Arc;

use object_store::{ClientOptions, ObjectStore, RetryConfig};
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
    Http,
}

/// The values of all options, secrets among them.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) values: BTreeMap<String, String>,
    pub(crate) secrets: Vec<String>,
}

type Built = object_store::Result<Arc<dyn ObjectStore>>;

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
            Self::Google => &["anonymous", "ca_file", "service_account_key", "service_account_path"],
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
            Self::Http => &["ca_file", "password", "user"],
        }
    }

    /// Whether a file can be changed while it is open: a store replaces objects as a whole.
    pub(crate) fn changes_in_place(self) -> bool {
        self == Self::Local
    }

    #[cfg_attr(
        not(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http")),
        expect(
            unused_variables,
            clippy::needless_pass_by_value,
            reason = "only stores on a network have a client"
        )
    )]
    pub(crate) fn build(
        self,
        url: &str,
        settings: &Settings,
        client: ClientOptions,
        retry: RetryConfig,
    ) -> Built {
        match self {
            #[cfg(feature = "aws")]
            Self::S3 => s3(url, settings, client, retry),
            #[cfg(feature = "gcp")]
            Self::Google => google(url, settings, client, retry),
            #[cfg(feature = "azure")]
            Self::Azure => azure(url, settings, client, retry),
            #[cfg(feature = "http")]
            Self::Http => {
                let builder = object_store::http::HttpBuilder::new().with_url(url);
                Ok(Arc::new(builder.with_client_options(client).with_retry(retry).build()?))
            }
            _ => Err(object_store::Error::NotImplemented {
                operation: "open".to_owned(),
                implementer: "this build".to_owned(),
            }),
        }
    }
}

#[cfg(feature = "aws")]
fn s3(url: &str, settings: &Settings, client: ClientOptions, retry: RetryConfig) -> Built {
    use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};
    // Credentials that are named are not completed from elsewhere.
    let is_complete = settings.is_on("anonymous") || settings.values.contains_key("access_key_id");
    let mut builder = if is_complete { AmazonS3Builder::new() } else { AmazonS3Builder::from_env() };
    builder = builder.with_url(url).with_client_options(client).with_retry(retry);
    for (name, key) in [
        ("access_key_id", Key::AccessKeyId),
        ("secret_access_key", Key::SecretAccessKey),
        ("session_token", Key::Token),
        ("region", Key::Region),
        ("endpoint", Key::Endpoint),
        ("request_payer", Key::RequestPayer),
        ("virtual_hosted_style", Key::VirtualHostedStyleRequest),
        ("anonymous", Key::SkipSignature),
    ] {
        if let Some(value) = settings.values.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "gcp")]
fn google(url: &str, settings: &Settings, client: ClientOptions, retry: RetryConfig) -> Built {
    use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey as Key};
    let named = ["anonymous", "service_account_key", "service_account_path"];
    let is_complete = named.iter().any(|name| settings.values.contains_key(*name));
    let mut builder =
        if is_complete { GoogleCloudStorageBuilder::new() } else { GoogleCloudStorageBuilder::from_env() };
    builder = builder.with_url(url).with_client_options(client).with_retry(retry);
    for (name, key) in [
        ("service_account_key", Key::ServiceAccountKey),
        ("service_account_path", Key::ServiceAccount),
        ("anonymous", Key::SkipSignature),
    ] {
        if let Some(value) = settings.values.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build()?))
}

#[cfg(feature = "azure")]
fn azure(url: &str, settings: &Settings, client: ClientOptions, retry: RetryConfig) -> Built {
    use object_store::azure::{AzureConfigKey as Key, MicrosoftAzureBuilder};
    let named = ["anonymous", "access_key", "client_secret", "sas_token"];
    let is_complete = named.iter().any(|name| settings.values.contains_key(*name));
    let mut builder =
        if is_complete { MicrosoftAzureBuilder::new() } else { MicrosoftAzureBuilder::from_env() };
    builder = builder.with_url(url).with_client_options(client).with_retry(retry);
    for (name, key) in [
        ("account", Key::AccountName),
        ("access_key", Key::AccessKey),
        ("sas_token", Key::SasKey),
        ("tenant_id", Key::AuthorityId),
        ("client_id", Key::ClientId),
        ("client_secret", Key::ClientSecret),
        ("endpoint", Key::Endpoint),
        ("anonymous", Key::SkipSignature),
    ] {
        if let Some(value) = settings.values.get(name) {
            builder = builder.with_config(key, value);
        }
    }
    Ok(Arc::new(builder.build()?))
}

impl Settings {
    fn is_on(&self, name: &str) -> bool {
        self.values.get(name).is_some_and(|value| matches!(value.as_str(), "true" | "on" | "1"))
    }

    /// Whether requests may go unencrypted: to a server whose URL says so, and to an endpoint where that is allowed.
    pub(crate) fn allows_http(&self, scheme: &str) -> bool {
        scheme == "http" || self.is_on("allow_http")
    }

    /// Adds user and password, which every request then has.
    pub(crate) fn with_user(&self, client: ClientOptions) -> ClientOptions {
        let Some(user) = self.values.get("user") else { return client };
        let password = self.values.get("password").map(String::as_str).unwrap_or_default();
        with_user(client, user, password)
    }

    /// Adds the certificates of `ca_file`.
    ///
    /// # Errors
    /// Those of reading it.
    pub(crate) fn with_authority(&self, client: ClientOptions) -> object_store::Result<ClientOptions> {
        let Some(path) = self.values.get("ca_file") else { return Ok(client) };
        with_certificates(client, path)
    }

    /// A text without the secrets, and without the queries of URLs, which may have signatures.
    pub(crate) fn hide(&self, text: &str) -> String {
        hide(&self.secrets, text)
    }
}

#[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
fn with_certificates(mut client: ClientOptions, path: &str) -> object_store::Result<ClientOptions> {
    let wrong = |error: std::io::Error| object_store::Error::Generic {
        store: "ca_file",
        source: format!("cannot read the certificates in `{path}`: {error}").into(),
    };
    let text = std::fs::read(path).map_err(wrong)?;
    for certificate in object_store::Certificate::from_pem_bundle(&text)? {
        client = client.with_root_certificate(certificate);
    }
    Ok(client)
}

#[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http")))]
fn with_certificates(client: ClientOptions, _: &str) -> object_store::Result<ClientOptions> {
    Ok(client)
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

#[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
fn with_user(client: ClientOptions, user: &str, password: &str) -> ClientOptions {
    use object_store::{HeaderMap, HeaderValue};
    let value = format!("Basic {}", base64(format!("{user}:{password}").as_bytes()));
    // Base64 is always the value of a header.
    let Ok(mut value) = HeaderValue::from_str(&value) else { return client };
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value);
    client.with_default_headers(headers)
}

#[cfg(not(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http")))]
fn with_user(client: ClientOptions, _: &str, _: &str) -> ClientOptions {
    client
}

/// Bytes in Base64.
#[cfg(any(feature = "aws", feature = "gcp", feature = "azure", feature = "http"))]
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for three in bytes.chunks(3) {
        let at = |index: usize| u32::from(three.get(index).copied().unwrap_or(0));
        let bits = at(0) << 16 | at(1) << 8 | at(2);
        for digit in 0..4 {
            let six = (bits >> (18 - 6 * digit)) & 63;
            let is_there = digit <= three.len();
            text.push(if is_there { char::from(DIGITS[six as usize]) } else { '=' });
        }
    }
    text
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
    #[cfg(feature = "http")]
    fn bytes_are_base64() {
        let texts = ["", "f", "fo", "foo", "us er:pa/ss"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "dXMgZXI6cGEvc3M="]);
    }

    #[test]
    fn no_text_shows_a_secret() {
        let secrets = vec!["p/ss word".to_owned(), String::new()];
        let text = "GET http://u:p%2Fss%20word@host/x?sig=abc failed: p/ss word";
        assert_eq!(hide(&secrets, text), "GET http://u:…@host/x?… failed: …");
    }
}
