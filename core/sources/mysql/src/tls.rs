//! Encryption: which certificates of a server are accepted.

use std::path::Path;

use mysql_async::{ClientIdentity, SslOpts};
use pillion::{Error, ErrorCode, Result};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::options::{Address, MySqlOptions, SslMode};

/// How the client is to encrypt a connection; `None` if it is not to. Reads the files of certificates.
pub(crate) fn encryption(options: &MySqlOptions) -> Result<Option<SslOpts>> {
    if options.ssl_mode == SslMode::Disable || matches!(options.address, Address::Socket(_)) {
        return Ok(None);
    }
    // The client library asks for that of the process, which panics where several are compiled in and none was chosen.
    if CryptoProvider::get_default().is_none() {
        // Fails if another thread chose one since.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
    let mut encryption = SslOpts::default().with_disable_built_in_roots(true);
    encryption = match options.ssl_mode {
        // The library wants roots even if it compares nothing with them; its own are as good as any.
        SslMode::Disable | SslMode::RequireUnverified => {
            encryption.with_disable_built_in_roots(false).with_danger_accept_invalid_certs(true)
        }
        SslMode::VerifyFull => {
            let roots = roots(options)?.into_iter().map(|root| root.to_vec().into()).collect();
            encryption.with_root_certs(roots)
        }
    };
    if let Some(name) = &options.certificate_name {
        encryption = encryption.with_danger_tls_hostname_override(Some(name.clone()));
    }
    if let Some((certificate, key)) = &options.identity {
        certificates(certificate)?;
        PrivateKeyDer::from_pem_file(key).map_err(|error| {
            refused(format!("no key can be read from {}", key.display())).with_source(error)
        })?;
        let identity = ClientIdentity::new(certificate.clone().into(), key.clone().into());
        encryption = encryption.with_client_identity(Some(identity));
    }
    Ok(Some(encryption))
}

fn roots(options: &MySqlOptions) -> Result<Vec<CertificateDer<'static>>> {
    let usable = |root: &CertificateDer<'static>| rustls::RootCertStore::empty().add(root.clone());
    let (roots, from) = match &options.roots {
        Some(file) => {
            let roots = certificates(file)?;
            roots.iter().try_for_each(usable).map_err(|error| {
                refused(format!("a certificate of {} cannot be used", file.display())).with_source(error)
            })?;
            (roots, file.display().to_string())
        }
        None => {
            let mut roots = rustls_native_certs::load_native_certs().certs;
            // Some systems list certificates that no verifier takes.
            roots.retain(|root| usable(root).is_ok());
            (roots, "the system".to_owned())
        }
    };
    if roots.is_empty() {
        return Err(refused(format!("{from} has no certificates to trust; name a file of them (`ssl-ca`)")));
    }
    Ok(roots)
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
