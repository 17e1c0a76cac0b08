//! Encryption: which certificates of a server are accepted, and which one is shown to it.

use std::path::Path;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::options::FlightSqlOptions;

/// The protocol that both ends must speak once they are connected.
const HTTP2: &[u8] = b"h2";

/// What encrypts a connection by these options. Reads the files of certificates.
pub(crate) fn config(options: &FlightSqlOptions) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let (roots, from) = roots(options)?;
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let verifier = verifier.map_err(|error| {
        let message =
            format!("{from} has no certificates to trust; name a file of them (`root_certificates`)");
        refused(message).with_source(error)
    })?;
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("TLS cannot be used").with_source(error))?
        .with_webpki_verifier(verifier);
    let mut config = match (&options.certificate, &options.key) {
        (Some(certificate), Some(key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                refused(format!("no key can be read from {}", key.display())).with_source(error)
            })?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| {
                refused("the certificate and key of the client cannot be used").with_source(error)
            })?
        }
        _ => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![HTTP2.to_vec()];
    Ok(Arc::new(config))
}

/// The certificates that are trusted, and where they are from.
fn roots(options: &FlightSqlOptions) -> Result<(RootCertStore, String)> {
    let mut roots = RootCertStore::empty();
    let Some(file) = &options.roots else {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        return Ok((roots, "the system".to_owned()));
    };
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| {
            refused(format!("a certificate of {} cannot be used", file.display())).with_source(error)
        })?;
    }
    Ok((roots, file.display().to_string()))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    read.map_err(|error| {
        refused(format!("no certificates can be read from {}", file.display())).with_source(error)
    })
}

fn refused(message: impl Into<String>) -> Error {
    Error::new(ErrorCode::SourceRefused, message)
}
