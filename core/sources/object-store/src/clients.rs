//! Clients of stores on a network.

use std::sync::Arc;
use std::time::Duration;

use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};

use crate::schemes::{Scheme, Settings};

/// A request is given up after so long without a complete answer, and repeated.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Pillion asks again later by itself, so a source need not.
const RETRIES_MAX: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(20);
const BACKOFF_MAX: Duration = Duration::from_secs(2);

type Built = object_store::Result<Arc<dyn ObjectStore>>;

/// A client of the store at a URL. Reaches nothing.
///
/// # Errors
/// Those of options that cannot be.
pub(crate) fn build(scheme: Scheme, url: &str, settings: &Settings) -> Built {
    let retry = RetryConfig {
        backoff: BackoffConfig { max_backoff: BACKOFF_MAX, ..BackoffConfig::default() },
        max_retries: RETRIES_MAX,
        retry_timeout: RETRY_TIMEOUT,
    };
    let mut client = ClientOptions::new()
        .with_timeout(REQUEST_TIMEOUT)
        .with_connect_timeout(CONNECT_TIMEOUT)
        // To a server whose URL says so, and to an endpoint where that is allowed.
        .with_allow_http(url.starts_with("http://") || settings.is_on("allow_http"));
    if let Some(path) = settings.values.get("ca_file") {
        client = with_certificates(client, path)?;
    }
    if let Some(login) = basic(settings) {
        client = with_login(client, &login);
    }
    match scheme {
        #[cfg(feature = "aws")]
        Scheme::S3 => s3(url, settings, client, retry),
        #[cfg(feature = "gcp")]
        Scheme::Google => google(url, settings, client, retry),
        #[cfg(feature = "azure")]
        Scheme::Azure => azure(url, settings, client, retry),
        #[cfg(feature = "http")]
        Scheme::Http => {
            let builder = object_store::http::HttpBuilder::new().with_url(url);
            Ok(Arc::new(builder.with_client_options(client).with_retry(retry).build()?))
        }
        _ => Err(object_store::Error::NotImplemented {
            operation: "open".to_owned(),
            implementer: "this build".to_owned(),
        }),
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
        ("endpoint", Key::BaseUrl),
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

/// The user and the password as the header of a request has them.
pub(crate) fn basic(settings: &Settings) -> Option<String> {
    let user = settings.values.get("user")?;
    let password = settings.values.get("password").map(String::as_str).unwrap_or_default();
    Some(base64(format!("{user}:{password}").as_bytes()))
}

fn with_login(client: ClientOptions, login: &str) -> ClientOptions {
    use object_store::{HeaderMap, HeaderValue};
    // Base64 is always the value of a header.
    let Ok(mut value) = HeaderValue::from_str(&format!("Basic {login}")) else { return client };
    value.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert("authorization", value);
    client.with_default_headers(headers)
}

/// Bytes in Base64.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_base64() {
        let texts = ["", "f", "fo", "foo", "us er:pa/ss"].map(|text| base64(text.as_bytes()));
        assert_eq!(texts, ["", "Zg==", "Zm8=", "Zm9v", "dXMgZXI6cGEvc3M="]);
    }
}
