//! Servers whose certificates are not those that they should be.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use pillion::ErrorCode;
use pillion::source::Relation;
use pillion_object_store::{Location, ObjectStoreSource};

use crate::support::failure;
use crate::support::report::not_run;

/// An HTTPS server; ends when dropped.
struct Encrypted(Child);

impl Drop for Encrypted {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn openssl(dir: &Path, arguments: &str) -> Command {
    let mut command = Command::new("openssl");
    command.current_dir(dir).args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// Makes two authorities, and a certificate of the first for `localhost`.
fn certificates(dir: &Path) -> bool {
    std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
    let run = |arguments: &str| openssl(dir, arguments).status().is_ok_and(|status| status.success());
    let new = "req -newkey rsa:2048 -nodes";
    ["root", "stranger"]
        .iter()
        .all(|name| run(&format!("{new} -x509 -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem")))
        && run(&format!("{new} -subj /CN=localhost -keyout server.key -out server.csr"))
        && run(
            "x509 -req -in server.csr -CA root.pem -CAkey root.key -CAcreateserial -days 2 -extfile names -out server.pem",
        )
}

fn start(dir: &Path) -> (Encrypted, SocketAddr) {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = format!("s_server -accept {address} -cert server.pem -key server.key -www -quiet");
    let server = Encrypted(openssl(dir, &server).spawn().unwrap());
    let late = Instant::now() + Duration::from_secs(30);
    while TcpStream::connect(address).is_err() {
        assert!(Instant::now() < late, "the server does not come up");
        std::thread::sleep(Duration::from_millis(10));
    }
    (server, address)
}

#[test]
fn a_certificate_of_a_stranger_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    if !certificates(dir.path()) {
        not_run("there is no openssl to make certificates");
        return;
    }
    let (_server, address) = start(dir.path());
    let port = address.port();
    let locations = [
        #[cfg(feature = "http")]
        Location::new(format!("https://localhost:{port}/data")),
        #[cfg(feature = "aws")]
        Location::new("s3://files")
            .option("endpoint", format!("https://localhost:{port}"))
            .option("region", "here")
            .option("anonymous", "true"),
    ];
    let ca = |name: &str| dir.path().join(name).display().to_string();
    for location in locations {
        let with = |file: &str| ObjectStoreSource::new(location.clone().option("ca_file", ca(file))).unwrap();
        let relation = Relation::table("a.csv");
        let unknown = failure(&ObjectStoreSource::new(location.clone()).unwrap(), &relation);
        for error in [unknown, failure(&with("stranger.pem"), &relation)] {
            let shown = format!("{error:#}");
            assert!(shown.contains("certificate"), "{shown}");
            assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{shown}");
        }
        // The server has no such file, and is believed.
        let shown = format!("{:#}", failure(&with("root.pem"), &relation));
        assert!(!shown.contains("certificate"), "{shown}");
        let missing = ObjectStoreSource::new(location.clone().option("ca_file", ca("none.pem")));
        let shown =
            missing.map_or_else(|error| format!("{error:#}"), |it| format!("{:#}", failure(&it, &relation)));
        assert!(shown.contains("none.pem"), "{shown}");
    }
}
