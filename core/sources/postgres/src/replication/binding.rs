//! What of a server's certificate SCRAM binds a login to, so that nobody in between can pass the login on.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::Certificate;
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912::{
    ECDSA_WITH_SHA_256, ECDSA_WITH_SHA_384, ECDSA_WITH_SHA_512, SHA_1_WITH_RSA_ENCRYPTION,
    SHA_256_WITH_RSA_ENCRYPTION, SHA_384_WITH_RSA_ENCRYPTION, SHA_512_WITH_RSA_ENCRYPTION,
};

/// The digest `tls-server-end-point` of RFC 5929; `None` for a signature that has none there, such as Ed25519.
pub(super) fn channel_binding(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = Certificate::from_der(certificate).ok()?;
    digest(parsed.signature_algorithm.oid, certificate)
}

fn digest(signature: ObjectIdentifier, certificate: &[u8]) -> Option<Vec<u8>> {
    match signature {
        // For SHA-1 the RFC says SHA-256.
        SHA_1_WITH_RSA_ENCRYPTION | SHA_256_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_256 => {
            Some(Sha256::digest(certificate).to_vec())
        }
        SHA_384_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_384 => Some(Sha384::digest(certificate).to_vec()),
        SHA_512_WITH_RSA_ENCRYPTION | ECDSA_WITH_SHA_512 => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_the_signature() {
        let len = |oid: &str| digest(ObjectIdentifier::new(oid).unwrap(), b"x").map(|digest| digest.len());
        assert_eq!(len("1.2.840.113549.1.1.5"), Some(32));
        assert_eq!(len("1.2.840.10045.4.3.3"), Some(48));
        assert_eq!(len("1.2.840.113549.1.1.13"), Some(64));
        assert_eq!(len("1.3.101.112"), None, "Ed25519");
        assert!(channel_binding(&CertificateDer::from(vec![1, 2, 3])).is_none());
    }
}
