//! Encryption, with certificates that may change while the door is open.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio_rustls::TlsAcceptor;

use crate::options::TlsFiles;

/// What encrypts new connections.
pub(crate) struct Tls {
    files: TlsFiles,
    /// The protocol that is spoken within.
    protocol: &'static [u8],
    current: Mutex<Current>,
}

struct Current {
    stamps: Stamps,
    acceptor: TlsAcceptor,
    /// Why the files could not be used when they were looked at last, if so. They are tried again at every look.
    failed: Option<String>,
}

/// What shows that a file is another one than before: device, inode, length, and when it and what is known of it changed.
type Stamp = Option<(u64, u64, u64, [(i64, i64); 2])>;
type Stamps = [Stamp; 3];

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// The file that cannot be used, and why.
    pub(crate) fn new(files: TlsFiles, protocol: &'static [u8]) -> Result<Self, String> {
        let stamps = stamps(&files);
        let config = config(&files, protocol)?;
        let current = Mutex::new(Current { stamps, acceptor: acceptor(config), failed: None });
        Ok(Self { files, protocol, current })
    }

    /// What encrypts a connection that comes now.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.current.lock().acceptor.clone()
    }

    /// Reads the files again if one of them has changed. If they cannot be used, what was read before goes on.
    pub(crate) fn look(&self) {
        let stamps = stamps(&self.files);
        let failed = {
            let current = self.current.lock();
            if current.failed.is_none() && current.stamps == stamps {
                return;
            }
            current.failed.clone()
        };
        match config(&self.files, self.protocol) {
            Ok(config) => {
                *self.current.lock() = Current { stamps, acceptor: acceptor(config), failed: None };
                tracing::info!(certificate = %self.files.certificate.display(), "read again");
            }
            Err(message) => {
                // Said once, although they are tried again: what passes by itself, such as too many open files, leaves them as
                // they are.
                if failed.as_ref() != Some(&message) {
                    tracing::error!(
                        message,
                        "the new certificate cannot be used; the one from before is still shown"
                    );
                }
                self.current.lock().failed = Some(message);
            }
        }
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

fn acceptor(config: ServerConfig) -> TlsAcceptor {
    TlsAcceptor::from(Arc::new(config))
}

fn stamps(files: &TlsFiles) -> Stamps {
    let stamp = |path: &Path| {
        let found = std::fs::metadata(path).ok()?;
        let changed = [(found.mtime(), found.mtime_nsec()), (found.ctime(), found.ctime_nsec())];
        Some((found.dev(), found.ino(), found.len(), changed))
    };
    [stamp(&files.certificate), stamp(&files.key), files.client_authorities.as_deref().and_then(stamp)]
}

fn config(files: &TlsFiles, protocol: &[u8]) -> Result<ServerConfig, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let certificates = certificates(&files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| format!("no private key can be read from {}: {error}", files.key.display()))?;
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS cannot be used: {error}"))?;
    let builder = match &files.client_authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in self::certificates(path)? {
                roots.add(certificate).map_err(|error| {
                    format!("a certificate of {} cannot be used: {error}", path.display())
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(
                verifier.map_err(|error| format!("{} cannot be used: {error}", path.display()))?,
            )
        }
    };
    let mut config = builder.with_single_cert(certificates, key).map_err(|error| {
        format!(
            "the certificate {} and the key {} cannot be used: {error}",
            files.certificate.display(),
            files.key.display()
        )
    })?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    let read = read.map_err(|error| io::Error::other(error.to_string()));
    match read {
        Ok(certificates) if certificates.is_empty() => Err(format!("{} has no certificate", path.display())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("no certificates can be read from {}: {error}", path.display())),
    }
}
