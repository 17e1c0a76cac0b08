//! TLS, certificates that change, and certificates of clients.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Instant;

use pillion_http::{HttpError, HttpOptions, HttpServer, TlsFiles};

use crate::support::certificates::Certificates;
use crate::support::{PATIENCE, Served, everything, listen, read_all, report};

fn has_curl() -> bool {
    let has_it = Command::new("curl").arg("--version").output().is_ok_and(|done| done.status.success());
    if !has_it {
        report::not_run("there is no curl to speak TLS with");
    }
    has_it
}

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

fn curl(served: &Served, arguments: &[&str]) -> Output {
    let port = served.address().port();
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30", "--resolve"]);
    command.arg(format!("localhost:{port}:127.0.0.1")).args(arguments);
    command.arg(format!("https://localhost:{port}/v1/tables/items/1")).output().unwrap()
}

#[test]
fn answers_are_encrypted_and_a_new_certificate_is_taken() {
    if !has_curl() {
        return;
    }
    let Some(certificates) = Certificates::make() else { return };
    let dir = tempfile::tempdir().unwrap();
    show(&certificates, "server", dir.path());
    let options = HttpOptions::new(listen()).tls(files(dir.path(), None));
    let served = Served::with(options, &[], Some(everything()));
    let (root, stranger) = (certificates.file("root.pem"), certificates.file("stranger.pem"));
    let trusting = |root: &Path| curl(&served, &["--cacert", root.to_str().unwrap()]);
    let done = trusting(&root);
    assert!(String::from_utf8_lossy(&done.stdout).contains("plain"), "{done:?}");
    assert!(!trusting(&stranger).status.success(), "whoever trusts another authority is told");
    assert!(!curl(&served, &["--cacert", root.to_str().unwrap(), "--tls-max", "1.1"]).status.success());
    // Without TLS, and with something else, there is no answer.
    let plain = served.raw(b"GET /v1/tables/items/1 HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(!plain.contains("HTTP/1.1 200"), "{plain}");
    let mut half = served.connect();
    half.write_all(b"\x16\x03\x01").unwrap();
    assert!(trusting(&root).status.success(), "who does not end its handshake holds nobody up");

    // A file that cannot be used changes nothing; then one for a name that is no other's.
    std::fs::File::create(dir.path().join("door.pem")).unwrap().write_all(b"no certificate").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(2500));
    assert!(trusting(&root).status.success(), "the old one is still shown");
    show(&certificates, "impostor", dir.path());
    let begun = Instant::now();
    while trusting(&root).status.success() {
        assert!(begun.elapsed() < PATIENCE, "the new one is shown");
    }
    show(&certificates, "server", dir.path());
    while !trusting(&root).status.success() {
        assert!(begun.elapsed() < PATIENCE, "the first one is shown again");
    }
    drop(read_all(&mut half));
}

#[test]
fn only_clients_with_a_certificate_come_in_where_one_is_asked_for() {
    if !has_curl() {
        return;
    }
    let Some(certificates) = Certificates::make() else { return };
    let dir = tempfile::tempdir().unwrap();
    show(&certificates, "server", dir.path());
    std::fs::copy(certificates.file("root.pem"), dir.path().join("root.pem")).unwrap();
    let options = HttpOptions::new(listen()).tls(files(dir.path(), Some("root.pem")));
    let served = Served::with(options, &[], Some(everything()));
    let root = certificates.file("root.pem");
    let as_client = |name: &str| {
        let (certificate, key) =
            (certificates.file(&format!("{name}.pem")), certificates.file(&format!("{name}.key")));
        let shown = [
            "--cacert",
            root.to_str().unwrap(),
            "--cert",
            certificate.to_str().unwrap(),
            "--key",
            key.to_str().unwrap(),
        ];
        curl(&served, &shown).status.success()
    };
    assert!(as_client("client"));
    assert!(!as_client("impostor"), "its authority is another one");
    assert!(!curl(&served, &["--cacert", root.to_str().unwrap()]).status.success(), "none is shown");
}

#[test]
fn files_that_cannot_be_used_keep_the_door_shut() {
    let dir = tempfile::tempdir().unwrap();
    let served = Served::open();
    let open = || {
        let options = HttpOptions::new(listen()).tls(files(dir.path(), None));
        let access = pillion_access::Access::new([], Some(everything())).unwrap();
        HttpServer::start(&served.cache, options, access.into()).unwrap_err()
    };
    let HttpError::Tls(message) = open() else { panic!("it has no certificate") };
    assert!(message.contains("door.pem"), "{message}");
    assert_eq!(files(dir.path(), None).check().unwrap_err(), message);
    let taken = HttpOptions::new(pillion_http::Listen::Tcp(served.address()));
    let access = pillion_access::Access::new([], Some(everything())).unwrap();
    let taken = HttpServer::start(&served.cache, taken, access.into()).unwrap_err();
    assert!(matches!(taken, HttpError::Bind(_)), "{taken}");
}
