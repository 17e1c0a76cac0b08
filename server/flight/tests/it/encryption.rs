//! TLS, certificates that change, and certificates of clients.

use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use hyper_util::rt::TokioIo;
use pillion_flight::{FlightOptions, TlsFiles};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Endpoint, Uri};
use tower::service_fn;

use crate::support::certificates::Certificates;
use crate::support::{Client, Served, everything, listen, soon};

fn files(dir: &Path, authorities: Option<&str>) -> TlsFiles {
    TlsFiles {
        certificate: dir.join("door.pem"),
        key: dir.join("door.key"),
        client_authorities: authorities.map(|name| dir.join(name)),
    }
}

/// Makes `server` or another pair of a certificate and its key that of the door.
fn show(certificates: &Certificates, name: &str, dir: &Path) {
    for ending in ["key", "pem"] {
        let new = dir.join("new");
        std::fs::copy(certificates.file(&format!("{name}.{ending}")), &new).unwrap();
        std::fs::rename(new, dir.join(format!("door.{ending}"))).unwrap();
    }
}

/// Asks something over TLS, with trust in an authority and perhaps with a certificate.
fn asks(served: &Served, certificates: &Certificates, root: &str, own: Option<&str>) -> bool {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(certificates.file(root)).unwrap() {
        roots.add(certificate.unwrap()).unwrap();
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match own {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = CertificateDer::pem_file_iter(certificates.file(&format!("{name}.pem"))).unwrap();
            let key = PrivateKeyDer::from_pem_file(certificates.file(&format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain.map(Result::unwrap).collect(), key).unwrap()
        }
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let address = served.address();
    let connect = service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let stream = TcpStream::connect(address).await?;
            let name = ServerName::try_from("localhost").unwrap();
            Ok::<_, std::io::Error>(TokioIo::new(connector.connect(name, stream).await?))
        }
    });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let endpoint = Endpoint::from_static("http://localhost");
    match runtime.block_on(endpoint.connect_with_connector(connect)) {
        Ok(channel) => Client::over(runtime, channel, None).sql("SELECT 1").is_ok(),
        Err(_) => false,
    }
}

#[test]
fn answers_are_encrypted_and_a_new_certificate_is_taken() {
    let Some(certificates) = Certificates::make() else { return };
    let dir = tempfile::tempdir().unwrap();
    show(&certificates, "server", dir.path());
    let options = FlightOptions::new(listen()).tls(files(dir.path(), None));
    let served = Served::with(options, &[], Some(everything()));
    let trusting = |root: &str| asks(&served, &certificates, root, None);
    assert!(trusting("root.pem"));
    assert!(!trusting("stranger.pem"), "whoever trusts another authority is told");
    // Without TLS there is no answer.
    let endpoint = Endpoint::from_shared(format!("http://{}", served.address())).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    if let Ok(channel) = runtime.block_on(endpoint.connect()) {
        assert!(Client::over(runtime, channel, None).sql("SELECT 1").is_err());
    }
    // A file that cannot be used changes nothing; then one for a name that is no other's.
    std::fs::File::create(dir.path().join("door.pem")).unwrap().write_all(b"no certificate").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(trusting("root.pem"), "the old one is still shown");
    show(&certificates, "impostor", dir.path());
    soon("the new one is shown", || !trusting("root.pem"));
    show(&certificates, "server", dir.path());
    soon("the first one is shown again", || trusting("root.pem"));
}

#[test]
fn only_clients_with_a_certificate_come_in_where_one_is_asked_for() {
    let Some(certificates) = Certificates::make() else { return };
    let dir = tempfile::tempdir().unwrap();
    show(&certificates, "server", dir.path());
    std::fs::copy(certificates.file("root.pem"), dir.path().join("root.pem")).unwrap();
    let options = FlightOptions::new(listen()).tls(files(dir.path(), Some("root.pem")));
    let served = Served::with(options, &[], Some(everything()));
    assert!(asks(&served, &certificates, "root.pem", Some("client")));
    assert!(!asks(&served, &certificates, "root.pem", Some("impostor")), "its authority is another one");
    assert!(!asks(&served, &certificates, "root.pem", None), "none is shown");
}
