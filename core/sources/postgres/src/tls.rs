//! Encryption: which certificates of a server are accepted.

use std::path::Path;
use std::sync::Arc;

use pillion::{Error, ErrorCode, Result};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::options::{PostgresOptions, SslMode};

/// What encrypts a connection by these options. Reads the files of certificates.
pub(crate) fn connector(options: &PostgresOptions) -> Result<MakeRustlsConnect> {
    config(options).map(|config| MakeRustlsConnect::new(Arc::unwrap_or_clone(config)))
}

/// The same for connections that are encrypted here.
pub(crate) fn config(options: &PostgresOptions) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| refused("TLS cannot be used").with_source(error))?
        .dangerous()
        .with_custom_certificate_verifier(verifier(options, provider)?);
    let config = match &options.identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| {
                refused(format!("no key can be read from {}", key.display())).with_source(error)
            })?;
            builder.with_client_auth_cert(certificates(certificate)?, key).map_err(|error| {
                refused("the certificate and key of the client cannot be used").with_source(error)
            })?
        }
    };
    Ok(Arc::new(config))
}

fn verifier(options: &PostgresOptions, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    let verified = match options.ssl_mode {
        SslMode::Disable | SslMode::Prefer => Verified::Nothing,
        SslMode::Require if options.roots.is_none() => Verified::Nothing,
        SslMode::Require | SslMode::VerifyCa => Verified::Signer(chains(options, &provider)?),
        SslMode::VerifyFull => return Ok(chains(options, &provider)?),
    };
    Ok(Arc::new(Lenient { verified, provider }))
}

fn chains(options: &PostgresOptions, provider: &Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
    let mut roots = RootCertStore::empty();
    let from = match &options.roots {
        Some(file) => {
            for certificate in certificates(file)? {
                roots.add(certificate).map_err(|error| {
                    refused(format!("a certificate of {} cannot be used", file.display())).with_source(error)
                })?;
            }
            file.display().to_string()
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            "the system".to_owned()
        }
    };
    WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().map_err(|error| {
        refused(format!("{from} has no certificates to trust; name a file of them (`sslrootcert`)"))
            .with_source(error)
    })
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

/// Accepts certificates that are not those of the host. The server still has to prove that it has the key of the certificate.
#[derive(Debug)]
struct Lenient {
    verified: Verified,
    provider: Arc<CryptoProvider>,
}

#[derive(Debug)]
enum Verified {
    Nothing,
    Signer(Arc<WebPkiServerVerifier>),
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let Verified::Signer(chains) = &self.verified else { return Ok(ServerCertVerified::assertion()) };
        match chains.verify_server_cert(certificate, between, host, ocsp, now) {
            // The name is compared after everything else was verified.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
