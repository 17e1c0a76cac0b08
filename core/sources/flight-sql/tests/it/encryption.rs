//! Encrypted connections: which certificates are accepted, and which are shown.

use pillion::ErrorCode;
use pillion_flight_sql::FlightSqlOptions;

use crate::support::certificates::Certificates;
use crate::support::front::Front;
use crate::support::peer::Peer;
use crate::support::roapi::Server;
use crate::support::{all, numbers, options, table};

#[test]
fn certificates_are_verified() {
    let Some(certificates) = Certificates::make() else { return };
    let peer = Peer::of(numbers(0, 3));
    let front = Front::start(peer.address(), &certificates, false);
    let file = |name: &str| certificates.file(name);
    let at = |host: &str| options(&format!("grpc+tls://{host}:{}", front.port()));
    let trusting = |options: FlightSqlOptions| options.root_certificates(file("root.pem"));
    for made in [trusting(at("localhost")), trusting(at("127.0.0.1")).server_name("localhost")] {
        assert_eq!(all(&made.build().unwrap(), &table("rows")).unwrap(), numbers(0, 3));
    }
    let plain =
        |port: u16| options(&format!("grpc+tls://localhost:{port}")).root_certificates(file("root.pem"));
    for (made, code, why) in [
        (
            at("localhost").root_certificates(file("stranger.pem")),
            ErrorCode::SourceUnavailable,
            "UnknownIssuer",
        ),
        (trusting(at("127.0.0.1")), ErrorCode::SourceUnavailable, "not valid for name"),
        (trusting(at("localhost")).server_name("other"), ErrorCode::SourceUnavailable, "not valid for name"),
        (at("localhost").root_certificates(file("nothing.pem")), ErrorCode::SourceRefused, "nothing.pem"),
        (at("localhost").root_certificates(file("server.key")), ErrorCode::SourceRefused, "server.key"),
        (plain(peer.address().port()), ErrorCode::SourceUnavailable, "encrypted"),
    ] {
        let error = all(&made.build().unwrap(), &table("rows")).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(why), "{error}");
    }
    // Without encryption against a server that has it.
    let made = options(&format!("grpc://localhost:{}", front.port())).build().unwrap();
    let error = all(&made, &table("rows")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
}

#[test]
fn a_client_shows_its_certificate() {
    let Some(certificates) = Certificates::make() else { return };
    let peer = Peer::of(numbers(0, 3));
    let front = Front::start(peer.address(), &certificates, true);
    let file = |name: &str| certificates.file(name);
    let at = |port: u16| options(&format!("grpc+tls://localhost:{port}")).root_certificates(file("root.pem"));
    let shown = |port: u16, name: &str| {
        at(port).client_certificate(file(&format!("{name}.pem")), file(&format!("{name}.key")))
    };
    assert_eq!(all(&shown(front.port(), "client").build().unwrap(), &table("rows")).unwrap(), numbers(0, 3));
    for made in [at(front.port()), shown(front.port(), "impostor")] {
        let error = all(&made.build().unwrap(), &table("rows")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::SourceUnavailable, "{error}");
    }
    let wrong = at(front.port()).client_certificate(file("client.pem"), file("server.csr")).build().unwrap();
    assert_eq!(all(&wrong, &table("rows")).unwrap_err().code(), ErrorCode::SourceRefused);

    // The same in front of a real server.
    let Some(server) = Server::start(&[("numbers", &[numbers(0, 3)])]) else { return };
    let front = Front::start(server.address(), &certificates, true);
    let source = shown(front.port(), "client").build().unwrap();
    assert_eq!(all(&source, &table("numbers")).unwrap(), numbers(0, 3));
}
